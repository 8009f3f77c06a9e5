import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { lines, nameOf, nearly, placeless, purses, reaches, refusals, silent, since, sums, type Line, type Purse, type Reach, type RouteState } from '../routes'
import { useNow, usePanel, useTitle } from '../state'
import type { RoutesView } from '../types'
import { Loading, Nothing, Section } from '../views/basics'
import { Icon, type Shape } from '../views/icon'
import { useWords } from '../words'

const shape: Record<RouteState, Shape> = { works: 'ok', away: 'down', rests: 'down', throttled: 'paused', trying: 'up', last: 'lower' }
const tone: Record<RouteState, string> = { works: 'ok', away: 'down', rests: 'down', throttled: 'degraded', trying: 'degraded', last: 'degraded' }

/** late is how old the picture may be before it is called old, seconds: four readings. */
const late = 20

export function RoutesScreen(): JSX.Element {
  const { t, f } = useWords()
  const { live, picture } = usePanel()
  const now = useNow(picture.skew)
  useTitle(t.sms.title)
  useEffect(() => live.watch(''), [live])
  const view = picture.routes
  const began = view && since(view)
  const age = view ? Math.max(0, Math.round((now - Date.parse(view.now)) / 1000)) : 0
  return (
    <main id="main" class="screen">
      <header class="screen-head">
        <h1 tabIndex={-1}>{t.sms.title}</h1>
        {age > late && <span class="pulse pulse-bad" data-test="routes-old"><Icon shape="bad" size={14} /> <span>{t.sms.old(f.span(age))}</span></span>}
      </header>
      {!view ? (
        <Loading rows={6} />
      ) : view.gateways.length === 0 ? (
        <Nothing title={t.sms.none}><p>{t.sms.noneHelp}</p></Nothing>
      ) : (
        <>
          <p class="quiet">{t.sms.what}{began && ` ${t.sms.since(f.when(began))}`}</p>
          <Silent view={view} />
          {lines(view).length === 0 ? (
            <Nothing title={t.sms.unheard}><p>{t.sms.unheardHelp}</p></Nothing>
          ) : (
            <>
              <Totals view={view} />
              <Table view={view} />
              <Countries view={view} />
              <Money view={view} />
              <Refused view={view} />
            </>
          )}
        </>
      )}
    </main>
  )
}

/** Silent names the gateways that said nothing: their numbers are in no sum. */
function Silent({ view }: { view: RoutesView }): JSX.Element | null {
  const { t } = useWords()
  const all = silent(view)
  if (all.length === 0) return null
  return (
    <div class="silent" role="status" data-test="silent">
      <ul class="sick">
        {all.map((g) => (
          <li key={g.address}><Icon shape={g.silent === 'older' ? 'degraded' : 'down'} size={14} /> <span class="break"><b>{g.cloud || g.address}</b>{g.cloud && g.address && <> <code>{g.address}</code></>} {t.sms.silent[g.silent ?? 'no_answer']}</span></li>
        ))}
      </ul>
    </div>
  )
}

function Totals({ view }: { view: RoutesView }): JSX.Element {
  const { t, f } = useWords()
  const all = sums(view)
  return (
    <dl class="leaders" aria-label={t.sms.totals.title}>
      <div class={all.works === 0 ? 'wrong' : ''}><dt>{t.sms.totals.works}</dt><dd>{all.works === 0 && <Icon shape="bad" />} {f.num(all.works)} / {f.num(all.routes)}</dd></div>
      <div><dt>{t.sms.columns.sent}</dt><dd data-test="sms-sent">{f.num(all.sent)}</dd></div>
      <div><dt>{t.sms.columns.delivered}</dt><dd>{f.num(all.delivered)}</dd></div>
      <div><dt>{t.sms.totals.used}</dt><dd>{all.used === null ? '—' : f.percent(all.used)}</dd></div>
    </dl>
  )
}

