import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { csvOf, saveText } from '../csv'
import { said } from '../format'
import { Link, pathTo } from '../router'
import { usePanel, useTitle } from '../state'
import type { PollState, PollSummary } from '../types'
import { KindBadge, Loading, Nothing, StateBadge } from '../views/basics'
import { Icon } from '../views/icon'
import { useWords } from '../words'

type Column = 'title' | 'state' | 'opens' | 'closes'
const life: readonly PollState[] = ['draft', 'open', 'paused', 'closed', 'counted', 'published']

export function PollsScreen(): JSX.Element {
  const { t, f, lang } = useWords()
  const { live, picture } = usePanel()
  const polls = picture.overview?.polls ?? null
  const [filter, setFilter] = useState('')
  const [state, setState] = useState<PollState | ''>('')
  const [sort, setSort] = useState<{ by: Column; down: boolean }>({ by: 'opens', down: true })
  useTitle(t.polls.title)
  useEffect(() => live.watch(''), [live])

  const shown = useMemo(() => {
    const wanted = filter.trim().toLowerCase()
    const key: Record<Column, (p: PollSummary) => string | number> = {
      title: (p) => said(p.title, lang),
      state: (p) => life.indexOf(p.state),
      opens: (p) => Date.parse(p.opens_at),
      closes: (p) => Date.parse(p.closes_at),
    }
    const compare = (a: PollSummary, b: PollSummary): number => {
      const [x, y] = [key[sort.by](a), key[sort.by](b)]
      const order = typeof x === 'string' ? x.localeCompare(String(y), lang) : x - Number(y)
      return sort.down ? -order : order
    }
    return (polls ?? [])
      .filter((p) => state === '' || p.state === state)
      .filter((p) => wanted === '' || p.id.includes(wanted) || Object.values(p.title).some((x) => x?.toLowerCase().includes(wanted)))
      .sort(compare)
  }, [polls, filter, state, sort, lang])

  const head = (by: Column, label: string): JSX.Element => (
    <th scope="col" aria-sort={sort.by === by ? (sort.down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" onClick={() => setSort({ by, down: sort.by === by ? !sort.down : false })} title={t.polls.sort(label)}>
        {label} {sort.by === by && <Icon shape={sort.down ? 'lower' : 'up'} size={12} />}
      </button>
    </th>
  )

  return (
    <main id="main" class="screen">
      <header class="screen-head">
        <h1 tabIndex={-1}>{t.polls.title}</h1>
        <Link class="button main" to={pathTo.create()}><Icon shape="plus" /> {t.nav.create}</Link>
      </header>
      {polls === null ? (
        <Loading rows={4} />
      ) : polls.length === 0 ? (
        <Nothing title={t.polls.none}><p>{t.polls.noneHelp}</p></Nothing>
      ) : (
        <>
          <div class="tools">
            <label class="field inline"><span>{t.polls.filter}</span>
              <input type="search" value={filter} placeholder={t.polls.filterHint} onInput={(e) => setFilter(e.currentTarget.value)} />
            </label>
            <label class="field inline"><span>{t.polls.state}</span>
              <select value={state} onChange={(e) => setState(e.currentTarget.value as PollState | '')}>
                <option value="">{t.polls.anyState}</option>
                {life.map((s) => <option key={s} value={s}>{t.states[s]}</option>)}
              </select>
            </label>
            <span class="quiet" role="status">{t.polls.count(f.num(shown.length), f.num(polls.length))}</span>
            <button type="button" class="button small end" onClick={() => saveText('polls.csv', csvOf([
              ['id', 'title', 'state', 'kind', 'opens_at', 'closes_at'],
              ...shown.map((p) => [p.id, said(p.title, lang), p.state, p.kind, p.opens_at, p.closes_at]),
            ]))}><Icon shape="save" /> {t.polls.csv}</button>
          </div>
          {shown.length === 0 ? (
            <Nothing title={t.polls.noMatch}>
              <button type="button" class="button" onClick={() => { setFilter(''); setState(''); }}>{t.polls.clear}</button>
            </Nothing>
          ) : (
            <div class="scroll">
              <table class="table rows">
                <thead>
                  <tr>{head('title', t.polls.columns.title)}{head('state', t.polls.columns.state)}{head('opens', t.polls.columns.opens)}{head('closes', t.polls.columns.closes)}</tr>
                </thead>
                <tbody>
                  {shown.map((p) => (
                    <tr key={p.id}>
                      <th scope="row"><Link to={pathTo.poll(p.id)}>{said(p.title, lang)}</Link> <code class="quiet">{p.id}</code></th>
                      <td><StateBadge state={p.state} /> <KindBadge kind={p.kind} /></td>
                      <td data-label={t.polls.columns.opens}>{f.when(p.opens_at)}</td>
                      <td data-label={t.polls.columns.closes}>{f.when(p.closes_at)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </>
      )}
    </main>
  )
}
