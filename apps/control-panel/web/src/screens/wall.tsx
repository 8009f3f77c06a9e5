import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { said } from '../format'
import { go, Link, pathTo } from '../router'
import { useNow, usePanel, useTitle } from '../state'
import { judge } from '../verdict'
import { KindBadge, StateBadge } from '../views/basics'
import { Turnout } from '../views/chart'
import { Gauges } from '../views/numbers'
import { PartBadge } from '../views/basics'
import { useWords } from '../words'
import { useShown, VerdictLine } from './overview'

/** WallScreen is for the big screen in the room: readable from ten metres, nothing to touch. */
export function WallScreen({ id }: { id: string }): JSX.Element {
  const { t, f, lang } = useWords()
  const { picture } = usePanel()
  const now = useNow(picture.skew)
  const poll = useShown(id)
  const stats = poll && picture.stats?.poll === poll.id ? picture.stats : null
  const parts = picture.overview?.parts ?? []
  useTitle(t.nav.wall)

  useEffect(() => {
    const before = document.documentElement.dataset.theme
    document.documentElement.dataset.theme = 'dark'
    // A wall that goes dark after ten minutes is no wall. Not every browser can promise it.
    let lock: WakeLockSentinel | undefined
    const hold = (): void => {
      if ('wakeLock' in navigator) void navigator.wakeLock.request('screen').then((l) => (lock = l), () => undefined)
    }
    const leave = (e: KeyboardEvent): void => {
      if (e.key === 'Escape') go(pathTo.overview(id))
    }
    hold()
    document.addEventListener('visibilitychange', hold)
    addEventListener('keydown', leave)
    return () => {
      if (before) document.documentElement.dataset.theme = before
      else delete document.documentElement.dataset.theme
      document.removeEventListener('visibilitychange', hold)
      removeEventListener('keydown', leave)
      void lock?.release()
    }
  }, [id])

  return (
    <main id="main" class="wall">
      <header class="wall-head">
        <h1 tabIndex={-1}>{poll ? said(poll.title, lang) : t.nav.wall}</h1>
        {poll && <><StateBadge state={stats?.state ?? poll.state} /><KindBadge kind={poll.kind} /></>}
        <span class="wall-clock">{f.clock(now)}</span>
        <Link class="wall-leave" to={pathTo.overview(id)}>{t.wall.leave}</Link>
      </header>
      <VerdictLine verdict={judge({
        poll, polls: picture.overview?.polls ?? null, stats, parts, connection: picture.connection, troubleLately: picture.troubleLately, now,
      })} now={now} />
      {poll && stats && <Gauges stats={stats} poll={poll} now={now} />}
      <div class="wall-curve">{stats && <Turnout stats={stats} now={now} tall plain />}</div>
      <footer class="wall-parts">
        {parts.map((p) => <span key={p.name + (p.cloud ?? '')}>{p.name} <PartBadge state={p.state} /></span>)}
        {picture.statsAt > 0 && <span class="wall-age">{t.wall.asOf(f.clock(picture.statsAt + picture.skew))}</span>}
      </footer>
    </main>
  )
}
