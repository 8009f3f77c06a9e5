// The page: what is loaded, which step is shown, and the frame around it.

import type { ComponentType } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

import type { Trouble } from '../api/client.ts'
import { fetchManifest, listPolls } from '../api/polls.ts'
import type { PollList } from '../api/types.ts'
import { begin, forgetAll, type Journey, lapsed, load, renew, save } from '../vote/journey.ts'
import { allowed, hashOf, same, type Step, stepOf } from '../vote/steps.ts'
import type { Words } from '../words/words.ts'
import { Frame } from './frame.tsx'
import { useNow } from './hooks.ts'
import { Heading, type Screen, stepped, TroubleBox } from './parts.tsx'
import { About } from './screens/about.tsx'
import { Ballot } from './screens/ballot.tsx'
import { Cast } from './screens/cast.tsx'
import { Cleared } from './screens/cleared.tsx'
import { Identity } from './screens/identity.tsx'
import { Over } from './screens/over.tsx'
import { Phone } from './screens/phone.tsx'
import { Polls } from './screens/polls.tsx'
import { Receipt } from './screens/receipt.tsx'
import { Receives } from './screens/receives.tsx'
import { Result } from './screens/result.tsx'
import { Review } from './screens/review.tsx'
import { Sends } from './screens/sends.tsx'
import { Waiting } from './screens/waiting.tsx'

/** `plain` is where the pages without scripts are: the API server serves those, wherever this page lies. */
export function App({ w, plain = `/plain/${w.lang}/` }: { w: Words; plain?: string }) {
  const [polls, setPolls] = useState<PollList['polls']>()
  const [journey, setJourney] = useState<Journey>()
  const [step, setStep] = useState<Step>({ name: 'about' })
  const [trouble, setTrouble] = useState<Trouble & { since: number }>()
  const [refused, refuse] = useState<string>()
  // What happens between two drawings of the page must see the newest journey, not the drawn one.
  const latest = useRef<Journey | undefined>(undefined)

  const fail = (t: Trouble) => setTrouble({ ...t, since: Date.now() })
  const set = (j: Journey) => {
    latest.current = j
    save(j)
    setJourney(j)
  }
  const show = (want: Step, how: 'push' | 'replace' | 'same') => {
    const to = latest.current ? allowed(want, latest.current) : want
    if (to.name !== 'identity') refuse(undefined)
    const url = `?poll=${latest.current?.manifest.id}${hashOf(to)}`
    if (how === 'push') history.pushState({ deep: deep() + 1 }, '', url)
    else if (how === 'replace' || !same(to, want)) history.replaceState({ deep: deep() }, '', url)
    setStep(to)
  }
  const go = (to: Step, replace = false) => {
    stepped()
    show(to, replace ? 'replace' : 'push')
  }

  const open = async (id: string) => {
    const kept = load(id)
    const start = (j: Journey) => {
      set(j)
      const want = stepOf(location.hash)
      show(want ?? { name: 'about' }, want ? 'same' : 'replace')
    }
    // What this tab has is shown at once; the manifest's news follow.
    if (kept) start(kept)
    const { value, trouble } = await fetchManifest(id, kept?.manifest)
    if (value) {
      const now = latest.current
      if (now) set(renew(now, value))
      else start(begin(value))
    } else if (!kept || trouble.code === 'not-genuine') fail(trouble)
  }

  const begin_ = async () => {
    setTrouble(undefined)
    // Without WebCrypto (plain http, or a very old browser) no ballot can be sealed: said at once.
    if (!('subtle' in crypto)) return fail({ code: 'browser-too-old', effect: 'not_applied' })
    const asked = new URLSearchParams(location.search).get('poll')
    if (asked) return open(asked)
    const { value, trouble } = await listPolls()
    if (trouble) return fail(trouble)
    const [only, ...others] = value.polls
    if (only && !others.length) return open(only.id)
    setPolls(value.polls)
  }

  useEffect(() => {
    void begin_()
    const moved = () => {
      stepped()
      if (latest.current) show(stepOf(location.hash) ?? { name: 'about' }, 'same')
    }
    addEventListener('popstate', moved)
    return () => removeEventListener('popstate', moved)
  }, [])

  const clear = () => {
    forgetAll()
    latest.current = undefined
    setJourney(undefined)
    stepped()
    history.replaceState(null, '', `?${hashOf({ name: 'cleared' })}`)
    setStep({ name: 'cleared' })
  }

  // Only a way back that stays within the page: a step that cannot be gone back to offers none.
  const back = ['identity', 'phone', 'wait', 'verify', 'ballot', 'review', 'result', 'check'].includes(step.name) && journey
    ? () => (deep() > 0 ? history.back() : go({ name: 'about' }, true))
    : undefined

  return (
    <Frame w={w} j={journey} step={step} back={back}>
      {trouble ? (
        <>
          <Heading w={w}>{w.somethingWrong}</Heading>
          <TroubleBox w={w} trouble={trouble} since={trouble.since} counted={w.counted.notCast} bare>
            <p><button type="button" onClick={() => void begin_()}>{w.tryAgain}</button></p>
          </TroubleBox>
        </>
      ) : step.name === 'cleared' ? (
        <Cleared key="cleared" w={w} />
      ) : journey ? (
        <Shown
          key={hashOf(step)}
          {...{ w, j: journey, set, go, step, refused, refuse, clear }}
          get={() => latest.current!}
        />
      ) : polls ? (
        <Polls w={w} polls={polls} />
      ) : (
        <>
          <Heading w={w}>{w.loading}</Heading>
          <noscript>
            <p class="box warn">{w.noScript}</p>
            <p><a class="button main" href={plain}>{w.noScriptLink}</a></p>
          </noscript>
        </>
      )}
    </Frame>
  )
}

