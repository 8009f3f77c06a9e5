// The pieces that every screen is made of.

import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

import type { Trouble } from '../api/client.ts'
import type { Manifest, Text } from '../api/types.ts'
import type { Journey } from '../vote/journey.ts'
import type { Step } from '../vote/steps.ts'
import type { Said, Words } from '../words/words.ts'
import { seconds, useNow } from './hooks.ts'

/** What every screen is given. */
export interface Screen {
  w: Words
  j: Journey
  set: (j: Journey) => void
  go: (step: Step, replace?: boolean) => void
}

/** The words of a poll in the page's language, or in the first language that has them. */
export function pick(text: Text | undefined, w: Words): { words: string; lang?: string } {
  const own = text?.[w.lang]
  if (own) return { words: own }
  const [lang, words] = Object.entries(text ?? {})[0] ?? []
  return lang && words ? { words, lang } : { words: '' }
}

/** A poll's words, as text; marked with their language where it is not the page's. */
export function T({ of, w }: { of: Text | undefined; w: Words }) {
  const { words, lang } = pick(of, w)
  return lang ? <span lang={lang}>{words}</span> : <>{words}</>
}

/** A poll's longer words: a paragraph per line. */
export function Paragraphs({ of, w, class: name }: { of: Text | undefined; w: Words; class?: string }) {
  const { words, lang } = pick(of, w)
  return (
    <>
      {words.split(/\n+/).filter(Boolean).map((line) => (
        <p class={name} lang={lang} key={line}>{line}</p>
      ))}
    </>
  )
}

// The first screen of a visit leaves the focus where the browser has it; later ones take it.
let visited = false
export const stepped = (): void => void (visited = true)

/** The screen's one heading. It takes the focus when its screen appears, and names the page. */
export function Heading(props: {
  children: string
  w: Words
  poll?: Text | undefined
  step?: number
  time?: string | undefined
  wrong?: boolean
  above?: ComponentChildren
  lang?: string | undefined
}) {
  const { children, w, poll, step, time, wrong } = props
  const ref = useRef<HTMLHeadingElement>(null)
  const where = step && w.step(step, lastStep)
  const title = poll && pick(poll, w).words
  useEffect(() => {
    const parts = [wrong && w.error, where, time, children, title !== children && title]
    document.title = parts.filter(Boolean).join(' · ')
  }, [children, wrong, where, time, title])
  useEffect(() => {
    if (!visited) return
    ref.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
  }, [])
  return (
    <div class="heading">
      {(where || props.above) && (
        <p class="where">
          {where}
          {where && props.above && ' · '}
          {props.above}
        </p>
      )}
      <h1 tabIndex={-1} ref={ref} lang={props.lang}>{children}</h1>
    </div>
  )
}

/** Identity, phone, verification, ballot, review: the steps that are numbered. */
export const lastStep = 5

/** What is wrong with the form, above it: it takes the focus, and leads to the field. */
export function ErrorSummary({ w, id, children }: { w: Words; id: string; children: string }) {
  const ref = useRef<HTMLDivElement>(null)
  useEffect(() => ref.current?.focus(), [children])
  const lead = (e: Event) => {
    e.preventDefault()
    document.getElementById(id)?.focus()
  }
  return (
    <div class="box danger" role="alert" tabIndex={-1} ref={ref}>
      <h2>{w.errorSummary}</h2>
      <p><a href={`#${id}`} onClick={lead}>{children}</a></p>
    </div>
  )
}

/** A trouble in plain words: what happened, whether the vote counted, what to do now. */
export function TroubleBox(props: { w: Words; trouble: Trouble; counted: string; since?: number; bare?: boolean; children?: ComponentChildren }) {
  const { w, trouble } = props
  const ref = useRef<HTMLDivElement>(null)
  useEffect(() => ref.current?.focus(), [trouble])
  const [what, now] = said(w, trouble)
  return (
    <div class="box danger" role="alert" tabIndex={-1} ref={ref}>
      {!props.bare && <h2>{w.somethingWrong}</h2>}
      <p>{what}<strong>{w.gap}{props.counted}</strong></p>
      <p>{now}</p>
      {!!trouble.retryAfter && props.since && (
        <Countdown to={props.since + trouble.retryAfter * 1000}>{(s) => s > 0 && <p>{w.retryIn(w.span(s))}</p>}</Countdown>
      )}
      {props.children}
    </div>
  )
}

