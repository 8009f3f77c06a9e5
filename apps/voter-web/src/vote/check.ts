// Checking a receipt, at any later time: by its code, or more by the file that was saved.

import type { Trouble } from '../api/client.ts'
import { fetchManifest } from '../api/polls.ts'
import type { JWK, LeafProof, Manifest, Receipt } from '../api/types.ts'
import { fromBase64 } from '../crypto/bytes.ts'
import { checkLogged, type Place } from '../crypto/log.ts'
import { checkIssued, readCode } from '../crypto/receipt.ts'
import { findInLog, type Logged } from './logged.ts'

/** The file that the receipt's page saves, or the API's own answer. What is in it is not believed. */
export interface Saved {
  poll?: { signing_key?: JWK; log_key?: string } | undefined
  receipt: Receipt
  log?: LeafProof | undefined
}

/** What to check. */
export interface Want {
  poll: string
  code: string
  saved?: Saved
}

export type Found =
  | Logged
  /** The poll shows other keys than those in the file. */
  | { at: 'otherKey' }
  /** The poll did not issue what is in the file. */
  | { at: 'forged' }

export interface Checked {
  want: Want
  /** The newest, whose keys everything was checked by. */
  manifest: Manifest
  found: Found
  /** The file's own proof, from when it was saved, leads to the same place. */
  stayed: boolean
}

/** Reads what was typed or pasted: a code, or what the receipt's QR code says. */
export function readTyped(text: string, poll: string): Want | undefined {
  const [, id, rest] = /^\s*popvote\s+([a-z0-9][a-z0-9-]*)\s(.*)$/is.exec(text) ?? []
  const code = readCode(rest ?? text)
  return code ? { poll: id ?? poll, code } : undefined
}

/** Reads a saved receipt. */
export function readSaved(text: string): Want | undefined {
  try {
    const file = JSON.parse(text) as Partial<Saved> | null
    const receipt = (file?.receipt ?? file) as Partial<Receipt> | null
    const { poll, leaf, batch, index, path } = receipt ?? {}
    const code = readCode(receipt?.code ?? '')
    if (typeof poll !== 'string' || !code || typeof leaf !== 'string' || typeof batch !== 'string') return undefined
    if (typeof index !== 'number' || !Array.isArray(path)) return undefined
    return { poll, code, saved: { poll: file!.poll, log: file!.log, receipt: { poll, code, leaf, batch, index, path } } }
  } catch {
    return undefined
  }
}

/** Checks a receipt by the poll's newest manifest; `known` is one seen before, whose key must not have changed. */
export async function check(want: Want, known: Manifest): Promise<Checked | { trouble: Trouble }> {
  const { poll, code, saved } = want
  const { value: manifest, trouble } = await fetchManifest(poll, known.id === poll ? known : undefined)
  if (trouble) return { trouble }
  const checked = (found: Found, stayed = false): Checked => ({ want, manifest, found, stayed })
  if (!saved) return checked(await findInLog(manifest, { code }))

  const { signing_key: key, log_key } = saved.poll ?? {}
  const { x, y } = manifest.signing_key
  if ((key && (key.x !== x || key.y !== y)) || (log_key && log_key !== manifest.log_key)) return checked({ at: 'otherKey' })
  let before: Place | undefined
  try {
    await checkIssued(saved.receipt, poll, manifest.signing_key)
    before = saved.log && (await checkLogged(saved.log, manifest, fromBase64(saved.receipt.leaf)))
  } catch {
    return checked({ at: 'forged' })
  }
  const found = await findInLog(manifest, saved.receipt)
  return before && contradicts(before, found) ? checked({ at: 'wrong', proof: found.proof }) : checked(found, !!before)
}

/** A log only grows: what was in it is in it for ever, at its place. */
function contradicts(before: Place, found: Logged): found is Exclude<Logged, { at: 'trouble' }> {
  switch (found.at) {
    case 'in':
      return found.place.index !== before.index || (found.place.size === before.size && found.place.root !== before.root)
    case 'notYet':
    case 'missing':
      return found.size >= before.size
    default:
      return false
  }
}
