import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { downloads } from '../api'
import { curve, hours, ranges, type Curve, type Range } from '../curve'
import type { Stats } from '../types'
import { useWords } from '../words'
import { Choice, Section } from './basics'

const dashes = [[], [6, 4], [2, 3]]

function ink(of: Element): { line: string[]; grid: string; text: string; fill: string; font: string } {
  const style = getComputedStyle(of)
  const v = (name: string): string => style.getPropertyValue(name).trim()
  return {
    line: [v('--line-1'), v('--line-2'), v('--line-3')],
    grid: v('--rule'),
    text: v('--ink-soft'),
    fill: v('--line-1-fill'),
    font: `${Math.round(parseFloat(style.fontSize) * 0.82)}px ${style.fontFamily}`,
  }
}

/** useLook changes whenever the colours of the page do. */
function useLook(): number {
  const [n, bump] = useState(0)
  useEffect(() => {
    const change = (): void => bump((k) => k + 1)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', change)
    const watch = new MutationObserver(change)
    watch.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => {
      dark.removeEventListener('change', change)
      watch.disconnect()
    }
  }, [])
  return n
}

/** Plot draws a curve and says which point is under the pointer. */
function Plot({ data, tall, on }: { data: Curve; tall: boolean; on: (index: number | null) => void }): JSX.Element {
  const { f } = useWords()
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const look = useLook()
  const days = (data.times[data.times.length - 1] ?? 0) - (data.times[0] ?? 0) > 2 * 86400
  const names = data.channels.join()

  useEffect(() => {
    const host = box.current
    if (!host) return
    const colours = ink(host)
    const size = (): { width: number; height: number } => ({
      width: Math.max(200, host.clientWidth),
      height: tall ? Math.max(160, host.clientHeight) : 240,
    })
    const axis = { stroke: colours.text, font: colours.font, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false } }
    plot.current = new uPlot(
      {
        ...size(),
        padding: [8, 26, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { y: { range: (_, __, max) => [0, Math.max(4, max * 1.08)] } },
        axes: [
          { ...axis, size: 30, space: 90, values: (_, ticks) => ticks.map((v) => (days ? `${f.day(v * 1000)} ${f.short(v * 1000)}` : f.short(v * 1000))) },
          {
            ...axis, size: 56,
            // Votes are whole: no tick between two of them.
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6],
            values: (_, ticks) => ticks.map((v) => f.num(v)),
          },
        ],
        series: [
          {},
          ...data.channels.map((_, i) => ({
            stroke: colours.line[i]!,
            width: 2,
            dash: dashes[i]!,
            ...(i === 0 ? { fill: colours.fill } : {}),
            points: { show: data.times.length < 3 },
          })),
        ],
        hooks: { setCursor: [(u) => on(u.cursor.idx ?? null)] },
      },
      [data.times, ...data.rows] as uPlot.AlignedData,
      host,
    )
    const watch = new ResizeObserver(() => plot.current?.setSize(size()))
    watch.observe(host)
    return () => {
      watch.disconnect()
      plot.current?.destroy()
      plot.current = null
    }
    // The data itself is set below: a new picture every second must not build a new plot.
  }, [names, look, tall, days, f])

  useEffect(() => plot.current?.setData([data.times, ...data.rows] as uPlot.AlignedData), [data])
  return <div ref={box} class={tall ? 'plot plot-tall' : 'plot'} aria-hidden="true" />
}

export function Turnout({ stats, now, tall = false, plain = false }: { stats: Stats; now: number; tall?: boolean; plain?: boolean }): JSX.Element {
  const { t, f } = useWords()
  const [range, setRange] = useState<Range>('all')
  const [total, setTotal] = useState(false)
  const [at, setAt] = useState<number | null>(null)
  const minutes = stats.per_minute ?? []
  const minute = Math.floor(now / 60_000)
  const data = useMemo(() => curve(minutes, range, minute * 60_000, total), [minutes, range, minute, total])
  const rows = useMemo(() => (plain ? [] : hours(minutes)), [minutes, plain])
  const index = at ?? data.times.length - 1
  const time = data.times[index]
  const first = minutes[0]?.minute

  if (minutes.length === 0) return plain ? <p class="quiet">{t.curve.empty}</p> : (
    <Section id="curve" title={t.curve.title}>
      <div class="plot plot-empty"><p class="quiet">{t.curve.empty}</p></div>
    </Section>
  )

  const figure = (
    <figure class="figure" aria-label={t.curve.alt(f.num(stats.total), f.when(first!))}>
      <Plot data={data} tall={tall} on={setAt} />
      <figcaption class="legend">
        <span class="legend-time">{time !== undefined && `${f.day(time * 1000)} ${f.short(time * 1000)} ${f.zone}`}</span>
        {data.channels.map((c, i) => (
          <span key={c} class="legend-item">
            <svg width="22" height="8" aria-hidden="true" class={`legend-line line-${i + 1}`}>
              <line x1="1" x2="21" y1="4" y2="4" stroke-width="2.5" stroke-dasharray={dashes[i]!.join(' ')} />
            </svg>
            {t.channels[c]} <b>{f.num(data.rows[i]?.[index] ?? 0)}</b>
          </span>
        ))}
        <span class="legend-unit">{total ? t.numbers.votes : t.curve.per(data.step)}</span>
      </figcaption>
    </figure>
  )
  if (plain) return figure
  return (
    <Section
      id="curve"
      title={t.curve.title}
      aside={
        <>
          <Choice label={t.curve.show} value={total ? 'total' : 'rate'} on={(v) => setTotal(v === 'total')}
            options={[['rate', t.curve.rate], ['total', t.curve.cumulative]]} />
          <Choice label={t.curve.range} value={range} on={setRange} options={ranges.map((r) => [r, t.curve.ranges[r]] as const)} />
        </>
      }
    >
      {figure}
      <div class="under">
        <details>
          <summary>{t.curve.asTable}</summary>
          <div class="scroll short" tabIndex={0} role="region" aria-label={t.curve.asTable}>
            <table class="table">
              <thead>
                <tr>
                  <th scope="col">{t.curve.hour} ({f.zone})</th>
                  {data.channels.map((c) => <th key={c} scope="col" class="number">{t.channels[c]}</th>)}
                  <th scope="col" class="number">{t.curve.total}</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((r) => (
                  <tr key={r.hour}>
                    <td>{f.day(r.hour)} {f.short(r.hour)}</td>
                    {data.channels.map((c) => <td key={c} class="number">{f.num(r.by[c] ?? 0)}</td>)}
                    <td class="number">{f.num(r.total)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
        <a href={downloads.turnoutCSV(stats.poll)} download>{t.curve.csv}</a>
      </div>
    </Section>
  )
}
