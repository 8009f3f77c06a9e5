import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api } from '../api'
import { deed } from '../deed'
import { said } from '../format'
import { go, Link, pathTo } from '../router'
import { useNow, usePanel, useTitle } from '../state'
import type { AuditEntry, PollSummary } from '../types'
import { copiesIn, partsOf, stateOf, waiting } from '../sky'
import { decisions, judge, watched, type Verdict } from '../verdict'
import { CloudBadge } from './clouds'
import { KindBadge, Loading, Nothing, Section, StateBadge } from '../views/basics'
import { Turnout } from '../views/chart'
import { Icon } from '../views/icon'
import { Gauges, Refusals, Spread } from '../views/numbers'
import { Parts } from '../views/parts'
import { useWords, type Speech } from '../words'

/** lines puts a verdict into words: the line, and the line below it. */
export function lines(v: Verdict, { t, f }: Speech): [string, string] {
  switch (v.key) {
    case 'down':
    case 'degraded':
      return t.verdict[v.key](t.common.list(v.parts, f))
    case 'turning':
      return t.verdict.turning(f.num(v.count))
    default:
      return t.verdict[v.key]
  }
}

export function VerdictLine({ verdict, now }: { verdict: Verdict; now: number }): JSX.Element {
  const words = useWords()
  const [line, below] = lines(verdict, words)
  return (
    <div class={`verdict verdict-${verdict.level}`} data-test="verdict" data-verdict={verdict.key}>
      <Icon shape={verdict.level} size={28} />
      <div>
        <p class="verdict-ask">{words.t.verdict.label}</p>
        <p class="verdict-line" role="status">{line}</p>
        <p class="verdict-below">{below}</p>
      </div>
      <time class="verdict-clock">{words.f.clock(now)}</time>
    </div>
  )
}

/** useShown is the poll the screen is about, and keeps the stream on it. */
export function useShown(wanted: string): PollSummary | null {
  const { live, picture } = usePanel()
  const polls = picture.overview?.polls ?? null
  const shown = polls?.find((p) => p.id === wanted) ?? watched(polls)
  const id = shown?.id ?? ''
  useEffect(() => live.watch(id), [live, id])
  return shown
}

export function OverviewScreen({ poll: wanted }: { poll: string }): JSX.Element {
  const words = useWords()
  const { t, lang } = words
  const { picture } = usePanel()
  const now = useNow(picture.skew)
  const poll = useShown(wanted)
  const polls = picture.overview?.polls ?? null
  const stats = poll && picture.stats?.poll === poll.id ? picture.stats : null
  const verdict = judge({
    poll, polls, stats, parts: [...(picture.overview?.parts ?? []), ...partsOf(picture.clouds, now)], connection: picture.connection, troubleLately: picture.troubleLately, now,
  })
  useTitle(lines(verdict, words)[0])

  return (
    <main id="main" class="screen">
      <h1 class="hidden" tabIndex={-1}>{t.nav.overview}</h1>
      <VerdictLine verdict={verdict} now={now} />
      {polls?.length === 0 ? (
        <Nothing title={t.polls.none}>
          <p>{t.polls.noneHelp}</p>
          <Link class="button main" to={pathTo.create()}>{t.nav.create}</Link>
        </Nothing>
      ) : !poll ? (
        <>{picture.overview ? <Parts parts={picture.overview.parts} /> : <Loading rows={5} />}<Skyline /></>
      ) : (
        <>
          <div class="watched">
            <Link class="watched-title" to={pathTo.poll(poll.id)}>{said(poll.title, lang)}</Link>
            <StateBadge state={stats?.state ?? poll.state} />
            <KindBadge kind={poll.kind} />
            {polls && polls.length > 1 && (
              <label class="picker">
                <span class="hidden">{t.picker}</span>
                <select value={poll.id} onChange={(e) => go(pathTo.overview(e.currentTarget.value), true)}>
                  {polls.map((p) => <option key={p.id} value={p.id}>{said(p.title, lang)} · {t.states[p.state]}</option>)}
                </select>
              </label>
            )}
          </div>
          {stats ? <Gauges stats={stats} poll={poll} now={now} /> : <Loading rows={1} />}
          <div class="cockpit">
            <div class="cockpit-main">
              {stats && <Turnout stats={stats} now={now} />}
              {stats && <div class="pair"><Spread stats={stats} /><Refusals stats={stats} /></div>}
            </div>
            <div class="cockpit-side">
              <Decisions polls={polls ?? []} now={now} />
              <Skyline />
              <Parts parts={picture.overview?.parts ?? null} />
              <Changes poll={poll.id} state={stats?.state ?? poll.state} closes={poll.closes_at} />
            </div>
          </div>
        </>
      )}
    </main>
  )
}

