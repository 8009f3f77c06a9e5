import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { api } from '../api'
import { register } from '../passkey'
import { usePanel, useTitle } from '../state'
import type { Account, Notice, NoticeKind, Notices, Passkey, Proposal, ProposedVerb, SessionView } from '../types'
import { Modal } from '../views/action'
import { Loading, Proven, Section, Trouble } from '../views/basics'
import { Icon, type Shape } from '../views/icon'
import { useWords } from '../words'
import type { Messages } from '../words/en'

/** Register makes a passkey: of the session's account, or of one that is named here. */
export function Register({ named, onDone }: { named: boolean; onDone: () => void }): JSX.Element {
  const { t } = useWords()
  const [name, setName] = useState('')
  const [label, setLabel] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const ready = (named || name.trim().length >= 2) && label.trim() !== ''
  return (
    <form
      class="register"
      onSubmit={(e) => {
        e.preventDefault()
        if (!ready || busy) return
        setBusy(true)
        setError(null)
        register(named ? '' : name.trim(), label.trim()).then(() => {
          setLabel('')
          onDone()
        }, setError).finally(() => setBusy(false))
      }}
    >
      <fieldset class="bare" disabled={busy}>
        {!named && (
          <label class="field">
            <span>{t.operators.name}</span>
            <input value={name} maxLength={40} autocomplete="name" spellcheck={false} onInput={(e) => setName(e.currentTarget.value)} data-test="operator-name" />
          </label>
        )}
        <label class="field">
          <span>{t.operators.label}</span>
          <input value={label} maxLength={40} autocomplete="off" spellcheck={false} onInput={(e) => setLabel(e.currentTarget.value)} aria-describedby="label-hint" data-test="passkey-label" />
          <small class="hint" id="label-hint">{t.operators.labelHint}</small>
        </label>
      </fieldset>
      <p class="quiet">{t.operators.addWhat}</p>
      {error !== null && <Trouble error={error} />}
      <button type="submit" class="button main" disabled={!ready || busy} data-test="register">{busy ? t.operators.working : t.operators.register}</button>
    </form>
  )
}

/** EnrolScreen is all that there is for somebody who came by an invitation or a recovery link. */
export function EnrolScreen({ session, onDone }: { session: SessionView; onDone: () => void }): JSX.Element {
  const { t } = useWords()
  useTitle(t.operators.enrolTitle)
  return (
    <main id="main" class="login">
      <h1 tabIndex={-1}>{t.operators.enrolTitle}</h1>
      {session.named && <p><b>{t.operators.enrolFor(session.named)}</b></p>}
      <p>{t.operators.enrolWhat}</p>
      <Register named={Boolean(session.named)} onDone={onDone} />
    </main>
  )
}

