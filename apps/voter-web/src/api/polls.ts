// Reading polls. A signed document is believed only as far as its signature holds: the payload is
// used, never the plain twin.

import { verify } from '../crypto/jws.ts'
import { type Answer, ask } from './client.ts'
import type { Manifest, PollList, Result, SignedDocument } from './types.ts'

const notGenuine = { trouble: { code: 'not-genuine', effect: 'not_applied' } } as const

export const listPolls = (): Promise<Answer<PollList>> => ask<PollList>('/v1/polls')

/**
 * Fetches a poll's manifest. Its key is in it, so the first one is taken on trust; after that a
 * manifest by another key, or an older one, is refused.
 */
export async function fetchManifest(id: string, known?: Manifest): Promise<Answer<Manifest>> {
  const { value, trouble } = await ask<SignedDocument & { document: Manifest }>(`/v1/polls/${encodeURIComponent(id)}`)
  if (trouble) return { trouble }
  try {
    const key = known?.signing_key ?? value.document.signing_key
    const manifest = (await verify(value.jws, key)) as Manifest
    if (manifest.id !== id || manifest.signing_key.kid !== key.kid) return notGenuine
    if (known && manifest.sequence < known.sequence) return { value: known }
    return { value: manifest }
  } catch {
    return notGenuine
  }
}

/** Fetches a published result, signed by the manifest's key. */
export async function fetchResult(manifest: Manifest): Promise<Answer<Result>> {
  const { value, trouble } = await ask<SignedDocument>(`/v1/polls/${encodeURIComponent(manifest.id)}/results`)
  if (trouble) return { trouble }
  try {
    const result = (await verify(value.jws, manifest.signing_key)) as Result
    return result.poll === manifest.id ? { value: result } : notGenuine
  } catch {
    return notGenuine
  }
}
