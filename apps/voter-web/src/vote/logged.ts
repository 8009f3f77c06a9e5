// Whether a ballot is in the public log: asked, and checked here.

import { ask, type Trouble } from '../api/client.ts'
import { fetchResult } from '../api/polls.ts'
import type { LeafProof, Manifest, Receipt } from '../api/types.ts'
import { fromBase64 } from '../crypto/bytes.ts'
import { checkLogged, type Place } from '../crypto/log.ts'

export type Logged =
  | { at: 'in'; place: Place; proof: LeafProof }
  /** Not in the log, which is as it should be while votes are cast. */
  | { at: 'notYet' }
  /** Not in the log of a poll that is counted. */
  | { at: 'missing' }
  /** There is a proof, and it proves nothing. */
  | { at: 'wrong' }
  | { at: 'trouble'; trouble: Trouble }

/** Exchanges a receipt for a proof, and checks it. */
export async function findInLog(manifest: Manifest, receipt: Receipt): Promise<Logged> {
  const { value: proof, trouble } = await ask<LeafProof>(`/v1/polls/${encodeURIComponent(manifest.id)}/log/proof`, {
    body: { leaf: receipt.leaf },
  })
  if (trouble) return { at: 'trouble', trouble }
  if (proof.index === undefined) {
    return { at: manifest.state === 'counted' || manifest.state === 'published' ? 'missing' : 'notYet' }
  }
  try {
    const place = await checkLogged(proof, manifest, fromBase64(receipt.leaf))
    return { at: 'in', place: place.signed ? place : { ...place, signed: await inResult(manifest, place) }, proof }
  } catch {
    return { at: 'wrong' }
  }
}

/** Every browser can check the result's signature, and a published result says the root it was counted from. */
async function inResult(manifest: Manifest, { size, root }: Place): Promise<boolean> {
  if (manifest.state !== 'published') return false
  const { value } = await fetchResult(manifest)
  return value?.log.size === size && value.log.root === root
}
