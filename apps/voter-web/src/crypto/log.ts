// Checking that a ballot is in the log: C2SP's checkpoint, signed with Ed25519, and RFC 6962's path to
// its root.

import type { LeafProof, Manifest } from '../api/types.ts'
import { type Bytes, equal, fromBase64, sha256, utf8 } from './bytes.ts'
import { rootOf } from './receipt.ts'

/** What was proved: the ballot's place in a log of so many. */
export interface Place {
  index: number
  size: number
  /** base64 */
  root: string
  /** False where the browser has no Ed25519: then who signed the root is not known. */
  signed: boolean
}

/** Checks a proof for a leaf; throws, saying what does not hold. */
export async function checkLogged(proof: LeafProof, manifest: Manifest, leaf: Bytes): Promise<Place> {
  const head = await checkHead(proof.checkpoint, manifest)
  const { index, path } = proof
  if (index === undefined || !path) throw new Error('there is no path')
  const reached = await rootOf(leaf, index, head.size, path.map(fromBase64))
  if (!equal(reached, fromBase64(head.root))) throw new Error('the path does not lead to the root')
  return { index, ...head }
}

/** Checks a checkpoint; throws, saying what does not hold. */
export async function checkHead(checkpoint: string, manifest: Manifest): Promise<Omit<Place, 'index'>> {
  const end = checkpoint.indexOf('\n\n')
  const text = checkpoint.slice(0, end + 1)
  const [origin, count, root] = text.split('\n')
  const size = Number(count)
  if (end < 0 || !root || String(size) !== count) throw new Error('not a checkpoint')
  if (origin !== `popvote/${manifest.id}`) throw new Error('the checkpoint is of another log')
  return { size, root, signed: await signedBy(manifest.log_key, text, checkpoint.slice(end + 2)) }
}

/** Whether the key has signed; false where this browser cannot tell. Throws when it has not. */
async function signedBy(vkey: string, text: string, lines: string): Promise<boolean> {
  const [, name, hash, key] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? []
  const typed = fromBase64(key ?? '')
  // A signature's first four bytes say which key made it, and a key's hash is over its name too.
  const id = (await sha256(utf8(`${name}\n`), typed)).slice(0, 4)
  const hex = Array.from(id, (b) => b.toString(16).padStart(2, '0')).join('')
  if (typed.length !== 33 || typed[0] !== 1 || hex !== hash) throw new Error('not the key of a log')
  for (const line of lines.split('\n')) {
    const [, by, signature] = /^— (\S+) (\S+)$/.exec(line) ?? []
    const raw = fromBase64(signature ?? '')
    if (by !== name || !equal(raw.slice(0, 4), id)) continue
    const k = await ed25519(typed.slice(1))
    if (!k) return false
    if (await crypto.subtle.verify('Ed25519', k, raw.slice(4), utf8(text))) return true
    throw new Error('the signature of the checkpoint does not hold')
  }
  throw new Error('the log has not signed the checkpoint')
}

const ed25519 = (key: Bytes): Promise<CryptoKey | undefined> =>
  // Of 32 bytes every import succeeds where the algorithm is known.
  crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']).catch(() => undefined)
