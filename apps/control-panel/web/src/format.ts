import { langs, type Lang, type Text } from './types'

/** Format writes numbers and times as a language does, and always says the time zone. */
export interface Format {
  lang: Lang
  num: (n: number) => string
  /** One decimal below ten, none above. */
  rate: (n: number) => string
  percent: (share: number) => string
  bytes: (n: number) => string
  /** An amount with its currency's code: HKD 1,234.50. */
  money: (n: number, currency: string) => string
  /** Day, time and zone. */
  when: (time: string | number) => string
  /** Time to the second and zone. */
  clock: (time: string | number) => string
  /** Time to the second, without the zone. */
  time: (time: string | number) => string
  /** Time to the minute, without the zone, for axes and rows under a heading that has it. */
  short: (time: string | number) => string
  day: (time: string | number) => string
  zone: string
  /** A length of time in its two largest units: 2d 4h, 3m 12s. */
  span: (seconds: number) => string
}

const locale: Record<Lang, string> = { 'zh-Hant-HK': 'zh-Hant-HK', 'zh-Hans': 'zh-Hans-CN', en: 'en-GB' }

/** units are written out here: browsers abbreviate them differently from version to version. */
const units: Record<Lang, [string, string, string, string]> = {
  en: [' d', ' h', ' min', ' s'],
  'zh-Hant-HK': [' 日', ' 小時', ' 分', ' 秒'],
  'zh-Hans': [' 天', ' 小时', ' 分', ' 秒'],
}

export function formatFor(lang: Lang, timeZone?: string): Format {
  const tag = locale[lang]
  const zone = timeZone ? { timeZone } : {}
  const time = (o: Intl.DateTimeFormatOptions, zoned = false): ((t: string | number) => string) => {
    const f = new Intl.DateTimeFormat(tag, { hourCycle: 'h23', ...zone, ...o })
    return (t) => {
      const ms = typeof t === 'string' ? Date.parse(t) : t
      return zoned ? `${f.format(ms)} ${zoneAt(ms)}` : f.format(ms)
    }
  }
  // Languages put the zone in odd places; behind the time it reads the same in all of them.
  const zones = new Intl.DateTimeFormat('en-GB', { ...zone, timeZoneName: 'short' })
  const zoneAt = (ms: number): string => zones.formatToParts(ms).find((p) => p.type === 'timeZoneName')?.value ?? 'UTC'
  const whole = new Intl.NumberFormat(tag)
  const one = new Intl.NumberFormat(tag, { minimumFractionDigits: 1, maximumFractionDigits: 1 })
  const cents = new Intl.NumberFormat(tag, { minimumFractionDigits: 2, maximumFractionDigits: 2 })
  const share = new Intl.NumberFormat(tag, { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 })
  return {
    lang,
    num: (n) => whole.format(n),
    rate: (n) => (n >= 10 || n === 0 ? whole.format(Math.round(n)) : one.format(n)),
    percent: (n) => share.format(n),
    money: (n, currency) => `${currency} ${cents.format(n)}`,
    bytes: (n) => {
      const scale = ['B', 'kB', 'MB', 'GB', 'TB']
      let i = 0
      while (n >= 1000 && i < scale.length - 1) {
        n /= 1000
        i++
      }
      return `${n >= 10 || i === 0 ? whole.format(Math.round(n)) : one.format(n)} ${scale[i]!}`
    },
    when: time({ year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }, true),
    clock: time({ hour: '2-digit', minute: '2-digit', second: '2-digit' }, true),
    time: time({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
    short: time({ hour: '2-digit', minute: '2-digit' }),
    day: time({ month: 'short', day: 'numeric' }),
    zone: zoneAt(Date.now()),
    span: (seconds) => {
      const total = Math.max(0, Math.floor(seconds))
      const parts = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60]
      const first = parts.findIndex((p) => p > 0)
      const from = first < 0 ? 3 : first
      return parts
        .slice(from, from + 2)
        .map((p, i) => (i > 0 && p === 0 ? '' : `${p}${units[lang][from + i]!}`))
        .filter(Boolean)
        .join(' ')
    },
  }
}

/** said picks a text in a language, else in the first there is. */
export function said(text: Text | undefined, lang: string): string {
  if (!text) return ''
  const own = text[lang]
  if (own) return own
  for (const l of langs) if (text[l]) return text[l]
  return Object.values(text).find(Boolean) ?? ''
}

/** local turns a time into what a datetime-local field holds, seconds only if it has any; global turns it back. */
export function local(iso: string): string {
  const t = new Date(iso)
  if (Number.isNaN(t.getTime())) return ''
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, t.getSeconds() === 0 ? 16 : 19)
}

export function global(field: string): string {
  const t = new Date(field)
  return field && !Number.isNaN(t.getTime()) ? t.toISOString().replace('.000Z', 'Z') : ''
}

/** hex shows the base64 of a hash in hexadecimal, the first digits only if asked. */
export function hex(base64: string | null, digits = 64): string {
  if (!base64) return ''
  try {
    return Array.from(atob(base64), (c) => c.charCodeAt(0).toString(16).padStart(2, '0'))
      .join('')
      .slice(0, digits)
  } catch {
    return ''
  }
}
