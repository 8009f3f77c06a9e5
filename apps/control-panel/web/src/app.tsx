import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { api, Problem, provesActs, whenLoggedOut } from './api'
import { Live } from './live'
import { Link, pathTo, Router, useRoute, type Route } from './router'
import { Account } from './screens/session'
import { CloudsScreen } from './screens/clouds'
import { DrillScreen, DrillsScreen } from './screens/drills'
import { EditScreen } from './screens/edit'
import { LoginScreen, tokenIn } from './screens/login'
import { EnrolScreen, OperatorsScreen } from './screens/operators'
import { OverviewScreen } from './screens/overview'
import { PollScreen } from './screens/poll'
import { PollsScreen } from './screens/polls'
import { RoutesScreen } from './screens/routes'
import { WallScreen } from './screens/wall'
import { Shared, useNow, usePanel, usePicture, useTitle } from './state'
import { applyTheme, rememberedTheme, type Theme } from './theme'
import { langs, type Lang, type Notices, type SessionView } from './types'
import { Loading, Nothing, Trouble } from './views/basics'
import { Icon } from './views/icon'
import { catalogue, remember, remembered, speechIn, useWords, Voice } from './words'

/** The link's secret is taken out of the address at once, so that it stays in no history. */
function takeToken(): string {
  const token = tokenIn(location.hash)
  if (location.hash.includes('login=')) history.replaceState(null, '', location.pathname + location.search)
  return token
}

type Session = { is: 'asking' } | { is: 'out'; token: string; ended: boolean } | { is: 'in'; view: SessionView } | { is: 'failed'; error: unknown }

export function App(): JSX.Element {
  const [lang, setLang] = useState<Lang>(remembered)
  const [session, setSession] = useState<Session>({ is: 'asking' })
  const speech = useMemo(() => speechIn(lang), [lang])

  useEffect(() => {
    document.documentElement.lang = lang
    remember(lang)
  }, [lang])

  const ask = (): void => {
    setSession({ is: 'asking' })
    api.session().then(
      (view) => {
        provesActs(view.account && !view.enrols)
        setSession({ is: 'in', view })
      },
      (error: unknown) => setSession(error instanceof Problem && error.status === 401 ? { is: 'out', token: '', ended: false } : { is: 'failed', error }),
    )
  }
  useEffect(() => {
    const arrive = (): void => {
      const token = takeToken()
      if (token) setSession({ is: 'out', token, ended: false })
      else ask()
    }
    arrive()
    // Pasting a second link into the same tab changes only the fragment.
    const again = (): void => {
      if (location.hash.includes('login=')) arrive()
    }
    addEventListener('hashchange', again)
    whenLoggedOut(() => setSession((s) => (s.is === 'in' ? { is: 'out', token: '', ended: true } : s)))
    return () => removeEventListener('hashchange', again)
  }, [])

  return (
    <Voice.Provider value={speech}>
      <Router>
        {session.is === 'in' && session.view.enrols ? (
          <Outside setLang={setLang}><EnrolScreen session={session.view} onDone={ask} /></Outside>
        ) : session.is === 'in' ? (
          <Inside session={session.view} renew={ask} setLang={setLang} onOut={() => setSession({ is: 'out', token: '', ended: false })} onEnded={() => setSession({ is: 'out', token: '', ended: true })} />
        ) : (
          <Outside setLang={setLang}>
            {session.is === 'out' ? <LoginScreen token={session.token} ended={session.ended} onIn={ask} />
              : session.is === 'failed' ? <main id="main" class="login"><h1 class="hidden" tabIndex={-1}>{speech.t.panel}</h1><Trouble error={session.error} retry={ask} /></main>
              : <main id="main" class="login"><h1 class="hidden" tabIndex={-1}>{speech.t.panel}</h1><Loading /></main>}
          </Outside>
        )}
      </Router>
    </Voice.Provider>
  )
}

function Outside({ setLang, children }: { setLang: (l: Lang) => void; children: JSX.Element }): JSX.Element {
  const { t } = useWords()
  return (
    <>
      <header class="bar">
        <span class="brand"><Mark /> PopVote <small>{t.panel}</small></span>
        <span class="bar-end"><Settings setLang={setLang} /></span>
      </header>
      {children}
    </>
  )
}

function Mark(): JSX.Element {
  return (
    <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true" class="mark">
      <rect width="32" height="32" rx="6" /><path d="M7 22h18M11 22v-7M16 22V9M21 22v-4" />
    </svg>
  )
}

