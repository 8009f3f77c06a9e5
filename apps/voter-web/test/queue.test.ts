import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'

import type { Trouble } from '../src/api/client.ts'
import type { Manifest, Queue, WaitingRoom } from '../src/api/types.ts'
import { promised } from '../src/page/screens/waiting.tsx'
import { begin, type Journey, lapsed, opened, type Waiting } from '../src/vote/journey.ts'
import { ahead, type InQueue, pause, placed, queue } from '../src/vote/queue.ts'
import { allowed, furthest, hashOf } from '../src/vote/steps.ts'
import { answering, json, lost, problem } from './api.ts'
import { newManifest } from './fixtures.ts'

vi.mock('../src/work/challenge.ts', () => ({ prepare: () => Promise.resolve({ value: 'work' }), spend: () => undefined }))

const of = { number: 'A123456(3)', phone: '9123 4567' }
const at = (seconds: number) => new Date(Date.UTC(2026, 10, 22, 12, 0, 0) + seconds * 1000).toISOString()
const room = (seconds: number, ticket = 'test.ticket'): WaitingRoom => ({ ticket, issued_at: at(60), expires_at: at(20_000), seconds })
const news = (called: number, steps: [until: number, seconds: number][] = [], since = 0): Response =>
  json({ called: at(called), since: at(since), rate: 10, waiting: 100, steps: steps.map(([u, s]) => ({ until: at(u), seconds: s })) } satisfies Queue)
const session = { access_token: 'test.one', expires_at: '', verification: { mode: 'voter_sends', deadline: '', seconds: 180 } }

let manifest: Manifest
beforeAll(async () => {
  manifest = (await newManifest()).manifest
})

