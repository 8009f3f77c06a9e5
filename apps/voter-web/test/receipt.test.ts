import { beforeAll, describe, expect, it } from 'vitest'

import { base64, type Bytes, sha256, utf8 } from '../src/crypto/bytes.ts'
import { verify } from '../src/crypto/jws.ts'
import { checkReceipt, rootOf } from '../src/crypto/receipt.ts'
import { newSigner, pathOf, receiptFor, rootOf as plainRoot, type Signer } from './signing.ts'

const poll = 'hk-2014-06'
const sealed = utf8('a sealed ballot')
let signer: Signer
beforeAll(async () => {
  signer = await newSigner()
})

const leaves = (n: number): Promise<Bytes[]> => Promise.all(Array.from({ length: n }, (_, i) => sha256(utf8(`leaf ${i}`))))

it('climbs every path of every tree up to 17 leaves', async () => {
  const all = await leaves(17)
  for (let n = 1; n <= all.length; n++) {
    const some = all.slice(0, n)
    const root = await plainRoot(some)
    for (let i = 0; i < n; i++) {
      const path = await pathOf(i, some)
      expect(await rootOf(some[i]!, i, n, path), `${i} of ${n}`).toEqual(root)
      await expect(rootOf(some[i]!, i, n, [...path, root])).rejects.toThrow()
      if (path.length) await expect(rootOf(some[i]!, i, n, path.slice(1))).rejects.toThrow()
      if (n > 1) expect(await rootOf(some[(i + 1) % n]!, i, n, path)).not.toEqual(root)
    }
  }
})

describe('a receipt', () => {
  it('holds, alone and in any place of a batch', async () => {
    const others = await leaves(6)
    for (let i = 0; i <= others.length; i++) {
      await checkReceipt(await receiptFor(signer, poll, sealed, others, i), poll, sealed, signer.key)
    }
    await checkReceipt(await receiptFor(signer, poll, sealed), poll, sealed, signer.key)
  })

  it.each([
    ['another poll', (r: Awaited<ReturnType<typeof receiptFor>>) => ({ ...r, poll: 'other' })],
    ['another code', (r) => ({ ...r, code: r.code.replace(/.$/, (c) => (c === '0' ? '1' : '0')) })],
    ['another leaf', (r) => ({ ...r, leaf: base64(new Uint8Array(32)) })],
    ['another place', (r) => ({ ...r, index: r.index + 1 })],
    ['a place outside', (r) => ({ ...r, index: 99 })],
    ['a negative place', (r) => ({ ...r, index: -1 })],
    ['a longer path', (r) => ({ ...r, path: [...r.path, r.leaf] })],
    ['a shorter path', (r) => ({ ...r, path: r.path.slice(1) })],
    ['a bent path', (r) => ({ ...r, path: [r.leaf, ...r.path.slice(1)] })],
    ['no batch', (r) => ({ ...r, batch: '' })],
    ['a cut signature', (r) => ({ ...r, batch: r.batch.slice(0, -4) })],
  ] satisfies [string, (r: Awaited<ReturnType<typeof receiptFor>>) => Awaited<ReturnType<typeof receiptFor>>][])(
    'with %s is refused',
    async (_, bend) => {
      const good = await receiptFor(signer, poll, sealed, await leaves(4), 2)
      await expect(checkReceipt(bend(good), poll, sealed, signer.key)).rejects.toThrow()
    },
  )

  it('for another ballot, or by another key, is refused', async () => {
    const good = await receiptFor(signer, poll, sealed)
    await expect(checkReceipt(good, poll, utf8('another'), signer.key)).rejects.toThrow('another ballot')
    await expect(checkReceipt(good, poll, sealed, (await newSigner()).key)).rejects.toThrow('signature')
  })

  it('whose signature is over something else is refused', async () => {
    const good = await receiptFor(signer, poll, sealed)
    const batch = await signer.sign({ typ: 'popvote-result', poll, root: good.leaf, size: 1 })
    await expect(checkReceipt({ ...good, batch }, poll, sealed, signer.key)).rejects.toThrow('something else')
  })
})

describe('a JWS', () => {
  it('of another algorithm is refused, whatever it says', async () => {
    for (const header of [{ alg: 'none' }, { alg: 'HS256' }, { alg: 'ES256', crit: ['b64'] }, {}]) {
      await expect(verify(await signer.sign({ a: 1 }, header), signer.key)).rejects.toThrow('not an ES256 JWS')
    }
  })
  it('gives its payload', async () => expect(await verify(await signer.sign({ a: '投票' }), signer.key)).toEqual({ a: '投票' }))
  it('of fewer or more parts is refused', async () => {
    for (const jws of ['', 'a.b', 'a.b.c.d']) await expect(verify(jws, signer.key)).rejects.toThrow()
  })
})
