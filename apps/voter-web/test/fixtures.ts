// A poll and the way through it, for tests.

import type { Manifest } from '../src/api/types.ts'
import { begin, type Journey, opened, proved } from '../src/vote/journey.ts'
import { newSigner, type Signer } from './signing.ts'

export async function newManifest(): Promise<{ manifest: Manifest; signer: Signer }> {
  const signer = await newSigner()
  const tally = await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits'])
  const { x, y } = (await crypto.subtle.exportKey('jwk', tally.publicKey)) as { x: string; y: string }
  const option = (id: string, kind: 'choice' | 'abstain' = 'choice') => ({ id, kind, label: { en: id } })
  const manifest: Manifest = {
    id: 'test',
    sequence: 3,
    state: 'open',
    kind: 'demo',
    title: { en: 'Test' },
    organiser: { name: { en: 'Testers' } },
    notice: { purpose: { en: 'p' }, retention: { en: 'r' }, effect: { en: 'e' } },
    languages: ['en'],
    opens_at: '2026-01-01T00:00:00Z',
    closes_at: '2036-01-01T00:00:00Z',
    identity: { type: 'hkid' },
    verification: { mode: 'voter_sends', seconds: 180, ballot_seconds: 1800 },
    questions: [
      { id: 'q1', title: { en: '1?' }, min: 1, max: 1, order: 'fixed', options: [option('a'), option('b'), option('abstain', 'abstain')] },
      { id: 'q2', title: { en: '2?' }, min: 0, max: 2, order: 'random', options: [option('c'), option('d'), option('e')] },
    ],
    ballot: {
      suite: 'DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM',
      size: 128,
      tally_key: { kty: 'EC', crv: 'P-256', x, y, kid: 'tally' },
    },
    reveal_tally_key: false,
    seal_on_server: false,
    signing_key: signer.key,
    log_key: '',
  }
  return { manifest, signer }
}

/** A journey with a session open, and one whose phone is proved. */
export const withSession = (manifest: Manifest): Journey =>
  opened(
    { ...begin(manifest), draft: { number: 'A123456(3)', phone: '91234567' } },
    { access_token: 'test.one', expires_at: '', verification: { mode: 'voter_sends', deadline: '', seconds: 180 } },
    '9123 4567',
    Date.now(),
  )

export const withProof = (manifest: Manifest): Journey =>
  proved(withSession(manifest), { access_token: 'test.two', expires_at: '', seconds: 1800 }, Date.now())
