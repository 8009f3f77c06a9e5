import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { formatFor, type Format } from '../format'
import { keep, kept } from '../kept'
import { langs, type Lang } from '../types'
import { en, type Messages } from './en'
import { hans } from './zh-Hans'
import { hant } from './zh-Hant-HK'

export const catalogue: Record<Lang, Messages> = { 'zh-Hant-HK': hant, 'zh-Hans': hans, en }

export interface Speech {
  lang: Lang
  t: Messages
  f: Format
}

export const speechIn = (lang: Lang): Speech => ({ lang, t: catalogue[lang], f: formatFor(lang) })

export const Voice = createContext<Speech>(speechIn('en'))
export const useWords = (): Speech => useContext(Voice)

/** preferred is the best of the browser's languages; Traditional where the script is not said. */
export function preferred(wanted: readonly string[]): Lang {
  for (const w of wanted) {
    const tag = w.toLowerCase()
    if (tag.startsWith('zh')) return /hans|-cn|-sg/.test(tag) ? 'zh-Hans' : 'zh-Hant-HK'
    if (tag.startsWith('en')) return 'en'
  }
  return 'en'
}

export function remembered(): Lang {
  const lang = langs.find((l) => l === kept('panel.lang'))
  return lang ?? preferred(navigator.languages)
}

export function remember(lang: Lang): void {
  keep('panel.lang', lang)
}
