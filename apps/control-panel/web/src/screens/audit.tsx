import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api, downloads } from '../api'
import { deed } from '../deed'
import { hex } from '../format'
import type { AuditView } from '../types'
import { Loading, Nothing, Trouble } from '../views/basics'
import { Icon } from '../views/icon'
import { useWords } from '../words'

/** pretty shows a detail's JSON as lines of name and value; anything else as it is. */
function pretty(detail: string): string {
  try {
    return JSON.stringify(JSON.parse(detail), null, 2)
  } catch {
    return detail
  }
}

export function AuditTab({ id, version }: { id: string; version: string }): JSX.Element {
  const { t, f } = useWords()
  const [view, setView] = useState<AuditView | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [filter, setFilter] = useState('')
  const [again, setAgain] = useState(0)
  useEffect(() => {
    let current = true
    setError(null)
    api.audit(id).then((v) => current && setView(v), (e: unknown) => current && setError(e))
    return () => {
      current = false
    }
  }, [id, version, again])

  if (error !== null) return <Trouble error={error} retry={() => setAgain((n) => n + 1)} />
  if (!view) return <Loading rows={5} />
  if (view.entries.length === 0) return <Nothing title={t.audit.empty} />
  const wanted = filter.trim().toLowerCase()
  const shown = [...view.entries].reverse().filter((e) =>
    wanted === '' || [e.actor, e.action, e.reason, deed(e, t)].some((x) => x.toLowerCase().includes(wanted)))
  return (
    <>
      <div class="tools">
        <p class={view.broken ? 'chain chain-broken' : 'chain'} role={view.broken ? 'alert' : undefined}>
          <Icon shape={view.broken ? 'bad' : 'good'} />
          {view.broken ? t.audit.broken(f.num(view.broken)) : t.audit.whole(f.num(view.entries.length))}
        </p>
        <label class="field inline end"><span class="hidden">{t.polls.filter}</span>
          <input type="search" value={filter} placeholder={t.audit.filterHint} onInput={(e) => setFilter(e.currentTarget.value)} />
        </label>
        <a class="button small" href={downloads.auditCSV(id)} download><Icon shape="save" /> {t.audit.csv}</a>
      </div>
      <div class="scroll">
        <table class="table audit">
          <thead>
            <tr>
              <th scope="col" class="number">{t.audit.columns.seq}</th>
              <th scope="col">{t.audit.columns.at} ({f.zone})</th>
              <th scope="col">{t.audit.columns.actor}</th>
              <th scope="col">{t.audit.columns.action}</th>
              <th scope="col">{t.audit.columns.reason}</th>
              <th scope="col">{t.audit.columns.hash}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((e) => (
              <tr key={e.seq}>
                <td class="number">{f.num(e.seq)}</td>
                <td class="nowrap"><time dateTime={e.at}>{f.day(e.at)} {f.time(e.at)}</time></td>
                <td class="nowrap">{e.actor}</td>
                <td class="nowrap"><b>{deed(e, t)}</b></td>
                <td class="grow">
                  {e.reason}
                  {e.detail && e.detail !== '{}' && (
                    <details><summary>{t.audit.detail}</summary><pre tabIndex={0}>{pretty(e.detail)}</pre></details>
                  )}
                </td>
                <td><code title={hex(e.hash)}>{hex(e.hash, 12)}</code></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  )
}