function Decisions({ polls, now }: { polls: readonly PollSummary[]; now: number }): JSX.Element {
  const { t, f, lang } = useWords()
  const { picture } = usePanel()
  const list = decisions(polls, now)
  const rollouts = waiting(picture.clouds)
  return (
    <Section id="decisions" title={t.decisions.title}>
      {list.length + rollouts.length === 0 ? (
        <p class="quiet">{t.decisions.empty}</p>
      ) : (
        <ul class="decisions">
          {list.map(({ poll, key }) => (
            <li key={poll.id}>
              <div>
                <b>{said(poll.title, lang)}</b>
                <p>{t.decisions[key]}</p>
              </div>
              <Link class="button small" to={pathTo.poll(poll.id, key === 'publish' ? 'result' : 'numbers')}>{t.decisions.act[key]}</Link>
            </li>
          ))}
          {rollouts.map((job) => (
            <li key={job.id}>
              <div><b>{job.id}</b><p>{t.clouds.overview.waits(f.num(job.deployment?.version ?? 0))}</p></div>
              <Link class="button small" to={pathTo.clouds()}>{t.clouds.overview.look}</Link>
            </li>
          ))}
        </ul>
      )}
    </Section>
  )
}

/** Skyline is each cloud in a line, where any are known. */
function Skyline(): JSX.Element | null {
  const { t, f } = useWords()
  const { picture } = usePanel()
  const map = picture.clouds
  if (!map || map.clouds.length === 0) return null
  return (
    <Section id="skyline" title={t.clouds.overview.title} aside={<Link to={pathTo.clouds()}>{t.clouds.overview.all}</Link>}>
      <ul class="skyline">
        {map.clouds.map((c) => (
          <li key={c.name}><b>{c.name}</b> <span class="quiet">{t.clouds.overview.copies(f.num(copiesIn(map, c.name)))}</span> <CloudBadge state={stateOf(c)} /></li>
        ))}
      </ul>
    </Section>
  )
}

/** Changes shows the last audit entries; it reads them again when the poll has moved. */
function Changes({ poll, state, closes }: { poll: string; state: string; closes: string }): JSX.Element {
  const { t, f } = useWords()
  const [entries, set] = useState<AuditEntry[] | null>(null)
  useEffect(() => {
    let current = true
    api.audit(poll).then(
      (a) => current && set(a.entries.slice(-5).reverse()),
      () => undefined, // the verdict says what is wrong
    )
    return () => {
      current = false
    }
  }, [poll, state, closes])
  return (
    <Section id="changes" title={t.changes.title} aside={<Link to={pathTo.poll(poll, 'audit')}>{t.changes.all}</Link>}>
      {entries === null ? (
        <Loading rows={2} />
      ) : entries.length === 0 ? (
        <p class="quiet">{t.changes.empty}</p>
      ) : (
        <ol class="changes">
          {entries.map((e) => (
            <li key={e.seq}>
              <time dateTime={e.at}>{f.day(e.at)} {f.short(e.at)}</time>
              <span><b>{deed(e, t)}</b> {e.reason}</span>
            </li>
          ))}
        </ol>
      )}
    </Section>
  )
}
