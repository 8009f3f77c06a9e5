import { describe, expect, it } from 'vitest'
import { curve, hours, stepFor, within } from '../src/curve'
import { faultsOf, merge } from '../src/live'
import type { Channel, MinuteCount } from '../src/types'

const start = Date.parse('2026-11-23T00:00:00Z')
const at = (minute: number, by: Partial<Record<Channel, number>>): MinuteCount => ({
  minute: new Date(start + minute * 60_000).toISOString().replace('.000Z', 'Z'),
  by_channel: by,
})
const sum = (rows: number[][]): number => rows.flat().reduce((a, b) => a + b, 0)

describe('the curve', () => {
  it('shows minutes without a vote as zero', () => {
    const c = curve([at(0, { web: 2 }), at(3, { web: 5 })], 'all', start + 4 * 60_000, false)
    expect(c.rows).toEqual([[2, 0, 0, 5]])
    expect(c.times[3]! - c.times[0]!).toBe(180)
  })

  it('leaves out the minute that is still filling', () => {
    const c = curve([at(0, { web: 2 }), at(1, { web: 1 })], 'all', start + 90_000, false)
    expect(c.rows).toEqual([[2]])
  })

  it('leaves out the step that is still filling, which would seem to fall', () => {
    const minutes = Array.from({ length: 603 }, (_, i) => at(i, { web: 10 }))
    expect(new Set(curve(minutes, 'all', start + 603 * 60_000, false).rows[0])).toEqual(new Set([50]))
    expect(curve(minutes, 'all', start + 603 * 60_000, true).rows[0]!.at(-1)).toBe(6030)
  })

  it('keeps channels apart and leaves out those nobody used', () => {
    const c = curve([at(0, { web: 2, station: 1 }), at(1, { app: 0 })], 'all', start + 2 * 60_000, false)
    expect(c.channels).toEqual(['web', 'station'])
    expect(c.rows).toEqual([[2, 0], [1, 0]])
  })

  it('sums what came before the shown range', () => {
    const minutes = Array.from({ length: 180 }, (_, i) => at(i, { web: 1 }))
    const c = curve(minutes, 'hour', start + 180 * 60_000, true)
    expect(c.rows[0]![0]).toBe(121)
    expect(c.rows[0]!.at(-1)).toBe(180)
  })

  it('loses no vote however long the poll', () => {
    for (const days of [0.01, 0.5, 1, 3, 9, 14]) {
      const n = Math.round(days * 1440)
      const minutes = Array.from({ length: n }, (_, i) => at(i, { web: i % 7, app: i % 3 }))
      const c = curve(minutes, 'all', start + n * 60_000, true)
      const all = minutes.reduce((a, m) => a + m.by_channel!.web! + m.by_channel!.app!, 0)
      expect(c.rows[0]!.at(-1)! + c.rows[1]!.at(-1)!).toBe(all)
      expect(c.times.length).toBeLessThanOrEqual(402)
      expect(sum(curve(minutes, 'all', start + n * 60_000, false).rows)).toBe(all)
    }
  })

  it('ends with the votes once the poll is long over', () => {
    const c = curve([at(0, { web: 1 }), at(9, { web: 1 })], 'all', start + 30 * 86400_000, false)
    expect(c.times).toHaveLength(10)
  })

  it('takes steps people count in', () => {
    expect([60, 401, 1440, 9 * 1440, 60 * 1440].map(stepFor)).toEqual([1, 5, 5, 60, 720])
  })
})

describe('hours', () => {
  it('sum by channel, newest first', () => {
    expect(hours([at(0, { web: 1 }), at(59, { app: 2 }), at(60, { web: 4 })])).toEqual([
      { hour: start + 3_600_000, by: { web: 4 }, total: 4 },
      { hour: start, by: { web: 1, app: 2 }, total: 3 },
    ])
  })
})

describe('within', () => {
  const buckets = [{ up_to: 30, count: 5 }, { up_to: 60, count: 4 }, { up_to: 0, count: 1 }]
  it('is the bound by which a share had voted', () => {
    expect([0.5, 0.51, 0.9, 0.95].map((s) => within(buckets, s))).toEqual([30, 60, 60, 0])
    expect(within([], 0.5)).toBeNull()
  })
})

describe('merge', () => {
  it('puts a beat over the minutes it names and keeps the rest', () => {
    const known = [at(0, { web: 1 }), at(1, { web: 1 }), at(2, { web: 1 })]
    const beat = [at(1, { web: 2 }), at(2, { web: 3 }), at(4, { web: 9 })]
    expect(merge(known, beat)).toEqual([known[0], ...beat])
    expect(merge(known, [])).toEqual(known)
    expect(merge([], beat)).toEqual(beat)
  })
})

describe('faults', () => {
  it('are ours, never the voter’s', () => {
    expect(faultsOf({ 'already-voted': 100, overloaded: 2, internal: 1 })).toBe(3)
    expect(faultsOf(null)).toBe(0)
  })
})
