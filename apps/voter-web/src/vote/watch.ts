// Waiting for the voter's SMS: one held connection, read as an event stream. Where something on the
// way keeps streams back, long polls. A lost connection is made again; the server never loses the
// event, so neither does the page.

import { eventParser } from '../api/events.ts'
import { send, type Trouble, troubleIn, troubleOf } from '../api/client.ts'
import type { Problem, VerificationState, Verified } from '../api/types.ts'
import { backoff, sleep } from './wait.ts'

export interface Watcher {
  verified(v: Verified): void
  expired(): void
  /** Something that waiting longer does not mend. */
  trouble(t: Trouble): void
  /** Whether the connection is there. */
  connected(yes: boolean): void
}

export interface Watch {
  stop(): void
  /** The phone came back to this page, or the network came back: connect anew, now. */
  nudge(): void
}

// The server sends a comment every 15 s. A stream that stays silent for longer than the first of
// these is held back by a proxy; one that falls silent for longer than the second is dead.
const deafAfter = 20_000
const deadAfter = 40_000
const pollTimeout = 35_000
// How long after the deadline the page still asks: the answer may be on its way.
const grace = 3_000

const passing: readonly string[] = ['no-answer', 'strange-answer', 'internal', 'overloaded', 'unavailable', 'rate-limited']

type Outcome = { verified: Verified } | { trouble: Trouble } | 'expired' | 'waiting' | 'ended' | 'deaf'

export function watch(token: string, deadline: number, to: Watcher): Watch {
  const over = new AbortController()
  let attempt = new AbortController()
  let nudged = false
  const stopped = () => over.signal.aborted
  const wasNudged = () => nudged

  const run = async () => {
    let failures = 0
    let stream = true
    for (;;) {
      if (Date.now() > deadline + grace) return to.expired()
      attempt = new AbortController()
      nudged = false
      const outcome = await connect(token, stream, attempt, () => {
        failures = 0
        to.connected(true)
      })
      if (stopped()) return
      if (typeof outcome === 'object' && 'verified' in outcome) return to.verified(outcome.verified)
      if (outcome === 'expired') return to.expired()
      if (outcome === 'deaf') stream = false
      if (outcome === 'waiting' || outcome === 'deaf' || wasNudged()) continue
      let wait = backoff(failures++, 15_000)
      if (typeof outcome === 'object') {
        const { trouble } = outcome
        if (trouble.code === 'token-expired') return to.expired()
        if (!passing.includes(trouble.code)) return to.trouble(trouble)
        wait = Math.max(wait, (trouble.retryAfter ?? 0) * 1000)
      }
      // A server that lets go of a stream in good order is only being restarted: not worth a word.
      if (outcome !== 'ended' || failures > 1) to.connected(false)
      attempt = new AbortController()
      await sleep(Math.min(wait, Math.max(0, deadline - Date.now())), attempt.signal)
      if (stopped()) return
    }
  }
  void run()
  return {
    stop: () => {
      over.abort()
      attempt.abort()
    },
    nudge: () => {
      nudged = true
      attempt.abort()
    },
  }
}

async function connect(token: string, stream: boolean, attempt: AbortController, alive: () => void): Promise<Outcome> {
  let heard = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const patience = (ms: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => attempt.abort('late'), ms)
  }
  patience(stream ? deafAfter : pollTimeout)
  try {
    const headers = { Accept: stream ? 'text/event-stream' : 'application/json' }
    const response = await send('/v1/verification', { token, headers, signal: attempt.signal })
    if (!response.ok) return { trouble: await troubleOf(response) }
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream') || !response.body) {
      const state = (await response.json()) as VerificationState
      alive()
      return state.status === 'verified' && state.verified ? { verified: state.verified } : 'waiting'
    }
    let outcome: Outcome | undefined
    const feed = eventParser(({ event, data }) => {
      if (event === 'verified') outcome ??= { verified: JSON.parse(data) as Verified }
      if (event === 'expired') outcome ??= 'expired'
      if (event === 'refused') outcome ??= { trouble: troubleIn(JSON.parse(data) as Problem) }
    })
    const reader = response.body.getReader()
    const decoder = new TextDecoder()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return 'ended'
      heard = true
      alive()
      patience(deadAfter)
      feed(decoder.decode(value, { stream: true }))
      if (outcome) {
        void reader.cancel()
        return outcome
      }
    }
  } catch {
    if (attempt.signal.reason === 'late' && stream && !heard) return 'deaf'
    return { trouble: { code: 'no-answer', effect: 'unknown' } }
  } finally {
    clearTimeout(timer)
  }
}
