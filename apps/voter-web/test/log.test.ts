import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import type { LeafProof, Manifest, Receipt } from '../src/api/types.ts'
import { base64, type Bytes, sha256, utf8 } from '../src/crypto/bytes.ts'
import { checkLogged } from '../src/crypto/log.ts'
import { findInLog } from '../src/vote/logged.ts'
import { answering, json, lost } from './api.ts'
import { newManifest } from './fixtures.ts'
import { type Log, newLog, proofIn, receiptFor, rootOf, type Signer } from './signing.ts'

const sealed = utf8('a sealed ballot')

let manifest: Manifest
let signer: Signer
let log: Log
let leaves: Bytes[]
let receipt: Receipt
beforeAll(async () => {
  ;({ manifest, signer } = await newManifest())
  log = await newLog('popvote/test')
  manifest.log_key = log.vkey
  receipt = await receiptFor(signer, 'test', sealed)
  leaves = await Promise.all(Array.from({ length: 9 }, (_, i) => sha256(utf8(`leaf ${i}`))))
  leaves[5] = Uint8Array.from(atob(receipt.leaf), (c) => c.charCodeAt(0))
})
afterEach(() => void vi.unstubAllGlobals())

const proofOf = (index = 5, size = leaves.length) => proofIn(log, leaves, index, size)

describe('a proof', () => {
  it('holds for every leaf of every log', async () => {
    for (let size = 1; size <= leaves.length; size++) {
      for (let i = 0; i < size; i++) {
        const place = await checkLogged(await proofOf(i, size), manifest, leaves[i]!)
        expect(place).toMatchObject({ index: i, size, signed: true })
      }
    }
  })

  it('holds with a witness’s signature beside the log’s, wherever it stands', async () => {
    const good = await proofOf()
    const witness = '— witness.example/1 AAAAAAAA\n'
    await checkLogged({ ...good, checkpoint: good.checkpoint + witness }, manifest, leaves[5]!)
    await checkLogged({ ...good, checkpoint: good.checkpoint.replace('\n\n', `\n\n${witness}`) }, manifest, leaves[5]!)
  })

  const text = (p: LeafProof) => p.checkpoint.slice(0, p.checkpoint.indexOf('\n\n') + 1)
  it.each<[string, (p: Required<LeafProof>) => LeafProof | Promise<LeafProof>]>([
    ['another place', (p) => ({ ...p, index: 4 })],
    ['a place outside', (p) => ({ ...p, index: 9 })],
    ['a shorter path', (p) => ({ ...p, path: p.path.slice(1) })],
    ['a longer path', (p) => ({ ...p, path: [...p.path, p.path[0]!] })],
    ['a bent path', (p) => ({ ...p, path: [base64(leaves[0]!), ...p.path.slice(1)] })],
    ['another root', async (p) => ({ ...p, checkpoint: await log.sign(text(p).replace(/\n[^\n]+\n$/, `\n${base64(leaves[0]!)}\n`)) })],
    ['a changed size', (p) => ({ ...p, checkpoint: p.checkpoint.replace('\n9\n', '\n8\n') })],
    ['a size that is no number', async (p) => ({ ...p, checkpoint: await log.sign(text(p).replace('\n9\n', '\n09\n')) })],
    ['another log’s name', async (p) => ({ ...p, checkpoint: await log.sign(text(p).replace('popvote/test', 'popvote/other')) })],
    ['another signer’s name', async (p) => ({ ...p, checkpoint: await log.sign(text(p), 'popvote/other') })],
    ['another key', async (p) => ({ ...p, checkpoint: await (await newLog('popvote/test')).sign(text(p)) })],
    ['a changed signature', (p) => ({ ...p, checkpoint: p.checkpoint.replace(/.{6}\n$/, 'AAAA==\n') })],
    ['no signature', (p) => ({ ...p, checkpoint: text(p) + '\n' })],
    ['no path', ({ path: _, ...p }) => p],
    ['no place', ({ index: _, ...p }) => p],
    ['no checkpoint', (p) => ({ ...p, checkpoint: '' })],
  ])('with %s is refused', async (_, bend) => {
    const bent = await bend(await proofOf())
    await expect(checkLogged(bent, manifest, leaves[5]!)).rejects.toThrow()
  })

  it('for another leaf, or by a key that is none, is refused', async () => {
    await expect(checkLogged(await proofOf(), manifest, leaves[4]!)).rejects.toThrow('path')
    for (const log_key of ['', 'popvote/test', log.vkey.replace('+', '+0'), log.vkey.replace('popvote/test', 'popvote/best')]) {
      await expect(checkLogged(await proofOf(), { ...manifest, log_key }, leaves[5]!)).rejects.toThrow()
    }
  })
})

/** A browser of before Ed25519. */
function without() {
  const { subtle } = crypto
  const old = {
    digest: subtle.digest.bind(subtle),
    verify: subtle.verify.bind(subtle),
    importKey: (...args: Parameters<SubtleCrypto['importKey']>) =>
      args[2] === 'Ed25519' ? Promise.reject(new DOMException('', 'NotSupportedError')) : subtle.importKey(...args),
  }
  vi.stubGlobal('crypto', { subtle: old })
}

describe('a receipt', () => {
  it('is exchanged for its place, and tells nothing but the leaf, in no address', async () => {
    const asked = answering(json(await proofOf()))
    expect(await findInLog(manifest, receipt)).toMatchObject({ at: 'in', place: { index: 5, size: 9, signed: true } })
    expect(asked).toHaveLength(1)
    expect(asked[0]!.path).toBe('/v1/polls/test/log/proof')
    expect(asked[0]!.body).toEqual({ leaf: receipt.leaf })
    expect([...asked[0]!.headers.keys()]).toEqual(['content-type'])
  })

  it('waits while votes are cast, and is missed once they are counted', async () => {
    answering(json({ checkpoint: (await proofOf()).checkpoint }))
    for (const state of ['open', 'paused', 'closed'] as const) {
      expect((await findInLog({ ...manifest, state }, receipt)).at).toBe('notYet')
    }
    for (const state of ['counted', 'published'] as const) {
      expect((await findInLog({ ...manifest, state }, receipt)).at).toBe('missing')
    }
  })

  it('with a proof that proves nothing is an alarm; without an answer it is none', async () => {
    answering(json({ ...(await proofOf()), index: 4 }))
    expect((await findInLog(manifest, receipt)).at).toBe('wrong')
    answering(json(await proofOf(4)))
    expect((await findInLog(manifest, receipt)).at).toBe('wrong')
    answering(lost)
    expect(await findInLog(manifest, receipt)).toMatchObject({ at: 'trouble', trouble: { code: 'no-answer' } })
  })

  it('is checked as far as an old browser can, and that is said', async () => {
    const good = await proofOf()
    const root = base64(await rootOf(leaves))
    const result = async (log: object) => json({ jws: await signer.sign({ poll: 'test', log }) })
    const [fitting, other] = [await result({ size: 9, root }), await result({ size: 9, root: base64(leaves[0]!) })]
    without()
    answering(json(good))
    expect(await findInLog(manifest, receipt)).toMatchObject({ at: 'in', place: { signed: false } })
    answering(json({ ...good, index: 4 }))
    expect((await findInLog(manifest, receipt)).at).toBe('wrong')
    // A published result, which every browser can check, says the root.
    const published = { ...manifest, state: 'published' as const }
    answering(json(good), fitting)
    expect(await findInLog(published, receipt)).toMatchObject({ at: 'in', place: { signed: true } })
    answering(json(good), other)
    expect(await findInLog(published, receipt)).toMatchObject({ at: 'in', place: { signed: false } })
  })
})
