import { useEffect, useRef, useState } from 'preact/hooks'

import type { Trouble } from '../../api/client.ts'
import { check, type Checked, readSaved, readTyped, type Want } from '../../vote/check.ts'
import { type CheckWords, checkWords } from '../../words/check.ts'
import type { Words } from '../../words/words.ts'
import { download, ErrorSummary, Field, Form, Heading, Live, moment, type Screen, stepped, Ticket, TroubleBox } from '../parts.tsx'

/** Checks a receipt at any later time: by its code, or by the file that was saved. */
export function Check({ w, j }: Screen) {
  const c = checkWords[w.lang]
  const [typed, type] = useState(j.receipt?.receipt.code ?? '')
  const [fault, setFault] = useState<keyof CheckWords['faults']>()
  const [busy, setBusy] = useState(false)
  const [trouble, setTrouble] = useState<Trouble & { since: number }>()
  const [checked, setChecked] = useState<Checked>()
  const file = useRef<HTMLInputElement>(null)
  const last = useRef(0)
  useEffect(() => () => void (last.current = -1), [])

  const find = async (want: Want | undefined, otherwise: keyof CheckWords['faults']) => {
    setTrouble(undefined)
    setFault(want ? undefined : otherwise)
    if (!want) return
    const mine = ++last.current
    setBusy(true)
    const found = await check(want, j.manifest)
    if (last.current !== mine) return
    setBusy(false)
    stepped()
    const failed = 'trouble' in found ? found.trouble : found.found.at === 'trouble' ? found.found.trouble : undefined
    if (failed) setTrouble({ ...failed, since: Date.now() })
    else if ('found' in found) setChecked(found)
  }
  const open = async (chosen: File | undefined) => {
    if (!chosen) return
    // A receipt has a few kilobytes; nothing else is worth reading.
    await find(chosen.size < 200_000 ? readSaved(await chosen.text().catch(() => '')) : undefined, 'file')
  }

  if (checked) {
    const { found, want } = checked
    // A code that was not found is most likely mistyped: it is there to be corrected.
    const correct = !want.saved && (found.at === 'notYet' || found.at === 'missing')
    const another = () => {
      if (!correct) type('')
      setTrouble(undefined)
      setChecked(undefined)
    }
    return (
      <Verdict key={found.at} {...{ w, c, checked }}>
        {trouble && <TroubleBox w={w} trouble={trouble} since={trouble.since} counted="" />}
        <Live>{busy && c.busy}</Live>
        <div class="row">
          {found.at !== 'in' && found.at !== 'forged' && <button type="button" onClick={() => void find(want, 'form')}>{c.again}</button>}
          <button type="button" onClick={another}>{correct ? c.correct : c.another}</button>
        </div>
      </Verdict>
    )
  }
  const about = fault === 'file' ? 'file' : 'receipt-code'
  return (
    <Form onSubmit={() => void find(readTyped(typed, j.manifest.id), typed.trim() ? 'form' : 'empty')}>
      {fault && <ErrorSummary w={w} id={about}>{c.faults[fault]}</ErrorSummary>}
      {trouble && <TroubleBox w={w} trouble={trouble} since={trouble.since} counted="" />}
      <Heading w={w} poll={j.manifest.title} wrong={!!fault}>{c.title}</Heading>
      <p>{c.lead}</p>
      <Field
        id="receipt-code"
        label={c.label}
        hint={c.hint}
        wrong={fault && fault !== 'file' ? c.faults[fault] : undefined}
        value={typed}
        onInput={type}
        class="w16 typed"
        input={{ autocomplete: 'off', autocapitalize: 'characters', spellcheck: false, maxLength: 120 }}
      />
      <button class="main" aria-disabled={busy}>{c.go}</button>
      <Live>{busy && c.busy}</Live>
      <h2>{c.fileTitle}</h2>
      <p>{c.fileText}</p>
      <p><button type="button" id="file" onClick={() => file.current?.click()}>{c.open}</button></p>
      <input
        type="file"
        accept=".json,application/json"
        hidden
        ref={file}
        onChange={(e) => {
          void open(e.currentTarget.files?.[0])
          e.currentTarget.value = '' // so that the same file can be chosen again
        }}
      />
    </Form>
  )
}

/** What was found, what it proves, and what it does not. */
function Verdict({ w, c, checked, children }: { w: Words; c: CheckWords; checked: Checked; children: preact.ComponentChildren }) {
  const { want, manifest: m, found, stayed } = checked
  const [saved, setSaved] = useState(false)
  const by = want.saved ? 'file' : 'code'
  const number = (n: number) => new Intl.NumberFormat(w.locale).format(n)
  const open = found.at === 'notYet' || (found.at === 'missing' && by === 'code')
  const ticket = <Ticket w={w} m={m} name={c.label} code={want.code} as={found.at === 'in' ? 'good' : open ? 'open' : 'doubtful'} />
  if (found.at === 'in') {
    const { place, counted } = found
    return (
      <>
        <Heading w={w} poll={m.title}>{c.in.title}</Heading>
        {ticket}
        <ul class="checks">
          <li>{c.in.place(number(place.index + 1), number(place.size))}</li>
          {place.signed && <li>{c.in.signed}</li>}
          {want.saved && <li>{c.in.issued}</li>}
          {stayed && <li>{c.in.stayed}</li>}
          {counted && <li>{c.in.counted}</li>}
        </ul>
        {!place.signed && <p class="box warn">{w.receipt.log.unsigned}</p>}
        <h2>{c.limits.title}</h2>
        <ul>{c.limits.list.map((l) => <li key={l}>{l}</li>)}</ul>
        {m.reveal_tally_key && <p><strong>{w.about.revealed}</strong></p>}
        {children}
      </>
    )
  }
  if (found.at === 'trouble') return null // is shown where the code is typed
  if (found.at === 'notYet') {
    const voting = (m.state === 'open' || m.state === 'paused') && Date.parse(m.closes_at) > Date.now()
    return (
      <>
        <Heading w={w} poll={m.title}>{c.notYet[by].title}</Heading>
        {ticket}
        <p>{c.notYet[by].text}</p>
        <p><strong>{voting ? c.notYet.come(moment(m.closes_at, w)) : c.notYet.soon}</strong></p>
        {children}
      </>
    )
  }
  const said = found.at === 'missing' ? { title: c.missing[by].title, text: c.missing[by].text(number(found.size)) } : c[found.at]
  const save = () => {
    download(`popvote-${m.id}-${want.code.replaceAll(' ', '-')}-evidence.json`, {
      about: c.about,
      finding: found.at,
      at: new Date().toISOString(),
      poll: { id: m.id, signing_key: m.signing_key, log_key: m.log_key },
      asked: want.saved ?? { code: want.code },
      ...('proof' in found && { answer: found.proof }),
    })
    setSaved(true)
  }
  return (
    <>
      <Heading w={w} poll={m.title} wrong>{said.title}</Heading>
      {ticket}
      <p class={`box ${open ? 'warn' : 'danger'}`} role="alert">{said.text}</p>
      {found.at !== 'forged' && <p class={open ? 'row' : ''}><button type="button" class={open ? '' : 'main'} onClick={save}>{c.save}</button></p>}
      <Live>{saved && c.saved}</Live>
      {children}
    </>
  )
}
