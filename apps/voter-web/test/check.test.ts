import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import type { LeafProof, Manifest, Receipt } from '../src/api/types.ts'
import { base64, type Bytes, fromBase64, sha256, utf8 } from '../src/crypto/bytes.ts'
import { codeOf, readCode } from '../src/crypto/receipt.ts'
import { check, type Checked, readSaved, readTyped, type Saved, type Want } from '../src/vote/check.ts'
import { answering, json, lost, problem } from './api.ts'
import { newManifest } from './fixtures.ts'
import { type Log, newLog, newSigner, proofIn, receiptFor, rootOf, type Signer } from './signing.ts'

let manifest: Manifest
let signer: Signer
let log: Log
let leaves: Bytes[]
let receipt: Receipt
beforeAll(async () => {
  ;({ manifest, signer } = await newManifest())
  log = await newLog('popvote/test')
  manifest.log_key = log.vkey
  receipt = await receiptFor(signer, 'test', utf8('a sealed ballot'), [await sha256(utf8('a neighbour'))], 1)
  leaves = await Promise.all(Array.from({ length: 9 }, (_, i) => sha256(utf8(`leaf ${i}`))))
  leaves[5] = fromBase64(receipt.leaf)
})
afterEach(() => void vi.unstubAllGlobals())

const states = (state: Manifest['state']): Manifest => ({ ...manifest, state })
const signed = async (m: Manifest, by = signer) => json({ document: m, jws: await by.sign(m) })
const proof = (index = 5, size = leaves.length) => proofIn(log, leaves, index, size)
const without = async (size = leaves.length): Promise<LeafProof> => ({ checkpoint: (await proof(0, size)).checkpoint })

/** What a check comes to when the API answers so. */
async function outcome(want: Want, answer: LeafProof | Response | Error, m = manifest): Promise<Checked> {
  const reply = answer instanceof Response || answer instanceof Error ? answer : json(answer)
  const result = json({ jws: await signer.sign({ poll: 'test', log: { size: leaves.length, root: base64(await rootOf(leaves)) } }) })
  answering(await signed(m), reply, result)
  const checked = await check(want, manifest)
  if ('trouble' in checked) throw new Error(checked.trouble.code)
  return checked
}

describe('a code', () => {
  it.each([
    ['7ZK4 9QWE 12MN PQRS'],
    ['7zk4 9qwe 12mn pqrs'],
    ['7ZK49QWE12MNPQRS'],
    ['  7ZK4-9QWE-12MN-PQRS\n'],
    ['7ZK4–9QWE–l2MN–PQRS'],
    ['７ＺＫ４　９ＱＷＥ　１２ＭＮ　ＰＱＲＳ'],
    ['7ZK4 9QWE I2MN PQRS'],
  ])('is read as people type it: %j', (typed) => expect(readCode(typed)).toBe('7ZK4 9QWE 12MN PQRS'))

  it.each(['', 'x', '7ZK4 9QWE 12MN PQR', '7ZK4 9QWE 12MN PQRSS', '7ZK4 9QWE 12MN PQRU', '7ZK4 9QWE 12MN PQR!', '7ZK4 9QWE 12MN PQR投'])(
    'is not read where it is none: %j',
    (typed) => {
      expect(readCode(typed)).toBeUndefined()
      expect(readTyped(typed, 'test')).toBeUndefined()
    },
  )

  it('is read from what the QR code says, with its poll', () => {
    expect(readTyped('7ZK4 9QWE 12MN PQRS', 'test')).toEqual({ poll: 'test', code: '7ZK4 9QWE 12MN PQRS' })
    expect(readTyped('PopVote hk-2014-06 7ZK4 9QWE 12MN PQRS', 'test')).toEqual({ poll: 'hk-2014-06', code: '7ZK4 9QWE 12MN PQRS' })
  })

  const want = (): Want => ({ poll: 'test', code: receipt.code })

  it('is exchanged for the place of its ballot, in no address', async () => {
    const asked = answering(await signed(manifest), json(await proof()))
    expect(await check(want(), manifest)).toMatchObject({ found: { at: 'in', place: { index: 5, size: 9, signed: true }, counted: false } })
    expect(asked.map((a) => a.path)).toEqual(['/v1/polls/test', '/v1/polls/test/log/proof'])
    expect(asked[1]!.body).toEqual({ code: receipt.code })
  })

  it('is found in the log that the published result was counted from, and that is said', async () => {
    expect((await outcome(want(), await proof(), states('published'))).found).toMatchObject({ at: 'in', counted: true })
    expect((await outcome(want(), await proof(5, 8), states('published'))).found).toMatchObject({ at: 'in', counted: false })
  })

  it('may be missing while votes are cast, and not once they are counted', async () => {
    for (const state of ['open', 'paused', 'closed'] as const) {
      expect((await outcome(want(), await without(), states(state))).found).toMatchObject({ at: 'notYet', size: 9 })
    }
    for (const state of ['counted', 'published'] as const) {
      expect((await outcome(want(), await without(), states(state))).found).toMatchObject({ at: 'missing', size: 9 })
    }
  })

  it.each<[string, () => LeafProof | Promise<LeafProof>]>([
    ['of another ballot', () => proof(4)],
    ['of this ballot by another leaf', async () => ({ ...(await proof(4)), leaf: receipt.leaf })],
    ['of no ballot', async () => {
      const { leaf: _, ...rest } = await proof()
      return rest
    }],
    ['of a leaf that only begins so', async () => ({ ...(await proof()), leaf: base64(Uint8Array.from(leaves[5]!, (b, i) => (i > 9 ? b ^ 1 : b))) })],
    ['of half a leaf', async () => ({ ...(await proof()), leaf: base64(leaves[5]!.slice(0, 16)) })],
    ['with a bent path', async () => ({ ...(await proof()), path: (await proof(4)).path })],
    ['by another log', async () => proofIn(await newLog('popvote/test'), leaves, 5)],
    ['that is a checkpoint of another log', async () => ({ checkpoint: (await proofIn(await newLog('popvote/test'), leaves, 5)).checkpoint })],
  ])('with a proof %s is an alarm', async (_, answer) => {
    expect((await outcome(want(), await answer())).found.at).toBe('wrong')
  })

  it('of two ballots, and an answer that does not come, are no verdict', async () => {
    expect((await outcome(want(), problem('receipt-ambiguous', 409))).found).toMatchObject({ at: 'trouble', trouble: { code: 'receipt-ambiguous' } })
    expect((await outcome(want(), lost)).found).toMatchObject({ at: 'trouble', trouble: { code: 'no-answer' } })
    answering(lost)
    expect(await check(want(), manifest)).toMatchObject({ trouble: { code: 'no-answer' } })
  })

  it('is not checked by a manifest of another key', async () => {
    const other = await newSigner()
    answering(await signed({ ...manifest, signing_key: { ...other.key, kid: 'other' } }, other))
    expect(await check(want(), manifest)).toMatchObject({ trouble: { code: 'not-genuine' } })
  })
})

