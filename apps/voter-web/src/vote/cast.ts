// Casting. The ballot is sealed once; its bytes and its Idempotency-Key are kept before the first
// attempt and are the same in every later one, so that however often it is sent, and whatever gets
// lost on the way, it is in the box at most once and its receipt is always the same.

import { ask, type Trouble } from '../api/client.ts'
import { fetchManifest } from '../api/polls.ts'
import type { CastResponse } from '../api/types.ts'
import { sealBallot } from '../crypto/ballot.ts'
import { base64url, fromBase64 } from '../crypto/bytes.ts'
import { checkReceipt } from '../crypto/receipt.ts'
import { finished, type Journey, lapsed, renew } from './journey.ts'
import { backoff, sleep } from './wait.ts'

export type Casting =
  | { at: 'sealing' | 'sending'; maybe: boolean }
  /** Refused or lost for now; the next attempt is at `until`, by this device's clock. */
  | { at: 'waiting'; maybe: boolean; trouble: Trouble; until: number }
  /** No further attempt is made. `verify`: proving the phone again leads on. */
  | { at: 'stopped'; maybe: boolean; trouble: Trouble; verify: boolean }

export interface Caster {
  stop(): void
  nudge(): void
}

/** What becomes of a refused ballot, by code; codes not listed here stop the casting for good. */
const next: Partial<Record<Trouble['code'], 'again' | 'verify' | 'anew'>> = {
  // Nothing was recorded, or nobody knows: the same ballot is sent again.
  'no-answer': 'again',
  'strange-answer': 'again',
  internal: 'again',
  'outcome-unknown': 'again',
  overloaded: 'again',
  unavailable: 'again',
  'rate-limited': 'again',
  'poll-paused': 'again',
  // The token is over, not the ballot: the same bytes are good under a new token of the same voter.
  'token-expired': 'verify',
  'token-invalid': 'verify',
  'token-missing': 'verify',
  'token-wrong-step': 'verify',
  // The sealed bytes cannot be taken: they are sealed anew, once.
  'ballot-copied': 'anew',
  'ballot-invalid': 'anew',
  'ballot-wrong-size': 'anew',
}

function withdrawn(j: Journey): Journey {
  const { pending: _refused, casting: _over, ...rest } = j
  return rest
}

export function cast(get: () => Journey, set: (j: Journey) => void, show: (c: Casting) => void): Caster {
  const over = new AbortController()
  let pause = new AbortController()

  const run = async () => {
    let failures = 0
    let sealings = 0
    while (!over.signal.aborted) {
      let pending = get().pending
      if (!pending) {
        show({ at: 'sealing', maybe: false })
        try {
          const { manifest, answers } = get()
          const sealed = await sealBallot(manifest, manifest.questions.map((q) => answers[q.id] ?? []))
          const key = base64url(crypto.getRandomValues(new Uint8Array(24)))
          pending = { key, sealed: base64url(sealed), maybe: false }
        } catch {
          const trouble: Trouble = { code: 'browser-too-old', effect: 'not_applied' }
          set(withdrawn(get()))
          return show({ at: 'stopped', maybe: false, trouble, verify: false })
        }
      }
      const before = pending.maybe
      // Kept as "may be in the box" before it is sent: a reload in mid-flight must not forget that.
      set({ ...get(), pending: { ...pending, maybe: true } })
      show({ at: 'sending', maybe: before })
      const { value, trouble } = await ask<CastResponse>('/v1/ballots', {
        token: get().verified?.token,
        body: { sealed: pending.sealed },
        headers: { 'Idempotency-Key': pending.key },
        timeout: 20_000,
      })
      if (value) {
        const { manifest } = get()
        const check = checkReceipt(value.receipt, manifest.id, fromBase64(pending.sealed), manifest.signing_key)
        const genuine = await check.then(() => true, () => false)
        return set(finished(get(), value.receipt, genuine))
      }
      const maybe = before || trouble.effect !== 'not_applied'
      const fate = next[trouble.code]
      if (fate === 'again') {
        set({ ...get(), pending: { ...pending, maybe } })
        // A paused poll opens when somebody decides so: asking every half minute is enough.
        const least = trouble.code === 'poll-paused' ? 20_000 : (trouble.retryAfter ?? 0) * 1000
        const wait = Math.max(least, backoff(failures++, 30_000))
        show({ at: 'waiting', maybe, trouble, until: Date.now() + wait })
        pause = new AbortController()
        await sleep(wait, pause.signal)
      } else if (fate === 'verify') {
        set(lapsed({ ...get(), pending: { ...pending, maybe } }))
        return show({ at: 'stopped', maybe, trouble, verify: true })
      } else {
        set(withdrawn(get()))
        if (fate !== 'anew' || sealings++ > 0) return show({ at: 'stopped', maybe: false, trouble, verify: false })
        const { manifest } = get()
        const fresh = await fetchManifest(manifest.id, manifest)
        if (fresh.value) set(renew(get(), fresh.value))
      }
    }
  }
  void run()
  return {
    stop: () => {
      over.abort()
      pause.abort()
    },
    nudge: () => pause.abort(),
  }
}