/** A newer server may know codes that this page does not: then what matters is said all the same. */
export const said = (w: Words, trouble: Trouble): Said =>
  (w.trouble as Partial<Words['trouble']>)[trouble.code] ?? w.trouble[trouble.effect === 'not_applied' ? 'unavailable' : 'internal']

/** Counts down to a moment, by the second. Silent: what must be heard is said by a live region. */
export function Countdown({ to, children }: { to: number; children: (seconds: number) => ComponentChildren }) {
  const now = useNow(true)
  return <>{children(seconds(to, now))}</>
}

/** A status that screen readers speak when it changes. */
export const Live = ({ children, class: name }: { children?: ComponentChildren; class?: string }) => (
  <p role="status" class={name}>{children}</p>
)

export function Field(props: {
  id: string
  label: string
  hint: string
  wrong?: string | undefined
  value: string
  onInput: (value: string) => void
  input: Record<string, string | number | boolean>
  class?: string
}) {
  const { id, wrong } = props
  return (
    <div class={`field ${wrong ? 'wrong' : ''}`}>
      <label for={id}>{props.label}</label>
      <p class="hint" id={`${id}-hint`}>{props.hint}</p>
      {wrong && <p class="fault" id={`${id}-fault`}>{wrong}</p>}
      <input
        id={id}
        name={id}
        class={props.class}
        value={props.value}
        aria-invalid={!!wrong}
        aria-describedby={`${id}-hint${wrong ? ` ${id}-fault` : ''}`}
        onInput={(e) => props.onInput(e.currentTarget.value)}
        {...props.input}
      />
    </div>
  )
}

/** A form that submits to its function and to nothing else. */
export function Form({ onSubmit, children }: { onSubmit: () => void; children: ComponentChildren }) {
  const submit = (e: Event) => {
    e.preventDefault()
    onSubmit()
  }
  return <form noValidate onSubmit={submit}>{children}</form>
}

export function Copy({ w, text, of }: { w: Words; text: string; of: string }) {
  const [copied, setCopied] = useState(false)
  const copy = () => {
    void navigator.clipboard.writeText(text).then(() => setCopied(true), () => setCopied(false))
  }
  return (
    <button type="button" class="small" onClick={copy} aria-label={`${w.sends.copy}: ${of}`}>
      <span aria-live="polite">{copied ? w.sends.copied : w.sends.copy}</span>
    </button>
  )
}

/** A QR code. Its drawing is a file of its own, fetched only where one is shown. */
export function QR({ text, label }: { text: string; label: string }) {
  const [image, setImage] = useState<{ size: number; path: string }>()
  useEffect(() => {
    let gone = false
    void import('./qr.ts').then((m) => gone || setImage(m.draw(text)), () => undefined)
    return () => {
      gone = true
    }
  }, [text])
  return (
    <svg class="qr" role="img" aria-label={label} viewBox={`0 0 ${image?.size ?? 1} ${image?.size ?? 1}`}>
      {image && <path d={image.path} />}
    </svg>
  )
}

/** A receipt's code, large: one that holds, one that nobody can tell yet, or one to doubt. */
export function Ticket(props: { w: Words; m: Manifest; name: string; code: string; as: 'good' | 'open' | 'doubtful'; children?: ComponentChildren }) {
  const { w, m, name, code, as } = props
  return (
    <section class={as === 'good' ? 'ticket' : `ticket ${as}`} aria-labelledby="code-name">
      <div>
        <h2 id="code-name">{name}</h2>
        <p class="code">{code.split(' ').map((group, i) => <span key={i}>{group} </span>)}</p>
        <p class="hint"><T of={m.title} w={w} /></p>
      </div>
      {props.children}
    </section>
  )
}

/** Gives the voter something to keep as a file. */
export function download(name: string, content: object): void {
  const a = document.createElement('a')
  a.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: 'application/json' }))
  a.download = name
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000)
}

/** A moment in the voter's own time zone, which is said. */
export function moment(when: string, w: Words): string {
  const date = new Date(when)
  const day = { year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit' } as const
  const zone = new Intl.DateTimeFormat(w.locale, { timeZoneName: 'long' })
    .formatToParts(date)
    .find((p) => p.type === 'timeZoneName')?.value
  return w.moment(new Intl.DateTimeFormat(w.locale, day).format(date), zone ?? '')
}
