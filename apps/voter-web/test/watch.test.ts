import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Trouble } from '../src/api/client.ts'
import { type Watch, watch } from '../src/vote/watch.ts'
import { answering, type Asked, json, lost, problem } from './api.ts'

const verified = { access_token: 'test.two', expires_at: '', seconds: 1800 }
const event = `event: verified\ndata: ${JSON.stringify(verified)}\n\n`

/** A held stream: pieces at once, then silence until it is closed or aborted. */
const held = (...pieces: string[]) => (a: Asked) => {
  const body = new ReadableStream({
    start(controller) {
      for (const p of pieces) controller.enqueue(new TextEncoder().encode(p))
      a.signal?.addEventListener('abort', () => controller.error(new DOMException('', 'AbortError')))
    },
  })
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
}
const ended = (...pieces: string[]) => new Response(pieces.join(''), { headers: { 'Content-Type': 'text/event-stream' } })

let outcome: string[]
let it_: Watch | undefined
beforeEach(() => {
  outcome = []
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  it_?.stop()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const start = (seconds = 180) => {
  it_ = watch('test.one', Date.now() + seconds * 1000, {
    verified: (v) => outcome.push(`verified ${v.access_token}`),
    expired: () => outcome.push('expired'),
    trouble: (t: Trouble) => outcome.push(`trouble ${t.code}`),
    connected: (yes) => outcome.at(-1) !== String(yes) && outcome.push(String(yes)),
  })
  return it_
}
const pass = async (seconds: number) => {
  for (let i = 0; i < seconds * 4; i++) {
    await vi.advanceTimersByTimeAsync(250)
    await new Promise((r) => setImmediate(r))
  }
}

describe('waiting for the SMS', () => {
  it('hears the event, with the token in the header and nowhere else', async () => {
    const asked = answering(held('retry: 1000\n\n', ': ping\n\n', event.slice(0, 20), event.slice(20)))
    start()
    await pass(1)
    expect(outcome.at(-1)).toBe('verified test.two')
    expect(asked[0]!.path).toBe('/v1/verification')
    expect(asked[0]!.headers.get('Authorization')).toBe('Bearer test.one')
    expect(asked[0]!.headers.get('Accept')).toBe('text/event-stream')
  })

  it('comes back after a lost connection, a restarted server, an overloaded one', async () => {
    const asked = answering(lost, ended('retry: 1000\n\n'), problem('overloaded', 503, 'not_applied', { retry_after: 5 }), held(event))
    start()
    await pass(20)
    expect(outcome.at(-1)).toBe('verified test.two')
    expect(outcome).toContain('false')
    expect(asked).toHaveLength(4)
  })

  it('turns to long polls where streams are held back', async () => {
    const asked = answering(held(), json({ status: 'waiting', seconds: 100 }), json({ status: 'verified', verified }))
    start()
    await pass(25)
    expect(outcome.at(-1)).toBe('verified test.two')
    expect(asked.map((a) => a.headers.get('Accept'))).toEqual(['text/event-stream', 'application/json', 'application/json'])
  })

  it('connects anew when a stream falls silent', async () => {
    const asked = answering(held('retry: 1000\n\n'), held(event))
    start()
    await pass(45)
    expect(asked).toHaveLength(2)
    expect(outcome.at(-1)).toBe('verified test.two')
  })

  it('connects at once when the voter comes back', async () => {
    const asked = answering(held('retry: 1000\n\n'), held(event))
    const w = start()
    await pass(1)
    w.nudge()
    await pass(1)
    expect(asked).toHaveLength(2)
    expect(outcome.at(-1)).toBe('verified test.two')
  })

  it('ends when the time is over, by event, by problem or by the clock', async () => {
    answering(held('event: expired\ndata:\n\n'))
    start()
    await pass(1)
    expect(outcome.at(-1)).toBe('expired')
    answering(problem('token-expired', 401))
    start()
    await pass(1)
    expect(outcome.at(-1)).toBe('expired')
    outcome = []
    answering(lost)
    start(10)
    await pass(20)
    expect(outcome.at(-1)).toBe('expired')
  })

  it('gives up where waiting mends nothing', async () => {
    answering(problem('wrong-verification-mode', 409))
    start()
    await pass(1)
    expect(outcome).toEqual(['trouble wrong-verification-mode'])
  })

  it('gives up where the phone is proved and may not be used', async () => {
    const asked = answering(held('retry: 1000\n\n', 'event: refused\ndata: {"code":"phone-used-up","effect":"not_applied","retry_after":7200}\n\n'))
    start()
    await pass(5)
    expect(outcome.at(-1)).toBe('trouble phone-used-up')
    expect(asked).toHaveLength(1)
  })

  it('never asks in a tight loop', async () => {
    const asked = answering(ended(''))
    start(60)
    await pass(60)
    expect(asked.length).toBeLessThan(20)
  })
})
