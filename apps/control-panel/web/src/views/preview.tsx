import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { said } from '../format'
import { langs, type Definition, type Lang } from '../types'
import { speechIn, useWords } from '../words'
import { Choice } from './basics'
import { languageName } from './action'

export type Previewed = Pick<Definition, 'kind' | 'title' | 'summary' | 'organiser' | 'notice' | 'languages' | 'questions'>

/** Preview shows the poll as a voter reads it, in one language or in all side by side. */
export function Preview({ poll, one = false }: { poll: Previewed; one?: boolean }): JSX.Element {
  const { t, lang } = useWords()
  const own = langs.filter((l) => poll.languages.includes(l))
  const [pick, setPick] = useState<Lang | 'all'>(one ? lang : 'all')
  const shown = pick !== 'all' && own.includes(pick) ? [pick] : one ? own.slice(0, 1) : own
  return (
    <div class="preview">
      {own.length > 1 && (
        <Choice<Lang | 'all'> label={t.nav.lang} value={shown.length === 1 ? shown[0]! : 'all'} on={setPick}
          options={[...(one ? [] : [['all', t.preview.all] as const]), ...own.map((l) => [l, languageName(l, lang)] as const)]} />
      )}
      <div class="papers">
        {shown.map((l) => <Paper key={l} poll={poll} lang={l} />)}
      </div>
    </div>
  )
}

function Paper({ poll, lang }: { poll: Previewed; lang: Lang }): JSX.Element {
  const { t, f } = speechIn(lang)
  const text = (x: Definition['title'] | undefined): JSX.Element => (x?.[lang] ? <>{x[lang]}</> : <em class="missing">{t.preview.missing}</em>)
  return (
    <article class="paper" lang={lang}>
      {t.kindNote[poll.kind] && <p class="paper-kind">{t.kindNote[poll.kind]}</p>}
      <p class="paper-by">{t.preview.run} {text(poll.organiser.name)}</p>
      <h3>{text(poll.title)}</h3>
      {poll.summary && <p>{text(poll.summary)}</p>}
      <details>
        <summary>{t.preview.why}</summary>
        <p>{text(poll.notice.purpose)}</p>
        <h4>{t.preview.keep}</h4>
        <p>{text(poll.notice.retention)}</p>
        <h4>{t.preview.worth}</h4>
        <p>{text(poll.notice.effect)}</p>
      </details>
      {poll.questions.map((q, i) => (
        <section key={i} class="paper-question">
          <p class="paper-step">{t.preview.question(f.num(i + 1), f.num(poll.questions.length))}</p>
          <h4>{text(q.title)}</h4>
          {q.text && said(q.text, lang) && <p>{text(q.text)}</p>}
          <p class="paper-rule">{t.preview.pick(q.min, q.max)} {q.order === 'random' && t.preview.random}</p>
          <ul class={q.max > 1 ? 'paper-options many' : 'paper-options'}>
            {q.options.map((o, k) => (
              <li key={k}>
                <b>{text(o.label)}</b>
                {o.text && said(o.text, lang) && <span>{text(o.text)}</span>}
              </li>
            ))}
          </ul>
        </section>
      ))}
    </article>
  )
}
