import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { api } from '../api'
import { copiesIn, nodesIn, total } from '../sky'
import type { CloudDeed, CloudMap, Group, Job } from '../types'
import { useWords, type Speech } from '../words'
import { Emphasise, mark, Modal } from './action'
import { Proven, Trouble } from './basics'
import { Icon } from './icon'

/** Wanted is what an operator is about to have done. */
export type Wanted =
  | { what: 'drain' | 'undrain'; cloud: string }
  | { what: 'promote' | 'fail'; job: Job }
  | { what: 'scale' | 'move'; job: Job; group: Group }

export const nameOf = (w: Wanted): string => ('cloud' in w ? w.cloud : w.job.id)

/** toneOf: what takes something away looks like it. */
function toneOf(w: Wanted, to: number): 'main' | 'warn' | 'danger' {
  switch (w.what) {
    case 'drain':
      return 'danger'
    case 'fail':
      return 'warn'
    case 'scale':
      return to < w.group.desired ? 'warn' : 'main'
    default:
      return 'main'
  }
}

/** sentence says what will happen, with the numbers of this moment in it. */
export function sentence(w: Wanted, map: CloudMap, to: number, { t, f }: Speech): string {
  const a = t.clouds.act
  const num = (n: number): string => mark(f.num(n))
  switch (w.what) {
    case 'drain': {
      const cloud = map.clouds.find((c) => c.name === w.cloud)
      const ours = map.jobs.some((j) => j.id === 'control-panel' && j.groups.some((g) => (g.clouds[w.cloud] ?? 0) > 0))
      return a.drain.what({ cloud: mark(w.cloud), machines: num(cloud ? nodesIn(cloud, 'ready') : 0), copies: num(copiesIn(map, w.cloud)), ours })
    }
    case 'undrain': {
      const cloud = map.clouds.find((c) => c.name === w.cloud)
      return a.undrain.what({ cloud: mark(w.cloud), machines: num(cloud ? nodesIn(cloud, 'draining') + nodesIn(cloud, 'drained') : 0) })
    }
    case 'promote':
      return a.promote.what({ job: mark(w.job.id), version: num(w.job.deployment?.version ?? 0), copies: num(total(w.job, 'old')) })
    case 'fail':
      return a.fail.what({ job: mark(w.job.id), version: num(w.job.deployment?.version ?? 0), canaries: num(w.job.deployment?.canaries.length ?? 0) })
    case 'scale':
      return a.scale.what({ job: mark(w.job.id), from: num(w.group.desired), to: num(to), less: to < w.group.desired })
    case 'move':
      return a.move.what({
        job: mark(w.job.id), from: mark(w.group.move?.from ?? ''), to: mark(w.group.move?.to ?? ''),
        left: num(w.group.running - 1), of: num(w.group.desired),
      })
  }
}

function moreOf(w: Wanted, to: number): object {
  switch (w.what) {
    case 'promote':
    case 'fail':
      return { deployment: w.job.deployment?.id }
    case 'scale':
      return { group: w.group.name, from: w.group.desired, to }
    case 'move':
      return { group: w.group.name, cloud: w.group.move?.from }
    default:
      return {}
  }
}

/** CloudAction asks before anything is done to the clouds, as Action does before anything is done to a poll. */
export function CloudAction({ wanted, map, onClose }: { wanted: Wanted; map: CloudMap; onClose: () => void }): JSX.Element {
  const speech = useWords()
  const { t } = speech
  const name = nameOf(wanted)
  const [confirm, setConfirm] = useState('')
  const [reason, setReason] = useState('')
  const [to, setTo] = useState(wanted.what === 'scale' ? String(wanted.group.desired) : '')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [done, setDone] = useState<CloudDeed | null>(null)
  const words = t.clouds.act[wanted.what]
  const count = Number(to)
  const bounds = wanted.what === 'scale' ? wanted.group.bounds : undefined
  const allowed = !bounds || (to !== '' && Number.isInteger(count) && count >= bounds.min && count <= bounds.max)
  const other = wanted.what !== 'scale' || count !== wanted.group.desired
  const ready = confirm === name && reason.trim().length >= 3 && allowed && other
  const tone = toneOf(wanted, count)

  const submit = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      setDone((await api.cloud(wanted.what, name, { confirm, reason: reason.trim() }, moreOf(wanted, count))).deed)
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }

  if (done) {
    return (
      <Modal title={words.title} onClose={onClose}>
        <p class="done" role="status"><Icon shape="good" size={20} /> {t.clouds.begun}</p>
        <p>{t.clouds.logged}</p>
        <DeedCard deed={done} />
        <div class="modal-buttons">
          <button type="button" class="button main" onClick={onClose} autofocus>{t.clouds.back}</button>
        </div>
      </Modal>
    )
  }
  return (
    <Modal title={words.title} onClose={onClose}>
      <p class="modal-poll">{name}</p>
      <p class={`consequence tone-${tone}`}><Emphasise text={sentence(wanted, map, allowed ? count : 0, speech)} /></p>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (ready && !busy) void submit()
        }}
      >
        <fieldset disabled={busy} class="bare">
          {bounds && (
            <label class="field">
              <span>{t.clouds.act.scale.field}</span>
              <input type="number" inputMode="numeric" value={to} min={bounds.min} max={bounds.max} step={1} onInput={(e) => setTo(e.currentTarget.value)} aria-describedby="bounds" aria-invalid={!allowed} data-test="to" />
              <small class={`hint ${allowed ? '' : 'bad'}`} id="bounds">{t.clouds.act.scale.bounds(speech.f.num(bounds.min), speech.f.num(bounds.max))}</small>
            </label>
          )}
          <label class="field">
            <span>{t.action.confirm(name)}</span>
            <input value={confirm} onInput={(e) => setConfirm(e.currentTarget.value)} autocomplete="off" autocapitalize="none" spellcheck={false} class="code" placeholder={name} data-test="confirm" />
          </label>
          <label class="field">
            <span>{t.action.reason}</span>
            <textarea rows={2} maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} aria-describedby="reason-hint" data-test="reason" />
            <small class="hint" id="reason-hint">{t.clouds.reasonHint}</small>
          </label>
        </fieldset>
        {error !== null && <Trouble error={error} />}
        {!busy && <Proven />}
        <div class="modal-buttons">
          <button type="button" class="button" onClick={onClose}>{t.action.cancel}</button>
          <button type="submit" class={`button ${tone}`} disabled={!ready || busy} data-test="act">{busy ? t.action.working : words.go}</button>
        </div>
      </form>
    </Modal>
  )
}

export function DeedCard({ deed }: { deed: CloudDeed }): JSX.Element {
  const { t, f } = useWords()
  return (
    <dl class="entry">
      <div><dt>{t.audit.columns.at}</dt><dd>{f.day(deed.at)} {f.clock(deed.at)}</dd></div>
      <div><dt>{t.audit.columns.actor}</dt><dd>{deed.actor}</dd></div>
      <div><dt>{t.audit.columns.action}</dt><dd>{t.clouds.deeds[deed.what]} <b>{deed.to}</b></dd></div>
      <div class="entry-wide"><dt>{t.audit.columns.reason}</dt><dd>{deed.reason}</dd></div>
    </dl>
  )
}
