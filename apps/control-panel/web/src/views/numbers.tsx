import type { JSX } from 'preact'
import { within } from '../curve'
import { ours } from '../live'
import { channels, type PollSummary, type Stats } from '../types'
import { useWords } from '../words'
import { Section } from './basics'

type Times = Pick<PollSummary, 'opens_at' | 'closes_at' | 'state'>

/** Gauges is the strip of numbers an operator reads at a glance. */
export function Gauges({ stats, poll, now }: { stats: Stats; poll: Times; now: number }): JSX.Element {
  const { t, f } = useWords()
  const half = within(stats.took ?? [], 0.5)
  const most = within(stats.took ?? [], 0.95)
  const longest = Math.max(0, ...(stats.took ?? []).map((b) => b.up_to))
  const span = (s: number): string => (s === 0 ? t.numbers.longer(f.span(longest)) : f.span(s))
  const used = channels.filter((c) => (stats.by_channel?.[c] ?? 0) > 0)
  const opens = Date.parse(poll.opens_at)
  const closes = Date.parse(poll.closes_at)
  const [term, value, at] =
    now < opens ? [t.numbers.opensIn, f.span((opens - now) / 1000), poll.opens_at]
    : now < closes && ['draft', 'open', 'paused'].includes(stats.state) ? [t.numbers.closesIn, f.span((closes - now) / 1000), poll.closes_at]
    : [t.numbers.closed, now > closes ? t.numbers.closedAgo(f.span((now - closes) / 1000)) : '—', poll.closes_at]
  return (
    <dl class="gauges">
      <div class="gauge gauge-main">
        <dt>{t.numbers.turnout}</dt>
        <dd>
          <b data-test="turnout">{f.num(stats.total)}</b>
          <small>{used.length > 1 ? used.map((c) => `${t.channels[c]} ${f.num(stats.by_channel?.[c] ?? 0)}`).join(' · ') : t.numbers.votes}</small>
        </dd>
      </div>
      <div class="gauge">
        <dt>{t.numbers.rate}</dt>
        <dd>
          <b>{f.rate(stats.rate_now)}</b>
          <small>{t.numbers.perSecond}</small>
        </dd>
      </div>
      <div class="gauge">
        <dt>{t.numbers.peak}</dt>
        <dd>
          <b>{f.num(stats.peak_second)}</b>
          <small>{stats.peak_second > 0 ? t.numbers.peakAt(`${f.day(stats.peak_at)} ${f.clock(stats.peak_at)}`) : t.numbers.noPeak}</small>
        </dd>
      </div>
      <div class="gauge">
        <dt>{t.numbers.halfWithin}</dt>
        <dd>
          <b>{half === null ? '—' : span(half)}</b>
          <small>{most === null ? t.numbers.noPeak : t.numbers.tookMost(span(most))}</small>
        </dd>
      </div>
      <div class="gauge">
        <dt>{term}</dt>
        <dd>
          <b>{value}</b>
          <small>{f.when(at)}</small>
        </dd>
      </div>
    </dl>
  )
}

/** Spread is the time-to-vote distribution. */
export function Spread({ stats }: { stats: Stats }): JSX.Element {
  const { t, f } = useWords()
  const buckets = stats.took ?? []
  const total = buckets.reduce((n, b) => n + b.count, 0)
  const top = Math.max(1, ...buckets.map((b) => b.count))
  const longest = Math.max(0, ...buckets.map((b) => b.up_to))
  const name = (upTo: number): string => (upTo === 0 ? t.took.over(f.span(longest)) : t.took.upTo(f.span(upTo)))
  return (
    <Section id="took" title={t.took.title} note={t.took.what}>
      {total === 0 ? (
        <p class="quiet">{t.took.empty}</p>
      ) : (
        <ol class="bars">
          {buckets.map((b) => (
            <li key={b.up_to}>
              <span class="bars-name">{name(b.up_to)}</span>
              <span class="bars-track" aria-hidden="true">
                <span class="bars-bar" style={{ width: `${(100 * b.count) / top}%` }} />
              </span>
              <span class="bars-value">{f.num(b.count)}</span>
              <span class="bars-share">{f.percent(b.count / total)}</span>
            </li>
          ))}
        </ol>
      )}
    </Section>
  )
}

/** Refusals are the ballots turned away, the system's own faults first. */
export function Refusals({ stats }: { stats: Stats }): JSX.Element {
  const { t, f } = useWords()
  const fault = (code: string): boolean => (ours as readonly string[]).includes(code)
  const rows = Object.entries(stats.refused ?? {})
    .filter(([, n]) => n > 0)
    .sort(([a, n], [b, m]) => Number(fault(b)) - Number(fault(a)) || m - n)
  return (
    <Section id="refused" title={t.refused.title} note={t.refused.what}>
      {rows.length === 0 ? (
        <p class="quiet">{t.refused.empty}</p>
      ) : (
        <ul class="tally">
          {rows.map(([code, n]) => (
            <li key={code} class={fault(code) ? 'tally-ours' : ''}>
              <span>
                {t.refused.codes[code] ?? code}
                {fault(code) && <span class="badge badge-degraded">{t.refused.ours}</span>}
              </span>
              <b>{f.num(n)}</b>
            </li>
          ))}
        </ul>
      )}
    </Section>
  )
}
