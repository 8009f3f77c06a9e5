import type { ComponentChildren, JSX } from 'preact'
import { useState } from 'preact/hooks'
import { Problem } from '../api'
import type { PartState, PollKind, PollState } from '../types'
import { usePanel } from '../state'
import { useWords } from '../words'
import { Icon } from './icon'

export function StateBadge({ state }: { state: PollState }): JSX.Element {
  const { t } = useWords()
  return (
    <span class={`badge badge-${state}`}>
      <Icon shape={state} size={14} />
      {t.states[state]}
    </span>
  )
}

export function KindBadge({ kind }: { kind: PollKind }): JSX.Element | null {
  const { t } = useWords()
  return kind === 'public' ? null : <span class="badge badge-kind">{t.kinds[kind]}</span>
}

export function PartBadge({ state }: { state: PartState }): JSX.Element {
  const { t } = useWords()
  return (
    <span class={`badge badge-${state}`}>
      <Icon shape={state} size={14} />
      {t.parts.states[state]}
    </span>
  )
}

/** Trouble says what happened, whether anything was changed, and what the server added. */
export function Trouble({ error, retry }: { error: unknown; retry?: () => void }): JSX.Element {
  const { t } = useWords()
  const p = error instanceof Problem ? error : new Problem({})
  const title = t.problem.codes[p.code] ?? p.message
  return (
    <div class="trouble" role="alert">
      <Icon shape="bad" />
      <div>
        <p class="trouble-title">{title}</p>
        {p.detail && <p lang="en" class="trouble-detail">{p.detail}</p>}
        {p.effect === 'unknown' && <p>{t.problem.unknown}</p>}
        {retry && (
          <button type="button" class="button small" onClick={retry}>
            {t.problem.retry}
          </button>
        )}
      </div>
    </div>
  )
}

/** Nothing is a place that is empty for a good reason, and says what to do about it. */
export function Nothing({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="nothing">
      <p class="nothing-title">{title}</p>
      {children}
    </div>
  )
}

export function Loading({ rows = 3 }: { rows?: number }): JSX.Element {
  const { t } = useWords()
  return (
    <div class="loading" role="status">
      <span class="hidden">{t.common.loading}</span>
      {Array.from({ length: rows }, (_, i) => (
        <span key={i} class="bone" aria-hidden="true" />
      ))}
    </div>
  )
}

export function Section(p: { title: string; note?: string; aside?: ComponentChildren; id: string; class?: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class={`section ${p.class ?? ''}`} aria-labelledby={p.id}>
      <header class="section-head">
        <h2 id={p.id}>{p.title}</h2>
        {p.note && <span class="section-note">{p.note}</span>}
        {p.aside && <div class="section-aside">{p.aside}</div>}
      </header>
      {p.children}
    </section>
  )
}

/** Choice is a row of buttons of which one is on. */
export function Choice<T extends string>(p: { label: string; value: T; options: readonly (readonly [T, string])[]; on: (value: T) => void }): JSX.Element {
  return (
    <div class="choice" role="group" aria-label={p.label}>
      {p.options.map(([value, label]) => (
        <button key={value} type="button" aria-pressed={value === p.value} onClick={() => p.on(value)}>
          {label}
        </button>
      ))}
    </div>
  )
}

export function Copy({ text }: { text: string }): JSX.Element {
  const { t } = useWords()
  const [done, set] = useState(false)
  return (
    <button
      type="button"
      class="button small"
      onClick={() => {
        void navigator.clipboard.writeText(text).then(() => {
          set(true)
          setTimeout(() => set(false), 2000)
        })
      }}
    >
      <span aria-live="polite">{done ? t.common.copied : t.common.copy}</span>
    </button>
  )
}

/** Fields is a definition list in columns: a term over what it says. */
export function Fields({ rows, class: extra = '' }: { rows: readonly (readonly [string, ComponentChildren] | null)[]; class?: string }): JSX.Element {
  return (
    <dl class={`fields ${extra}`}>
      {rows.map(
        (row) =>
          row && (
            <div key={row[0]}>
              <dt>{row[0]}</dt>
              <dd>{row[1]}</dd>
            </div>
          ),
      )}
    </dl>
  )
}

/** Proven says before an act that the passkey will be asked for. */
export function Proven(): JSX.Element | null {
  const { t } = useWords()
  const { session } = usePanel()
  return session.account ? <p class="quiet">{t.action.proof}</p> : null
}
