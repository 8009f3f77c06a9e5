import { useState } from 'preact/hooks'

import { ask, type Trouble } from '../../api/client.ts'
import type { Verification, Verified } from '../../api/types.ts'
import { lapsed, proved } from '../../vote/journey.ts'
import { furthest } from '../../vote/steps.ts'
import { seconds, useNow } from '../hooks.ts'
import { ErrorSummary, Field, Form, Heading, Live, said, type Screen, TroubleBox } from '../parts.tsx'
import { Over } from './over.tsx'

// Refusals that are about the code itself: said at its field.
const ofTheCode: readonly string[] = ['code-wrong', 'code-too-soon', 'code-exhausted', 'code-expired']

/** Step 2 where the voter receives: one field, and exact countdowns for everything that has to wait. */
export function Receives({ w, j, set, go }: Screen) {
  const session = j.session!
  const v = session.verification
  const [code, setCode] = useState('')
  const [wrong, setWrong] = useState<string>()
  const [trouble, setTrouble] = useState<Trouble & { since: number }>()
  const [busy, setBusy] = useState(false)
  const [resent, setResent] = useState<'resend' | 'call'>()
  const [ended, setEnded] = useState(false)
  const now = useNow(true)

  const digits = v.code_length ?? 6
  const in_ = (s: number | undefined) => (s === undefined ? undefined : seconds(session.since + s * 1000, now))
  const nextCheck = in_(v.next_check_seconds)
  const nextSend = in_(v.next_send_seconds)

  const learn = (verification: Verification) =>
    set({ ...j, session: { ...session, verification, since: Date.now(), deadline: Date.now() + verification.seconds * 1000 } })

  const refused = (t: Trouble) => {
    if (t.code === 'token-expired') return setEnded(true)
    if (t.verification) learn(t.verification)
    if (ofTheCode.includes(t.code)) setWrong(said(w, t).join(w.gap))
    else setTrouble({ ...t, since: Date.now() })
  }

  const check = async () => {
    setTrouble(undefined)
    setResent(undefined)
    // As typed: full-width digits and spaces of the SMS are the keyboard's doing, not the voter's.
    const plain = code.normalize('NFKC').replace(/\D/g, '')
    const short = plain.length !== digits
    setWrong(short ? w.receives.empty(digits) : undefined)
    if (short || busy) return
    setBusy(true)
    const { value, trouble } = await ask<Verified>('/v1/verification/code', { token: session.token, body: { code: plain } })
    setBusy(false)
    if (trouble) return refused(trouble)
    const on = proved(j, value, Date.now())
    set(on)
    go(furthest(on), true)
  }

  const resend = async (how: 'resend' | 'call') => {
    setTrouble(undefined)
    setWrong(undefined)
    setBusy(true)
    const { value, trouble } = await ask<Verification>(`/v1/verification/${how}`, { token: session.token, method: 'POST' })
    setBusy(false)
    if (trouble) return refused(trouble)
    setCode('')
    setResent(how)
    learn(value)
  }

  const again = () => {
    set(lapsed(j))
    go({ name: 'identity' })
  }

  const left = seconds(session.deadline, now)
  if (ended || !left) return <Over w={w} j={j} title={w.over.title} text={w.over.text} again={again} />
  const lost = trouble?.code.startsWith('token-') || trouble?.code === 'phone-used-up'
  return (
    <>
      {wrong && <ErrorSummary w={w} id="code">{wrong}</ErrorSummary>}
      {trouble && (
        <TroubleBox w={w} trouble={trouble} since={trouble.since} counted={w.counted.notCast}>
          {lost && <button type="button" class="main" onClick={again}>{w.startAgain}</button>}
        </TroubleBox>
      )}
      <Heading w={w} poll={j.manifest.title} step={3} wrong={!!(wrong ?? trouble)} time={w.left(w.span(Math.ceil(left / 60) * 60))}>
        {w.receives.title}
      </Heading>
      <Form onSubmit={() => void check()}>
        <Field
          id="code"
          label={w.receives.label}
          hint={w.receives.hint(digits, session.phoneEnd)}
          wrong={wrong}
          value={code}
          onInput={setCode}
          class="w8 digits"
          input={{ type: 'text', inputMode: 'numeric', autocomplete: 'one-time-code', spellcheck: false, maxLength: 32 }}
        />
        {v.tries_left !== undefined && <p class="hint">{w.receives.tries(v.tries_left)}</p>}
        {!!nextCheck && <p class="hint">{w.receives.wait(w.span(nextCheck))}</p>}
        <p class="clock">{w.left(w.span(left))}</p>
        <button class="main" aria-disabled={busy || !!nextCheck}>{w.continue}</button>
      </Form>
      <Live>{resent && (resent === 'call' ? w.receives.called : w.receives.resent)}</Live>
      {nextSend === undefined ? (
        <p class="hint">{w.receives.noMore}</p>
      ) : nextSend > 0 ? (
        <p class="hint">{w.receives.resendIn(w.span(nextSend))}</p>
      ) : (
        <>
          <p><button type="button" onClick={() => void resend('resend')} aria-disabled={busy}>{w.receives.resend}</button></p>
          {v.next_call_seconds !== undefined && (
            <p><button type="button" onClick={() => void resend('call')} aria-disabled={busy}>{w.receives.call}</button></p>
          )}
        </>
      )}
      <p class="hint">{w.receives.secret}</p>
      <p><button type="button" class="plain" onClick={again}>{w.sends.change}</button></p>
    </>
  )
}
