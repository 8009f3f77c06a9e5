// What the browser's authenticators are asked for and answer, in the server's JSON (WebAuthn Level 3 §5.1.8 to
// §5.1.10, written out because not every browser in use has parse…OptionsFromJSON and toJSON).

import { api, Problem } from './api'

interface Descriptor {
  type: 'public-key'
  id: string
  transports?: AuthenticatorTransport[]
}

export interface CreationOptions extends Omit<PublicKeyCredentialCreationOptions, 'challenge' | 'user' | 'excludeCredentials'> {
  challenge: string
  user: { id: string; name: string; displayName: string }
  excludeCredentials?: Descriptor[]
}

export interface RequestOptions extends Omit<PublicKeyCredentialRequestOptions, 'challenge' | 'allowCredentials'> {
  challenge: string
  allowCredentials?: Descriptor[]
}

/** bytes reads base64url. */
function bytes(encoded: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(encoded.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
}

/** base64url writes it. */
export function base64url(buffer: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
}

const known = (list: Descriptor[] | undefined): PublicKeyCredentialDescriptor[] =>
  (list ?? []).map((d) => ({ ...d, id: bytes(d.id) }))

/** asked gives what a browser refuses the words of a problem: mostly somebody pressed Cancel. */
async function asked(what: Promise<Credential | null>): Promise<PublicKeyCredential> {
  let credential: Credential | null
  try {
    credential = await what
  } catch (e) {
    const name = e instanceof DOMException ? e.name : ''
    const code = name === 'InvalidStateError' ? 'passkey-known' : name === 'SecurityError' ? 'passkeys-impossible' : 'passkey-cancelled'
    throw new Problem({ code, effect: 'not_applied' })
  }
  if (!(credential instanceof PublicKeyCredential)) throw new Problem({ code: 'passkey-cancelled', effect: 'not_applied' })
  return credential
}

function head(c: PublicKeyCredential): object {
  return {
    id: c.id, rawId: base64url(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
    ...(c.authenticatorAttachment ? { authenticatorAttachment: c.authenticatorAttachment } : {}),
  }
}

/** register makes a passkey and has it kept. */
export async function register(name: string, label: string): Promise<void> {
  const { ceremony, options } = await api.beginPasskey(name)
  const c = await asked(navigator.credentials.create({
    publicKey: {
      ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: known(options.excludeCredentials),
    },
  }))
  const response = c.response as AuthenticatorAttestationResponse
  await api.addPasskey(ceremony, {
    ...head(c),
    response: {
      clientDataJSON: base64url(response.clientDataJSON), attestationObject: base64url(response.attestationObject), transports: response.getTransports(),
    },
  }, label)
}

/** answer has a passkey answer a challenge. */
export async function answer(options: RequestOptions): Promise<unknown> {
  const c = await asked(navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: known(options.allowCredentials) },
  }))
  const response = c.response as AuthenticatorAssertionResponse
  return {
    ...head(c),
    response: {
      clientDataJSON: base64url(response.clientDataJSON), authenticatorData: base64url(response.authenticatorData), signature: base64url(response.signature),
      ...(response.userHandle ? { userHandle: base64url(response.userHandle) } : {}),
    },
  }
}

/** signIn logs in with whatever passkey the operator chooses. */
export async function signIn(): Promise<void> {
  const { ceremony, options } = await api.beginSignIn()
  await api.signIn(ceremony, await answer(options))
}
