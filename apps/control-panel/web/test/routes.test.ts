import { describe, expect, it } from 'vitest'
import { routeOf } from '../src/router'
import { lines, nameOf, placeless, placeOf, purses, reaches, refusals, silent, since, stateOfRoute, sums, within } from '../src/routes'
import type { Counts, Gateway, GatewayReport, RouteReport, RoutesView, Spending } from '../src/types'
import { langs } from '../src/types'
import { catalogue, speechIn } from '../src/words'

const route = (change: Partial<RouteReport> = {}): RouteReport => ({
  name: 'first', kind: 'smpp', sent: 10, failed: 1, unknown: 2, calls: 0, delivered: 8, undelivered: 1, used: 0.5, settled: 10,
  faults: 'closed', conversion: 'closed', spent_hour: 2.5, spent_day: 3, ...change,
})
const all = (hour: number, day: number): Spending => ({ to: 'all', hour, hour_cap: 10, day, day_cap: 100 })
const report = (change: Partial<GatewayReport> = {}): GatewayReport => ({
  at: '2026-11-23T04:00:00Z', since: '2026-11-23T01:00:00Z', currency: 'HKD', routes: [route()], spending: [all(2.5, 3)], refused: {}, ...change,
})
const gateway = (cloud: string, change: Partial<GatewayReport> = {}, address = `10.0.0.1:${cloud}`): Gateway => ({ cloud, address, report: report(change) })
const gone: Gateway = { cloud: 'gcp', address: '10.0.0.2:1', silent: 'no_answer' }
const view = (...gateways: Gateway[]): RoutesView => ({ now: '2026-11-23T04:00:00Z', gateways })

describe('a route', () => {
  it('does as the worst that is known of it', () => {
    const cases: [Partial<RouteReport>, string][] = [
      [{}, 'works'],
      [{ conversion: 'open' }, 'last'],
      [{ conversion: 'half_open' }, 'last'],
      [{ faults: 'half_open', conversion: 'open' }, 'trying'],
      [{ rests_until: '2026-11-23T04:00:05Z' }, 'throttled'],
      [{ faults: 'open', rests_until: '2026-11-23T04:00:05Z', conversion: 'open' }, 'rests'],
      [{ faults: 'open', away: true }, 'away'],
    ]
    for (const [change, state] of cases) expect(stateOfRoute(route(change))).toBe(state)
  })

  it('has a line at each gateway that answers, and those of one route are together', () => {
    const two = [route({ name: 'second' }), route()]
    expect(lines(view(gateway('gcp', { routes: two }), gone, gateway('aws', { routes: two }))).map((l) => `${l.route.name} ${placeOf(l.gateway)}`))
      .toEqual(['first aws', 'first gcp', 'second aws', 'second gcp'])
    expect(lines(view(gone, { ...gateway('aws'), report: report({ routes: null }) }))).toEqual([])
  })
})

describe('a gateway', () => {
  it('is called by its cloud, and by its address where that is not enough', () => {
    const [a, b, c] = [gateway('aws', {}, '10.0.0.1:1'), gateway('aws', {}, '10.0.0.1:2'), gateway('gcp')]
    expect([a, b, c].map((g) => nameOf(view(a, b, c), g))).toEqual(['aws 10.0.0.1:1', 'aws 10.0.0.1:2', 'gcp'])
    const bare: Gateway = { address: '10.0.0.1:1', report: report() }
    expect(nameOf(view(bare), bare)).toBe('10.0.0.1:1')
    const here: Gateway = { report: report() }
    expect(nameOf(view(here), here)).toBe('')
  })

  it('that is silent is named, and in no sum', () => {
    const v = view(gateway('aws'), gone, gateway('hetzner', { since: '2026-11-22T23:00:00Z', routes: [route({ used: 1, settled: 30, faults: 'open' })] }))
    expect(silent(v)).toEqual([gone])
    expect(sums(v)).toEqual({ sent: 20, delivered: 16, undelivered: 2, failed: 2, unknown: 4, used: 0.875, works: 1, routes: 2 })
    expect(since(v)).toBe('2026-11-22T23:00:00Z')
    expect(since(view(gone))).toBeNull()
    expect(sums(view(gone))).toEqual({ sent: 0, delivered: 0, undelivered: 0, failed: 0, unknown: 0, used: null, works: 0, routes: 0 })
  })
})

