import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { ageOf, canariesReady, copiesIn, fresh, leaderNames, nodesIn, nodeStates, passing, stateOf, stateOfJob, total, whole, type CloudState, type JobState } from '../sky'
import { useNow, usePanel, useTitle } from '../state'
import type { Cloud, CloudMap, Job, Leader, Service, Source } from '../types'
import { Loading, Nothing, Section } from '../views/basics'
import { CloudAction, nameOf, type Wanted } from '../views/clouddeed'
import { Icon, type Shape } from '../views/icon'
import { useWords } from '../words'

const cloudShape: Record<CloudState, Shape> = { ready: 'ok', draining: 'lower', drained: 'paused', down: 'down', partly: 'degraded' }
const cloudTone: Record<CloudState, string> = { ready: 'ok', draining: 'degraded', drained: 'degraded', down: 'down', partly: 'degraded' }
const jobShape: Record<JobState, Shape> = { ok: 'ok', changing: 'up', less: 'degraded', failing: 'down' }
const jobTone: Record<JobState, string> = { ok: 'ok', changing: 'published', less: 'degraded', failing: 'down' }

export function CloudBadge({ state }: { state: CloudState }): JSX.Element {
  const { t } = useWords()
  return <span class={`badge badge-${cloudTone[state]}`}><Icon shape={cloudShape[state]} size={14} />{t.clouds.states[state]}</span>
}

export function CloudsScreen(): JSX.Element {
  const { t } = useWords()
  const { live, picture } = usePanel()
  const now = useNow(picture.skew)
  const [wanted, setWanted] = useState<Wanted | null>(null)
  useTitle(t.clouds.title)
  useEffect(() => live.watch(''), [live])
  const map = picture.clouds
  return (
    <main id="main" class="screen">
      <header class="screen-head">
        <h1 tabIndex={-1}>{t.clouds.title}</h1>
        {map && <div class="sources"><Says name="Nomad" source={map.nomad} now={now} /><Says name="Consul" source={map.consul} now={now} /></div>}
      </header>
      {!map ? (
        <Loading rows={6} />
      ) : !map.nomad.at && !map.consul.at ? (
        <Nothing title={map.nomad.failing ? t.clouds.never : t.clouds.asking}><p>{map.nomad.denied ? t.clouds.denied : t.clouds.neverHelp}</p></Nothing>
      ) : (
        <>
          <Leaders leaders={map.leaders} />
          <div class="clouds">{map.clouds.map((c) => <CloudCard key={c.name} cloud={c} map={map} ask={setWanted} />)}</div>
          <Jobs map={map} ask={setWanted} />
          {map.consul.asked && <Services map={map} />}
          <Deeds map={map} />
          {wanted && <CloudAction key={`${wanted.what} ${nameOf(wanted)}`} wanted={wanted} map={map} onClose={() => setWanted(null)} />}
        </>
      )}
    </main>
  )
}

/** Says tells how old what Nomad or Consul said is. */
function Says({ name, source, now }: { name: string; source: Source; now: number }): JSX.Element | null {
  const { t, f } = useWords()
  if (!source.asked) return null
  const age = ageOf(source, now)
  const good = fresh(source, now)
  return (
    <span class={`pulse pulse-${good ? 'good' : age === null && !source.failing ? 'idle' : 'bad'}`} data-test={`source-${name.toLowerCase()}`}>
      <Icon shape={good ? 'good' : 'bad'} size={14} />
      <span>{name}: {source.denied ? t.clouds.source.denied : age === null ? t.clouds.source.never : good ? t.clouds.source.now : t.clouds.source.old(f.span(age))}</span>
    </span>
  )
}

function Leaders({ leaders }: { leaders: readonly Leader[] }): JSX.Element {
  const { t } = useWords()
  return (
    <dl class="leaders" aria-label={t.clouds.leaders.title}>
      {leaders.map((l) => (
        <div key={l.of} class={whole(l) ? '' : 'wrong'} data-test={`leader-${l.of}`}>
          <dt>{l.of === 'postgresql' ? t.clouds.leaders.primary : t.clouds.leaders.leads(leaderNames[l.of])}</dt>
          <dd>
            {whole(l) ? null : <Icon shape="bad" />} {l.at.length === 0 ? t.clouds.leaders.nobody : l.at.map((p) => p.cloud || p.node).join(' + ')}
            {l.at.length > 1 && <small> {t.clouds.leaders.several}</small>}
          </dd>
        </div>
      ))}
    </dl>
  )
}

