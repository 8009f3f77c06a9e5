import type { JSX } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'
import { api, downloads, Problem } from '../api'
import { said } from '../format'
import { Link, pathTo, tabs, type Tab } from '../router'
import { useNow, usePanel, useTitle } from '../state'
import type { IdentityKey, PollState, PollView } from '../types'
import { Action, languageName, mayDestroy, Progress, verbsIn, type Verb } from '../views/action'
import { Copy, Fields, KindBadge, Loading, Nothing, StateBadge, Trouble } from '../views/basics'
import { Turnout } from '../views/chart'
import { Icon } from '../views/icon'
import { Gauges, Refusals, Spread } from '../views/numbers'
import { Preview } from '../views/preview'
import { useWords } from '../words'
import { AuditTab } from './audit'
import { ResultTab } from './result'

const life: readonly PollState[] = ['draft', 'open', 'closed', 'counted', 'published']

export function PollScreen({ id, tab }: { id: string; tab: Tab }): JSX.Element {
  const { t, f, lang } = useWords()
  const { live, picture } = usePanel()
  const [view, setView] = useState<PollView | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [verb, setVerb] = useState<Verb | null>(null)
  const now = useNow(picture.skew)
  useEffect(() => live.watch(id), [live, id])

  const load = useCallback(() => {
    setError(null)
    api.poll(id).then(setView, setError)
  }, [id])
  // Somebody else's change shows here too: the state comes with the live numbers.
  const stats = picture.stats?.poll === id ? picture.stats : (view?.stats ?? null)
  const state = stats?.state ?? view?.manifest.state
  const closes = picture.overview?.polls?.find((p) => p.id === id)?.closes_at
  useEffect(load, [load, state, closes])
  useTitle(view ? said(view.manifest.title, lang) : id)

  if (error !== null && !view) {
    const gone = error instanceof Problem && error.code === 'poll-not-found'
    return (
      <main id="main" class="screen">
        <h1 class="hidden" tabIndex={-1}>{id}</h1>
        {gone ? <Nothing title={t.poll.gone}><Link class="button" to={pathTo.polls()}>{t.polls.title}</Link></Nothing> : <Trouble error={error} retry={load} />}
      </main>
    )
  }
  if (!view || !stats || !state) return <main id="main" class="screen"><h1 class="hidden" tabIndex={-1}>{id}</h1><Loading rows={6} /></main>
  const m = view.manifest
  const verbs = [...verbsIn[state], ...(mayDestroy(state, view.identity_key, now) ? ['destroy' as const] : [])]
  const at = life.indexOf(state === 'paused' ? 'open' : state)
  const counting = picture.stats?.poll === id ? picture.stats.counting : view.counting
  return (
    <main id="main" class="screen">
      <header class="poll-head">
        <div class="poll-title">
          <p class="poll-id"><code>{m.id}</code> <StateBadge state={state} /> <KindBadge kind={m.kind} /></p>
          <h1 tabIndex={-1}>{said(m.title, lang)}</h1>
        </div>
        <div class="poll-actions" role="group" aria-label={t.poll.actions}>
          {state === 'draft' && <Link class="button" to={pathTo.edit(id)}>{t.poll.edit}</Link>}
          {verbs.map((v, i) => (
            <button key={v} type="button" disabled={counting} class={`button ${i === 0 && state !== 'open' && v !== 'destroy' ? 'main' : ''} ${v === 'close' || v === 'destroy' ? 'danger-quiet' : ''}`} onClick={() => setVerb(v)} data-test={`do-${v}`}>
              {t.action[v].button}
            </button>
          ))}
          <Link class="button icon-only" to={pathTo.wall(id)} aria-label={t.wall.enter} title={t.wall.enter}><Icon shape="screen" /></Link>
        </div>
      </header>
      <ol class="life" aria-label={t.poll.life}>
        {life.map((s, i) => {
          const shown = s === 'open' && state === 'paused' ? 'paused' : s
          return (
            <li key={s} class={i < at ? 'past' : i === at ? 'now' : ''} aria-current={i === at ? 'step' : undefined}>
              <Icon shape={i < at ? 'good' : shown} size={14} /> {t.states[shown]}
            </li>
          )
        })}
      </ol>
      {counting && !verb && <Progress done={stats.count?.done ?? 0} total={stats.count?.total ?? stats.total} />}
      <nav class="tabs" aria-label={t.poll.tabsLabel}>
        {tabs.map((x) => <Link key={x} to={pathTo.poll(id, x)} aria-current={x === tab ? 'page' : undefined}>{t.poll.tabs[x]}</Link>)}
      </nav>
      {tab === 'numbers' && (
        <>
          <Gauges stats={stats} poll={{ ...m, closes_at: closes ?? m.closes_at }} now={now} />
          {state !== 'draft' && <Turnout stats={stats} now={now} />}
          {state !== 'draft' && <div class="pair"><Spread stats={stats} /><Refusals stats={stats} /></div>}
          <Fields class="facts" rows={[
            [t.poll.opens, f.when(m.opens_at)],
            [t.poll.closes, f.when(m.closes_at)],
            [t.poll.phone, `${t.poll.modes[m.verification.mode]}, ${t.poll.seconds(f.span(m.verification.seconds))}`],
            [t.poll.languages, t.common.list(m.languages.map((l) => languageName(l, lang)), f)],
            [t.poll.questions, f.num(m.questions.length)],
            [t.poll.sequence, f.num(m.sequence)],
            [t.poll.tallyKey, <span class="row"><code class="break">{m.ballot.tally_key.kid}</code><Copy text={m.ballot.tally_key.kid} /></span>],
            view.identity_key ? [t.poll.identityKey, <Kept id={id} state={state} idKey={view.identity_key} now={now} />] : null,
            m.reveal_tally_key ? [t.action.publish.title, t.poll.reveal] : null,
            m.seal_on_server ? [t.poll.scripts, t.poll.seal] : null,
          ]} />
        </>
      )}
      {tab === 'ballot' && <><h2 class="hidden">{t.poll.voterSees}</h2><Preview poll={m} /></>}
      {tab === 'result' && <ResultTab id={id} state={state} />}
      {tab === 'audit' && <AuditTab id={id} version={`${state} ${m.sequence}`} />}
      {verb && <Action verb={verb} view={view} onClose={() => { setVerb(null); load(); }} />}
    </main>
  )
}

/** Kept says what becomes of the identity key: why it cannot be destroyed yet, or that it is. */
function Kept({ id, state, idKey, now }: { id: string; state: PollState; idKey: IdentityKey; now: number }): JSX.Element {
  const { t, f } = useWords()
  const k = t.poll.idKey
  if (idKey.destroyed_at !== null) {
    return (
      <span class="row" data-test="key-destroyed">
        {k.destroyed(f.when(idKey.destroyed_at))}
        <a class="button small" href={downloads.certificate(id)} download data-test="certificate"><Icon shape="save" /> {k.certificate}</a>
      </span>
    )
  }
  const left = (Date.parse(idKey.kept_until) - now) / 1000
  return (
    <span data-test="key-kept">
      {left > 0 ? k.kept(f.when(idKey.kept_until), f.span(left)) : mayDestroy(state, idKey, now) ? k.may(f.when(idKey.kept_until)) : k.open}
    </span>
  )
}
