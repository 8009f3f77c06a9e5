import type { PollList } from '../../api/types.ts'
import type { Words } from '../../words/words.ts'
import { Heading, moment, T } from '../parts.tsx'

/** Several polls: which one? Each is a link of its own, so that it can be passed on. */
export function Polls({ w, polls }: { w: Words; polls: PollList['polls'] }) {
  return (
    <>
      <Heading w={w}>{polls.length ? w.polls.title : w.polls.none}</Heading>
      <ul class="cards">
        {polls.map((p) => (
          <li key={p.id}>
            <a class="card" href={`?poll=${p.id}`}>
              <span>
                <b><T of={p.title} w={w} /></b>
                <small>
                  {p.state !== 'draft' && w.polls.state[p.state]}
                  {p.state === 'open' && ` · ${w.about.until(moment(p.closes_at, w))}`}
                </small>
              </span>
            </a>
          </li>
        ))}
      </ul>
    </>
  )
}
