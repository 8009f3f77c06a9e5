import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Manifest } from '../src/api/types.ts'
import { fromBase64 } from '../src/crypto/bytes.ts'
import { cast, type Casting } from '../src/vote/cast.ts'
import { type Journey, proved } from '../src/vote/journey.ts'
import { answering, type Asked, json, lost, problem } from './api.ts'
import { newManifest, withProof } from './fixtures.ts'
import { receiptFor, type Signer } from './signing.ts'

let manifest: Manifest
let signer: Signer
let j: Journey
let seen: Casting[]

// Cryptography takes real time; everything else here is the clock's.
const breathe = setTimeout.bind(globalThis)
const breath = () => new Promise((r) => breathe(r, 2))

beforeEach(async () => {
  ;({ manifest, signer } = await newManifest())
  j = { ...withProof(manifest), answers: { q1: ['a'], q2: [] }, casting: true }
  seen = []
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const taken = async (a: Asked) => json({ receipt: await receiptFor(signer, 'test', fromBase64(a.body.sealed as string)) }, 201)

/** Casts until there is a receipt or the casting has stopped; time passes by itself. */
async function run(): Promise<Casting | undefined> {
  const c = cast(() => j, (to) => (j = to), (s) => seen.push(s))
  for (let i = 0; i < 400; i++) {
    await breath()
    const last = seen.at(-1)
    if (j.receipt || last?.at === 'stopped') break
    if (last?.at === 'waiting') await vi.advanceTimersByTimeAsync(1000)
  }
  c.stop()
  return seen.at(-1)
}
const keyAndBytes = (a: Asked) => `${a.headers.get('Idempotency-Key')} ${String(a.body.sealed)}`

describe('casting', () => {
  it('ends with a receipt that was checked, and forgets the choices', async () => {
    const asked = answering(taken)
    await run()
    expect(j.receipt?.genuine).toBe(true)
    expect(j.answers).toEqual({})
    expect(j.pending).toBeUndefined()
    expect(asked).toHaveLength(1)
    expect(asked[0]!.headers.get('Authorization')).toBe('Bearer test.two')
    expect(asked[0]!.headers.get('Idempotency-Key')).toMatch(/^[\w-]{16,64}$/)
  })

  it('sends the same bytes under the same key, however often the answer is lost', async () => {
    const asked = answering(lost, new Response('<html>502', { status: 502 }), problem('outcome-unknown', 503, 'unknown'), problem('overloaded', 503), problem('internal', 500, 'unknown'), taken)
    await run()
    expect(j.receipt?.genuine).toBe(true)
    expect(asked).toHaveLength(6)
    expect(new Set(asked.map(keyAndBytes)).size).toBe(1)
  })

  it('once an answer was lost, says "not known" until it knows, whatever comes between', async () => {
    answering(lost, problem('overloaded', 503), problem('poll-paused', 409), taken)
    await run()
    const waits = seen.filter((s) => s.at === 'waiting')
    expect(waits.map((s) => s.maybe)).toEqual([true, true, true])
    expect(waits.map((s) => s.trouble.code)).toEqual(['no-answer', 'overloaded', 'poll-paused'])
  })

  it('says "not in the box" while every attempt was refused', async () => {
    answering(problem('overloaded', 503), problem('rate-limited', 429), taken)
    await run()
    expect(seen.filter((s) => s.at === 'waiting').map((s) => s.maybe)).toEqual([false, false])
  })

  it('keeps the sealed ballot before it is sent, as one that may be in the box', async () => {
    let kept: Journey | undefined
    answering((a) => {
      kept = structuredClone(j)
      return taken(a)
    })
    await run()
    expect(kept?.pending?.maybe).toBe(true)
    expect(kept?.pending?.sealed).toBeTruthy()
  })

  it('goes on after a reload with the ballot it had', async () => {
    j = { ...j, pending: { key: 'k'.repeat(20), sealed: 'c2VhbGVk', maybe: true } }
    const asked = answering(taken)
    await run()
    expect(seen[0]).toEqual({ at: 'sending', maybe: true })
    expect(keyAndBytes(asked[0]!)).toBe(`${'k'.repeat(20)} c2VhbGVk`)
  })

  it('waits as long as it is told to', async () => {
    answering(problem('overloaded', 503, 'not_applied', { retry_after: 120 }), taken)
    await run()
    const wait = seen.find((s) => s.at === 'waiting')!
    expect(wait.until - Date.now()).toBeLessThanOrEqual(0)
    expect(seen.length).toBeGreaterThan(2)
  })

  it('stops, not counted, when the poll has closed or the voter has voted', async () => {
    for (const code of ['poll-closed', 'already-voted', 'idempotency-key-reused']) {
      seen = []
      j = { ...withProof(manifest), answers: { q1: ['a'], q2: [] }, casting: true }
      answering(lost, problem(code, 409))
      expect(await run()).toMatchObject({ at: 'stopped', maybe: false, verify: false, trouble: { code } })
      expect(j.pending).toBeUndefined()
      expect(j.answers).toEqual({ q1: ['a'], q2: [] })
    }
  })

  it('when the token is over, keeps the ballot, and finds out with a new token', async () => {
    const first = answering(lost, problem('token-expired', 401))
    expect(await run()).toMatchObject({ at: 'stopped', maybe: true, verify: true })
    expect(j.verified).toBeUndefined()
    j = proved(j, { access_token: 'test.three', expires_at: '', seconds: 60 }, Date.now())
    const second = answering(taken)
    await run()
    expect(j.receipt?.genuine).toBe(true)
    expect(keyAndBytes(second[0]!)).toBe(keyAndBytes(first[0]!))
    expect(second[0]!.headers.get('Authorization')).toBe('Bearer test.three')
  })

  it('seals anew, once, when somebody sent a copy first', async () => {
    const document = { ...manifest, sequence: 4 }
    const signed = json({ document, jws: await signer.sign(document) })
    const asked = answering(problem('ballot-copied', 409), signed, taken)
    await run()
    expect(j.receipt?.genuine).toBe(true)
    expect(keyAndBytes(asked[0]!)).not.toBe(keyAndBytes(asked[2]!))

    seen = []
    j = { ...withProof(manifest), answers: { q1: ['a'], q2: [] }, casting: true }
    answering(problem('ballot-copied', 409), signed, problem('ballot-copied', 409))
    expect(await run()).toMatchObject({ at: 'stopped', maybe: false, trouble: { code: 'ballot-copied' } })
  })

  it('says so when the receipt does not check out', async () => {
    answering(async () => json({ receipt: await receiptFor(signer, 'test', fromBase64('b3RoZXI')) }, 201))
    await run()
    expect(j.receipt?.genuine).toBe(false)
  })
})
