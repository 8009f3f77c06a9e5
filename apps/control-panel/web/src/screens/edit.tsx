import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { api, Problem, type Draft } from '../api'
import { fresh, option, question, readKey, swap, tidy } from '../draft'
import { global, local } from '../format'
import { go, Link, pathTo } from '../router'
import { usePanel, useTitle } from '../state'
import { langs, type Definition, type DraftView, type Fault, type JWK, type OptionKind, type PollKind, type Text } from '../types'
import { EntryCard, languageName, Modal } from '../views/action'
import { Choice, Loading, Trouble } from '../views/basics'
import { Icon } from '../views/icon'
import { Preview } from '../views/preview'
import { useWords } from '../words'

const kinds: readonly PollKind[] = ['public', 'rehearsal', 'demo']

/** EditScreen makes a poll from a file or with the form, or changes a draft. */
export function EditScreen({ id }: { id?: string }): JSX.Element {
  const { t } = useWords()
  const { live } = usePanel()
  const [way, setWay] = useState<'file' | 'form'>(id ? 'form' : 'file')
  const [start, setStart] = useState<Definition | null>(null)
  const [error, setError] = useState<unknown>(null)
  useTitle(id ? t.create.editTitle(id) : t.create.title)
  useEffect(() => live.watch(''), [live])
  useEffect(() => {
    if (id) api.poll(id).then((v) => setStart(v.definition), setError)
  }, [id])
  return (
    <main id="main" class="screen">
      <header class="screen-head">
        <h1 tabIndex={-1}>{id ? t.create.editTitle(id) : t.create.title}</h1>
        {!id && (
          <Choice label={t.create.way} value={way} on={setWay} options={[['file', t.create.byFile], ['form', t.create.byForm]]} />
        )}
      </header>
      {error !== null ? <Trouble error={error} />
        : way === 'file' ? <ByFile intoForm={(d) => { setStart(d); setWay('form'); }} />
        : id && !start ? <Loading rows={6} />
        : <ByForm key={start?.id ?? 'new'} start={start ?? fresh(Date.now())} replaces={id ?? ''} />}
    </main>
  )
}

function ByFile({ intoForm }: { intoForm: (d: Definition) => void }): JSX.Element {
  const { t, f } = useWords()
  const c = t.create
  const [file, setFile] = useState<{ name: string; text: string } | null>(null)
  const [key, setKey] = useState<JWK | null>(null)
  const [checked, setChecked] = useState<DraftView | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [over, setOver] = useState(false)
  const picker = useRef<HTMLInputElement>(null)
  const draft: Draft = { ...(file ? { file } : {}), ...(key ? { tally_key: key } : {}) }

  useEffect(() => {
    if (!file) return
    let current = true
    setError(null)
    setChecked(null)
    api.check(draft).then((v) => current && setChecked(v), (e: unknown) => current && setError(e))
    return () => {
      current = false
    }
  }, [file, key])

  const take = (chosen: File | undefined): void => {
    if (!chosen) return
    setKey(null)
    void chosen.text().then((text) => setFile({ name: chosen.name, text }))
  }
  const faults = error instanceof Problem ? error.faults : []
  const needsKey = faults.length > 0 && faults.every((x) => x.path === 'tally_key')
  return (
    <>
      <div
        class={`drop ${over ? 'drop-over' : ''} ${file ? 'drop-small' : ''}`}
        onDragOver={(e) => { e.preventDefault(); setOver(true); }}
        onDragLeave={() => setOver(false)}
        onDrop={(e) => { e.preventDefault(); setOver(false); take(e.dataTransfer?.files[0]); }}
      >
        <input ref={picker} type="file" accept=".yaml,.yml,text/yaml,application/yaml" class="hidden" tabIndex={-1} aria-label={c.choose} data-test="file"
          onChange={(e) => { take(e.currentTarget.files?.[0]); e.currentTarget.value = ''; }} />
        {!file && <p>{c.drop} </p>}
        <button type="button" class={file ? 'button' : 'button main'} onClick={() => picker.current?.click()}>{file ? c.again : c.choose}</button>
        {file ? <code>{file.name}</code> : <p class="quiet">{c.fileHint}</p>}
      </div>
      {file && !checked && error === null && <Loading rows={4} />}
      {file && faults.length > 0 && !needsKey && (
        <section class="faults" role="alert" aria-labelledby="faults-title">
          <h2 id="faults-title"><Icon shape="bad" /> {faults.length === 1 ? c.badOne(file.name) : c.bad(f.num(faults.length), file.name)}</h2>
          <ol>{faults.map((x, i) => <FileFault key={i} fault={x} text={file.text} />)}</ol>
        </section>
      )}
      {error !== null && faults.length === 0 && <Trouble error={error} />}
      {(needsKey || key) && <KeyField value={key} on={setKey} />}
      {checked && (
        <>
          <p class="done" role="status"><Icon shape="good" size={20} /> {c.good(file?.name ?? '')}{' '}
            <button type="button" class="linklike" onClick={() => intoForm(checked.definition)}>{c.intoForm}</button></p>
          <Save draft={draft} view={checked} replaces="" />
          <h2>{c.preview}</h2>
          <p class="quiet">{c.previewHint}</p>
          <Preview poll={checked.definition} />
        </>
      )}
    </>
  )
}