describe('a saved receipt', () => {
  const saved = (more: Partial<Saved> = {}): Want => {
    const poll = { id: 'test', signing_key: manifest.signing_key, log_key: manifest.log_key }
    return readSaved(JSON.stringify({ about: '', poll, receipt, ...more }))!
  }

  it('is read as it was saved, or as the API gave it', () => {
    expect(saved()).toMatchObject({ poll: 'test', code: receipt.code, saved: { receipt, poll: { log_key: manifest.log_key } } })
    expect(readSaved(JSON.stringify(receipt))).toMatchObject({ poll: 'test', saved: { receipt } })
    expect(readSaved(JSON.stringify({ receipt }))).toMatchObject({ poll: 'test', saved: { receipt } })
  })

  it.each(['', 'null', '1', '[]', '{}', '{"receipt":null}', '{"receipt":{"poll":"test"}}', 'not JSON'])('is not read where it is none: %j', (text) => {
    expect(readSaved(text)).toBeUndefined()
  })

  it('is proved by its own proof of then, and by one of now', async () => {
    expect(await outcome(saved(), await proof())).toMatchObject({ found: { at: 'in' }, stayed: false })
    expect(await outcome(saved({ log: await proof(5, 6) }), await proof())).toMatchObject({ found: { at: 'in' }, stayed: true })
    expect(await outcome(saved({ log: await proof() }), await proof())).toMatchObject({ found: { at: 'in' }, stayed: true })
    expect(await outcome(saved(), await without())).toMatchObject({ found: { at: 'notYet' } })
  })

  it.each<[string, (s: Saved) => Saved | Promise<Saved>]>([
    ['another code', (s) => ({ ...s, receipt: { ...s.receipt, code: codeOf(leaves[4]!) } })],
    ['another ballot', (s) => ({ ...s, receipt: { ...s.receipt, leaf: base64(leaves[4]!), code: codeOf(leaves[4]!) } })],
    ['half a leaf', (s) => ({ ...s, receipt: { ...s.receipt, leaf: base64(leaves[5]!.slice(0, 16)) } })],
    ['another place', (s) => ({ ...s, receipt: { ...s.receipt, index: 0 } })],
    ['a bent path', (s) => ({ ...s, receipt: { ...s.receipt, path: [s.receipt.leaf] } })],
    ['a path that is none', (s) => ({ ...s, receipt: { ...s.receipt, path: [1] as unknown as string[] } })],
    ['another signer', async (s) => ({ ...s, receipt: await receiptFor(await newSigner(), 'test', utf8('a sealed ballot')) })],
    ['a bent proof', async (s) => ({ ...s, log: { ...(await proof()), index: 4 } })],
    ['a proof that is none', (s) => ({ ...s, log: {} as LeafProof })],
  ])('with %s is no receipt', async (_, bend) => {
    const good = saved()
    expect((await outcome({ ...good, saved: await bend(good.saved!) }, await proof())).found.at).toBe('forged')
  })

  it('that names other keys than the poll’s is an alarm', async () => {
    const poll = { signing_key: (await newSigner()).key, log_key: manifest.log_key }
    expect((await outcome(saved({ poll }), await proof())).found.at).toBe('otherKey')
    const other = { signing_key: manifest.signing_key, log_key: (await newLog('popvote/test')).vkey }
    expect((await outcome(saved({ poll: other }), await proof())).found.at).toBe('otherKey')
  })

  it('whose ballot has moved or gone since is an alarm, though the newest proof holds', async () => {
    const before = await proof(5, 6)
    const moved = [...leaves.slice(0, 5), leaves[6]!, leaves[5]!, ...leaves.slice(7)]
    expect((await outcome(saved({ log: before }), await proofIn(log, moved, 6))).found.at).toBe('wrong')
    const rewritten = [await sha256(utf8('another history')), ...leaves.slice(1, 6)]
    expect((await outcome(saved({ log: before }), await proofIn(log, rewritten, 5))).found.at).toBe('wrong')
    expect((await outcome(saved({ log: before }), await without())).found.at).toBe('wrong')
    expect((await outcome(saved({ log: before }), await without(), states('published'))).found.at).toBe('wrong')
    // A cache on the way that is behind has nothing to be blamed for.
    expect((await outcome(saved({ log: before }), await without(4))).found.at).toBe('notYet')
  })
})
