import type { Journey } from '../../vote/journey.ts'
import { furthest } from '../../vote/steps.ts'
import type { Words } from '../../words/words.ts'
import { Heading, moment, Paragraphs, pick, type Screen, T } from '../parts.tsx'

/** What this poll is, who runs it, and what happens to what the voter gives: before anything is asked. */
export function About({ w, j, go }: Screen) {
  const m = j.manifest
  const title = pick(m.title, w)
  const open = m.state === 'open' && Date.parse(m.opens_at) <= Date.now()
  const begun = !!(j.session || j.verified || j.pending)
  return (
    <>
      <Heading w={w} lang={title.lang}>{title.words}</Heading>
      <Paragraphs of={m.summary} w={w} class="lead" />
      <p class="state">{stateOf(j, w)}</p>
      {(open || begun) && (
        <>
          <h2>{w.about.need}</h2>
          <ul>{w.about.needs(w.span(m.verification.ballot_seconds)).map((n) => <li key={n}>{n}</li>)}</ul>
        </>
      )}
      <h2>{w.about.privacy}</h2>
      <dl class="notice">
        <dt>{w.about.who}</dt>
        <dd>
          <T of={m.organiser.name} w={w} />
          {m.organiser.url && <> · <a href={m.organiser.url} rel="noreferrer">{m.organiser.url.replace(/^https?:\/\/|\/$/g, '')}</a></>}
        </dd>
        <dt>{w.about.why}</dt>
        <dd><T of={m.notice.purpose} w={w} /></dd>
        <dt>{w.about.kept}</dt>
        <dd><T of={m.notice.retention} w={w} /></dd>
        <dt>{w.about.worth}</dt>
        <dd><T of={m.notice.effect} w={w} /></dd>
        <dt>{w.about.secret}</dt>
        <dd>{w.about.secretText}{m.reveal_tally_key && <> <strong>{w.about.revealed}</strong></>}</dd>
      </dl>
      {(open || begun) && (
        <button class="main" type="button" onClick={() => go(furthest(j))}>{begun ? w.about.continue : w.about.start}</button>
      )}
      {m.state === 'published' && (
        <button class="main" type="button" onClick={() => go({ name: 'result' })}>{w.about.seeResult}</button>
      )}
      {m.state !== 'draft' && (
        <p><button type="button" onClick={() => go({ name: 'check' })}>{w.about.check}</button></p>
      )}
    </>
  )
}

function stateOf({ manifest: m }: Journey, w: Words): string {
  const { about } = w
  switch (m.state) {
    case 'draft':
      return about.notYet
    case 'open':
      return Date.parse(m.opens_at) > Date.now() ? about.opens(moment(m.opens_at, w)) : about.until(moment(m.closes_at, w))
    case 'paused':
      return about.paused
    case 'closed':
      // Closed before its time by the organiser: then the manifest's time says nothing.
      return Date.parse(m.closes_at) > Date.now() ? about.over : about.closed(moment(m.closes_at, w))
    case 'counted':
      return about.counted
    case 'published':
      return about.published
  }
}
