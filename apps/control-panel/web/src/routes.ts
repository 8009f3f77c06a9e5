import type { Counts, Delay, Gateway, GatewayReport, RouteReport, RoutesView } from './types'

/** What is worth knowing about the SMS routes, without words. */

/**
 * RouteState is how a route does: `away` knows that it can't send, `rests` is left alone for faults, `throttled` because its provider said
 * so, `trying` is about to be asked again, `last` comes after the others because nobody uses its codes.
 */
export type RouteState = 'works' | 'away' | 'rests' | 'throttled' | 'trying' | 'last'

export function stateOfRoute(r: RouteReport): RouteState {
  if (r.away) return 'away'
  if (r.faults === 'open') return 'rests'
  if (r.rests_until) return 'throttled'
  if (r.faults === 'half_open') return 'trying'
  return r.conversion === 'closed' ? 'works' : 'last'
}

/** A line of the table: one route at one gateway. */
export interface Line {
  gateway: Gateway
  report: GatewayReport
  route: RouteReport
  state: RouteState
}

/** placeOf is what tells a gateway from the others, for people. */
export const placeOf = (g: Gateway): string => g.cloud || g.address || ''

const several = (gateways: readonly Gateway[], g: Gateway): boolean => gateways.filter((o) => placeOf(o) === placeOf(g)).length > 1

/** nameOf is the gateway's cloud, with its address where the cloud has more than one; empty where there is only one in all. */
export function nameOf(view: RoutesView, g: Gateway): string {
  if (view.gateways.length === 1 && !g.cloud && !g.address) return ''
  return several(view.gateways, g) && g.cloud ? `${g.cloud} ${g.address ?? ''}`.trim() : placeOf(g)
}

