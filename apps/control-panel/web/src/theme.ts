import { keep, kept } from './kept'

export type Theme = 'system' | 'light' | 'dark'

export function rememberedTheme(): Theme {
  const theme = kept('panel.theme')
  return theme === 'light' || theme === 'dark' ? theme : 'system'
}

/** applyTheme puts the choice where the style sheet looks for it. */
export function applyTheme(theme: Theme): void {
  if (theme === 'system') {
    keep('panel.theme', null)
    delete document.documentElement.dataset.theme
  } else {
    keep('panel.theme', theme)
    document.documentElement.dataset.theme = theme
  }
}
