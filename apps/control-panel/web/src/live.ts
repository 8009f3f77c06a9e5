import type { CloudMap, LiveStats, MinuteCount, Overview, RoutesView, Stats } from './types'

/** connection: `live` while events come, `lost` while none do, `old` while the ballot server is silent. */
export type Connection = 'connecting' | 'live' | 'old' | 'lost' | 'ended'

export interface Picture {
  overview: Overview | null
  /** null until it has come, and for ever where nobody knows of clouds. */
  clouds: CloudMap | null
  /** null until they have come, and for ever where no SMS gateway is asked. */
  routes: RoutesView | null
  stats: (Stats & { counting: boolean }) | null
  connection: Connection
  /** When the numbers were last known good, on this machine's clock (ms). */
  statsAt: number
  overviewAt: number
  /** The server's clock minus this machine's, ms. */
  skew: number
  /** Casts refused for a fault of ours (overload, unknown outcome, internal) in the last minute. */
  troubleLately: number
}

export const blank: Picture = {
  overview: null,
  clouds: null,
  routes: null,
  stats: null,
  connection: 'connecting',
  statsAt: 0,
  overviewAt: 0,
  skew: 0,
  troubleLately: 0,
}

/** merge puts the minutes of a beat over those known; both are sorted, and so is what comes out. */
export function merge(known: readonly MinuteCount[], beat: readonly MinuteCount[]): MinuteCount[] {
  const first = beat[0]
  if (!first) return known.slice()
  let keep = known.length
  while (keep > 0 && known[keep - 1]!.minute >= first.minute) keep--
  // A minute that a beat leaves out was not named by the server because nothing is in it.
  return [...known.slice(0, keep), ...beat]
}

/** ours are the refusals that are the system's fault, not the voter's. */
export const ours = ['overloaded', 'unavailable', 'outcome-unknown', 'internal'] as const

export function faultsOf(refused: Readonly<Record<string, number>> | null): number {
  return ours.reduce((sum, code) => sum + (refused?.[code] ?? 0), 0)
}

const minute = 60_000

/** Live follows the server's stream and keeps one picture of it. */
export class Live {
  #picture: Picture = blank
  readonly #listeners = new Set<() => void>()
  #source: EventSource | null = null
  #retry: ReturnType<typeof setTimeout> | undefined
  #faults: { at: number; count: number }[] = []
  #poll: string
  #closed = false
  readonly #now: () => number

  constructor(poll: string, now: () => number = Date.now) {
    this.#poll = poll
    this.#now = now
    this.#open()
  }

  get picture(): Picture {
    return this.#picture
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** watch turns to another poll; what is known of the parts stays. */
  watch(poll: string): void {
    if (poll === this.#poll) return
    this.#poll = poll
    this.#faults = []
    this.#set({ stats: null, statsAt: 0, troubleLately: 0 })
    this.#open()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#source?.close()
  }

  #open(): void {
    clearTimeout(this.#retry)
    this.#source?.close()
    if (this.#closed) return
    const source = new EventSource(this.#poll ? `/api/live?poll=${encodeURIComponent(this.#poll)}` : '/api/live')
    this.#source = source
    source.addEventListener('overview', (e) => {
      if (source !== this.#source) return
      const overview = JSON.parse((e as MessageEvent<string>).data) as Overview
      overview.polls ??= this.#picture.overview?.polls ?? null
      this.#set({
        overview,
        overviewAt: this.#now(),
        skew: Date.parse(overview.now) - this.#now(),
        ...(this.#poll ? {} : { connection: 'live' as const }),
      })
    })
    source.addEventListener('clouds', (e) => {
      if (source === this.#source) this.#set({ clouds: JSON.parse((e as MessageEvent<string>).data) as CloudMap })
    })
    source.addEventListener('routes', (e) => {
      if (source === this.#source) this.#set({ routes: JSON.parse((e as MessageEvent<string>).data) as RoutesView })
    })
    source.addEventListener('stats', (e) => {
      if (source === this.#source) this.#stats(JSON.parse((e as MessageEvent<string>).data) as LiveStats)
    })
    source.addEventListener('stale', () => {
      if (source === this.#source) this.#set({ connection: 'old' })
    })
    source.addEventListener('ended', () => {
      if (source !== this.#source) return
      this.close()
      this.#set({ connection: 'ended' })
    })
    source.addEventListener('error', () => {
      if (source !== this.#source || this.#closed) return
      this.#set({ connection: 'lost' })
      // The browser tries again by itself after a break, but not after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) this.#retry = setTimeout(() => void this.#refused(), 3000)
    })
  }

  /** refused finds out whether the stream was refused because the session is over. */
  async #refused(): Promise<void> {
    try {
      const answer = await fetch('/api/session', { cache: 'no-store' })
      if (answer.status === 401) {
        this.close()
        this.#set({ connection: 'ended' })
        return
      }
    } catch {
      // Still no network: the next try says so too.
    }
    this.#open()
  }

  #stats(beat: LiveStats): void {
    const now = this.#now()
    const before = this.#picture.stats
    const curve = beat.per_minute ?? []
    const count = faultsOf(beat.refused)
    this.#faults = [...this.#faults.filter((f) => now - f.at < minute), { at: now, count }]
    this.#set({
      stats: { ...beat, per_minute: beat.whole || !before ? curve : merge(before.per_minute ?? [], curve) },
      statsAt: now,
      skew: Date.parse(beat.now) - now,
      connection: 'live',
      troubleLately: Math.max(0, count - this.#faults[0]!.count),
    })
  }

  #set(change: Partial<Picture>): void {
    this.#picture = { ...this.#picture, ...change }
    for (const listener of this.#listeners) listener()
  }
}
