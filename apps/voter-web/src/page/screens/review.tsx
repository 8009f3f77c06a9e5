import { hashOf } from '../../vote/steps.ts'
import { Heading, pick, type Screen, T } from '../parts.tsx'
import { TimeLeft } from './ballot.tsx'

/** The choices in words, large; and the one button that casts them. */
export function Review({ w, j, set, go }: Screen) {
  const m = j.manifest
  const cast = () => {
    // The casting screen opens only for a ballot that is on its way.
    set({ ...j, casting: true })
    go({ name: 'cast' })
  }
  return (
    <>
      <Heading w={w} poll={m.title} step={5}>{w.review.title}</Heading>
      <dl class="review">
        {m.questions.map((q, i) => {
          const step = { name: 'ballot', n: i + 1 } as const
          const chosen = q.options.filter((o) => j.answers[q.id]?.includes(o.id))
          return (
            <div key={q.id}>
              <dt>
                <T of={q.title} w={w} />
              </dt>
              <dd>
                {chosen.length ? chosen.map((o) => <b key={o.id}><T of={o.label} w={w} /></b>) : <b>{w.review.nothing}</b>}
                <a href={hashOf(step)} onClick={(e) => (e.preventDefault(), go(step))}>
                  {w.review.change}
                  <span class="unseen"> {w.review.changeOf(pick(q.title, w).words)}</span>
                </a>
              </dd>
            </div>
          )
        })}
      </dl>
      <p>{w.review.final}</p>
      <button class="main" type="button" onClick={cast}>{w.review.cast}</button>
      <TimeLeft w={w} j={j} />
    </>
  )
}