/** FileFault shows a mistake on its line, with a mark under its column. */
function FileFault({ fault, text }: { fault: Fault; text: string }): JSX.Element {
  const { t, f } = useWords()
  const line = fault.line ? text.split('\n')[fault.line - 1] : undefined
  return (
    <li>
      <p>{fault.line ? <b>{t.create.line(f.num(fault.line), f.num(fault.column ?? 1))}</b> : null} <span lang="en">{fault.path && <code>{fault.path}</code>} {fault.message}.</span></p>
      {line !== undefined && (
        <pre tabIndex={0}><code><i>{String(fault.line).padStart(4)} │ </i>{line.slice(0, (fault.column ?? 1) - 1)}<mark>{line.slice((fault.column ?? 1) - 1) || ' '}</mark></code></pre>
      )}
    </li>
  )
}

function KeyField({ value, on }: { value: JWK | null; on: (k: JWK | null) => void }): JSX.Element {
  const { t } = useWords()
  const [text, setText] = useState(value?.kid ? JSON.stringify(value) : '')
  const picker = useRef<HTMLInputElement>(null)
  const put = (s: string): void => {
    setText(s)
    on(readKey(s))
  }
  const bad = text.trim() !== '' && !readKey(text)
  return (
    <div class="field wide">
      <label for="tally-key">{t.create.key}</label>
      <textarea id="tally-key" rows={3} class="code" value={text} spellcheck={false} onInput={(e) => put(e.currentTarget.value)} aria-describedby="tally-hint" aria-invalid={bad} data-test="tally-key" />
      <small class={bad ? 'hint bad' : 'hint'} id="tally-hint">{bad ? t.create.keyBad : t.create.keyHint}</small>
      <input ref={picker} type="file" accept=".json,application/json" class="hidden" tabIndex={-1} aria-label={t.create.key}
        onChange={(e) => void e.currentTarget.files?.[0]?.text().then(put)} />
      <button type="button" class="button small" onClick={() => picker.current?.click()}>{t.create.choose}</button>
    </div>
  )
}

/** Save asks why, and says beforehand what saving replaces. */
function Save({ draft, view, replaces }: { draft: Draft; view: DraftView; replaces: string }): JSX.Element {
  const { t, lang } = useWords()
  const c = t.create
  const [reason, setReason] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [entry, setEntry] = useState<Awaited<ReturnType<typeof api.save>> | null>(null)
  const { existing, definition } = view
  const taken = existing !== null && existing.state !== 'draft'
  const submit = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      setEntry(await api.save(draft, reason.trim(), existing !== null))
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }
  const onward = (): void => go(pathTo.poll(definition.id, 'ballot'))
  return (
    <form class="save" onSubmit={(e) => { e.preventDefault(); if (!busy && !taken && reason.trim().length >= 3) void submit(); }}>
      {taken ? (
        <p class="consequence tone-warn">{c.taken(existing.id, t.states[existing.state].toLocaleLowerCase(lang))}</p>
      ) : (
        <>
          {existing && existing.id !== replaces && <p class="consequence tone-warn">{c.exists(existing.id)}</p>}
          <label class="field wide">
            <span>{t.action.reason}</span>
            <input value={reason} maxLength={500} onInput={(e) => setReason(e.currentTarget.value)} aria-describedby="save-hint" data-test="reason" />
            <small class="hint" id="save-hint">{t.action.reasonHint}</small>
          </label>
          <button type="submit" class="button main" disabled={busy || reason.trim().length < 3} data-test="save">{busy ? t.action.working : existing ? c.replace : c.save}</button>
        </>
      )}
      {error !== null && <Trouble error={error} />}
      {entry && (
        <Modal title={c.save} onClose={onward}>
          <p class="done" role="status"><Icon shape="good" size={20} /> {t.action.done}</p>
          {entry.entry ? <><p>{t.action.entry}</p><EntryCard entry={entry.entry} /></> : <p>{t.action.noEntry}</p>}
          <div class="modal-buttons">
            <Link class="button main" to={pathTo.poll(definition.id, 'ballot')}>{t.action.close_}</Link>
          </div>
        </Modal>
      )}
    </form>
  )
}

