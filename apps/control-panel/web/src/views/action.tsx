import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { api } from '../api'
import { deed } from '../deed'
import { global, hex, local, said } from '../format'
import { Link, pathTo } from '../router'
import { readShare, tally, type Share } from '../shares'
import { usePanel } from '../state'
import type { AuditEntry, Decided, IdentityKey, PollState, PollView } from '../types'
import { useWords } from '../words'
import { Icon } from './icon'
import { Proven, Trouble } from './basics'

export type Verb = 'open' | 'pause' | 'resume' | 'extend' | 'close' | 'count' | 'publish' | 'destroy'

/** verbsIn are the decisions a state allows, the usual one first. */
export const verbsIn: Record<PollState, readonly Verb[]> = {
  draft: ['open'],
  open: ['pause', 'extend', 'close'],
  paused: ['resume', 'extend', 'close'],
  closed: ['count'],
  counted: ['publish'],
  published: [],
}

/** mayDestroy: once the audit window has ended, of a poll that is over. */
export function mayDestroy(state: PollState, key: IdentityKey | undefined, now: number): boolean {
  return key !== undefined && key.destroyed_at === null && now >= Date.parse(key.kept_until) && ['closed', 'counted', 'published'].includes(state)
}

/** tone: what cannot be undone looks like it. */
const tone: Record<Verb, 'main' | 'warn' | 'danger'> = {
  open: 'main', pause: 'warn', resume: 'main', extend: 'main', close: 'danger', count: 'main', publish: 'danger', destroy: 'danger',
}

/** Modal is a native dialog: it keeps the focus, gives it back, and closes on Escape. */
export function Modal({ title, onClose, children, wide = false }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }): JSX.Element {
  const box = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = box.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog ref={box} class={`modal ${wide ? 'modal-wide' : ''}`} aria-labelledby="modal-title" onClose={onClose}>
      <h2 id="modal-title" tabIndex={-1}>{title}</h2>
      {children}
    </dialog>
  )
}

/** mark wraps what a sentence says about this poll; Emphasise sets it in bold, for it has to be read. */
const fence = '\u2063'
export const mark = (text: string): string => (text ? fence + text + fence : '')

export function Emphasise({ text }: { text: string }): JSX.Element {
  return <>{text.split(fence).map((part, i) => (i % 2 ? <b key={i}>{part}</b> : part))}</>
}

export function EntryCard({ entry }: { entry: AuditEntry }): JSX.Element {
  const { t, f } = useWords()
  return (
    <dl class="entry">
      <div><dt>{t.audit.columns.seq}</dt><dd>{f.num(entry.seq)}</dd></div>
      <div><dt>{t.audit.columns.at}</dt><dd>{f.day(entry.at)} {f.clock(entry.at)}</dd></div>
      <div><dt>{t.audit.columns.actor}</dt><dd>{entry.actor}</dd></div>
      <div><dt>{t.audit.columns.action}</dt><dd>{deed(entry, t)}</dd></div>
      <div class="entry-wide"><dt>{t.audit.columns.reason}</dt><dd>{entry.reason}</dd></div>
      <div class="entry-wide"><dt>{t.audit.columns.hash}</dt><dd><code>{hex(entry.hash, 32)}</code></dd></div>
    </dl>
  )
}

interface ActionProps {
  verb: Verb
  view: PollView
  onClose: () => void
}

