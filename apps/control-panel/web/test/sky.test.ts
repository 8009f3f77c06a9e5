import { describe, expect, it } from 'vitest'
import { ageOf, canariesReady, copiesIn, fresh, partsOf, stateOf, stateOfJob, waiting } from '../src/sky'
import { routeOf } from '../src/router'
import type { Cloud, CloudMap, Deployment, Group, Job, NodeState } from '../src/types'
import { langs } from '../src/types'
import { sentence, type Wanted } from '../src/views/clouddeed'
import { speechIn } from '../src/words'

const now = Date.parse('2026-11-23T04:00:00Z')
const ago = (seconds: number): string => new Date(now - seconds * 1000).toISOString()
const cloud = (name: string, ...states: NodeState[]): Cloud => ({ name, nodes: states.map((state, i) => ({ name: `${name}-${i}`, pool: 'app', state })) })
const group = (change: Partial<Group> = {}): Group => ({
  name: 'web', desired: 3, running: 3, starting: 0, failing: 0, old: 0, clouds: { a: 1, b: 1, c: 1 }, ...change,
})
const canary: Deployment = { id: 'd', version: 2, canaries: [{ cloud: 'a', healthy: true, failing: false }], wanted: 1, waiting: true, reverts: true }
const job = (change: Partial<Group> = {}, deployment?: Deployment): Job => ({ id: 'api-server', version: 2, groups: [group(change)], ...(deployment ? { deployment } : {}) })
const map = (change: Partial<CloudMap> = {}): CloudMap => ({
  now: ago(0), nomad: { asked: true, at: ago(2), failing: false, denied: false }, consul: { asked: true, at: ago(2), failing: false, denied: false },
  clouds: [cloud('a', 'ready'), cloud('b', 'ready'), cloud('c', 'ready')], jobs: [job()], services: [],
  leaders: [{ of: 'consul', at: [{ cloud: 'a', node: 'a-0' }] }, { of: 'postgresql', at: [{ cloud: 'b', node: 'b-0' }] }], deeds: [], ...change,
})
const worries = (change: Partial<CloudMap>): string[] => partsOf(map(change), now).map((p) => p.name)

describe('the map of clouds', () => {
  it('says of a cloud what its machines are', () => {
    expect([cloud('a', 'ready', 'ready'), cloud('a', 'ready', 'draining'), cloud('a', 'drained'), cloud('a', 'down', 'down'), cloud('a', 'ready', 'down')].map(stateOf))
      .toEqual(['ready', 'draining', 'drained', 'down', 'partly'])
  })

  it('says of a job whether its copies run', () => {
    expect([job(), job({ running: 2 }), job({ running: 2, starting: 1 }), job({ failing: 1 }), job({}, canary)].map(stateOfJob)).toEqual(['ok', 'less', 'changing', 'failing', 'changing'])
    expect(copiesIn(map({ jobs: [job(), job({ clouds: { a: 4 } })] }), 'a')).toBe(5)
  })

  it('lets nobody promote what is not whole', () => {
    expect(canariesReady(job({}, canary))).toBe(true)
    expect(canariesReady(job({}, { ...canary, canaries: [] }))).toBe(false)
    expect(canariesReady(job({}, { ...canary, canaries: [{ cloud: 'a', healthy: false, failing: true }] }))).toBe(false)
    expect(canariesReady(job({}, { ...canary, waiting: false }))).toBe(false)
    expect(waiting(map({ jobs: [job(), job({}, canary)] }))).toHaveLength(1)
    expect(waiting(null)).toEqual([])
  })

  it('worries the verdict only with what is worth a look', () => {
    expect(partsOf(null, now)).toEqual([])
    expect(worries({})).toEqual([])
    expect(worries({ clouds: [cloud('a', 'ready'), cloud('b', 'down')] })).toEqual(['b'])
    expect(worries({ leaders: [{ of: 'postgresql', at: [] }] })).toEqual(['PostgreSQL'])
    expect(worries({ leaders: [{ of: 'vault', at: [{ cloud: 'a', node: 'a' }, { cloud: 'b', node: 'b' }] }] })).toEqual(['Vault'])
    expect(worries({ jobs: [job({ failing: 1 })] })).toEqual(['api-server'])
    expect(worries({ jobs: [job({}, canary)] })).toEqual([])
    // Old is said once, and nobody who is not asked is missed.
    expect(worries({ nomad: { asked: true, at: ago(60), failing: true, denied: false }, leaders: [{ of: 'nomad', at: [] }] })).toEqual(['Nomad'])
    expect(worries({ consul: { asked: false, failing: false, denied: false } })).toEqual([])
  })

  it('knows the age of what it shows', () => {
    expect(ageOf({ asked: true, at: ago(61), failing: true, denied: false }, now)).toBe(61)
    expect(ageOf({ asked: true, failing: true, denied: false }, now)).toBeNull()
    expect([4, 15, 16].map((s) => fresh({ asked: true, at: ago(s), failing: false, denied: false }, now))).toEqual([true, true, false])
  })
})

describe('what will happen', () => {
  const of = (w: Wanted, to = 0, change: Partial<CloudMap> = {}): string[] =>
    langs.map((l) => sentence(w, map(change), to, speechIn(l)).replaceAll('\u2063', ''))

  it('is said with the numbers of the moment, in every language', () => {
    for (const s of of({ what: 'drain', cloud: 'a' }, 0, { clouds: [cloud('a', 'ready', 'ready')], jobs: [job({ clouds: { a: 7 } })] })) expect(s).toMatch(/(?=.*7)(?=.*2)(?=.*10)(?=.*DNS)/)
    for (const s of of({ what: 'undrain', cloud: 'a' }, 0, { clouds: [cloud('a', 'drained', 'draining', 'down')] })) expect(s).toMatch(/(?=.*2)(?=.*a)/)
    for (const s of of({ what: 'promote', job: job({ old: 5 }, canary) })) expect(s).toMatch(/(?=.*api-server)(?=.*5)(?=.*2)/)
    for (const s of of({ what: 'fail', job: job({}, canary) })) expect(s).toMatch(/(?=.*api-server)(?=.*1)(?=.*2)/)
    for (const to of [9, 1]) for (const s of of({ what: 'scale', job: job(), group: group() }, to)) expect(s).toMatch(new RegExp(`(?=.*3)(?=.*${to})`))
    for (const s of of({ what: 'move', job: job(), group: group({ move: { from: 'b', to: 'c' }, running: 6, desired: 6 }) })) expect(s).toMatch(/(?=.*b)(?=.*c)(?=.*5)(?=.*6)/)
  })

  it('warns whoever drains the cloud that the panel is in', () => {
    const plain = of({ what: 'drain', cloud: 'a' })
    const ours = of({ what: 'drain', cloud: 'a' }, 0, { jobs: [job(), { ...job({ clouds: { a: 1 } }), id: 'control-panel' }] })
    for (const [i, s] of ours.entries()) expect(s.length).toBeGreaterThan(plain[i]!.length + 10)
  })
})

it('has an address for each screen', () => {
  expect(routeOf('/clouds', '')).toEqual({ name: 'clouds' })
  expect(routeOf('/drills', '')).toEqual({ name: 'drills' })
  expect(routeOf('/drills/2026-11-23T125442', '')).toEqual({ name: 'drill', run: '2026-11-23T125442' })
  expect(routeOf('/clouds/a', '')).toEqual({ name: 'lost' })
})
