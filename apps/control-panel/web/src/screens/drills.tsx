import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api, Problem } from '../api'
import { Link, pathTo } from '../router'
import { usePanel, useTitle } from '../state'
import type { DrillReport, DrillRun } from '../types'
import { Fields, Loading, Nothing, Section, Trouble } from '../views/basics'
import { Icon } from '../views/icon'
import { useWords } from '../words'

/** Held says whether what was foreseen came true. */
function Held({ held, not }: { held: boolean; not: string }): JSX.Element {
  const { t } = useWords()
  const shape = held ? 'ok' : 'down'
  return <span class={`badge badge-${shape}`}><Icon shape={shape} size={14} />{held ? t.drills.held : not}</span>
}

export function DrillsScreen(): JSX.Element {
  const { t, f } = useWords()
  const { live } = usePanel()
  const [runs, setRuns] = useState<DrillRun[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  useTitle(t.drills.title)
  useEffect(() => live.watch(''), [live])
  const load = (): void => {
    setError(null)
    api.drills().then((d) => setRuns(d.runs), setError)
  }
  useEffect(load, [])
  return (
    <main id="main" class="screen">
      <header class="screen-head"><h1 tabIndex={-1}>{t.drills.title}</h1></header>
      <p class="quiet">{t.drills.what}</p>
      {error !== null ? (
        <Trouble error={error} retry={load} />
      ) : runs === null ? (
        <Loading rows={3} />
      ) : runs.length === 0 ? (
        <Nothing title={t.drills.none}><p>{t.drills.noneHelp}</p></Nothing>
      ) : (
        <div class="scroll">
          <table class="table rows">
            <thead><tr><th scope="col">{t.drills.when} ({f.zone})</th><th scope="col">{t.drills.outcome}</th><th scope="col" class="number">{t.drills.drills}</th></tr></thead>
            <tbody>
              {runs.map((r) => (
                <tr key={r.name}>
                  <th scope="row"><Link to={pathTo.drill(r.name)}>{f.when(r.at)}</Link></th>
                  <td><Held held={r.failed === 0} not={t.drills.failed(f.num(r.failed))} /></td>
                  <td class="number" data-label={t.drills.drills}>{f.num(r.drills)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </main>
  )
}

export function DrillScreen({ run }: { run: string }): JSX.Element {
  const { t, f } = useWords()
  const { live } = usePanel()
  const [reports, setReports] = useState<DrillReport[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const at = /^(\d{4}-\d{2}-\d{2}T\d{2})(\d{2})(\d{2})$/.exec(run)
  const title = at ? t.drills.of(f.when(`${at[1]}:${at[2]}:${at[3]}Z`)) : run
  useTitle(title)
  useEffect(() => live.watch(''), [live])
  const load = (): void => {
    setError(null)
    api.drill(run).then((d) => setReports(d.reports), setError)
  }
  useEffect(load, [run])
  return (
    <main id="main" class="screen">
      <header class="screen-head"><h1 tabIndex={-1}>{title}</h1><Link class="button" to={pathTo.drills()}>{t.drills.all}</Link></header>
      {error instanceof Problem && error.code === 'drill-not-there' ? (
        <Nothing title={t.problem.codes['drill-not-there']!} />
      ) : error !== null ? (
        <Trouble error={error} retry={load} />
      ) : reports === null ? (
        <Loading rows={6} />
      ) : (
        reports.map((r) => <Report key={r.name} report={r} />)
      )}
    </main>
  )
}

const second = (n: number): string => n.toFixed(1)

function Report({ report: r }: { report: DrillReport }): JSX.Element {
  const { t, f } = useWords()
  const d = t.drills
  const wrong = r.wrong ?? []
  const events = r.events ?? []
  return (
    <Section id={`drill-${r.name}`} title={r.name} note={d.target(r.target)} aside={<Held held={wrong.length === 0} not={d.notHeld} />} class="drill">
      {/* What a drill foresaw and saw is in the words of its report. */}
      <p lang="en">{r.hypothesis}</p>
      {wrong.length > 0 && <ul class="faults" lang="en">{wrong.map((w) => <li key={w}><Icon shape="down" size={14} /> {w}</li>)}</ul>}
      <Fields
        rows={[
          [d.acknowledged, f.num(r.acknowledged)],
          [d.lost, d.three(f.num(r.lost), f.num(r.doubled), f.num(r.strange))],
          [d.gap, r.limit_seconds > 0 ? d.within(second(r.gap_seconds), f.num(r.limit_seconds)) : d.mustStop(second(r.gap_seconds))],
          [d.replaced, r.replaced_seconds > 0 ? f.span(Math.round(r.replaced_seconds)) : '–'],
          r.ejected_seconds > 0 ? [d.ejected, `${second(r.ejected_seconds)} s`] : null,
          [d.p99, `${f.num(Math.round(r.p99_before_ms))} / ${f.num(Math.round(r.p99_during_ms))} / ${f.num(Math.round(r.p99_after_ms))} ms`],
        ]}
      />
      <Timeline report={r} />
      <details>
        <summary>{d.events(f.num(events.length))}</summary>
        <ol class="events" lang="en">{events.map((e, i) => <li key={i}><span class="number">{second(e.at)} s</span> {e.what}</li>)}</ol>
      </details>
    </Section>
  )
}

/** Its own units: a hundredth of the width is a hundredth of the time. */
const width = 1000
const height = 160

/** Timeline is a bar of acknowledged votes for each second, with the fault shaded. */
function Timeline({ report: r }: { report: DrillReport }): JSX.Element {
  const { t, f } = useWords()
  const bars = r.per_second ?? []
  const most = Math.max(1, ...bars)
  const end = Math.max(r.end, bars.length, 1)
  const x = (s: number): number => (s / end) * width
  return (
    <figure class="timeline">
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={t.drills.picture(r.name, second(r.fault_at), second(r.undo_at))}>
        <rect class="timeline-fault" x={x(r.fault_at)} y={0} width={x(r.undo_at - r.fault_at)} height={height} />
        {bars.map((n, i) => <rect key={i} class="timeline-votes" x={x(i)} y={height - (n / most) * height} width={Math.max(x(1) - 1, 0.5)} height={(n / most) * height} />)}
      </svg>
      <figcaption class="legend"><span>0 s</span><span>{t.drills.most(f.num(most))}</span><span>{t.drills.shaded(second(r.fault_at), second(r.undo_at))}</span><span class="legend-unit">{second(r.end)} s</span></figcaption>
    </figure>
  )
}