function CloudCard({ cloud, map, ask }: { cloud: Cloud; map: CloudMap; ask: (w: Wanted) => void }): JSX.Element {
  const { t, f } = useWords()
  const state = stateOf(cloud)
  const leads = map.leaders.filter((l) => l.at.some((p) => p.cloud === cloud.name)).map((l) => leaderNames[l.of])
  const drained = cloud.nodes.find((n) => n.by)
  const gone = cloud.nodes.some((n) => n.state === 'draining' || n.state === 'drained')
  return (
    <section class={`cloud cloud-${cloudTone[state]}`} aria-labelledby={`cloud-${cloud.name}`} data-test={`cloud-${cloud.name}`}>
      <header class="part-head"><h2 id={`cloud-${cloud.name}`}>{cloud.name}</h2><CloudBadge state={state} /></header>
      <p class="cloud-number"><b>{f.num(copiesIn(map, cloud.name))}</b> {t.clouds.copiesRun}</p>
      <p class="quiet">
        {nodeStates.filter((s) => nodesIn(cloud, s) > 0).map((s) => t.clouds.machines[s](nodesIn(cloud, s))).join(t.clouds.comma)}
      </p>
      {leads.length > 0 && <p>{t.clouds.leadsHere(t.common.list(leads, f))}</p>}
      {drained && <p class="cloud-why">{t.clouds.drainedBy(drained.by ?? '', drained.why ?? '')}</p>}
      <details>
        <summary>{t.clouds.each}</summary>
        <ul class="machines">
          {cloud.nodes.map((n) => <li key={n.name}><CloudBadge state={n.state} /> <span class="break">{n.name}</span> <small class="quiet">{n.pool}</small></li>)}
        </ul>
      </details>
      <p class="cloud-act">
        {gone && <button type="button" class="button small" onClick={() => ask({ what: 'undrain', cloud: cloud.name })} data-test={`undrain-${cloud.name}`}>{t.clouds.act.undrain.button}</button>}
        {nodesIn(cloud, 'ready') > 0 && <button type="button" class="button small danger-quiet" onClick={() => ask({ what: 'drain', cloud: cloud.name })} data-test={`drain-${cloud.name}`}>{t.clouds.act.drain.button}</button>}
      </p>
    </section>
  )
}

function Jobs({ map, ask }: { map: CloudMap; ask: (w: Wanted) => void }): JSX.Element {
  const { t } = useWords()
  return (
    <Section id="jobs" title={t.clouds.jobs.title} note={t.clouds.jobs.note}>
      {map.jobs.length === 0 ? (
        <p class="quiet">{t.clouds.jobs.empty}</p>
      ) : (
        <div class="scroll">
          <table class="table sky">
            <thead>
              <tr>
                <th scope="col">{t.clouds.jobs.job}</th>
                <th scope="col">{t.clouds.jobs.state}</th>
                <th scope="col" class="number">{t.clouds.jobs.running}</th>
                {map.clouds.map((c) => <th key={c.name} scope="col" class="number">{c.name}</th>)}
                <th scope="col" class="number">{t.clouds.jobs.version}</th>
                <th scope="col"><span class="hidden">{t.clouds.jobs.actions}</span></th>
              </tr>
            </thead>
            <tbody>{map.jobs.map((job) => <JobRow key={job.id} job={job} map={map} ask={ask} />)}</tbody>
          </table>
        </div>
      )}
    </Section>
  )
}

function JobRow({ job, map, ask }: { job: Job; map: CloudMap; ask: (w: Wanted) => void }): JSX.Element {
  const { t, f } = useWords()
  const state = stateOfJob(job)
  const d = job.deployment
  const j = t.clouds.jobs
  const old = total(job, 'old')
  return (
    <>
      <tr data-test={`job-${job.id}`} class={d ? 'has-more' : ''}>
        <th scope="row">{job.id}</th>
        <td>
          <span class={`badge badge-${jobTone[state]}`}><Icon shape={jobShape[state]} size={14} />{state === 'failing' ? j.failing(f.num(total(job, 'failing'))) : j.states[state]}</span>
        </td>
        <td class="number" data-label={j.running}>{f.num(total(job, 'running'))} / {f.num(total(job, 'desired'))}</td>
        {map.clouds.map((c) => (
          <td key={c.name} class="number" data-label={c.name}>{f.num(job.groups.reduce((n, g) => n + (g.clouds[c.name] ?? 0), 0))}</td>
        ))}
        <td class="number" data-label={j.version}>{f.num(job.version)}{old > 0 && <small class="quiet"> {j.old(f.num(old))}</small>}</td>
        <td class="sky-acts">
          {job.groups.map((group) => (
            <span key={group.name} class="row">
              {group.bounds && <button type="button" class="button small" disabled={d !== undefined} onClick={() => ask({ what: 'scale', job, group })} data-test={`scale-${job.id}`}>{t.clouds.act.scale.button}</button>}
              {group.move && <button type="button" class="button small" onClick={() => ask({ what: 'move', job, group })} data-test={`move-${job.id}`}>{t.clouds.act.move.button}</button>}
            </span>
          ))}
        </td>
      </tr>
      {d && (
        <tr class="more" data-test={`deployment-${job.id}`}>
          <td colSpan={5 + map.clouds.length}>
            <div class={`rollout ${d.waiting ? 'rollout-waits' : ''}`}>
              <p>
                <b>{j.deployment(f.num(d.version))}</b>{' '}
                {d.waiting
                  ? j.canaries(f.num(d.canaries.filter((c) => c.healthy).length), f.num(d.wanted), t.common.list([...new Set(d.canaries.map((c) => c.cloud))], f))
                  : j.rolling(f.num(old))}
                {d.canaries.some((c) => c.failing) && <span class="note"> {j.canaryFailing}</span>}
                {d.until && <span class="quiet"> {j.until(f.clock(d.until))}</span>}
              </p>
              {d.waiting && (
                <p class="row">
                  <button type="button" class="button small main" disabled={!canariesReady(job)} onClick={() => ask({ what: 'promote', job })} data-test={`promote-${job.id}`}>{t.clouds.act.promote.button}</button>
                  <button type="button" class="button small" onClick={() => ask({ what: 'fail', job })} data-test={`fail-${job.id}`}>{t.clouds.act.fail.button}</button>
                </p>
              )}
            </div>
          </td>
        </tr>
      )}
    </>
  )
}