/** OperatorsScreen lists who may enter, and lets passkeys be added and removed. `renew` asks who is logged in again. */
export function OperatorsScreen({ session, renew, told, see }: { session: SessionView; renew: () => void; told: Notices; see: () => void }): JSX.Element {
  const { t } = useWords()
  const { live } = usePanel()
  const [accounts, setAccounts] = useState<Account[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [leaving, setLeaving] = useState<{ passkey: Passkey; name: string } | null>(null)
  useTitle(t.operators.title)
  useEffect(() => live.watch(''), [live])
  const load = (): void => {
    setError(null)
    api.passkeys().then((d) => setAccounts(d.accounts), setError)
  }
  useEffect(load, [session])
  return (
    <main id="main" class="screen">
      <header class="screen-head"><h1 tabIndex={-1}>{t.operators.title}</h1></header>
      <p class="quiet">{t.operators.what}</p>
      {(session.operators_needed ?? 1) > 1 && <Proposals told={told} />}
      {told.notices.length > 0 && <NoticeList told={told} see={see} />}
      {error !== null && <Trouble error={error} retry={load} />}
      {error === null && accounts === null && <Loading rows={3} />}
      {accounts?.map((a) => (
        <Section key={a.name} id={`operator-${a.name}`} title={a.name} {...(a.mine ? { note: t.operators.you } : {})}>
          {a.passkeys.length === 0 ? <p class="note">{t.operators.none}</p> : <Passkeys account={a} onRemove={(passkey) => setLeaving({ passkey, name: a.name })} />}
        </Section>
      ))}
      {accounts && (
        <Section id="add-passkey" title={t.operators.add} class="narrow">
          {!session.passkeys ? (
            <div class="consequence tone-warn"><p><b>{t.operators.impossible}</b></p><p>{t.operators.impossibleHelp}</p></div>
          ) : (
            <>
              {!session.account && <div class="consequence tone-warn"><p>{t.operators.link}</p><p>{t.operators.linkNext}</p></div>}
              <Register named={session.account} onDone={session.account ? load : renew} />
            </>
          )}
        </Section>
      )}
      {leaving && <Remove passkey={leaving.passkey} name={leaving.name} onClose={() => setLeaving(null)} onDone={() => { setLeaving(null); load() }} />}
    </main>
  )
}

function Passkeys({ account, onRemove }: { account: Account; onRemove: (p: Passkey) => void }): JSX.Element {
  const { t, f } = useWords()
  const c = t.operators.columns
  return (
    <div class="scroll">
      <table class="table rows">
        <thead><tr><th scope="col">{c.label}</th><th scope="col">{c.added} ({f.zone})</th><th scope="col">{c.used} ({f.zone})</th><th scope="col"><span class="hidden">{t.operators.remove}</span></th></tr></thead>
        <tbody>
          {account.passkeys.map((p) => (
            <tr key={p.id} data-test="passkey">
              <th scope="row">{p.label} {p.current && <span class="badge badge-ok">{t.operators.current}</span>} {p.synced && <span class="badge">{t.operators.synced}</span>}</th>
              <td data-label={c.added}>{f.when(p.added_at)}</td>
              <td data-label={c.used}>{p.last_used_at ? f.when(p.last_used_at) : t.operators.never}</td>
              <td class="number"><button type="button" class="button small" onClick={() => onRemove(p)} aria-label={`${t.operators.remove} ${p.label}`}>{t.operators.remove}</button></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Remove({ passkey, name, onClose, onDone }: { passkey: Passkey; name: string; onClose: () => void; onDone: () => void }): JSX.Element {
  const { t } = useWords()
  const [reason, setReason] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const ready = reason.trim().length >= 3
  return (
    <Modal title={t.operators.removeTitle} onClose={onClose}>
      <p class="consequence tone-danger">{t.operators.removeWhat(passkey.label, name)}</p>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (!ready || busy) return
          setBusy(true)
          setError(null)
          api.removePasskey(passkey.id, reason.trim()).then(onDone, setError).finally(() => setBusy(false))
        }}
      >
        <label class="field">
          <span>{t.action.reason}</span>
          <textarea rows={2} maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} data-test="reason" />
        </label>
        {error !== null && <Trouble error={error} />}
        <Proven />
        <div class="modal-buttons">
          <button type="button" class="button" onClick={onClose}>{t.action.cancel}</button>
          <button type="submit" class="button danger" disabled={!ready || busy} data-test="remove-passkey">{busy ? t.action.working : t.operators.removeGo}</button>
        </div>
      </form>
    </Modal>
  )
}

/** alarming is what nobody of the house may have done; the rest is worth a look. */
const alarming: readonly NoticeKind[] = ['counter-regressed', 'recovery-made', 'passkey-refused', 'link-refused']

const few = 5

/** NoticeList tells of suspicious sign-ins, and of who was let in. */
function NoticeList({ told, see }: { told: Notices; see: () => void }): JSX.Element {
  const { t, f } = useWords()
  const [all, setAll] = useState(false)
  const unseen = told.notices.filter((n) => n.seq > told.seen).length
  const shown = all ? told.notices : told.notices.slice(0, Math.max(few, unseen))
  const shape = (n: Notice): Shape => (alarming.includes(n.kind) ? 'bad' : 'watch')
  return (
    <Section id="notices" title={t.operators.notices} {...(unseen > 0 ? { note: t.operators.unseen(f.num(unseen)) } : {})}
      aside={unseen > 0 ? <button type="button" class="button small" onClick={see} data-test="see-notices">{t.operators.see}</button> : undefined}>
      <ul class="notices">
        {shown.map((n) => (
          <li key={n.seq} class={`${alarming.includes(n.kind) ? 'alarming' : ''} ${n.seq > told.seen ? 'new' : ''}`} data-test="notice">
            <Icon shape={shape(n)} />
            <div>
              <p>{t.operators.kinds[n.kind]({ name: n.name ?? '', label: n.label ?? '', by: n.by, poll: n.poll ?? '', deed: n.verb ? deedOf(n.verb, t) : '', times: n.times ?? 1, count: f.num(n.times ?? 1) })}</p>
              {n.reason && <p class="quiet" lang="en">{n.reason}</p>}
            </div>
            <time dateTime={n.at}>{f.when(n.at)}</time>
          </li>
        ))}
      </ul>
      {shown.length < told.notices.length && <button type="button" class="linklike" onClick={() => setAll(true)}>{t.common.more}</button>}
    </Section>
  )
}

const deedOf = (verb: ProposedVerb, t: Messages): string => t.action[verb === 'destroy-key' ? 'destroy' : verb].title

/** Proposals wait for a second operator. */
function Proposals({ told }: { told: Notices }): JSX.Element {
  const { t, f } = useWords()
  const [list, setList] = useState<Proposal[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [ending, setEnding] = useState<{ proposal: Proposal; confirms: boolean } | null>(null)
  const load = (): void => {
    setError(null)
    api.proposals().then((d) => setList(d.proposals), setError)
  }
  useEffect(load, [told])
  return (
    <Section id="proposals" title={t.operators.waiting}>
      {error !== null && <Trouble error={error} retry={load} />}
      {list?.length === 0 && <p class="quiet">{t.operators.waitingNone}</p>}
      <ul class="notices">
        {list?.map((p) => (
          <li key={p.id} data-test="proposal">
            <Icon shape="paused" />
            <div>
              <p><b>{deedOf(p.verb, t)}</b> <code>{p.poll}</code>{p.closes_at && <> {f.when(p.closes_at)}</>}</p>
              <p>{p.by}: {p.reason}</p>
              <p class="quiet">{t.operators.until(f.when(p.until))}{p.mine && <> {t.operators.mine}</>}</p>
            </div>
            <span class="row end">
              {!p.mine && <button type="button" class="button small main" onClick={() => setEnding({ proposal: p, confirms: true })} data-test="confirm-proposal">{t.operators.confirm}</button>}
              <button type="button" class="button small" onClick={() => setEnding({ proposal: p, confirms: false })} data-test="withdraw-proposal">{t.operators.withdraw}</button>
            </span>
          </li>
        ))}
      </ul>
      {ending && <EndProposal {...ending} onClose={() => setEnding(null)} onDone={() => { setEnding(null); load() }} />}
    </Section>
  )
}

function EndProposal({ proposal: p, confirms, onClose, onDone }: { proposal: Proposal; confirms: boolean; onClose: () => void; onDone: () => void }): JSX.Element {
  const { t, f } = useWords()
  const [confirm, setConfirm] = useState('')
  const [reason, setReason] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const ready = confirm === p.poll && reason.trim().length >= 3
  const submit = async (): Promise<void> => {
    setBusy(true)
    setError(null)
    try {
      const d = { confirm, reason: reason.trim() }
      await (confirms ? api.confirmProposal(p.id, d) : api.withdrawProposal(p.id, d))
      onDone()
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Modal title={confirms ? deedOf(p.verb, t) : t.operators.withdrawTitle} onClose={onClose}>
      <p class={`consequence ${confirms ? 'tone-danger' : ''}`}>{(confirms ? t.operators.confirmWhat : t.operators.withdrawWhat)({ deed: deedOf(p.verb, t), poll: p.poll, by: p.by, reason: p.reason, until: p.closes_at ? f.when(p.closes_at) : '' })}</p>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (ready && !busy) void submit()
        }}
      >
        <label class="field">
          <span>{t.action.confirm(p.poll)}</span>
          <input value={confirm} onInput={(e) => setConfirm(e.currentTarget.value)} autocomplete="off" autocapitalize="none" spellcheck={false} class="code" placeholder={p.poll} data-test="confirm" />
        </label>
        <label class="field">
          <span>{t.action.reason}</span>
          <textarea rows={2} maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} data-test="reason" />
        </label>
        {error !== null && <Trouble error={error} />}
        {confirms && <Proven />}
        <div class="modal-buttons">
          <button type="button" class="button" onClick={onClose}>{t.action.cancel}</button>
          <button type="submit" class={`button ${confirms ? 'danger' : 'main'}`} disabled={!ready || busy} data-test="act">{busy ? t.action.working : confirms ? t.operators.confirmGo : t.operators.withdraw}</button>
        </div>
      </form>
    </Modal>
  )
}
