import { useEffect, useRef, useState } from 'preact/hooks'

import type { LeafProof, Manifest, Receipt } from '../api/types.ts'
import { findInLog, type Logged } from '../vote/logged.ts'
import { backoff, sleep } from '../vote/wait.ts'
import type { Words } from '../words/words.ts'
import { useReturn } from './hooks.ts'
import { Live, said } from './parts.tsx'

/** Whether a receipt's ballot is in the public log. It looks again by itself, ever more rarely. */
export function InLog({ w, manifest, receipt, found }: { w: Words; manifest: Manifest; receipt: Receipt; found?: (p: LeafProof) => void }) {
  const [logged, setLogged] = useState<Logged>()
  const [asked, ask] = useState(0)
  const done = useRef(false)
  const again = () => ask((n) => n + 1)
  useReturn(() => !done.current && again())
  useEffect(() => {
    const over = new AbortController()
    const shown = () => !over.signal.aborted
    const look = async () => {
      for (let n = 4; shown(); n++) {
        const now = await findInLog(manifest, receipt)
        if (!shown()) return
        setLogged(now)
        if (now.at === 'in') {
          done.current = true
          return found?.(now.proof)
        }
        await sleep(backoff(n, 600_000), over.signal)
      }
    }
    void look()
    return () => over.abort()
  }, [asked])
  const { log } = w.receipt
  const number = (n: number) => new Intl.NumberFormat(w.locale).format(n)
  return (
    <>
      <h2>{log.title}</h2>
      {!logged && <Live>{log.looking}</Live>}
      {logged?.at === 'in' && (
        <>
          <ul class="checks"><li>{log.in(number(logged.place.index + 1), number(logged.place.size))}</li></ul>
          <p class="hint">{logged.place.signed ? log.signed : log.unsigned}</p>
        </>
      )}
      {logged?.at === 'notYet' && <Live>{log.notYet}</Live>}
      {(logged?.at === 'wrong' || logged?.at === 'missing') && <p class="box danger" role="alert">{log[logged.at]}</p>}
      {logged?.at === 'trouble' && <Live>{said(w, logged.trouble)[0]}{w.gap}{log.stands}</Live>}
      {logged && logged.at !== 'in' && <p class="unprinted"><button type="button" onClick={again}>{log.again}</button></p>}
    </>
  )
}
