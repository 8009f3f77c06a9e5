// What the panel keeps in the browser: the language and the colours, and nothing else. Unlike the
// voter's page, which leaves no trace, the panel is used for days on a desk of one's own.

/* eslint-disable no-restricted-globals -- the one place that may; see above */

type Key = 'panel.lang' | 'panel.theme'

export const kept = (key: Key): string | null => localStorage.getItem(key)

export function keep(key: Key, value: string | null): void {
  if (value === null) localStorage.removeItem(key)
  else localStorage.setItem(key, value)
}