function Table({ view }: { view: RoutesView }): JSX.Element {
  const { t } = useWords()
  const c = t.sms.columns
  const all = lines(view)
  return (
    <Section id="routes" title={t.sms.routes} note={t.sms.routesNote}>
      <div class="scroll">
        <table class="table sky routes">
          <thead>
            <tr>
              <th scope="col">{c.route}</th>
              <th scope="col">{c.gateway}</th>
              <th scope="col">{c.state}</th>
              {(['sent', 'delivered', 'undelivered', 'failed', 'unknown', 'used', 'calls', 'hour', 'day'] as const).map((k) => <th key={k} scope="col" class="number">{c[k]}</th>)}
              <th scope="col">{c.trouble}</th>
            </tr>
          </thead>
          <tbody>{all.map((l) => <Row key={`${l.route.name} ${l.gateway.address ?? ''}`} line={l} view={view} />)}</tbody>
        </table>
      </div>
    </Section>
  )
}

function Row({ line: { gateway, report, route: r, state }, view }: { line: Line; view: RoutesView }): JSX.Element {
  const { t, f } = useWords()
  const c = t.sms.columns
  const money = (n: number): string => (report.currency ? f.money(n, report.currency) : '—')
  const settling = r.settled === 0
  return (
    <tr data-test={`route-${r.name}-${gateway.cloud ?? ''}`} data-state={state}>
      <th scope="row">{r.name} <small class="quiet">{r.kind}</small></th>
      <td class="quiet">{nameOf(view, gateway) || t.sms.here}</td>
      <td>
        <span class={`badge badge-${tone[state]}`}><Icon shape={shape[state]} size={14} />{t.sms.states[state]}</span>
        {r.rests_until && <small class="quiet"> {t.sms.until(f.time(r.rests_until))}</small>}
      </td>
      <td class="number" data-label={c.sent}>{f.num(r.sent)}</td>
      <td class="number" data-label={c.delivered}>{f.num(r.delivered)}</td>
      <td class="number" data-label={c.undelivered}>{f.num(r.undelivered)}</td>
      <td class="number" data-label={c.failed}>{f.num(r.failed)}</td>
      <td class="number" data-label={c.unknown}>{f.num(r.unknown)}</td>
      <td class="number" data-label={c.used}>{settling ? '—' : f.percent(r.used)}</td>
      <td class="number" data-label={c.calls}>{f.num(r.calls)}</td>
      <td class="number" data-label={c.hour}>{money(r.spent_hour)}</td>
      <td class="number" data-label={c.day}>{money(r.spent_day)}</td>
      <td class="routes-trouble" data-label={c.trouble}>
        {r.trouble ? <>{t.sms.troubles[r.trouble.what] ?? r.trouble.what} <time class="quiet" dateTime={r.trouble.at}>{f.day(r.trouble.at)} {f.time(r.trouble.at)}</time></> : <span class="quiet">{t.sms.noTrouble}</span>}
      </td>
    </tr>
  )
}

/** Countries are where the routes lead to, all gateways together. */
function Countries({ view }: { view: RoutesView }): JSX.Element {
  const { t, f } = useWords()
  const c = t.sms.columns
  const heads = [c.sent, c.delivered, c.undelivered, c.silent, c.failed, c.unknown, c.used, c.half, c.most, c.hour, c.day]
  const all = reaches(view)
  const one = all.every((r) => r.to === '+')
  const lost = placeless(view)
  return (
    <Section id="countries" title={t.sms.countries.title} note={t.sms.countries.note}>
      <div class="scroll">
        <table class="table sky routes reaches">
          <thead>
            <tr>
              <th scope="col">{c.country}</th>
              <th scope="col">{c.route}</th>
              {heads.map((h) => <th key={h} scope="col" class="number">{h}</th>)}
            </tr>
          </thead>
          <tbody>{all.map((r) => <ReachRow key={`${r.to} ${r.route}`} reach={r} to={r.to !== '+' ? r.to : one ? t.sms.everywhere : t.sms.elsewhere} />)}</tbody>
        </table>
      </div>
      {lost > 0 && <p class="quiet" data-test="placeless">{t.sms.countries.placeless(f.num(lost))}</p>}
    </Section>
  )
}

