import { useEffect, useRef, useState } from 'preact/hooks'

import { type Caster, cast, type Casting } from '../../vote/cast.ts'
import type { Journey } from '../../vote/journey.ts'
import { useReturn } from '../hooks.ts'
import { Countdown, Heading, said, type Screen } from '../parts.tsx'

// Refusals after which another ballot of the same identity is in the box.
const stands: readonly string[] = ['already-voted', 'idempotency-key-reused']

/** Casting, and the truth about it at every moment. */
export function Cast({ w, j, set, go, get }: Screen & { get: () => Journey }) {
  const [now, setNow] = useState<Casting>({ at: 'sending', maybe: !!j.pending?.maybe })
  const caster = useRef<Caster | undefined>(undefined)
  useEffect(() => {
    const c = cast(get, set, (state) => setNow(state))
    caster.current = c
    return () => c.stop()
  }, [])
  useReturn(() => caster.current?.nudge())
  useEffect(() => {
    // While the outcome is open, leaving is asked about first.
    const stay = (e: Event) => e.preventDefault()
    if (now.at === 'stopped') return
    addEventListener('beforeunload', stay)
    return () => removeEventListener('beforeunload', stay)
  }, [now.at])
  useEffect(() => {
    if (j.receipt) go({ name: 'receipt' }, true)
  }, [j.receipt])

  const busy = now.at === 'sealing' || now.at === 'sending'
  const title =
    now.maybe ? w.cast.unknownTitle
    : now.at === 'sealing' ? w.cast.sealing
    : now.at === 'sending' ? w.cast.sending
    : now.at === 'waiting' ? w.cast.waiting
    : w.cast.stopped
  const trouble = 'trouble' in now ? now.trouble : undefined
  return (
    <>
      <Heading key={title} w={w} poll={j.manifest.title} step={5}>{title}</Heading>
      {now.maybe && <p class="box warn"><strong>{w.counted.unknown}</strong></p>}
      {trouble && (
        <div class={now.at === 'stopped' ? 'box danger' : 'box'} role="alert">
          <p>
            {said(w, trouble)[0]}
            {!now.maybe && <strong>{w.gap}{stands.includes(trouble.code) ? w.counted.this : w.counted.no}</strong>}
          </p>
          {now.at === 'stopped' && !now.verify && <p>{said(w, trouble)[1]}</p>}
        </div>
      )}
      {busy && <p class="box busy" role="status">{now.at === 'sealing' ? w.cast.sealing : w.cast.sending}</p>}
      {now.at !== 'stopped' && (now.maybe || trouble) && <p>{w.cast.keep}</p>}
      {now.at === 'waiting' && (
        <>
          <p class="clock"><Countdown to={now.until}>{(s) => w.cast.nextTry(w.span(s))}</Countdown></p>
          <button type="button" onClick={() => caster.current?.nudge()}>{w.cast.tryNow}</button>
        </>
      )}
      {now.at === 'stopped' && now.verify && (
        <>
          <p>{w.phone.resume}</p>
          <button class="main" type="button" onClick={() => go({ name: 'identity' })}>{w.cast.prove}</button>
        </>
      )}
      {now.at === 'stopped' && !now.verify && (
        <button type="button" onClick={() => go({ name: trouble?.code.startsWith('ballot-') ? 'review' : 'about' }, true)}>
          {trouble?.code.startsWith('ballot-') ? w.cast.backToReview : w.cleared.again}
        </button>
      )}
    </>
  )
}
