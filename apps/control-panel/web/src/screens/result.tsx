import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api, downloads } from '../api'
import { hex, said } from '../format'
import type { PollState, ResultView } from '../types'
import { Fields, Loading, Nothing, Trouble } from '../views/basics'
import { Icon } from '../views/icon'
import { useWords } from '../words'

export function ResultTab({ id, state }: { id: string; state: PollState }): JSX.Element {
  const { t, f, lang } = useWords()
  const [view, setView] = useState<ResultView | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [again, setAgain] = useState(0)
  const there = state === 'counted' || state === 'published'
  useEffect(() => {
    if (!there) return
    let current = true
    setError(null)
    api.result(id).then((v) => current && setView(v), (e: unknown) => current && setError(e))
    return () => {
      current = false
    }
  }, [id, state, there, again])

  if (!there) return <Nothing title={t.result.notYet}><p>{t.result.notYetHelp[state]}</p></Nothing>
  if (error !== null) return <Trouble error={error} retry={() => setAgain((n) => n + 1)} />
  if (!view) return <Loading rows={5} />
  const { result: r, manifest: m } = view
  const valid = r.ballots - r.invalid
  return (
    <article class="result">
      <header class="result-head">
        <div>
          <p class="print-only">{said(m.organiser.name, lang)}</p>
          <h2><span class="print-only">{said(m.title, lang)}</span> {t.result.title}</h2>
          <p class={view.published ? 'quiet' : 'note'}>{view.published ? t.result.published : t.result.unpublished}</p>
          {t.kindNote[m.kind] && <p class="note">{t.kindNote[m.kind]}</p>}
        </div>
        <div class="row no-print">
          <button type="button" class="button small" onClick={() => print()}>{t.result.print}</button>
          <a class="button small" href={downloads.resultCSV(id, lang)} download><Icon shape="save" /> {t.result.csv}</a>
          <a class="button small" href={downloads.resultNIST(id)} download data-test="nist"><Icon shape="save" /> {t.result.nist}</a>
          <a class="button small" href={downloads.resultJSON(id)} download><Icon shape="save" /> {t.result.json}</a>
          {view.published && <a class="button small" href={downloads.bundle(id)} download data-test="bundle"><Icon shape="save" /> {t.result.bundle}</a>}
        </div>
      </header>
      <dl class="gauges gauges-small">
        <div class="gauge"><dt>{t.result.ballots}</dt><dd><b data-test="ballots">{f.num(r.ballots)}</b></dd></div>
        <div class="gauge"><dt>{t.result.invalid}</dt><dd><b>{f.num(r.invalid)}</b></dd></div>
        <div class="gauge gauge-text"><dt>{t.result.countedAt}</dt><dd><b>{f.when(r.counted_at)}</b></dd></div>
      </dl>
      {r.questions.map((q, i) => {
        const words = m.questions.find((x) => x.id === q.id)
        return (
          <table key={q.id} class="table outcome">
            <caption><span class="quiet">{t.preview.question(f.num(i + 1), f.num(r.questions.length))}</span> {said(words?.title, lang)}</caption>
            <thead>
              <tr>
                <th scope="col">{t.result.option}</th>
                <th scope="col" class="number">{t.result.votes}</th>
                <th scope="col" class="number">{t.result.share}</th>
              </tr>
            </thead>
            <tbody>
              {q.options.map((o) => {
                const option = words?.options.find((x) => x.id === o.id)
                return (
                  <tr key={o.id}>
                    <th scope="row">
                      {said(option?.label, lang)}
                      <span class="outcome-track" aria-hidden="true"><span class={`outcome-bar ${option && option.kind !== 'choice' ? 'outcome-soft' : ''}`} style={{ width: `${valid > 0 ? (100 * o.votes) / valid : 0}%` }} /></span>
                    </th>
                    <td class="number"><b>{f.num(o.votes)}</b></td>
                    <td class="number">{valid > 0 ? f.percent(o.votes / valid) : '—'}</td>
                  </tr>
                )
              })}
              <tr class="outcome-rest">
                <th scope="row">{t.result.unanswered}</th>
                <td class="number">{f.num(q.unanswered)}</td>
                <td class="number">{valid > 0 ? f.percent(q.unanswered / valid) : '—'}</td>
              </tr>
            </tbody>
          </table>
        )
      })}
      <h3>{t.result.inputs}</h3>
      <Fields class="hashes" rows={[
        [t.result.logSize, f.num(r.log.size)],
        [t.result.logRoot, <code>{hex(r.log.root)}</code>],
        [t.result.key, <code>{r.tally_key_id}</code>],
        [t.result.manifest, <code>{r.manifest_sha256}</code>],
        [t.result.effect, said(m.notice.effect, lang)],
      ]} />
      <p class="quiet">{t.result.verify}</p>
    </article>
  )
}
