import { channels, type Channel, type MinuteCount, type TookBucket } from './types'

/** Curve is uPlot's form of data: times in seconds, then one row of values per channel. */
export interface Curve {
  /** Minutes that one point covers. */
  step: number
  channels: Channel[]
  times: number[]
  rows: number[][]
}

export type Range = 'hour' | 'day' | 'all'
export const ranges: readonly Range[] = ['hour', 'day', 'all']

const spans: Record<Range, number> = { hour: 60, day: 24 * 60, all: Infinity }

/** stepFor keeps a curve at a few hundred points, on steps people count in. */
export function stepFor(minutes: number): number {
  for (const step of [1, 5, 10, 30, 60, 180]) if (minutes / step <= 400) return step
  return 720
}

/**
 * curve fills the minutes without a vote with zeros, gathers minutes into steps, and leaves out
 * channels that nobody has used. The step being filled now is left out: it would always seem to fall.
 */
export function curve(minutes: readonly MinuteCount[], range: Range, now: number, cumulative: boolean): Curve {
  const end = Math.floor(now / 60_000)
  const at = (m: MinuteCount): number => Math.floor(Date.parse(m.minute) / 60_000)
  const first = minutes[0] ? at(minutes[0]) : end
  const last = minutes.length > 0 ? Math.max(at(minutes[minutes.length - 1]!), first) : end
  // After the close the curve ends where the votes end, not at this moment.
  const over = end - last > 24 * 60
  const stop = over ? last + 1 : end
  const start = Math.max(first, stop - spans[range])
  const step = stepFor(stop - start)
  const begin = Math.floor(start / step) * step
  const steps = (stop + (cumulative ? 1 : 0) - begin) / step
  const count = Math.max(1, over || cumulative ? Math.ceil(steps) : Math.floor(steps))

  const used = channels.filter((c) => minutes.some((m) => (m.by_channel?.[c] ?? 0) > 0))
  const shown = used.length > 0 ? used : [channels[0]!]
  const before = shown.map(() => 0)
  const rows = shown.map(() => new Array<number>(count).fill(0))
  for (const m of minutes) {
    const slot = Math.floor((at(m) - begin) / step)
    shown.forEach((c, i) => {
      const votes = m.by_channel?.[c] ?? 0
      if (slot < 0) before[i]! += votes
      else if (slot < count) rows[i]![slot]! += votes
    })
  }
  if (cumulative) {
    rows.forEach((row, i) => {
      let sum = before[i]!
      for (let k = 0; k < row.length; k++) row[k] = sum += row[k]!
    })
  }
  return { step, channels: shown, times: Array.from({ length: count }, (_, k) => (begin + k * step) * 60), rows }
}

/** hours sums the minutes by hour, for those who read numbers rather than curves. Newest first. */
export function hours(minutes: readonly MinuteCount[]): { hour: number; by: Partial<Record<Channel, number>>; total: number }[] {
  const map = new Map<number, { hour: number; by: Partial<Record<Channel, number>>; total: number }>()
  for (const m of minutes) {
    const hour = Math.floor(Date.parse(m.minute) / 3_600_000) * 3_600_000
    const row = map.get(hour) ?? { hour, by: {}, total: 0 }
    for (const c of channels) {
      const votes = m.by_channel?.[c] ?? 0
      if (votes === 0) continue
      row.by[c] = (row.by[c] ?? 0) + votes
      row.total += votes
    }
    map.set(hour, row)
  }
  return [...map.values()].sort((a, b) => b.hour - a.hour)
}

/** within is the least bucket bound by which a share of all voters had voted; 0 is "longer". */
export function within(buckets: readonly TookBucket[], share: number): number | null {
  const total = buckets.reduce((n, b) => n + b.count, 0)
  if (total === 0) return null
  let sum = 0
  for (const b of buckets) {
    sum += b.count
    if (sum >= total * share) return b.up_to
  }
  return 0
}