describe('a country', () => {
  const counts = (change: Partial<Counts> = {}): Counts => ({ sent: 10, failed: 1, unknown: 2, calls: 0, delivered: 8, undelivered: 1, used: 0.5, settled: 10, spent_hour: 2.5, spent_day: 3, ...change })
  const leads = (...countries: [string, Partial<Counts>][]): Partial<GatewayReport> => ({ routes: [route({ countries: countries.map(([to, change]) => ({ to, ...counts(change) })) })] })

  it('has a line for each route, of all gateways that answer', () => {
    const all = reaches(view(
      gateway('aws', leads(['+', {}], ['+852', { delays: [{ within: 2, count: 60 }, { within: 5, count: 30 }] }])),
      gateway('gcp', leads(['+852', { used: 1, settled: 30, delays: [{ within: 2, count: 5 }, { within: 0, count: 5 }] }], ['+44', { settled: 0, delivered: 12 }])),
      gone,
    ))
    expect(all.map((r) => r.to)).toEqual(['+44', '+852', '+'])
    expect(all[1]).toEqual({
      to: '+852', route: 'first', currency: 'HKD', sent: 20, failed: 2, unknown: 4, delivered: 16, undelivered: 2, silent: 2, used: 0.875, half: 2, most: 5, hour: 5, day: 6,
    })
    expect(all[0]).toMatchObject({ silent: 0, used: null, half: null, most: null })
    expect(reaches(view(gone, gateway('aws', { routes: [route({ countries: null })] })))).toEqual([])
  })

  it('has receipts as late as most of them are', () => {
    const delays = [{ within: 0, count: 6 }, { within: 30, count: 44 }, { within: 1, count: 50 }]
    expect([0.5, 0.51, 0.94, 0.95].map((share) => within(delays, share))).toEqual([1, 30, 30, Infinity])
    expect(within([], 0.5)).toBeNull()
  })

  it('is not known of every receipt', () => {
    expect(placeless(view(gateway('aws', leads(['+852', {}])), gone))).toBe(0)
    expect(placeless(view(gateway('aws', leads(['+852', { delivered: 3 }]))))).toBe(5)
    expect(placeless(view(gateway('aws')))).toBe(9)
  })
})

describe('money', () => {
  it('is as full as the fuller of two caps', () => {
    const spending = [all(2.5, 95), { to: '+852', hour: 9, hour_cap: 10, day: 9, day_cap: 100 }, { to: '+44', hour: 0, hour_cap: 0, day: 0, day_cap: 0 }]
    expect(purses(view(gateway('aws', { spending }), gone)).map((p) => [p.to, p.full])).toEqual([['all', 0.95], ['+852', 0.9]])
    expect(purses(view(gateway('aws', { spending: [all(11, 0)] })))[0]!.full).toBe(1)
  })

  it('is none where nothing costs anything', () => {
    expect(purses(view({ report: { at: '', since: '', routes: [route()], spending: [all(0, 0)], refused: null } }))).toEqual([])
  })

  it('is written with its currency', () => {
    for (const l of langs) expect(speechIn(l).f.money(1234.5, 'HKD')).toBe('HKD 1,234.50')
  })
})

describe('what no route was asked to send', () => {
  it('is summed by its reason', () => {
    expect(refusals(view(gateway('aws', { refused: { spent: 2, country: 1, unused: 0 } }), gone, gateway('gcp', { refused: { country: 4 } })))).toEqual([['country', 5], ['spent', 2]])
  })
})

describe('the words', () => {
  it('are there for every state, trouble, silence and reason', () => {
    for (const l of langs) {
      const { sms } = catalogue[l]
      expect(Object.keys(sms.troubles).sort()).toEqual(['blocked', 'slow', 'throttled', 'unavailable', 'unknown'])
      expect(Object.keys(sms.refused.why).sort()).toEqual(['country', 'no_route', 'spent', 'unused'])
      expect(sms.money.of('#1', '#2')).toMatch(/#1.*#2/)
      expect(sms.money.full('#1') + sms.until('#2') + sms.since('#3') + sms.old('#4') + sms.countries.placeless('#5')).toMatch(/#1.*#2.*#3.*#4.*#5/)
    }
  })
})

describe('its address', () => {
  it('is /sms', () => {
    expect(routeOf('/sms', '')).toEqual({ name: 'sms' })
    expect(routeOf('/sms/more', '')).toEqual({ name: 'lost' })
  })
})
