import { beforeAll, describe, expect, it } from 'vitest'

import type { Manifest } from '../src/api/types.ts'
import { begin, finished, type Journey, lapsed, shuffled } from '../src/vote/journey.ts'
import { allowed, furthest, hashOf, type Name, type Step, stepOf } from '../src/vote/steps.ts'
import { newManifest, withProof, withSession } from './fixtures.ts'

let manifest: Manifest
beforeAll(async () => {
  manifest = (await newManifest()).manifest
})

const every: Step[] = (['about', 'identity', 'phone', 'verify', 'review', 'cast', 'receipt'] satisfies Name[])
  .map((name): Step => ({ name }))
  .concat({ name: 'ballot', n: 1 }, { name: 'ballot', n: 2 })

/** Where each address leads, for one journey. */
const map = (j: Journey) => Object.fromEntries(every.map((s) => [hashOf(s), hashOf(allowed(s, j))]))

describe('addresses', () => {
  it('are read as they are written', () => {
    for (const s of every) expect(stepOf(hashOf(s))).toEqual(s)
    expect(stepOf('#ballot')).toEqual({ name: 'ballot', n: 1 })
    for (const h of ['', '#', '#nonsense', '#ballot-0', '#ballot-x', '#about-1', '#constructor', '#__proto__']) expect(stepOf(h)).toBeUndefined()
  })

  it('lead a new voter to the identity number', () => {
    expect(map(begin(manifest))).toEqual({
      '#about': '#about', '#identity': '#identity', '#phone': '#identity', '#verify': '#identity', '#ballot-1': '#identity',
      '#ballot-2': '#identity', '#review': '#identity', '#cast': '#identity', '#receipt': '#identity',
    })
  })

  it('lead a voter with a session to waiting, and back to the start where they want to correct something', () => {
    const m = map(withSession(manifest))
    expect(m).toMatchObject({ '#verify': '#verify', '#phone': '#identity', '#ballot-1': '#verify', '#cast': '#verify', '#review': '#verify' })
  })

  it('lead a voter whose phone is proved to the ballot, never back before it', () => {
    const j = withProof(manifest)
    expect(map(j)).toMatchObject({ '#identity': '#about', '#phone': '#about', '#verify': '#about', '#ballot-2': '#ballot-2', '#review': '#ballot-1' })
    const one = { ...j, answers: { q1: ['a'] } }
    expect(hashOf(furthest(one))).toBe('#ballot-2')
    const both = { ...j, answers: { q1: ['a'], q2: [] } }
    expect(hashOf(furthest(both))).toBe('#review')
    expect(map(both)).toMatchObject({ '#review': '#review', '#cast': '#review', '#receipt': '#review' })
    expect(hashOf(allowed({ name: 'ballot', n: 3 }, both))).toBe('#review')
  })

  it('lead nowhere but to casting while the outcome is unknown', () => {
    const j: Journey = { ...withProof(manifest), casting: true, pending: { key: 'k', sealed: 's', maybe: true } }
    expect(new Set(Object.values(map(j)))).toEqual(new Set(['#cast']))
  })

  it('lead a voter whose token lapsed in the middle of casting back through the steps', () => {
    const j = lapsed({ ...withProof(manifest), pending: { key: 'k', sealed: 's', maybe: true } })
    expect(map(j)).toMatchObject({ '#cast': '#identity', '#identity': '#identity' })
    expect(hashOf(furthest({ ...withProof(manifest), pending: j.pending! }))).toBe('#cast')
  })

  it('lead nowhere but to the receipt once there is one', () => {
    const j = finished(withProof(manifest), { poll: 'test', code: '', leaf: '', index: 0, path: [], batch: '' }, true)
    expect(new Set(Object.values(map(j)))).toEqual(new Set(['#receipt']))
  })

  it('lead to checking a receipt whenever, but while the outcome is unknown', () => {
    const check: Step = { name: 'check' }
    expect(stepOf('#check')).toEqual(check)
    const done = finished(withProof(manifest), { poll: 'test', code: '', leaf: '', index: 0, path: [], batch: '' }, true)
    for (const j of [begin(manifest), withSession(manifest), withProof(manifest), done]) expect(allowed(check, j)).toEqual(check)
    const unknown: Journey = { ...withProof(manifest), casting: true, pending: { key: 'k', sealed: 's', maybe: true } }
    expect(allowed(check, unknown)).toEqual({ name: 'cast' })
  })
})

describe('a journey', () => {
  it('forgets what was typed once the session is open', () => {
    expect(JSON.stringify(withSession(manifest))).not.toContain('A123456')
    expect(JSON.stringify(withSession(manifest))).not.toContain('91234567')
    expect(withSession(manifest).session?.phoneEnd).toBe('4567')
  })

  it('keeps nothing but the receipt once there is one', () => {
    const j = { ...withProof(manifest), answers: { q1: ['a'] }, pending: { key: 'k', sealed: 's', maybe: true } }
    const { manifest: _m, ...rest } = finished(j, { poll: 'test', code: 'C', leaf: '', index: 0, path: [], batch: '' }, true)
    expect(rest).toEqual({ order: {}, answers: {}, receipt: { receipt: expect.anything() as unknown, genuine: true } })
  })

  it('draws every order of the options, evenly', () => {
    const seen = new Map<string, number>()
    for (let i = 0; i < 6000; i++) {
      const order = shuffled(['c', 'd', 'e']).join('')
      seen.set(order, (seen.get(order) ?? 0) + 1)
    }
    expect(seen.size).toBe(6)
    for (const n of seen.values()) expect(n).toBeGreaterThan(800) // 1000 ± 7 standard deviations
  })

  it('keeps a fixed order', () => expect(begin(manifest).order.q1).toEqual(['a', 'b', 'abstain']))
})
