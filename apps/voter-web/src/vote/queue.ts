// Waiting one's turn before step 1. The place is the ticket; the page asks for the queue, which caches may answer,
// less often the longer it still is, and sends step 1 again once the ticket's turn has come.

import { ask, type Trouble } from '../api/client.ts'
import type { Queue, Session, WaitingRoom } from '../api/types.ts'
import { prepare, spend } from '../work/challenge.ts'
import type { Journey, Waiting } from './journey.ts'
import { backoff, sleep } from './wait.ts'

export interface Queued {
  /** The place, or what is known of its turn. `fresh`: it is a new one, because the one before had run out. */
  at(place: Waiting, fresh: boolean): void
  opened(session: Session): void
  /** It is the voter's turn, but nobody looks at the page: the time for the next step must not run yet. */
  ready(): void
  /** Whether the service answers. */
  connected(yes: boolean): void
  /** Something that waiting longer does not mend. */
  trouble(t: Trouble): void
}

export interface InQueue {
  stop(): void
  /** The voter came back to this page, or the network came back: look, now. */
  nudge(): void
}

const passing: readonly string[] = ['no-answer', 'strange-answer', 'internal', 'overloaded', 'unavailable', 'rate-limited', 'sms-unavailable', 'poll-paused']

/** A place as the server gives it. A wait that was said before is kept, to say so when it gets longer. */
export const placed = (p: WaitingRoom, of: Waiting['of'], now: number, before?: Waiting): Waiting => {
  const turn = now + p.seconds * 1000
  return { ticket: p.ticket, issued: Date.parse(p.issued_at), turn, first: before?.first ?? turn, of }
}

/** When a ticket's turn is, from now, milliseconds; 0 once it has come, or where only the server itself can say. */
export function ahead(q: Queue, issued: number): number {
  if (issued < Date.parse(q.called) || issued < Date.parse(q.since)) return 0
  const step = q.steps.find((s) => issued < Date.parse(s.until)) ?? q.steps.at(-1)
  return (step?.seconds ?? 1) * 1000
}

/** A quarter of what is left, two seconds to half a minute, give or take a quarter: voters must not come in step. */
export const pause = (left: number): number => Math.min(30_000, Math.max(2_000, left / 4)) * (0.75 + Math.random() / 2)

export function queue(get: () => Journey, lang: Journey['manifest']['languages'][number], to: Queued): InQueue {
  const over = new AbortController()
  let rest = new AbortController()
  const stopped = () => over.signal.aborted
  const quiet = async (ms: number) => {
    rest = new AbortController()
    await sleep(ms, rest.signal)
  }
  const looked = () => document.visibilityState !== 'hidden'

  const run = async () => {
    const path = `/v1/polls/${get().manifest.id}`
    let failures = 0
    let wait = pause(get().waiting!.turn - Date.now())
    const failed = (t: Trouble) => {
      to.connected(false)
      wait = Math.max(backoff(failures++, 30_000), (t.retryAfter ?? 0) * 1000)
    }
    for (;;) {
      await quiet(wait)
      if (stopped()) return
      const place = get().waiting!
      const { value: news, trouble: lost } = await ask<Queue>(`${path}/queue`)
      if (stopped()) return
      if (lost) {
        failed(lost)
        continue
      }
      to.connected(true)
      const left = ahead(news, place.issued)
      if (left) {
        failures = 0
        to.at({ ...place, turn: Date.now() + left }, false)
        wait = pause(left)
        continue
      }
      while (!looked()) {
        to.ready()
        await quiet(2 ** 31 - 1)
        if (stopped()) return
      }
      const { number, phone } = place.of
      const body = { identity: { type: get().manifest.identity.type, number }, phone, lang }
      const begin = (challenge: string) => ask<Session>(`${path}/sessions`, { body: { ...body, challenge } })
      let answer = await begin(place.ticket)
      let fresh = false
      if (answer.trouble?.code.startsWith('challenge-')) {
        // The place has run out, or is spent: a new one, for new work.
        const { value: work, trouble } = await prepare()
        answer = trouble ? { trouble } : await begin(work)
        spend()
        fresh = true
      }
      if (stopped()) return
      if (answer.value) return to.opened(answer.value)
      const { trouble } = answer
      if (trouble.waiting) to.at(placed(trouble.waiting, place.of, Date.now(), fresh ? undefined : place), fresh)
      if (trouble.code === 'waiting-room') {
        failures = 0
        wait = pause((trouble.retryAfter ?? 1) * 1000)
      } else if (passing.includes(trouble.code)) failed(trouble)
      else return to.trouble(trouble)
    }
  }
  void run()
  return {
    stop: () => {
      over.abort()
      rest.abort()
    },
    nudge: () => rest.abort(),
  }
}