type Change = (f: (d: Definition) => Definition) => void

function ByForm({ start, replaces }: { start: Definition; replaces: string }): JSX.Element {
  const { t, f, lang } = useWords()
  const c = t.create
  const [d, set] = useState(start)
  const [checked, setChecked] = useState<DraftView | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const faults = error instanceof Problem ? error.faults : []
  const summary = useRef<HTMLElement>(null)

  useEffect(() => {
    if (d === start) return
    const ask = (e: BeforeUnloadEvent): void => e.preventDefault()
    addEventListener('beforeunload', ask)
    return () => removeEventListener('beforeunload', ask)
  }, [d === start])

  const change: Change = (f) => {
    set(f)
    setChecked(null)
  }
  const check = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      setChecked(await api.check({ definition: tidy(d) }))
    } catch (e) {
      setError(e)
      requestAnimationFrame(() => summary.current?.focus())
    } finally {
      setBusy(false)
    }
  }
  const at = (path: string): string => faults.find((x) => x.path === path || x.path.startsWith(`${path}.`))?.message ?? ''

  return (
    <div class="editor">
      <form class="form" onSubmit={(e) => { e.preventDefault(); void check(); }} noValidate>
        {faults.length > 0 && (
          <section class="faults" ref={summary} tabIndex={-1} role="alert" aria-labelledby="form-faults">
            <h2 id="form-faults"><Icon shape="bad" /> {c.badForm(f.num(faults.length))}</h2>
            <ul lang="en">{faults.map((x, i) => <li key={i}><a href={`#f-${anchor(x.path)}`}><code>{x.path}</code></a> {x.message}.</li>)}</ul>
          </section>
        )}
        {error !== null && faults.length === 0 && <Trouble error={error} />}
        <Group title={c.group.basics}>
          <div class="grid">
            <Field label={c.field.id} path="id" fault={at('id')} hint={c.field.idHint}>
              {(p) => <input {...p} class="code" value={d.id} readOnly={replaces !== ''} autocapitalize="none" spellcheck={false} onInput={(e) => { const id = e.currentTarget.value; change((x) => ({ ...x, id })); }} />}
            </Field>
            <Field label={c.field.kind} path="kind" fault={at('kind')}>
              {(p) => (
                <select {...p} value={d.kind} onChange={(e) => { const kind = e.currentTarget.value as PollKind; change((x) => ({ ...x, kind })); }}>
                  {kinds.map((k) => <option key={k} value={k}>{t.kinds[k]}</option>)}
                </select>
              )}
            </Field>
          </div>
          <fieldset class="checks">
            <legend>{c.field.languages}</legend>
            {langs.map((l) => (
              <label key={l}>
                <input type="checkbox" checked={d.languages.includes(l)} onChange={(e) => {
                  const on = e.currentTarget.checked
                  change((x) => ({ ...x, languages: langs.filter((k) => (k === l ? on : x.languages.includes(k))) }))
                }} /> {languageName(l, lang)}
              </label>
            ))}
          </fieldset>
        </Group>
        <Group title={c.group.words}>
          <Texts label={c.field.title} path="title" fault={at('title')} d={d} value={d.title} on={(title) => change((x) => ({ ...x, title }))} />
          <Texts label={c.field.summary} path="summary" optional fault={at('summary')} long d={d} value={d.summary} on={(summary) => change((x) => ({ ...x, summary }))} />
          <Texts label={c.field.organiser} path="organiser.name" fault={at('organiser.name')} d={d} value={d.organiser.name} on={(name) => change((x) => ({ ...x, organiser: { ...x.organiser, name } }))} />
          <div class="grid">
            <Field label={c.field.url} path="organiser.url" optional fault={at('organiser.url')}>
              {(p) => <input {...p} type="url" value={d.organiser.url ?? ''} placeholder="https://" onInput={(e) => { const url = e.currentTarget.value; change((x) => ({ ...x, organiser: { ...x.organiser, url } })); }} />}
            </Field>
            <Field label={c.field.contact} path="organiser.contact" optional fault={at('organiser.contact')}>
              {(p) => <input {...p} value={d.organiser.contact ?? ''} onInput={(e) => { const contact = e.currentTarget.value; change((x) => ({ ...x, organiser: { ...x.organiser, contact } })); }} />}
            </Field>
          </div>
          {(['purpose', 'retention', 'effect'] as const).map((k) => (
            <Texts key={k} label={c.field[k]} path={`notice.${k}`} fault={at(`notice.${k}`)} long d={d} value={d.notice[k]} on={(v) => change((x) => ({ ...x, notice: { ...x.notice, [k]: v } }))} />
          ))}
        </Group>
        <Group title={c.group.time} note={c.field.zone(f.zone)}>
          <div class="grid">
            {(['opens_at', 'closes_at'] as const).map((k) => (
              <Field key={k} label={k === 'opens_at' ? c.field.opens : c.field.closes} path={k} fault={at(k)}>
                {(p) => <input {...p} type="datetime-local" value={local(d[k])} onInput={(e) => { const v = global(e.currentTarget.value); if (v) change((x) => ({ ...x, [k]: v })); }} />}
              </Field>
            ))}
          </div>
        </Group>
        <Group title={c.group.proof}>
          <div class="grid">
            <Field label={c.field.identity} path="identity.type" fault={at('identity.type')}>
              {(p) => <select {...p} value={d.identity.type} onChange={(e) => { const type = e.currentTarget.value; change((x) => ({ ...x, identity: { type } })); }}><option value="hkid">{c.field.hkid}</option></select>}
            </Field>
            <Field label={c.field.mode} path="verification.mode" fault={at('verification.mode')}>
              {(p) => (
                <select {...p} value={d.verification.mode} onChange={(e) => { const mode = e.currentTarget.value as 'voter_sends' | 'voter_receives'; change((x) => ({ ...x, verification: { ...x.verification, mode } })); }}>
                  {(['voter_sends', 'voter_receives'] as const).map((m) => <option key={m} value={m}>{t.poll.modes[m]}</option>)}
                </select>
              )}
            </Field>
            {(['seconds', 'ballot_seconds'] as const).map((k) => (
              <Field key={k} label={k === 'seconds' ? c.field.seconds : c.field.ballotSeconds} path={`verification.${k}`} fault={at(`verification.${k}`)}>
                {(p) => <input {...p} type="number" inputMode="numeric" value={d.verification[k]} onInput={(e) => { const n = e.currentTarget.valueAsNumber || 0; change((x) => ({ ...x, verification: { ...x.verification, [k]: n } })); }} />}
              </Field>
            ))}
          </div>
        </Group>
        <Group title={c.group.questions}>
          <Questions d={d} change={change} at={at} />
        </Group>
        <Group title={c.group.key}>
          <div id="f-tally_key">
            <KeyField value={d.tally_key.kid ? d.tally_key : null} on={(k) => change((x) => ({ ...x, tally_key: k ?? { kty: '', crv: '', x: '', y: '', kid: '' } }))} />
            {at('tally_key') && <small class="hint bad" lang="en">{at('tally_key')}</small>}
          </div>
          <label class="check">
            <input type="checkbox" checked={d.reveal_tally_key ?? false} onChange={(e) => { const on = e.currentTarget.checked; change((x) => ({ ...x, reveal_tally_key: on })); }} />
            <span>{c.field.reveal}<small class="hint">{c.field.revealHint}</small></span>
          </label>
          <label class="check">
            <input type="checkbox" checked={d.seal_on_server ?? false} data-test="seal-on-server" onChange={(e) => { const on = e.currentTarget.checked; change((x) => ({ ...x, seal_on_server: on })); }} />
            <span>{c.field.seal}<small class="hint">{c.field.sealHint}</small></span>
          </label>
        </Group>
        {checked ? <Save draft={{ definition: tidy(d) }} view={checked} replaces={replaces} />
          : <div class="save"><button type="submit" class="button main" disabled={busy} data-test="check">{busy ? t.action.working : c.check}</button></div>}
      </form>
      <aside class="editor-preview" aria-label={c.preview}>
        <h2>{c.preview}</h2>
        <Preview poll={d} one />
      </aside>
    </div>
  )
}

