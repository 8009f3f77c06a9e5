import { useState } from 'preact/hooks'

import { type Fault, fault } from '../../crypto/ballot.ts'
import { furthest } from '../../vote/steps.ts'
import { seconds, useNow } from '../hooks.ts'
import { ErrorSummary, Form, Heading, Live, Paragraphs, pick, type Screen, T } from '../parts.tsx'

/** One question. Every option is a whole row, and all rows are alike. */
export function Ballot({ w, j, set, go, n }: Screen & { n: number }) {
  const m = j.manifest
  const q = m.questions[n - 1]!
  const chosen = j.answers[q.id] ?? []
  const [wrong, setWrong] = useState<Exclude<Fault, 'no-such-option'>>()
  const single = q.max === 1
  const alone = q.options.filter((o) => o.kind !== 'choice').map((o) => o.id)
  const options = j.order[q.id]!.map((id) => q.options.find((o) => o.id === id)!)
  const title = pick(q.title, w)

  const choose = (ids: string[]) => {
    setWrong(undefined)
    set({ ...j, answers: { ...j.answers, [q.id]: ids } })
  }
  const toggle = (id: string) => {
    if (single) return choose([id])
    if (chosen.includes(id)) return choose(chosen.filter((c) => c !== id))
    // What stands alone clears the rest, and the rest clears it.
    choose(alone.includes(id) ? [id] : [...chosen.filter((c) => !alone.includes(c)), id])
  }
  const next = () => {
    const f = fault(q, chosen)
    if (f) return setWrong(f as Exclude<Fault, 'no-such-option'>)
    const done = { ...j, answers: { ...j.answers, [q.id]: chosen } }
    set(done)
    go(furthest(done))
  }

  const says = wrong && w.ballot.faults[wrong](q.min, q.max)
  const first = `option-${options[0]!.id}`
  return (
    <>
      {says && <ErrorSummary w={w} id={first}>{says}</ErrorSummary>}
      <Heading w={w} poll={m.title} step={4} wrong={!!wrong} lang={title.lang} above={w.ballot.question(n, m.questions.length)}>
        {title.words}
      </Heading>
      <Paragraphs of={q.text} w={w} />
      <Form onSubmit={next}>
        <fieldset class={wrong ? 'wrong' : ''} aria-describedby="rule">
          <legend>
            {w.ballot.rule(q.min, q.max)}
            {q.min === 0 && <>{w.gap}{w.ballot.skip}</>}
          </legend>
          <p class="hint" id="rule">
            <span>{q.order === 'random' ? w.ballot.random : w.ballot.fixed}</span>
            {!single && alone.length > 0 && <span>{w.ballot.alone}</span>}
          </p>
          {says && <p class="fault">{says}</p>}
          {options.map((o) => (
            <label class="card" key={o.id}>
              <input
                type={single ? 'radio' : 'checkbox'}
                name={q.id}
                id={`option-${o.id}`}
                checked={chosen.includes(o.id)}
                onChange={() => toggle(o.id)}
              />
              <span>
                <b><T of={o.label} w={w} /></b>
                {o.text && <small><T of={o.text} w={w} /></small>}
              </span>
            </label>
          ))}
        </fieldset>
        {!single && <Live class="count">{w.ballot.chosen(chosen.length, q.max)}</Live>}
        {single && q.min === 0 && chosen.length > 0 && (
          <p><button type="button" class="plain" onClick={() => choose([])}>{w.ballot.clear}</button></p>
        )}
        <button class="main">{w.continue}</button>
      </Form>
      <TimeLeft w={w} j={j} />
    </>
  )
}

/** How long the ballot may take: in minutes, and loud only near the end. */
export function TimeLeft({ w, j }: Pick<Screen, 'w' | 'j'>) {
  const now = useNow(true)
  const left = seconds(j.verified?.deadline ?? 0, now)
  if (left > 120) return <p class="hint clock">{w.ballot.soon(w.span(Math.floor(left / 60) * 60))}</p>
  return (
    <>
      <p class="box warn clock">{w.ballot.soon(w.span(left))}</p>
      <Live class="unseen">{left > 0 && w.ballot.soon(w.span(left > 60 ? 120 : left > 20 ? 60 : 20))}</Live>
    </>
  )
}