export function Action({ verb, view, onClose }: ActionProps): JSX.Element {
  const { t, f, lang } = useWords()
  const { picture, session } = usePanel()
  const two = (session.operators_needed ?? 1) > 1 && ['open', 'close', 'publish', 'extend', 'destroy'].includes(verb)
  const m = view.manifest
  const live = picture.stats?.poll === m.id ? picture.stats : view.stats
  // The sentence is about the moment the dialog opened, but its numbers keep up with the box.
  const now = Date.now() + picture.skew
  const [confirm, setConfirm] = useState('')
  const [reason, setReason] = useState('')
  const [end, setEnd] = useState(local(new Date(Date.parse(m.closes_at) + 3600_000).toISOString()))
  const [shares, setShares] = useState<Share[]>([])
  const [key, setKey] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [done, setDone] = useState<Decided | null>(null)
  const words = t.action[verb]
  const what = useSentence(verb, view, live, end, now)

  const later = Date.parse(global(end)) > Date.parse(m.closes_at)
  const secret = verb !== 'count' || (key === null ? shares.length > 0 : key.trim() !== '')
  const ready = confirm === m.id && reason.trim().length >= 3 && (verb !== 'extend' || later) && secret

  const submit = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    const d = { confirm, reason: reason.trim() }
    try {
      setDone(
        verb === 'extend' ? await api.extend(m.id, d, global(end))
        : verb === 'count' ? await api.count(m.id, d, key === null ? { shares: shares.map((s) => s.text) } : { key })
        : await api.move(m.id, verb === 'destroy' ? 'destroy-key' : verb, d),
      )
      setShares([])
      setKey(null)
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }

  if (done && 'proposal' in done) {
    return (
      <Modal title={words.title} onClose={onClose}>
        <p class="done" role="status" data-test="proposed"><Icon shape="paused" size={20} /> {t.action.proposed(f.when(done.proposal.until))}</p>
        <div class="modal-buttons">
          <Link class="button" to={pathTo.operators()}>{t.operators.title}</Link>
          <button type="button" class="button main" onClick={onClose} autofocus>{t.action.close_}</button>
        </div>
      </Modal>
    )
  }
  if (done) {
    return (
      <Modal title={words.title} onClose={onClose}>
        <p class="done" role="status"><Icon shape="good" size={20} /> {t.action.done}</p>
        {done.entry ? <><p>{t.action.entry}</p><EntryCard entry={done.entry} /></> : <p>{t.action.noEntry}</p>}
        <div class="modal-buttons">
          <Link class="button" to={pathTo.poll(m.id, 'audit')}>{t.poll.tabs.audit}</Link>
          <button type="button" class="button main" onClick={onClose} autofocus>{t.action.close_}</button>
        </div>
      </Modal>
    )
  }
  return (
    <Modal title={words.title} onClose={onClose}>
      <p class="modal-poll">{said(m.title, lang)}</p>
      <p class={`consequence tone-${tone[verb]}`}><Emphasise text={what} /></p>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (ready && !busy) void submit()
        }}
      >
        <fieldset disabled={busy} class="bare">
          {verb === 'extend' && (
            <label class="field">
              <span>{t.action.extend.field}</span>
              <input type="datetime-local" value={end} min={local(m.closes_at)} onInput={(e) => setEnd(e.currentTarget.value)} required />
              {!later && <small class="hint bad">{t.action.extend.later}</small>}
            </label>
          )}
          {verb === 'count' && <Secret shares={shares} setShares={setShares} value={key} setKey={setKey} keyId={m.ballot.tally_key.kid} />}
          <label class="field">
            <span>{t.action.confirm(m.id)}</span>
            <input value={confirm} onInput={(e) => setConfirm(e.currentTarget.value)} autocomplete="off" autocapitalize="none" spellcheck={false} class="code" placeholder={m.id} data-test="confirm" />
          </label>
          <label class="field">
            <span>{t.action.reason}</span>
            <textarea rows={2} maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} aria-describedby="reason-hint" data-test="reason" />
            <small class="hint" id="reason-hint">{t.action.reasonHint}</small>
          </label>
        </fieldset>
        {busy && verb === 'count' && <Progress done={live.count?.done ?? 0} total={live.count?.total ?? live.total} />}
        {error !== null && <Trouble error={error} />}
        {two && <p class="quiet">{t.action.two}</p>}
        {!busy && <Proven />}
        <div class="modal-buttons">
          <button type="button" class="button" onClick={onClose}>{t.action.cancel}</button>
          <button type="submit" class={`button ${tone[verb]}`} disabled={!ready || busy} data-test="act">{busy ? t.action.working : two ? t.action.propose : words.go}</button>
        </div>
      </form>
    </Modal>
  )
}

export function Progress({ done, total }: { done: number; total: number }): JSX.Element {
  const { t, f } = useWords()
  return (
    <div class="progress" role="status">
      <progress value={done} max={Math.max(1, total)} aria-label={t.action.count.running} />
      <p>{t.action.count.progress(f.num(done), f.num(total))}. {t.action.count.leave}</p>
    </div>
  )
}

/** useSentence says what will happen, with the numbers of this moment in it. */
function useSentence(verb: Verb, view: PollView, live: PollView['stats'], end: string, now: number): string {
  const { t, f, lang } = useWords()
  const m = view.manifest
  const opened = useMemo(() => now, [])
  const [counted, setCounted] = useState<{ ballots: number; invalid: number } | null>(null)
  useEffect(() => {
    if (verb === 'publish') api.result(view.manifest.id).then((r) => setCounted(r.result), () => undefined)
  }, [verb, view.manifest.id])
  const closes = mark(f.when(m.closes_at))
  const left = (Date.parse(m.closes_at) - opened) / 1000
  const total = mark(f.num(live.total))
  const a = t.action
  switch (verb) {
    case 'open':
      return a.open.what({
        opens: mark(f.when(m.opens_at)), closes, early: Date.parse(m.opens_at) > opened,
        questions: mark(f.lang === 'en' ? `${m.questions.length} ${m.questions.length === 1 ? 'question' : 'questions'}` : `${m.questions.length}`),
        languages: t.common.list(m.languages.map((l) => languageName(l, lang)), f),
      })
    case 'pause':
      return a.pause.what({ total, rate: mark(f.rate(live.rate_now)) })
    case 'resume':
      return a.resume.what({ total, closes })
    case 'extend': {
      const by = (Date.parse(global(end)) - Date.parse(m.closes_at)) / 1000
      return a.extend.what({ closes, next: by > 0 ? mark(f.when(global(end))) : '', by: mark(f.span(by)) })
    }
    case 'close':
      return a.close.what({ total, early: left > 0 ? mark(f.span(left)) : '' })
    case 'count':
      return a.count.what({ total })
    case 'destroy':
      return a.destroy.what({ total, ended: mark(f.when(view.identity_key?.kept_until ?? m.closes_at)) })
    case 'publish':
      return a.publish.what({ ballots: mark(f.num(counted?.ballots ?? live.total)), invalid: counted ? mark(f.num(counted.invalid)) : '…' }) + (m.reveal_tally_key ? a.reveal : '')
  }
}