function Services({ map }: { map: CloudMap }): JSX.Element {
  const { t } = useWords()
  // Databases and what is outside Nomad's clouds are in Consul's alone.
  const names = [...new Set([...map.clouds.map((c) => c.name), ...map.services.flatMap((s) => s.instances.map((i) => i.cloud))])].filter(Boolean).sort()
  return (
    <Section id="services" title={t.clouds.services.title} note={t.clouds.services.note}>
      {map.services.length === 0 ? (
        <p class="quiet">{t.clouds.services.empty}</p>
      ) : (
        <div class="scroll">
          <table class="table sky">
            <thead>
              <tr>
                <th scope="col">{t.clouds.services.service}</th>
                <th scope="col">{t.clouds.jobs.state}</th>
                <th scope="col" class="number">{t.clouds.services.healthy}</th>
                {names.map((c) => <th key={c} scope="col" class="number">{c}</th>)}
              </tr>
            </thead>
            <tbody>{map.services.map((s) => <ServiceRow key={s.name} service={s} clouds={names} />)}</tbody>
          </table>
        </div>
      )}
    </Section>
  )
}

function ServiceRow({ service: s, clouds }: { service: Service; clouds: readonly string[] }): JSX.Element {
  const { t, f } = useWords()
  const well = passing(s)
  const state = s.instances.length === 0 || well === 0 ? 'down' : well < s.instances.length ? 'degraded' : 'ok'
  const sick = s.instances.filter((i) => i.state !== 'passing')
  const of = (list: Service['instances']): string => (list.length === 0 ? '–' : `${f.num(list.filter((i) => i.state === 'passing').length)} / ${f.num(list.length)}`)
  return (
    <>
      <tr data-test={`service-${s.name}`} class={sick.length > 0 ? 'has-more' : ''}>
        <th scope="row">{s.name}</th>
        <td><span class={`badge badge-${state}`}><Icon shape={state} size={14} />{s.instances.length === 0 ? t.clouds.services.none : t.clouds.services.states[state]}</span></td>
        <td class="number" data-label={t.clouds.services.healthy}>{of(s.instances)}</td>
        {clouds.map((c) => <td key={c} class="number" data-label={c}>{of(s.instances.filter((i) => i.cloud === c))}</td>)}
      </tr>
      {sick.length > 0 && (
        <tr class="more">
          <td colSpan={3 + clouds.length}>
            <ul class="sick">
              {sick.map((i) => (
                <li key={i.address + i.node}><Icon shape={i.state === 'warning' ? 'degraded' : 'down'} size={14} /> <span class="break"><b>{i.cloud || i.node}</b> <code>{i.address}</code> <span lang="en" class="quiet">{i.says}</span></span></li>
              ))}
            </ul>
          </td>
        </tr>
      )}
    </>
  )
}

function Deeds({ map }: { map: CloudMap }): JSX.Element {
  const { t, f } = useWords()
  return (
    <Section id="deeds" title={t.clouds.done.title} note={t.clouds.done.note}>
      {map.deeds.length === 0 ? (
        <p class="quiet">{t.clouds.done.empty}</p>
      ) : (
        <ol class="changes" data-test="deeds">
          {map.deeds.map((d) => (
            <li key={d.at + d.to}>
              <time dateTime={d.at}>{f.day(d.at)} {f.short(d.at)}</time>
              <span><b>{t.clouds.deeds[d.what]} {d.to}</b>{d.what === 'scale' && d.detail ? ` (${d.detail})` : ''} · {d.actor}: {d.reason}</span>
            </li>
          ))}
        </ol>
      )}
    </Section>
  )
}
