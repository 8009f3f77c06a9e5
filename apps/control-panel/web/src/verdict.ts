import type { Connection } from './live'
import type { Part, PollSummary, Stats } from './types'

/**
 * The verdict is one line that answers "is voting all right?". Level is how loudly it says so:
 * good and idle need nobody, watch needs eyes, bad needs hands.
 */
export type Level = 'good' | 'idle' | 'watch' | 'bad'

export type Verdict =
  | { level: 'good'; key: 'voting' }
  | { level: 'good'; key: 'quiet' }
  | { level: 'idle'; key: 'loading' | 'none' | 'draft' | 'early' | 'counted' | 'published' }
  | { level: 'watch'; key: 'over' | 'paused' | 'closed' }
  | { level: 'watch'; key: 'degraded'; parts: string[] }
  | { level: 'watch'; key: 'turning'; count: number }
  | { level: 'bad'; key: 'down'; parts: string[] }
  | { level: 'bad'; key: 'blind' | 'silent' }

export interface Scene {
  poll: PollSummary | null
  polls: readonly PollSummary[] | null
  stats: Stats | null
  parts: readonly Part[]
  connection: Connection
  troubleLately: number
  /** The server's time, ms. */
  now: number
}

const names = (parts: readonly Part[], state: Part['state']): string[] =>
  parts.filter((p) => p.state === state).map((p) => p.name)

/** judge: what cannot be seen comes first, then what stops votes, then what may. */
export function judge(s: Scene): Verdict {
  if (s.connection === 'lost' || s.connection === 'ended') return { level: 'bad', key: 'blind' }
  if (s.polls === null && s.parts.length === 0) return { level: 'idle', key: 'loading' }
  const down = names(s.parts, 'down')
  if (down.length > 0) return { level: 'bad', key: 'down', parts: down }
  if (s.connection === 'old') return { level: 'bad', key: 'silent' }
  if (s.polls?.length === 0) return { level: 'idle', key: 'none' }
  if (!s.poll) return { level: 'idle', key: 'loading' }
  const state = s.stats?.state ?? s.poll.state
  if (state === 'open' && s.now >= Date.parse(s.poll.closes_at)) return { level: 'watch', key: 'over' }
  if (state === 'open' && s.now < Date.parse(s.poll.opens_at)) return { level: 'idle', key: 'early' }
  if (state === 'paused') return { level: 'watch', key: 'paused' }
  if (state === 'closed') return { level: 'watch', key: 'closed' }
  if (state === 'draft') return { level: 'idle', key: 'draft' }
  if (state === 'counted') return { level: 'idle', key: 'counted' }
  if (state === 'published') return { level: 'idle', key: 'published' }
  if (s.troubleLately > 0) return { level: 'watch', key: 'turning', count: s.troubleLately }
  const degraded = names(s.parts, 'degraded')
  if (degraded.length > 0) return { level: 'watch', key: 'degraded', parts: degraded }
  if (!s.stats) return { level: 'idle', key: 'loading' }
  return { level: 'good', key: s.stats.rate_now > 0 ? 'voting' : 'quiet' }
}

/** A decision is something that waits for an operator. */
export interface Decision {
  poll: PollSummary
  key: 'open' | 'resume' | 'close' | 'count' | 'publish'
}

/** decisions lists what waits for whom, the most urgent first. */
export function decisions(polls: readonly PollSummary[], now: number): Decision[] {
  const list: Decision[] = []
  for (const poll of polls) {
    if (poll.state === 'paused') list.push({ poll, key: 'resume' })
    else if (poll.state === 'open' && now >= Date.parse(poll.closes_at)) list.push({ poll, key: 'close' })
    else if (poll.state === 'draft' && now >= Date.parse(poll.opens_at) && now < Date.parse(poll.closes_at))
      list.push({ poll, key: 'open' })
    else if (poll.state === 'closed') list.push({ poll, key: 'count' })
    else if (poll.state === 'counted') list.push({ poll, key: 'publish' })
  }
  const urgency: Decision['key'][] = ['resume', 'open', 'close', 'count', 'publish']
  return list.sort((a, b) => urgency.indexOf(a.key) - urgency.indexOf(b.key))
}

/** watched picks the poll to look at: one that is being voted on, or the newest. */
export function watched(polls: readonly PollSummary[] | null): PollSummary | null {
  const by = (state: string) => polls?.find((p) => p.state === state)
  return by('open') ?? by('paused') ?? by('closed') ?? by('counted') ?? polls?.[0] ?? null
}
