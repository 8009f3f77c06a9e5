import type { Definition, JWK, Option, OptionKind, Question, Text } from './types'

const noKey: JWK = { kty: '', crv: '', x: '', y: '', kid: '' }

/** fresh is what the form begins with: the commonest poll there is. */
export function fresh(now: number): Definition {
  const hour = 3600_000
  const next = Math.ceil(now / hour) * hour
  return {
    id: '',
    kind: 'rehearsal',
    title: {},
    organiser: { name: {} },
    notice: { purpose: {}, retention: {}, effect: {} },
    languages: ['zh-Hant-HK', 'zh-Hans', 'en'],
    opens_at: new Date(next).toISOString().replace('.000Z', 'Z'),
    closes_at: new Date(next + 24 * hour).toISOString().replace('.000Z', 'Z'),
    identity: { type: 'hkid' },
    verification: { mode: 'voter_sends', seconds: 180, ballot_seconds: 1800 },
    questions: [question([])],
    tally_key: noKey,
  }
}

const abstainLabel: Text = { 'zh-Hant-HK': '棄權', 'zh-Hans': '弃权', en: 'Abstain' }

export function question(others: readonly Question[]): Question {
  return {
    id: freeId('q', others.map((q) => q.id)),
    title: {},
    min: 0,
    max: 1,
    order: 'fixed',
    options: [option([], 'choice'), { ...option([], 'choice'), id: 'b' }, { id: 'abstain', label: abstainLabel, kind: 'abstain' }],
  }
}

export function option(others: readonly Option[], kind: OptionKind): Option {
  const taken = others.map((o) => o.id)
  const letter = Array.from('abcdefghijklmnopqrstuvwxyz').find((l) => !taken.includes(l))
  return { id: letter ?? freeId('o', taken), label: {}, kind }
}

function freeId(prefix: string, taken: readonly string[]): string {
  let n = 1
  while (taken.includes(`${prefix}${n}`)) n++
  return `${prefix}${n}`
}

/** tidy leaves out what is empty or in a language the poll is not held in, as the server wants it. */
export function tidy(d: Definition): Definition {
  const words = (t: Text): Text => Object.fromEntries(d.languages.map((l) => [l, t[l]?.trim() ?? ''] as const).filter(([, s]) => s !== ''))
  const optional = (t: Text | undefined): { text?: Text } => {
    const kept = words(t ?? {})
    return Object.keys(kept).length > 0 ? { text: kept } : {}
  }
  const { summary, reveal_tally_key: reveal, seal_on_server: seal, ...rest } = d
  const kept = words(summary ?? {})
  const url = d.organiser.url?.trim()
  const contact = d.organiser.contact?.trim()
  return {
    ...rest,
    id: d.id.trim(),
    title: words(d.title),
    ...(Object.keys(kept).length > 0 ? { summary: kept } : {}),
    ...(reveal ? { reveal_tally_key: true } : {}),
    ...(seal ? { seal_on_server: true } : {}),
    organiser: { name: words(d.organiser.name), ...(url ? { url } : {}), ...(contact ? { contact } : {}) },
    notice: { purpose: words(d.notice.purpose), retention: words(d.notice.retention), effect: words(d.notice.effect) },
    questions: d.questions.map(({ text, ...q }) => ({
      ...q,
      title: words(q.title),
      ...optional(text),
      options: q.options.map(({ text: more, ...o }) => ({ ...o, label: words(o.label), ...optional(more) })),
    })),
  }
}

/** readKey takes a public key from what `popvote trustee new` printed: JSON, or lines for a poll file. */
export function readKey(text: string): JWK | null {
  const key = fromJSON(text) ?? fromLines(text)
  return key && key.kty === 'EC' && key.x !== '' && key.y !== '' ? key : null
}

function fromJSON(text: string): JWK | null {
  try {
    const whole = JSON.parse(text) as Record<string, unknown>
    const k = (whole.tally_key ?? whole) as Record<string, unknown>
    const [kty, crv, x, y, kid] = [k.kty, k.crv, k.x, k.y, k.kid].map((v) => (typeof v === 'string' ? v : '')) as [string, string, string, string, string]
    return { kty, crv, x, y, kid }
  } catch {
    return null
  }
}

function fromLines(text: string): JWK | null {
  const value = (name: string): string => new RegExp(`^\\s*${name}:\\s*["']?([\\w-]+)["']?\\s*$`, 'm').exec(text)?.[1] ?? ''
  return { kty: value('kty'), crv: value('crv'), x: value('x'), y: value('y'), kid: value('kid') }
}

/** swap moves an item of a list one place. */
export function swap<T>(list: readonly T[], i: number, by: 1 | -1): T[] {
  const out = list.slice()
  const [a, b] = [out[i], out[i + by]]
  if (a === undefined || b === undefined) return out
  out[i] = b
  out[i + by] = a
  return out
}
