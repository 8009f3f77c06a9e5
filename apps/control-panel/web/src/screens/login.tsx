import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { api, Problem } from '../api'
import { signIn } from '../passkey'
import { useTitle } from '../state'
import { Trouble } from '../views/basics'
import { Icon } from '../views/icon'
import { useWords } from '../words'

/** tokenIn finds the secret in a log-in link, or in its fragment alone. */
export function tokenIn(link: string): string {
  return /#?login=([\w-]{20,})\s*$/.exec(link.trim())?.[1] ?? (/^[\w-]{40,}$/.test(link.trim()) ? link.trim() : '')
}

export function LoginScreen({ token, ended, onIn }: { token: string; ended: boolean; onIn: () => void }): JSX.Element {
  const { t } = useWords()
  const [link, setLink] = useState('')
  const [bad, setBad] = useState(false)
  const [busy, setBusy] = useState(token !== '')
  const [error, setError] = useState<unknown>(null)
  // Until the server says otherwise, there is the link.
  const [passkeys, setPasskeys] = useState(false)
  useTitle(t.login.title)
  useEffect(() => {
    api.doors().then((d) => setPasskeys(d.passkeys && d.possible), () => undefined)
  }, [error])

  const use = (secret: string): void => {
    setBusy(true)
    setError(null)
    api.logIn(secret).then(onIn, (e: unknown) => {
      setError(e)
      setBusy(false)
    })
  }
  const usePasskey = (): void => {
    setBusy(true)
    setError(null)
    signIn().then(onIn, (e: unknown) => {
      setError(e)
      setBusy(false)
    })
  }
  // A link works once: using it twice would refuse the log-in that just succeeded.
  const used = useRef('')
  useEffect(() => {
    if (!token || used.current === token) return
    used.current = token
    use(token)
  }, [token])

  const spent = error instanceof Problem && error.code === 'link-spent'
  return (
    <main id="main" class="login">
      <h1 tabIndex={-1}>{t.login.title}</h1>
      {ended && <p class="consequence tone-warn">{t.login.ended}</p>}
      {busy ? (
        <p role="status">{t.login.working}</p>
      ) : (
        <>
          {spent ? (
            <div class="trouble" role="alert"><Icon shape="bad" /><div><p class="trouble-title">{t.login.spent}</p><p>{t.login.spentHelp}</p></div></div>
          ) : error !== null ? (
            <Trouble error={error} />
          ) : null}
          {passkeys ? (
            <>
              <button type="button" class="button main" onClick={usePasskey} data-test="passkey-login">{t.login.passkey}</button>
              <p class="quiet">{t.login.passkeyWhat}</p>
              <details><summary>{t.login.lost}</summary><p>{t.login.lostHelp}</p></details>
            </>
          ) : (
            <>
              <p>{t.login.need}</p>
              <p class="quiet">{t.login.where}</p>
            </>
          )}
          <form
            onSubmit={(e) => {
              e.preventDefault()
              const secret = tokenIn(link)
              setBad(secret === '')
              if (secret) use(secret)
            }}
          >
            <label class="field">
              <span>{passkeys ? t.login.haveInvite : t.login.have}</span>
              <input type="password" value={link} onInput={(e) => setLink(e.currentTarget.value)} autocomplete="off" spellcheck={false} aria-invalid={bad} aria-describedby={bad ? 'bad-link' : undefined} />
              {bad && <small class="hint bad" id="bad-link" role="alert">{t.login.badLink}</small>}
            </label>
            <button type="submit" class={passkeys ? 'button' : 'button main'}>{t.login.go}</button>
          </form>
        </>
      )}
    </main>
  )
}