function Inside({ session, renew, setLang, onOut, onEnded }: { session: SessionView; renew: () => void; setLang: (l: Lang) => void; onOut: () => void; onEnded: () => void }): JSX.Element {
  const { t, f } = useWords()
  const route = useRoute()
  const live = useMemo(() => new Live(''), [])
  useEffect(() => () => live.close(), [live])
  const picture = usePicture(live)
  useEffect(() => {
    if (picture.connection === 'ended') onEnded()
  }, [picture.connection])
  const panel = useMemo(() => ({ live, picture, session }), [live, picture, session])
  const newest = picture.overview?.notice ?? 0
  const [told, setTold] = useState<Notices>({ seen: 0, notices: [] })
  useEffect(() => {
    if (newest > 0) api.notices().then(setTold, () => undefined) // asked again with the next one
  }, [newest])
  const unseen = told.notices.filter((n) => n.seq > told.seen).length
  const see = (): void => {
    const last = told.notices[0]?.seq ?? 0
    api.sawNotices(last).then(() => setTold((now) => ({ ...now, seen: Math.max(now.seen, last) })), () => undefined)
  }
  const screen = <Screen route={route} known={session} renew={renew} told={told} see={see} />
  return (
    <Shared.Provider value={panel}>
      {route.name === 'wall' ? screen : (
        <>
          <a class="skip" href="#main">{t.skip}</a>
          <header class="bar">
            <Link class="brand" to={pathTo.overview()}><Mark /> PopVote <small>{t.panel}</small></Link>
            <nav aria-label={t.nav.label}>
              <NavLink to={pathTo.overview()} on={route.name === 'overview'}>{t.nav.overview}</NavLink>
              <NavLink to={pathTo.polls()} on={['polls', 'poll', 'edit'].includes(route.name)}>{t.nav.polls}</NavLink>
              <NavLink to={pathTo.create()} on={route.name === 'new'}>{t.nav.create}</NavLink>
              <NavLink to={pathTo.operators()} on={route.name === 'operators'}>{t.nav.operators}{unseen > 0 && <span class="unseen" data-test="unseen" aria-label={t.operators.unseen(f.num(unseen))}>{f.num(unseen)}</span>}</NavLink>
              {session.clouds && <NavLink to={pathTo.clouds()} on={route.name === 'clouds'}>{t.nav.clouds}</NavLink>}
              {session.routes && <NavLink to={pathTo.sms()} on={route.name === 'sms'}>{t.nav.sms}</NavLink>}
              {session.drills && <NavLink to={pathTo.drills()} on={['drills', 'drill'].includes(route.name)}>{t.nav.drills}</NavLink>}
            </nav>
            <span class="bar-end">
              <Pulse />
              <Settings setLang={setLang} />
              <Account session={session} onOut={onOut} />
            </span>
          </header>
          {screen}
        </>
      )}
    </Shared.Provider>
  )
}

function NavLink({ to, on, children }: { to: string; on: boolean; children: ComponentChildren }): JSX.Element {
  return <Link to={to} aria-current={on ? 'page' : undefined}>{children}</Link>
}

interface ScreenProps {
  route: Route
  known: SessionView
  renew: () => void
  told: Notices
  see: () => void
}

function Screen({ route, known, renew, told, see }: ScreenProps): JSX.Element {
  switch (route.name) {
    case 'overview': return <OverviewScreen poll={route.poll} />
    case 'polls': return <PollsScreen />
    case 'new': return <EditScreen key="new" />
    case 'edit': return <EditScreen key={route.id} id={route.id} />
    case 'poll': return <PollScreen key={route.id} id={route.id} tab={route.tab} />
    case 'wall': return <WallScreen id={route.id} />
    case 'operators': return <OperatorsScreen session={known} renew={renew} told={told} see={see} />
    case 'clouds': return known.clouds ? <CloudsScreen /> : <LostScreen />
    case 'sms': return known.routes ? <RoutesScreen /> : <LostScreen />
    case 'drills': return known.drills ? <DrillsScreen /> : <LostScreen />
    case 'drill': return known.drills ? <DrillScreen key={route.run} run={route.run} /> : <LostScreen />
    case 'lost': return <LostScreen />
  }
}

function LostScreen(): JSX.Element {
  const { t } = useWords()
  useTitle(t.lost.title)
  return (
    <main id="main" class="screen">
      <h1 class="hidden" tabIndex={-1}>{t.lost.title}</h1>
      <Nothing title={t.lost.title}><p>{t.lost.help}</p><Link class="button main" to={pathTo.overview()}>{t.lost.home}</Link></Nothing>
    </main>
  )
}

/** Pulse says whether what the screen shows is now, and if not, how old it is. */
function Pulse(): JSX.Element {
  const { t, f } = useWords()
  const { picture } = usePanel()
  const now = useNow(0)
  const { connection } = picture
  const at = Math.max(picture.statsAt, connection === 'old' ? 0 : picture.overviewAt)
  const age = Math.max(0, Math.round((now - at) / 1000))
  const span = f.span(age)
  const c = t.connection
  const text =
    connection === 'live' ? (age > 8 ? c.age(span) : c.live)
    : connection === 'old' ? c.old(span)
    : connection === 'lost' ? (at > 0 ? c.lost(span) : c.lostNew)
    : connection === 'ended' ? c.ended
    : c.connecting
  const level = connection === 'live' && age <= 8 ? 'good' : connection === 'connecting' ? 'idle' : 'bad'
  return (
    <span class={`pulse pulse-${level}`} data-test="pulse" title={f.clock(now + picture.skew)}>
      <Icon shape={level} size={14} /> <span>{text}</span>
    </span>
  )
}

function Settings({ setLang }: { setLang: (l: Lang) => void }): JSX.Element {
  const { t, lang } = useWords()
  const [theme, setTheme] = useState<Theme>(rememberedTheme)
  useEffect(() => applyTheme(theme), [theme])
  return (
    <>
      <label class="pick pick-theme">
        <span class="hidden">{t.nav.theme}</span>
        <select value={theme} onChange={(e) => setTheme(e.currentTarget.value as Theme)}>
          {(['system', 'light', 'dark'] as const).map((x) => <option key={x} value={x}>{t.theme[x]}</option>)}
        </select>
      </label>
      <label class="pick">
        <span class="hidden">{t.nav.lang}</span>
        <select value={lang} onChange={(e) => setLang(e.currentTarget.value as Lang)} data-test="lang">
          {langs.map((l) => <option key={l} value={l} lang={l}>{catalogue[l].name}</option>)}
        </select>
      </label>
    </>
  )
}
