// Whether a ballot is in the public log: asked, and checked here.

import { ask, type Trouble } from '../api/client.ts'
import { fetchResult } from '../api/polls.ts'
import type { LeafProof, Manifest } from '../api/types.ts'
import { fromBase64 } from '../crypto/bytes.ts'
import { checkHead, checkLogged, type Place } from '../crypto/log.ts'
import { codeOf } from '../crypto/receipt.ts'

export type Logged =
  /** `counted`: the published result says that it was counted from this log. */
  | { at: 'in'; place: Place; proof: LeafProof; counted: boolean }
  /** Not in the log of so many, which is as it should be while votes are cast. */
  | { at: 'notYet'; size: number; proof: LeafProof }
  /** Not in the log of a poll that is counted. */
  | { at: 'missing'; size: number; proof: LeafProof }
  /** There is a proof, and it proves nothing. */
  | { at: 'wrong'; proof: LeafProof }
  | { at: 'trouble'; trouble: Trouble }

/** Exchanges a receipt's leaf, or its code alone, for a proof, and checks it. */
export async function findInLog(manifest: Manifest, want: { leaf: string } | { code: string }): Promise<Logged> {
  const { value: proof, trouble } = await ask<LeafProof>(`/v1/polls/${encodeURIComponent(manifest.id)}/log/proof`, {
    body: 'leaf' in want ? { leaf: want.leaf } : { code: want.code },
  })
  if (trouble) return { at: 'trouble', trouble }
  try {
    if (proof.index === undefined) {
      const { size } = await checkHead(proof.checkpoint, manifest)
      return { at: manifest.state === 'counted' || manifest.state === 'published' ? 'missing' : 'notYet', size, proof }
    }
    const leaf = fromBase64('leaf' in want ? want.leaf : proof.leaf!)
    if ('code' in want && (leaf.length !== 32 || codeOf(leaf) !== want.code)) throw new Error('the proof is for another code')
    const place = await checkLogged(proof, manifest, leaf)
    const counted = await inResult(manifest, place)
    return { at: 'in', place: { ...place, signed: place.signed || counted }, proof, counted }
  } catch {
    return { at: 'wrong', proof }
  }
}

/** Every browser can check the result's signature, and a published result says the root it was counted from. */
async function inResult(manifest: Manifest, { size, root }: Place): Promise<boolean> {
  if (manifest.state !== 'published') return false
  const { value } = await fetchResult(manifest)
  return value?.log.size === size && value.log.root === root
}