let j: Journey
let said: string[]
let line: InQueue | undefined
let visible: 'visible' | 'hidden'
beforeEach(() => {
  said = []
  visible = 'visible'
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: Date.UTC(2027, 0, 1) })
})
afterEach(() => {
  line?.stop()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const start = (seconds: number) => {
  vi.stubGlobal('document', { querySelector: () => null, get visibilityState() { return visible } })
  j = { ...begin(manifest), draft: of, waiting: placed(room(seconds), of, Date.now()) }
  line = queue(() => j, 'en', {
    at: (waiting: Waiting, fresh) => {
      j = { ...j, waiting }
      said.push(`${fresh ? 'fresh ' : ''}${waiting.ticket} in ${Math.round((waiting.turn - Date.now()) / 1000)}`)
    },
    opened: (s) => said.push(`opened ${s.access_token}`),
    ready: () => said.push('ready'),
    connected: (yes) => said.push(yes ? 'connected' : 'lost'),
    trouble: (t: Trouble) => said.push(`trouble ${t.code}`),
  })
}
const pass = async (seconds: number) => {
  for (let i = 0; i < seconds * 4; i++) {
    await vi.advanceTimersByTimeAsync(250)
    await new Promise((r) => setImmediate(r))
  }
}
const moves = () => said.filter((s) => s !== 'connected')

describe('what is ahead', () => {
  const q = (called: number, steps: [number, number][], since = 0) =>
    ({ called: at(called), since: at(since), rate: 10, waiting: 1, steps: steps.map(([u, s]) => ({ until: at(u), seconds: s })) })
  const issued = Date.parse(at(60))
  it('is the first step that the ticket comes before', () => {
    expect(ahead(q(0, [[30, 5], [60, 10], [61, 20], [90, 40]]), issued)).toBe(20_000)
  })
  it('is the last one for a ticket of another server that is later than all', () => expect(ahead(q(0, [[30, 5]]), issued)).toBe(5_000))
  it('is nothing once tickets from before a later time are called', () => expect(ahead(q(60.001, [[90, 5]]), issued)).toBe(0))
  it('is not nothing at the very time', () => expect(ahead(q(60, []), issued)).toBe(1_000))
  it('is for the server to say when it began later', () => expect(ahead(q(0, [[90, 5]], 61), issued)).toBe(0))
})

it('asks less often the longer it is, and never in step', () => {
  for (const [left, least, most] of [[0, 1500, 2500], [8_000, 1500, 2500], [40_000, 7500, 12_500], [3_600_000, 22_500, 37_500]] as const) {
    const all = Array.from({ length: 50 }, () => pause(left))
    expect(Math.min(...all)).toBeGreaterThanOrEqual(least)
    expect(Math.max(...all)).toBeLessThanOrEqual(most)
    expect(new Set(all).size).toBeGreaterThan(40)
  }
})

it('promises by rounding up', () => {
  for (const [s, want] of [[0, 0], [1, 10], [10, 10], [11, 20], [60, 60], [61, 120], [600, 600], [601, 900], [3601, 3900]] as const) {
    expect(promised(s)).toBe(want)
  }
})

describe('waiting in the queue', () => {
  it('looks now and then, and goes on by itself with the ticket and nothing else', async () => {
    const asked = answering(news(10, [[70, 30]]), news(50, [[70, 8]]), news(61), json(session, 201))
    start(40)
    await pass(60)
    expect(said.at(-1)).toBe('opened test.one')
    expect(moves()).toEqual(['test.ticket in 30', 'test.ticket in 8', 'opened test.one'])
    expect(asked.map((a) => a.path)).toEqual(['queue', 'queue', 'queue', 'sessions'].map((what) => `/v1/polls/test/${what}`))
    expect(asked[3]!.body).toEqual({ identity: { type: 'hkid', number: of.number }, phone: of.phone, lang: 'en', challenge: 'test.ticket' })
  })

  it('asks some dozen times in ten minutes, not in a tight loop', async () => {
    const asked = answering(news(10, [[70, 600]]))
    start(600)
    await pass(600)
    expect(asked.length).toBeGreaterThan(10)
    expect(asked.length).toBeLessThan(40)
  })

  it('keeps its place while the connection is lost or the service is busy', async () => {
    answering(lost, news(61), problem('sms-unavailable', 503, 'not_applied', { waiting_room: room(0, 'test.again') }), news(61), json(session, 201))
    start(5)
    await pass(60)
    expect(moves()).toEqual(['lost', 'test.again in 0', 'lost', 'opened test.one'])
  })

  it('waits on where one server calls it and another does not yet', async () => {
    answering(news(61), problem('waiting-room', 429, 'not_applied', { retry_after: 3, waiting_room: room(3) }), news(61), json(session, 201))
    start(5)
    await pass(30)
    expect(moves()).toEqual(['test.ticket in 3', 'opened test.one'])
  })

  it('says when it takes longer, and remembers what was said first', async () => {
    answering(news(10, [[70, 300]]))
    start(40)
    await pass(15)
    expect(j.waiting!.turn - j.waiting!.first).toBeGreaterThan(200_000)
  })

  it('gets a new place, for new work, when its own has run out', async () => {
    const asked = answering(
      news(61), problem('challenge-expired', 403, 'not_applied', { field: '/challenge' }),
      problem('waiting-room', 429, 'not_applied', { retry_after: 500, waiting_room: room(500, 'test.new') }), news(10, [[70, 400]]),
    )
    start(5)
    await pass(10)
    expect(moves()).toEqual(['fresh test.new in 500'])
    expect(asked[2]!.body['challenge']).toBe('work')
    expect(j.waiting!.first).toBe(j.waiting!.turn)
  })

  it('does not let the next step’s time run while nobody looks', async () => {
    const asked = answering(news(61), json(session, 201))
    visible = 'hidden'
    start(5)
    await pass(120)
    expect(moves()).toEqual(['ready'])
    expect(asked).toHaveLength(1)
    visible = 'visible'
    line!.nudge()
    await pass(1)
    expect(moves()).toEqual(['ready', 'opened test.one'])
  })

  it('stops for what waiting does not mend', async () => {
    answering(news(61), problem('poll-closed', 409))
    start(5)
    await pass(60)
    expect(moves()).toEqual(['trouble poll-closed'])
  })
})

describe('a journey with a place', () => {
  it('leads to the queue, keeps what was typed until the session is open, and then forgets both', () => {
    const waiting = { ...begin(manifest), draft: of, waiting: placed(room(40), of, Date.now()) }
    expect(hashOf(furthest(waiting))).toBe('#wait')
    expect(hashOf(allowed({ name: 'wait' }, waiting))).toBe('#wait')
    expect(hashOf(allowed({ name: 'wait' }, begin(manifest)))).toBe('#identity')
    const on = opened(waiting, { ...session, verification: { mode: 'voter_sends', deadline: '', seconds: 180 } }, of.phone, Date.now())
    expect(on.waiting).toBeUndefined()
    expect(on.draft).toBeUndefined()
    expect(hashOf(allowed({ name: 'wait' }, on))).toBe('#verify')
    expect(hashOf(furthest(lapsed(on)))).toBe('#identity')
  })
})
