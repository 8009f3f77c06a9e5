import { useEffect, useRef, useState } from 'preact/hooks'

import type { Trouble } from '../../api/client.ts'
import { lapsed, proved } from '../../vote/journey.ts'
import { furthest } from '../../vote/steps.ts'
import { type Watch, watch } from '../../vote/watch.ts'
import { seconds, useNow, useReturn } from '../hooks.ts'
import { Copy, Heading, Live, QR, type Screen, TroubleBox } from '../parts.tsx'
import { Over } from './over.tsx'

// When the time left is spoken to those who do not see it.
const marks = [120, 60, 30, 10]

/** Step 2 where the voter sends: one thing to do, and the page notices by itself. */
export function Sends({ w, j, set, go }: Screen) {
  const session = j.session!
  const { number = '', text = '', sms_link } = session.verification
  const [connected, setConnected] = useState(true)
  const [over, setOver] = useState(false)
  const [heard, setHeard] = useState(false)
  const [trouble, setTrouble] = useState<Trouble>()
  const [onPhone] = useState(() => matchMedia('(pointer: coarse) and (hover: none)').matches)
  const watching = useRef<Watch | undefined>(undefined)
  const now = useNow(!over && !trouble)

  useEffect(() => {
    const w = watch(session.token, session.deadline, {
      verified: (v) => {
        setHeard(true)
        const on = proved(j, v, Date.now())
        // Long enough to be seen and heard, short enough not to be waited for.
        setTimeout(() => {
          set(on)
          go(furthest(on), true)
        }, 900)
      },
      expired: () => setOver(true),
      trouble: setTrouble,
      connected: setConnected,
    })
    watching.current = w
    return () => w.stop()
  }, [session.token])
  // A phone that was in its SMS app may have let the connection go.
  useReturn(() => watching.current?.nudge())

  const again = () => {
    set(lapsed(j))
    go({ name: 'identity' })
  }

  if (over) return <Over w={w} j={j} title={w.over.title} text={w.over.text} again={again} />
  const left = seconds(session.deadline, now)
  const mark = marks.filter((m) => left <= m).at(-1)
  const minute = left > 60 ? w.span(Math.ceil(left / 60) * 60) : w.span(60)
  const sms = sms_link ?? `sms:${number}?body=${encodeURIComponent(text)}`
  const byHand = (
    <dl class="sms">
      <dt>{w.sends.to}</dt>
      <dd><output>{number}</output> <Copy w={w} text={number} of={w.sends.to} /></dd>
      <dt>{w.sends.text}</dt>
      <dd><output>{text}</output> <Copy w={w} text={text} of={w.sends.text} /></dd>
    </dl>
  )
  return (
    <>
      {trouble && (
        <TroubleBox w={w} trouble={trouble} counted={w.counted.notCast}>
          <button type="button" class="main" onClick={again}>{w.startAgain}</button>
        </TroubleBox>
      )}
      <Heading w={w} poll={j.manifest.title} step={3} time={heard ? undefined : w.left(minute)}>{w.sends.title}</Heading>
      {!trouble && (
        <>
          {onPhone ? (
            <a class="button main" href={sms}>{w.sends.open}</a>
          ) : (
            <div class="scan">
              <QR text={`SMSTO:${number}:${text}`} label={w.sends.qr} />
              <div>
                <h2>{w.sends.scan}</h2>
                <p>{w.sends.scanText}</p>
              </div>
            </div>
          )}
          {!heard && <p class="clock">{w.left(w.span(left))}</p>}
          <p role="status" class={heard ? 'box good' : connected ? 'box busy' : 'box busy warn'}>
            {heard ? w.sends.heard : connected ? w.sends.waiting : w.sends.reconnecting}
          </p>
          <Live class="unseen">{!heard && mark && w.left(w.span(mark))}</Live>
          <h2>{w.sends.byHand}</h2>
          {byHand}
          <details>
            <summary>{w.sends.helpTitle}</summary>
            <ul>{w.sends.help(session.phoneEnd).map((h) => <li key={h}>{h}</li>)}</ul>
            <p><button type="button" class="plain" onClick={again}>{w.sends.change}</button></p>
          </details>
        </>
      )}
    </>
  )
}
