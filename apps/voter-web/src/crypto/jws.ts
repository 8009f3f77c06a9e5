// JWS (RFC 7515) compact, ES256 and nothing else: the one form in which PopVote signs what a browser
// checks.

import type { JWK } from '../api/types.ts'
import { fromBase64, utf8 } from './bytes.ts'

/** Verifies a JWS with a P-256 key and returns its payload, parsed; throws when it does not hold. */
export async function verify(jws: string, key: JWK): Promise<unknown> {
  const [head, body, signature, ...rest] = jws.split('.')
  if (!head || !body || !signature || rest.length) throw new Error('not a compact JWS')
  const { alg, crit } = JSON.parse(text(head)) as { alg?: string; crit?: unknown }
  // The algorithm is ours to choose, not the message's.
  if (alg !== 'ES256' || crit !== undefined) throw new Error('not an ES256 JWS')
  const { kty, crv, x, y } = key
  const ec = { name: 'ECDSA', namedCurve: 'P-256' }
  const k = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, ec, false, ['verify'])
  const good = await crypto.subtle.verify(
    { name: 'ECDSA', hash: 'SHA-256' },
    k,
    fromBase64(signature),
    utf8(`${head}.${body}`),
  )
  if (!good) throw new Error('the signature does not hold')
  return JSON.parse(text(body))
}

const text = (part: string) => new TextDecoder('utf-8', { fatal: true }).decode(fromBase64(part))
