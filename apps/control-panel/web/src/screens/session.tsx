import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { api } from '../api'
import { go, pathTo } from '../router'
import type { SessionView } from '../types'
import { Modal } from '../views/action'
import { Copy, Trouble } from '../views/basics'
import { useWords } from '../words'

/** Account says who is logged in and how long, lets another device in, and logs out. */
export function Account({ session, onOut }: { session: SessionView; onOut: () => void }): JSX.Element {
  const { t, f } = useWords()
  const [open, setOpen] = useState(false)
  const [link, setLink] = useState<{ link: string; until: string; enrols: boolean } | null>(null)
  const [error, setError] = useState<unknown>(null)
  return (
    <>
      <button type="button" class="account" onClick={() => setOpen(true)} aria-haspopup="dialog">{session.actor}</button>
      {open && (
        <Modal title={session.actor} onClose={() => { setOpen(false); setLink(null); setError(null); }}>
          <p class="quiet">{t.session.until(f.when(session.until))}</p>
          {link && (
            <div class="link-card">
              <h3>{link.enrols ? t.session.inviteTitle : t.session.linkTitle}</h3>
              <p>{(link.enrols ? t.session.inviteWhat : t.session.linkWhat)(f.when(link.until))}</p>
              <p class="row"><code class="break">{link.link}</code> <Copy text={link.link} /></p>
            </div>
          )}
          {error !== null && <Trouble error={error} />}
          <div class="modal-buttons">
            {!link && <button type="button" class="button" onClick={() => void api.link().then(setLink, setError)} data-test="make-link">{session.account ? t.session.invite : t.session.link}</button>}
            <button type="button" class="button" onClick={() => { setOpen(false); go(pathTo.operators()) }} data-test="to-operators">{t.session.passkeys}</button>
            <button type="button" class="button" onClick={() => void api.logOut().then(onOut, setError)} data-test="log-out">{t.session.out}</button>
            <button type="button" class="button main" onClick={() => setOpen(false)}>{t.common.close}</button>
          </div>
        </Modal>
      )}
    </>
  )
}