function Questions({ d, change, at }: { d: Definition; change: Change; at: (path: string) => string }): JSX.Element {
  const { t, f } = useWords()
  const c = t.create
  type Q = Definition['questions'][number]
  const put = (i: number, part: (q: Q) => Partial<Q>): void =>
    change((x) => ({ ...x, questions: x.questions.map((q, k) => (k === i ? { ...q, ...part(q) } : q)) }))
  const putOption = (i: number, j: number, part: Partial<Q['options'][number]>): void =>
    put(i, (q) => ({ options: q.options.map((o, k) => (k === j ? { ...o, ...part } : o)) }))
  return (
    <>
      {d.questions.map((q, i) => {
        const path = `questions[${i}]`
        return (
          <fieldset key={i} class="question">
            <legend>{c.field.question(f.num(i + 1))}</legend>
            <Moves index={i} length={d.questions.length} what={c.field.question(f.num(i + 1))}
              move={(by) => change((x) => ({ ...x, questions: swap(x.questions, i, by) }))}
              remove={d.questions.length > 1 ? () => change((x) => ({ ...x, questions: x.questions.filter((_, k) => k !== i) })) : null} />
            <Texts label={c.field.qtitle} path={`${path}.title`} fault={at(`${path}.title`)} d={d} value={q.title} on={(title) => put(i, () => ({ title }))} />
            <Texts label={c.field.qtext} path={`${path}.text`} optional fault={at(`${path}.text`)} long d={d} value={q.text} on={(text) => put(i, () => ({ text }))} />
            <div class="grid grid-4">
              <Field label={c.field.qid} path={`${path}.id`} fault={at(`${path}.id`)}>
                {(p) => <input {...p} class="code" value={q.id} onInput={(e) => { const id = e.currentTarget.value; put(i, () => ({ id })); }} />}
              </Field>
              {(['min', 'max'] as const).map((k) => (
                <Field key={k} label={c.field[k]} path={`${path}.${k}`} fault={at(`${path}.${k}`)}>
                  {(p) => <input {...p} type="number" inputMode="numeric" min={0} value={q[k]} onInput={(e) => { const n = e.currentTarget.valueAsNumber || 0; put(i, () => ({ [k]: n })); }} />}
                </Field>
              ))}
              <Field label={c.field.order} path={`${path}.order`} fault={at(`${path}.order`)}>
                {(p) => (
                  <select {...p} value={q.order} onChange={(e) => { const order = e.currentTarget.value; put(i, () => ({ order })); }}>
                    {(['fixed', 'random'] as const).map((o) => <option key={o} value={o}>{c.field.orders[o]}</option>)}
                  </select>
                )}
              </Field>
            </div>
            <div id={`f-${anchor(`${path}.options`)}`}>
              {at(`${path}.options`) && <small class="hint bad" lang="en">{at(`${path}.options`)}</small>}
              {q.options.map((o, j) => {
                const name = c.field.option(f.num(j + 1))
                return (
                  <fieldset key={j} class="option">
                    <legend>{name}</legend>
                    <Moves index={j} length={q.options.length} what={name} move={(by) => put(i, (x) => ({ options: swap(x.options, j, by) }))}
                      remove={q.options.length > 2 ? () => put(i, (x) => ({ options: x.options.filter((_, k) => k !== j) })) : null} />
                    <Texts label={c.field.label} path={`${path}.options[${j}].label`} fault={at(`${path}.options[${j}].label`)} d={d} value={o.label} on={(label) => putOption(i, j, { label })} />
                    <div class="grid grid-4">
                      <Field label={c.field.qid} path={`${path}.options[${j}].id`} fault={at(`${path}.options[${j}].id`)}>
                        {(p) => <input {...p} class="code" value={o.id} onInput={(e) => putOption(i, j, { id: e.currentTarget.value })} />}
                      </Field>
                      <Field label={c.field.okind} path={`${path}.options[${j}].kind`} fault={at(`${path}.options[${j}].kind`)}>
                        {(p) => (
                          <select {...p} value={o.kind} onChange={(e) => putOption(i, j, { kind: e.currentTarget.value as OptionKind })}>
                            {(['choice', 'abstain', 'blank'] as const).map((k) => <option key={k} value={k}>{c.field.okinds[k]}</option>)}
                          </select>
                        )}
                      </Field>
                    </div>
                    <details open={Object.values(o.text ?? {}).some(Boolean) || at(`${path}.options[${j}].text`) !== ''}>
                      <summary>{c.field.otext}</summary>
                      <Texts label={c.field.otext} path={`${path}.options[${j}].text`} optional fault={at(`${path}.options[${j}].text`)} long d={d} value={o.text} on={(text) => putOption(i, j, { text })} />
                    </details>
                  </fieldset>
                )
              })}
              <button type="button" class="button small" onClick={() => put(i, (x) => ({ options: [...x.options, option(x.options, 'choice')] }))}><Icon shape="plus" /> {c.add.option}</button>
            </div>
          </fieldset>
        )
      })}
      <button type="button" class="button" onClick={() => change((x) => ({ ...x, questions: [...x.questions, question(x.questions)] }))}><Icon shape="plus" /> {c.add.question}</button>
    </>
  )
}