const deep = (): number => (history.state as { deep?: number } | null)?.deep ?? 0

interface Shown extends Screen {
  step: Step
  refused: string | undefined
  refuse: (message: string) => void
  clear: () => void
  get: () => Journey
}

function Shown({ step, refused, refuse, clear, get, ...screen }: Shown) {
  const { w, j, set, go } = screen
  const filling = (step.name === 'ballot' || step.name === 'review') && !!j.verified
  const now = useNow(filling)
  if (filling && now >= j.verified!.deadline) {
    const again = () => {
      set(lapsed(j))
      go({ name: 'identity' })
    }
    return <Over w={w} j={j} title={w.over.ballotTitle} text={w.over.ballotText} again={again} />
  }
  switch (step.name) {
    case 'polls':
    case 'about':
      return <About {...screen} />
    case 'identity':
      return <Identity {...screen} refused={refused} />
    case 'phone':
      return <Phone {...screen} refuse={refuse} />
    case 'wait':
      return j.waiting ? <Waiting {...screen} get={get} /> : <Heading w={w} poll={j.manifest.title}>{w.loading}</Heading>
    case 'verify':
      if (!j.session) return <Heading w={w} poll={j.manifest.title}>{w.loading}</Heading>
      return j.session.verification.mode === 'voter_sends' ? <Sends {...screen} /> : <Receives {...screen} />
    case 'ballot':
      return <Ballot {...screen} n={step.n!} />
    case 'review':
      return <Review {...screen} />
    case 'cast':
      return <Cast {...screen} get={get} />
    case 'receipt':
      return j.receipt ? <Receipt {...screen} clear={clear} /> : null
    case 'result':
      return <Result {...screen} />
    case 'check':
      return <Later {...screen} />
    case 'cleared':
      return <Cleared w={w} />
  }
}

/** Checking a receipt: a file of its own, fetched only by those who do. */
function Later(screen: Screen) {
  const { w } = screen
  const [Check, setCheck] = useState<ComponentType<Screen>>()
  const [lost, setLost] = useState(false)
  useEffect(() => {
    void import('./screens/check.tsx').then((m) => setCheck(() => m.Check), () => setLost(true))
  }, [])
  if (Check) return <Check {...screen} />
  return (
    <>
      <Heading w={w}>{lost ? w.somethingWrong : w.loading}</Heading>
      {lost && (
        <TroubleBox w={w} trouble={{ code: 'no-answer', effect: 'not_applied' }} counted="" bare>
          <p><button type="button" onClick={() => location.reload()}>{w.tryAgain}</button></p>
        </TroubleBox>
      )}
    </>
  )
}
