import { Aes128Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from '@hpke/core'
import { describe, expect, it } from 'vitest'

import shared from '../../../libs/ballot/testdata/vectors.json' with { type: 'json' }
import type { Manifest } from '../src/api/types.ts'
import { encode, fault, sealBallot } from '../src/crypto/ballot.ts'
import { base64url, type Bytes, fromBase64, utf8 } from '../src/crypto/bytes.ts'
import { recipient, seal } from '../src/crypto/hpke.ts'
import { codeOf, leafOf } from '../src/crypto/receipt.ts'

const hex = (s: string): Bytes => Uint8Array.from(s.match(/../g) ?? [], (b) => parseInt(b, 16))
const toHex = (b: Uint8Array) => Buffer.from(b).toString('hex')
const manifest = shared.manifest as unknown as Manifest

/** A key pair from a private scalar: Node's ECDH finds the public point. */
async function pairOf(scalar: Bytes): Promise<CryptoKeyPair> {
  const { createECDH } = await import('node:crypto')
  const ecdh = createECDH('prime256v1')
  ecdh.setPrivateKey(scalar)
  const point = ecdh.getPublicKey()
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => base64url(part)) as [string, string]
  const jwk = { kty: 'EC', crv: 'P-256', x, y }
  const curve = { name: 'ECDH', namedCurve: 'P-256' }
  return {
    publicKey: await crypto.subtle.importKey('jwk', jwk, curve, true, []),
    privateKey: await crypto.subtle.importKey('jwk', { ...jwk, d: base64url(scalar) }, curve, true, ['deriveBits']),
  }
}

describe('HPKE', () => {
  it('seals as RFC 9180 appendix A.3.1 does', async () => {
    const ephemeral = await pairOf(hex('4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb'))
    const to = await recipient(
      hex(
        '04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a826a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0',
      ),
    )
    const plain = utf8('Beauty is truth, truth beauty')
    const sealed = await seal(to, utf8('Ode on a Grecian Urn'), plain, utf8('Count-0'), ephemeral)
    expect(toHex(sealed.subarray(0, 65))).toBe(
      '04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4',
    )
    expect(toHex(sealed.subarray(65))).toBe(
      '5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434',
    )
  })

  it('is opened by another implementation', async () => {
    const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes128Gcm() })
    const pair = await suite.kem.generateKeyPair()
    for (const length of [0, 1, 64, 4096]) {
      const plain = crypto.getRandomValues(new Uint8Array(length))
      const info = crypto.getRandomValues(new Uint8Array(length % 50))
      const sealed = await seal(pair.publicKey, info, plain)
      expect(sealed.length).toBe(length + 81)
      const opened = await suite.open(
        { recipientKey: pair, enc: sealed.slice(0, 65).buffer, info },
        sealed.slice(65).buffer,
      )
      expect(new Uint8Array(opened)).toEqual(plain)
    }
  })

  it('seals differently every time', async () => {
    const pair = await pairOf(hex(shared.tally_private))
    const two = await Promise.all([1, 2].map(() => seal(pair.publicKey, utf8('i'), utf8('p'))))
    expect(toHex(two[0]!)).not.toBe(toHex(two[1]!))
  })
})

describe('ballots, by the vectors shared with the Go side', () => {
  it.each(shared.valid)('encodes $text', ({ answers, plain }) => {
    expect(toHex(encode(manifest, answers))).toBe(plain)
  })

  it.each(shared.invalid_answers)('refuses $why', ({ answers }) => {
    // A repeated option is told apart from one by the count alone, as in Go.
    expect(() => encode(manifest, answers)).toThrow()
  })

  it.each(shared.sealed)('seals to the same bytes, leaf and code ($code)', async (v) => {
    const ephemeral = await pairOf(hex(v.ephemeral_private))
    const tally = await pairOf(hex(shared.tally_private))
    const sealed = await seal(tally.publicKey, utf8(`popvote ballot v1\0${manifest.id}`), hex(v.plain), undefined, ephemeral)
    expect(base64url(sealed)).toBe(v.sealed)
    expect(sealed.length).toBe(shared.sealed_size)
    const leaf = await leafOf(manifest.id, fromBase64(v.sealed))
    expect(toHex(leaf)).toBe(v.leaf)
    expect(codeOf(leaf)).toBe(v.code)
  })

  it('seals answers so that the tally key opens them', async () => {
    const answers = shared.valid[0]!.answers
    const sealed = await sealBallot(manifest, answers)
    const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes128Gcm() })
    const pair = await pairOf(hex(shared.tally_private))
    const plain = await suite.open(
      { recipientKey: pair, enc: sealed.slice(0, 65).buffer, info: utf8(`popvote ballot v1\0${manifest.id}`) },
      sealed.slice(65).buffer,
    )
    expect(toHex(new Uint8Array(plain))).toBe(shared.valid[0]!.plain)
  })

  it('says what is wrong with an answer', () => {
    const dishes = manifest.questions[1]!
    expect(fault(dishes, ['rice'])).toBe('too-few')
    expect(fault(dishes, ['rice', 'noodles', 'congee', 'toast'])).toBe('too-many')
    expect(fault(dishes, ['abstain', 'rice'])).toBe('not-alone')
    expect(fault(dishes, ['pizza'])).toBe('no-such-option')
    expect(fault(dishes, ['abstain'])).toBeUndefined()
    expect(fault(dishes, ['rice', 'toast'])).toBeUndefined()
    expect(fault(manifest.questions[2]!, [])).toBeUndefined()
  })
})