/** lines are those of all gateways that answer, each route's together. */
export function lines(view: RoutesView): Line[] {
  const all = view.gateways.flatMap((gateway) => {
    const report = gateway.report
    return report ? (report.routes ?? []).map((route) => ({ gateway, report, route, state: stateOfRoute(route) })) : []
  })
  return all.sort((a, b) => compare(a.route.name, b.route.name) || compare(placeOf(a.gateway), placeOf(b.gateway)) || compare(a.gateway.address ?? '', b.gateway.address ?? ''))
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export const silent = (view: RoutesView): Gateway[] => view.gateways.filter((g) => !g.report)

/** Sums are those of all gateways that answer, since each began to count. */
export interface Sums {
  sent: number
  delivered: number
  undelivered: number
  failed: number
  unknown: number
  /** The share of codes used; null where none has settled. */
  used: number | null
  /** How many routes work, of how many. */
  works: number
  routes: number
}

export function sums(view: RoutesView): Sums {
  const all = lines(view)
  const of = (pick: (r: RouteReport) => number): number => all.reduce((n, l) => n + pick(l.route), 0)
  const settled = of((r) => r.settled)
  return {
    sent: of((r) => r.sent), delivered: of((r) => r.delivered), undelivered: of((r) => r.undelivered), failed: of((r) => r.failed), unknown: of((r) => r.unknown),
    used: settled > 0 ? of((r) => r.used * r.settled) / settled : null,
    works: all.filter((l) => l.state === 'works').length, routes: all.length,
  }
}

/** A reach is one route to one country, at all gateways that answer. */
export interface Reach {
  to: string
  route: string
  sent: number
  failed: number
  /** May have gone out. */
  unknown: number
  delivered: number
  undelivered: number
  /** Taken by the provider, with no final receipt. */
  silent: number
  /** The share of codes used; null where none has settled. */
  used: number | null
  /** Within how many seconds half and 95 % of the receipts came; Infinity for more than ten minutes, null without any. */
  half: number | null
  most: number | null
  currency: string
  hour: number
  day: number
}

/** reaches are those of all gateways that answer, each country's together and everywhere else last. */
export function reaches(view: RoutesView): Reach[] {
  const found = new Map<string, { to: string; route: string; currency: string; counts: Counts[] }>()
  for (const { report, route } of lines(view)) {
    for (const c of route.countries ?? []) {
      const key = `${c.to} ${route.name}`
      const one = found.get(key) ?? { to: c.to, route: route.name, currency: '', counts: [] }
      one.currency ||= report.currency ?? ''
      one.counts.push(c)
      found.set(key, one)
    }
  }
  return [...found.values()]
    .map(({ to, route, currency, counts }) => {
      const of = (pick: (c: Counts) => number): number => counts.reduce((n, c) => n + pick(c), 0)
      const [sent, delivered, undelivered, settled] = [of((c) => c.sent), of((c) => c.delivered), of((c) => c.undelivered), of((c) => c.settled)]
      const delays = counts.flatMap((c) => c.delays ?? [])
      return {
        to, route, currency, sent, delivered, undelivered, failed: of((c) => c.failed), unknown: of((c) => c.unknown),
        silent: Math.max(0, sent - delivered - undelivered),
        used: settled > 0 ? of((c) => c.used * c.settled) / settled : null,
        half: within(delays, 0.5), most: within(delays, 0.95), hour: of((c) => c.spent_hour), day: of((c) => c.spent_day),
      }
    })
    .sort((a, b) => Number(a.to === '+') - Number(b.to === '+') || compare(a.to, b.to) || compare(a.route, b.route))
}

/** within is the shortest time in which a share of the receipts came, in seconds; null without any. */
export function within(delays: readonly Delay[], share: number): number | null {
  const all = delays.map((d) => ({ within: d.within || Infinity, count: d.count })).sort((a, b) => a.within - b.within)
  let left = all.reduce((n, d) => n + d.count, 0) * share
  for (const d of all) if ((left -= d.count) <= 0) return d.within
  return null
}

/** placeless is how many final receipts no gateway knows the country of. */
export function placeless(view: RoutesView): number {
  const final = (c: Counts): number => c.delivered + c.undelivered
  return lines(view).reduce((n, { route }) => n + final(route) - (route.countries ?? []).reduce((m, c) => m + final(c), 0), 0)
}

/** A purse is what one gateway has spent under one of its caps. */
export interface Purse {
  gateway: Gateway
  currency: string
  to: string
  hour: number
  hourCap: number
  day: number
  dayCap: number
  /** The larger of the shares of the two caps, 0 to 1. */
  full: number
}

/** purses are those of gateways whose routes cost anything. A country without caps of its own has those for everything: what it spends is in them. */
export function purses(view: RoutesView): Purse[] {
  return view.gateways.flatMap((gateway) =>
    (gateway.report?.currency ? (gateway.report.spending ?? []) : [])
      .filter((s) => s.hour_cap > 0 || s.day_cap > 0)
      .map((s) => ({
        gateway, currency: gateway.report?.currency ?? '', to: s.to, hour: s.hour, hourCap: s.hour_cap, day: s.day, dayCap: s.day_cap,
        full: Math.min(1, Math.max(share(s.hour, s.hour_cap), share(s.day, s.day_cap))),
      })),
  )
}

const share = (of: number, cap: number): number => (cap > 0 ? of / cap : 0)

/** nearly is the share of a cap from which on somebody should look. */
export const nearly = 0.8

/** refusals are what no route was asked to send, by the reason, the most frequent first. */
export function refusals(view: RoutesView): [string, number][] {
  const all = new Map<string, number>()
  for (const g of view.gateways) for (const [why, n] of Object.entries(g.report?.refused ?? {})) all.set(why, (all.get(why) ?? 0) + n)
  return [...all].filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a)
}

/** since is when the gateway that counts longest began, or null. */
export function since(view: RoutesView): string | null {
  return view.gateways.flatMap((g) => (g.report ? [g.report.since] : [])).sort((a, b) => Date.parse(a) - Date.parse(b))[0] ?? null
}