function Moves(p: { index: number; length: number; what: string; move: (by: 1 | -1) => void; remove: (() => void) | null }): JSX.Element {
  const { t } = useWords()
  const label = (act: string): string => `${act}: ${p.what}`
  return (
    <div class="moves">
      <button type="button" class="icon-button" aria-label={label(t.create.up)} disabled={p.index === 0} onClick={() => p.move(-1)}><Icon shape="up" /></button>
      <button type="button" class="icon-button" aria-label={label(t.create.down)} disabled={p.index === p.length - 1} onClick={() => p.move(1)}><Icon shape="lower" /></button>
      <button type="button" class="icon-button" aria-label={label(t.create.remove)} disabled={!p.remove} onClick={() => p.remove?.()}><Icon shape="cross" /></button>
    </div>
  )
}

function Group({ title, note, children }: { title: string; note?: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="group">
      <h2>{title}{note && <small class="section-note"> {note}</small>}</h2>
      {children}
    </section>
  )
}

interface InputProps {
  id: string
  'aria-invalid': boolean
  'aria-describedby': string | undefined
}

/** anchor makes an id of a path: questions[0].title → questions-0--title. */
function anchor(path: string): string {
  return path.replaceAll(/[[\].]/g, '-')
}

function Field(p: { label: string; path: string; fault: string; hint?: string; optional?: boolean; children: (i: InputProps) => JSX.Element }): JSX.Element {
  const { t } = useWords()
  const id = `f-${anchor(p.path)}`
  const note = p.fault || p.hint
  return (
    <div class="field">
      <label for={id}>{p.label}{p.optional && <small class="optional"> {t.create.optional}</small>}</label>
      {p.children({ id, 'aria-invalid': p.fault !== '', 'aria-describedby': note ? `${id}-note` : undefined })}
      {note && <small id={`${id}-note`} class={p.fault ? 'hint bad' : 'hint'} lang={p.fault ? 'en' : undefined}>{note}</small>}
    </div>
  )
}

