// What is around every screen: whose poll it is, the languages, the way back, and a word of warning
// where votes do not count.

import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'

import type { Lang } from '../api/types.ts'
import type { Journey } from '../vote/journey.ts'
import { hashOf, type Step } from '../vote/steps.ts'
import type { Words } from '../words/words.ts'
import { T } from './parts.tsx'

export const languages: Record<Lang, string> = { 'zh-Hant-HK': '繁體中文', 'zh-Hans': '简体中文', en: 'English' }

export function Frame(props: {
  w: Words
  j: Journey | undefined
  step: Step
  back: (() => void) | undefined
  children: ComponentChildren
}) {
  const { w, j, step, back } = props
  const m = j?.manifest
  // The other languages' pages are asked for the same poll and step; known only in the browser.
  const [search, setSearch] = useState('')
  useEffect(() => setSearch(location.search + (m ? hashOf(step) : '')), [step, m?.id])
  const offered = (Object.keys(languages) as Lang[]).filter((l) => !m || m.languages.includes(l))
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>{w.skip}</a>
      <header>
        {m && m.kind !== 'public' && <p class="kind">{w.kind[m.kind]}</p>}
        <div class="inner">
          <div class="whose">
            {m ? (
              <>
                {step.name !== 'about' && <b><T of={m.title} w={w} /></b>}
                <span><Run w={w} of={m.organiser.name} /></span>
              </>
            ) : (
              <b>PopVote</b>
            )}
          </div>
          <nav aria-label={w.languages}>
            {offered.map((l) => (
              <a key={l} href={`../${l}/${search}`} lang={l} hreflang={l} aria-current={l === w.lang ? 'true' : undefined}>
                {languages[l]}
              </a>
            ))}
          </nav>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {back && <p class="back"><button type="button" class="plain" onClick={back}>{w.back}</button></p>}
        {props.children}
      </main>
      {m?.organiser.contact && <footer><p>{w.contact} {m.organiser.contact}</p></footer>}
    </>
  )
}

/** "Run by …", with the organiser's name marked with its language where it is not the page's. */
function Run({ w, of }: { w: Words; of: Record<string, string> }) {
  const [before, after] = w.runBy('\n').split('\n')
  return <>{before}<T of={of} w={w} />{after}</>
}