function ReachRow({ reach: r, to }: { reach: Reach; to: string }): JSX.Element {
  const { t, f } = useWords()
  const c = t.sms.columns
  const money = (n: number): string => (r.currency ? f.money(n, r.currency) : '—')
  const delay = (seconds: number | null): string => (seconds === null ? '—' : seconds === Infinity ? t.sms.longer : f.span(seconds))
  return (
    <tr data-test={`reach-${r.to}-${r.route}`}>
      <th scope="row">{to}</th>
      <td>{r.route}</td>
      <td class="number" data-label={c.sent}>{f.num(r.sent)}</td>
      <td class="number" data-label={c.delivered}>{f.num(r.delivered)}</td>
      <td class="number" data-label={c.undelivered}>{f.num(r.undelivered)}</td>
      <td class="number" data-label={c.silent}>{f.num(r.silent)}</td>
      <td class="number" data-label={c.failed}>{f.num(r.failed)}</td>
      <td class="number" data-label={c.unknown}>{f.num(r.unknown)}</td>
      <td class="number" data-label={c.used}>{r.used === null ? '—' : f.percent(r.used)}</td>
      <td class="number" data-label={c.half}>{delay(r.half)}</td>
      <td class="number" data-label={c.most}>{delay(r.most)}</td>
      <td class="number" data-label={c.hour}>{money(r.hour)}</td>
      <td class="number" data-label={c.day}>{money(r.day)}</td>
    </tr>
  )
}

function Money({ view }: { view: RoutesView }): JSX.Element {
  const { t } = useWords()
  const all = purses(view)
  const m = t.sms.money
  return (
    <Section id="money" title={m.title} note={m.note}>
      {all.length === 0 ? (
        <p class="quiet">{m.free}</p>
      ) : (
        <div class="scroll">
          <table class="table sky routes purses">
            <thead>
              <tr>
                <th scope="col">{m.to}</th>
                <th scope="col">{t.sms.columns.gateway}</th>
                <th scope="col">{t.sms.columns.state}</th>
                <th scope="col" class="number">{m.hour}</th>
                <th scope="col" class="number">{m.day}</th>
              </tr>
            </thead>
            <tbody>{all.map((p, i) => <PurseRow key={i} purse={p} view={view} />)}</tbody>
          </table>
        </div>
      )}
    </Section>
  )
}

function PurseRow({ purse: p, view }: { purse: Purse; view: RoutesView }): JSX.Element {
  const { t, f } = useWords()
  const m = t.sms.money
  const state = p.full >= 1 ? 'down' : p.full >= nearly ? 'degraded' : 'ok'
  const of = (n: number, cap: number): string => m.of(f.money(n, p.currency), f.money(cap, p.currency))
  return (
    <tr data-test={`purse-${p.to}-${p.gateway.cloud ?? ''}`} data-state={state}>
      <th scope="row">{p.to === 'all' ? m.all : p.to === '+' ? t.sms.elsewhere : p.to}</th>
      <td class="quiet">{nameOf(view, p.gateway) || t.sms.here}</td>
      <td><span class={`badge badge-${state}`}><Icon shape={state} size={14} />{m.full(f.percent(p.full))}</span></td>
      <td class="number" data-label={m.hour}>{of(p.hour, p.hourCap)}</td>
      <td class="number" data-label={m.day}>{of(p.day, p.dayCap)}</td>
    </tr>
  )
}

/** Refused are the messages that no route was asked to send, or no other. */
function Refused({ view }: { view: RoutesView }): JSX.Element {
  const { t, f } = useWords()
  const all = refusals(view)
  return (
    <Section id="sms-refused" title={t.sms.refused.title} note={t.sms.refused.note}>
      {all.length === 0 ? (
        <p class="quiet">{t.sms.refused.empty}</p>
      ) : (
        <ul class="tally">{all.map(([why, n]) => <li key={why}><span>{t.sms.refused.why[why] ?? why}</span><b>{f.num(n)}</b></li>)}</ul>
      )}
    </Section>
  )
}