/** Texts is one text in each of the poll's languages, side by side. */
function Texts(p: { label: string; path: string; fault: string; long?: boolean; optional?: boolean; d: Definition; value: Text | undefined; on: (t: Text) => void }): JSX.Element {
  const { t, lang } = useWords()
  const id = `f-${anchor(p.path)}`
  return (
    <div class="field texts" id={id} role="group" aria-labelledby={`${id}-label`}>
      <span id={`${id}-label`}>{p.label}{p.optional && <small class="optional"> {t.create.optional}</small>}</span>
      <div class="tongues">
        {langs.filter((l) => p.d.languages.includes(l)).map((l) => {
          const props = {
            value: p.value?.[l] ?? '', lang: l, 'aria-label': `${p.label}, ${languageName(l, lang)}`, 'aria-invalid': p.fault !== '' && !p.value?.[l],
            onInput: (e: { currentTarget: HTMLInputElement | HTMLTextAreaElement }) => p.on({ ...p.value, [l]: e.currentTarget.value }),
          }
          return (
            <div key={l} class="tongue">
              <small aria-hidden="true">{languageName(l, lang)}</small>
              {p.long ? <textarea rows={3} {...props} /> : <input {...props} />}
            </div>
          )
        })}
      </div>
      {p.fault && <small class="hint bad" lang="en">{p.fault}</small>}
    </div>
  )
}