export function languageName(tag: string, inLang: string): string {
  const name: Record<string, Record<string, string>> = {
    en: { en: 'English', 'zh-Hant-HK': 'Traditional Chinese', 'zh-Hans': 'Simplified Chinese' },
    'zh-Hant-HK': { en: '英文', 'zh-Hant-HK': '繁體中文', 'zh-Hans': '簡體中文' },
    'zh-Hans': { en: '英文', 'zh-Hant-HK': '繁体中文', 'zh-Hans': '简体中文' },
  }
  return name[inLang]?.[tag] ?? tag
}

interface SecretProps {
  shares: Share[]
  setShares: (f: (s: Share[]) => Share[]) => void
  value: string | null
  setKey: (k: string | null) => void
  keyId: string
}

/** Secret takes the trustees' shares, or the whole key. They stay in this page until they are sent. */
function Secret({ shares, setShares, value, setKey, keyId }: SecretProps): JSX.Element {
  const { t, f } = useWords()
  const c = t.action.count
  const [pasted, setPasted] = useState('')
  const picker = useRef<HTMLInputElement>(null)
  const { have, need } = tally(shares, keyId)
  const add = (name: string, text: string): void =>
    setShares((old) => (old.some((s) => s.text === text) ? old : [...old, readShare(name, text)]))

  if (value !== null) {
    return (
      <div class="field">
        <label for="whole-key">{c.key}</label>
        <textarea id="whole-key" rows={2} class="code" value={value} onInput={(e) => setKey(e.currentTarget.value)} autocomplete="off" spellcheck={false} aria-describedby="key-hint" />
        <small class="hint" id="key-hint">{c.keyHint}</small>
        <button type="button" class="linklike" onClick={() => setKey(null)}>{c.byShares}</button>
      </div>
    )
  }
  return (
    <div class="field shares" role="group" aria-label={c.shares}>
      <span>{c.shares}{need > 0 && <span class={`count ${have >= need ? 'enough' : ''}`} role="status"> {c.enough(f.num(have), f.num(need))}</span>}</span>
      {shares.length > 0 && (
        <ul class="files">
          {shares.map((s, i) => {
            const wrong = !s.readable ? c.unknown : s.keyId !== keyId ? c.otherKey : ''
            return (
              <li key={s.text} class={wrong ? 'wrong' : ''}>
                <Icon shape={wrong ? 'down' : 'good'} />
                <span><b>{s.name}</b> <small>{wrong || c.share(String(s.index), String(s.k), String(s.n))}</small></span>
                <button type="button" class="icon-button" aria-label={c.remove(s.name)} onClick={() => setShares((old) => old.filter((_, k) => k !== i))}>
                  <Icon shape="cross" />
                </button>
              </li>
            )
          })}
        </ul>
      )}
      <div class="row">
        <input
          ref={picker} type="file" multiple accept=".json,application/json" class="hidden" aria-label={c.shares} tabIndex={-1} data-test="shares"
          onChange={(e) => {
            const input = e.currentTarget
            const files = [...(input.files ?? [])]
            void Promise.all(files.map((file) => file.text().then((text) => add(file.name, text)))).then(() => (input.value = ''))
          }}
        />
        <button type="button" class="button" onClick={() => picker.current?.click()}>{c.pick}</button>
        <button type="button" class="linklike" onClick={() => setKey('')}>{c.whole}</button>
      </div>
      <details>
        <summary>{c.paste}</summary>
        <textarea rows={3} class="code" value={pasted} aria-label={c.paste} autocomplete="off" spellcheck={false} onInput={(e) => setPasted(e.currentTarget.value)} />
        <button
          type="button" class="button small" disabled={pasted.trim() === ''}
          onClick={() => {
            add(`${c.pasted} ${shares.length + 1}`, pasted.trim())
            setPasted('')
          }}
        >
          {c.add}
        </button>
      </details>
    </div>
  )
}
