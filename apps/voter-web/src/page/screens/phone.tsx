import { useEffect, useRef, useState } from 'preact/hooks'

import { ask, type Trouble } from '../../api/client.ts'
import type { Session, SessionRequest } from '../../api/types.ts'
import { opened } from '../../vote/journey.ts'
import { placed } from '../../vote/queue.ts'
import { prepare, spend } from '../../work/challenge.ts'
import { useBeside } from '../beside.ts'
import type { Checked } from '../human.tsx'
import { ErrorSummary, Field, Form, Heading, Live, type Screen, TroubleBox } from '../parts.tsx'

/** Milliseconds until a server that looks for a human check's service knows. */
const lookTakes = 4000

/** The second half of step 1. What comes next, and how long it may take, is said before it starts. */
export function Phone({ w, j, set, go, refuse }: Screen & { refuse: (message: string) => void }) {
  const [phone, setPhone] = useState(j.draft?.phone ?? '')
  const [wrong, setWrong] = useState<string>()
  const [trouble, setTrouble] = useState<Trouble & { since: number }>()
  const [working, setWorking] = useState(false)
  const [long, setLong] = useState(false)
  const { check, part, look } = useBeside()
  const checked = useRef<Checked>({})
  const [round, setRound] = useState(0)
  const [unchecked, setUnchecked] = useState(false)
  // Near the servers' limits the work is several times the usual: whoever waits is told so, and that it ends.
  useEffect(() => {
    if (!working) return
    const timer = setTimeout(() => setLong(true), 8000)
    return () => (clearTimeout(timer), setLong(false))
  }, [working])

  const { mode, seconds } = j.manifest.verification
  const sends = mode === 'voter_sends'
  const span = w.span(seconds)

  const type = (value: string) => {
    setPhone(value)
    set({ ...j, draft: { ...j.draft, phone: value } })
  }

  const next = async () => {
    setTrouble(undefined)
    const empty = phone.replace(/\D/g, '').length < 4
    setWrong(empty ? w.phone.empty : undefined)
    if (empty || working) return
    const of = { number: j.draft!.number!, phone: phone.trim() }
    // Who has a place, and changed nothing, keeps it.
    if (j.waiting?.of.number === of.number && j.waiting.of.phone === of.phone) return go({ name: 'wait' })
    setUnchecked(false)
    setWorking(true)
    const answer = await open({
      identity: { type: j.manifest.identity.type, number: of.number },
      phone: of.phone,
      lang: w.lang,
    })
    setWorking(false)
    if (!answer) return setUnchecked(true)
    if (answer.value) {
      set(opened(j, answer.value, phone, Date.now()))
      return go({ name: 'verify' })
    }
    const { code, waiting } = answer.trouble
    if (waiting) {
      set({ ...j, draft: of, waiting: placed(waiting, of, Date.now()) })
      return go({ name: 'wait' })
    }
    if (code === 'identity-invalid') {
      refuse(w.trouble[code].join(w.gap))
      return go({ name: 'identity' })
    }
    if (code === 'phone-invalid' || code === 'phone-not-mobile' || code === 'phone-unreachable' || code === 'phone-country') {
      return setWrong(w.trouble[code].join(w.gap))
    }
    setTrouble({ ...answer.trouble, since: Date.now() })
  }

  const open = async (request: Omit<SessionRequest, 'challenge' | 'channel'>) => {
    for (let left = 2; ; left--) {
      const { value: challenge, trouble } = await prepare()
      if (trouble) return { trouble }
      const { check: beside, part: shown } = await look()
      const { response, failed = !shown } = checked.current
      if (beside && !response && !failed) return undefined
      const human = beside && response ? { human_check: response } : {}
      const answer = await ask<Session>(`/v1/polls/${j.manifest.id}/sessions`, { body: { ...request, challenge, ...human } })
      // One challenge, one session: whatever came of it, the next try needs another.
      spend()
      const code = answer.trouble?.code ?? ''
      if (left > 0 && code.startsWith('challenge-')) continue
      if (left > 0 && (code === 'human-check-unavailable' || (code === 'human-check-required' && failed))) {
        // The server looks whether that service is there for anybody. If it isn't, the next challenge is enough alone.
        await new Promise((done) => setTimeout(done, lookTakes))
        continue
      }
      if (beside) {
        // So is a response good once.
        checked.current = {}
        setRound((n) => n + 1)
      }
      return answer
    }
  }

  return (
    <>
      {wrong && <ErrorSummary w={w} id="phone">{wrong}</ErrorSummary>}
      {unchecked && part && <ErrorSummary w={w} id="human">{part.first(w)}</ErrorSummary>}
      {trouble && <TroubleBox w={w} trouble={trouble} since={trouble.since} counted={w.counted.notCast} />}
      <Heading w={w} poll={j.manifest.title} step={2} wrong={!!(wrong ?? trouble)}>{w.phone.title}</Heading>
      <Form onSubmit={() => void next()}>
        <Field
          id="phone"
          label={w.phone.label}
          hint={w.phone.hint}
          wrong={wrong}
          value={phone}
          onInput={type}
          class="w16"
          input={{ type: 'tel', autocomplete: 'tel', inputMode: 'tel', maxLength: 64 }}
        />
        <div class="box">
          <p><strong>{sends ? w.phone.sends(span) : w.phone.receives(span)}</strong></p>
          <p>{sends ? w.phone.sendsText : w.phone.receivesText}</p>
        </div>
        {check && part && <part.Human key={round} w={w} check={check} poll={j.manifest.id} became={(c) => (checked.current = c)} />}
        <button class="main" aria-disabled={working}>{sends ? w.phone.goSends(span) : w.phone.goReceives}</button>
        <Live>{working && (long ? w.phone.workingLong : w.phone.working)}</Live>
      </Form>
    </>
  )
}
