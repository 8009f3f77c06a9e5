import { useEffect, useState } from 'preact/hooks'

import type { Trouble } from '../../api/client.ts'
import { fetchResult } from '../../api/polls.ts'
import type { Result as Counted } from '../../api/types.ts'
import { Heading, Live, type Screen, T, TroubleBox } from '../parts.tsx'

/** The published result, once its signature holds. */
export function Result({ w, j }: Screen) {
  const [result, setResult] = useState<Counted>()
  const [trouble, setTrouble] = useState<Trouble>()
  const m = j.manifest
  useEffect(() => {
    void fetchResult(m).then((a) => (a.value ? setResult(a.value) : setTrouble(a.trouble)))
  }, [])
  const number = new Intl.NumberFormat(w.locale)
  const percent = new Intl.NumberFormat(w.locale, { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 })
  return (
    <>
      <Heading w={w} poll={m.title}>{w.result.title}</Heading>
      {trouble && <TroubleBox w={w} trouble={trouble} counted="" bare />}
      {!result && !trouble && <Live>{w.loading}</Live>}
      {result && (
        <>
          <p class="lead">{w.result.ballots(number.format(result.ballots))}</p>
          {result.invalid > 0 && <p>{w.result.invalid(number.format(result.invalid))}</p>}
          {result.questions.map((counted) => {
            const q = m.questions.find((x) => x.id === counted.id)
            const row = (id: string, votes: number, label: preact.ComponentChildren) => (
              <tr key={id}>
                <th scope="row">{label}</th>
                <td>{number.format(votes)}</td>
                <td>{result.ballots ? percent.format(votes / result.ballots) : '–'}</td>
              </tr>
            )
            return (
              <table key={counted.id}>
                <caption><T of={q?.title} w={w} /></caption>
                <thead>
                  <tr><th scope="col">{w.result.option}</th><th scope="col">{w.result.votes}</th><th scope="col">{w.result.share}</th></tr>
                </thead>
                <tbody>
                  {counted.options.map((o) => row(o.id, o.votes, <T of={q?.options.find((x) => x.id === o.id)?.label} w={w} />))}
                  {counted.unanswered > 0 && row('', counted.unanswered, w.result.unanswered)}
                </tbody>
              </table>
            )
          })}
          <p class="hint">{w.result.check}</p>
        </>
      )}
    </>
  )
}
