// Another company's check that somebody is a person, where the organiser asks for one. Its script runs in a frame of
// another origin, and says no more to this page than what became of it; what is typed here, it cannot see.

import { useEffect, useRef, useState } from 'preact/hooks'

import type { HumanCheck } from '../api/types.ts'
import { humanWords } from '../words/human.ts'
import type { Words } from '../words/words.ts'

/** What became of the check: nothing yet, a response to send once, or that it cannot be loaded here. */
export type Checked = { response?: string; failed?: boolean }

const states = ['waiting', 'open', 'passed', 'failed'] as const
interface Told {
  humanCheck: (typeof states)[number]
  response?: string
}

const told = (data: unknown): data is Told => states.includes((data as Told | null)?.humanCheck as Told['humanCheck'])

// Longer than the frame itself waits for the script: this is for a frame that does not come.
const patience = 20_000

/** Whose service sees the voter's address: said a screen before it does, and again beside it. */
export const Notice = ({ w, check }: { w: Words; check: HumanCheck }) => (
  <p class="hint">{humanWords[w.lang].notice(check.provider === 'turnstile' ? 'Cloudflare (Turnstile)' : 'hCaptcha')}</p>
)

/** What is wrong where somebody goes on without the check. */
export const first = (w: Words): string => humanWords[w.lang].first

export function Human({ w, check, poll, became }: { w: Words; check: HumanCheck; poll: string; became: (c: Checked) => void }) {
  const [loads, setLoads] = useState(0)
  const frame = useRef<HTMLIFrameElement>(null)
  const [tall, setTall] = useState(false)
  const [failed, setFailed] = useState(false)
  const words = humanWords[w.lang]
  const { origin } = new URL(check.page)
  const again = () => {
    setFailed(false)
    became({})
    setLoads(loads + 1)
  }
  useEffect(() => {
    const say = (c: Checked) => {
      setFailed(!!c.failed)
      became(c)
    }
    const late = setTimeout(() => say({ failed: true }), patience)
    const hear = ({ origin: from, source, data }: MessageEvent<unknown>) => {
      if (from !== origin || source !== frame.current?.contentWindow || !told(data)) return
      clearTimeout(late)
      setTall(data.humanCheck === 'open')
      if (data.humanCheck === 'failed') say({ failed: true })
      else say(data.humanCheck === 'passed' && typeof data.response === 'string' ? { response: data.response } : {})
    }
    addEventListener('message', hear)
    return () => (clearTimeout(late), removeEventListener('message', hear))
  }, [origin, loads])
  return (
    <div class="field">
      <Notice w={w} check={check} />
      <iframe
        key={loads}
        id="human"
        ref={frame}
        class={failed ? 'human gone' : tall ? 'human tall' : 'human'}
        title={words.title}
        src={check.page + w.lang}
        sandbox="allow-scripts allow-same-origin allow-forms allow-popups"
        referrerpolicy="no-referrer"
        onLoad={() => frame.current?.contentWindow?.postMessage({ humanCheck: 'hello', poll }, origin)}
      />
      <p role="status">{failed && words.failed}</p>
      {failed && <button type="button" onClick={again}>{words.again}</button>}
    </div>
  )
}
