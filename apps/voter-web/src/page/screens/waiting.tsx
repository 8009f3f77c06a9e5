import { useEffect, useRef, useState } from 'preact/hooks'

import type { Trouble } from '../../api/client.ts'
import { type Journey, opened } from '../../vote/journey.ts'
import { type InQueue, queue } from '../../vote/queue.ts'
import { useNow, useReturn } from '../hooks.ts'
import { Heading, Live, type Screen, TroubleBox } from '../parts.tsx'

// When the wait is spoken to those who do not see it, minutes.
const marks = [60, 30, 15, 10, 5, 2, 1]

/** Rounded up to what can be promised: ten seconds, then minutes, then five of them. */
export const promised = (seconds: number): number => {
  const unit = seconds <= 60 ? 10 : seconds <= 600 ? 60 : 300
  return Math.ceil(seconds / unit) * unit
}

/** Before step 1 is done, while more people come than are let in: where the voter stands, and nothing to do. */
export function Waiting({ w, j, set, go, get }: Screen & { get: () => Journey }) {
  const [connected, setConnected] = useState(true)
  const [ready, setReady] = useState(false)
  const [fresh, setFresh] = useState(false)
  const [trouble, setTrouble] = useState<Trouble & { since: number }>()
  const line = useRef<InQueue | undefined>(undefined)
  const now = useNow(!trouble)

  useEffect(() => {
    const q = queue(get, w.lang, {
      at: (waiting, anew) => {
        if (anew) setFresh(true)
        set({ ...get(), waiting })
      },
      opened: (session) => {
        set(opened(get(), session, get().waiting!.of.phone, Date.now()))
        go({ name: 'verify' }, true)
      },
      ready: () => setReady(true),
      connected: setConnected,
      trouble: (t) => {
        if (t.code !== 'human-check-required') return setTrouble({ ...t, since: Date.now() })
        // The place has run out, and a new one takes what only the screen before can ask for.
        const { waiting: _lost, ...rest } = get()
        set(rest)
        go({ name: 'phone' }, true)
      },
    })
    line.current = q
    return () => q.stop()
  }, [])
  useReturn(() => line.current?.nudge())

  const place = j.waiting!
  const left = Math.max(0, place.turn - now) / 1000
  const span = w.span(promised(left))
  const soon = left < 10
  const mark = marks.filter((m) => left <= m * 60).at(-1)
  return (
    <>
      {trouble && (
        <TroubleBox w={w} trouble={trouble} since={trouble.since} counted={w.counted.notCast}>
          <button type="button" class="main" onClick={() => go({ name: 'phone' })}>{w.tryAgain}</button>
        </TroubleBox>
      )}
      <Heading w={w} poll={j.manifest.title} step={2} time={ready ? w.queue.turn : soon ? undefined : span}>{w.queue.title}</Heading>
      {!trouble && (
        <>
          <p>{w.queue.text}</p>
          <p class="clock">{soon ? w.queue.soon : w.queue.left(span)}</p>
          {fresh && <p class="box warn" role="status">{w.queue.fresh}</p>}
          {place.turn > place.first + 30_000 && <p class="box warn" role="status">{w.queue.longer}</p>}
          <p role="status" class={connected ? 'box busy' : 'box busy warn'}>{connected ? w.queue.keep : w.queue.offline}</p>
          <Live class="unseen">{mark && (soon ? w.queue.soon : w.queue.left(w.span(mark * 60)))}</Live>
          <p>{w.queue.away}</p>
          <details>
            <summary>{w.sends.change}</summary>
            <p>{w.queue.change}</p>
            <p><button type="button" class="plain" onClick={() => go({ name: 'identity' })}>{w.queue.leave}</button></p>
          </details>
        </>
      )}
    </>
  )
}
