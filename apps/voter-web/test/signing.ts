// A poll's signing key, for tests.

import type { JWK, LeafProof } from '../src/api/types.ts'
import { base64, base64url, type Bytes, concat, sha256, utf8 } from '../src/crypto/bytes.ts'
import { codeOf } from '../src/crypto/receipt.ts'

export interface Signer {
  key: JWK
  sign(payload: unknown, header?: object): Promise<string>
}

export async function newSigner(): Promise<Signer> {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const jwk = (await crypto.subtle.exportKey('jwk', pair.publicKey)) as { x: string; y: string }
  return {
    key: { kty: 'EC', crv: 'P-256', x: jwk.x, y: jwk.y, kid: 'test' },
    async sign(payload, header = { alg: 'ES256' }) {
      const head = base64url(utf8(JSON.stringify(header)))
      const body = base64url(utf8(JSON.stringify(payload)))
      const input = utf8(`${head}.${body}`)
      const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, input)
      return `${head}.${body}.${base64url(new Uint8Array(signature))}`
    },
  }
}

/** The root of RFC 6962 section 2.1, by its own recursion: nothing in common with the code under test. */
export async function rootOf(leaves: Bytes[]): Promise<Bytes> {
  if (leaves.length === 1) return leaves[0]!
  const k = split(leaves.length)
  return sha256(Uint8Array.of(1), await rootOf(leaves.slice(0, k)), await rootOf(leaves.slice(k)))
}

/** The audit path of section 2.1.1, likewise. */
export async function pathOf(i: number, leaves: Bytes[]): Promise<Bytes[]> {
  if (leaves.length === 1) return []
  const k = split(leaves.length)
  return i < k
    ? [...(await pathOf(i, leaves.slice(0, k))), await rootOf(leaves.slice(k))]
    : [...(await pathOf(i - k, leaves.slice(k))), await rootOf(leaves.slice(0, k))]
}

const split = (n: number): number => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** A genuine receipt for a sealed ballot, alone in its batch or among others. */
export async function receiptFor(signer: Signer, poll: string, sealed: Bytes, others: Bytes[] = [], index = 0) {
  const leaf = await sha256(Uint8Array.of(0), utf8(poll), Uint8Array.of(0), sealed)
  const leaves = [...others.slice(0, index), leaf, ...others.slice(index)]
  const batch = { typ: 'popvote-batch', poll, root: base64(await rootOf(leaves)), size: leaves.length }
  return {
    poll,
    code: codeOf(leaf),
    leaf: base64(leaf),
    index,
    path: (await pathOf(index, leaves)).map(base64),
    batch: await signer.sign(batch),
  }
}

export interface Log {
  vkey: string
  sign(text: string, name?: string): Promise<string>
}

/** A log's key, as C2SP's signed notes have it. */
export async function newLog(name: string): Promise<Log> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
  const typed = concat(Uint8Array.of(1), new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)))
  const id = (await sha256(utf8(`${name}\n`), typed)).slice(0, 4)
  return {
    vkey: `${name}+${Array.from(id, (b) => b.toString(16).padStart(2, '0')).join('')}+${base64(typed)}`,
    async sign(text, as = name) {
      const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', pair.privateKey, utf8(text)))
      return `${text}\n— ${as} ${base64(concat(id, signature))}\n`
    },
  }
}

/** What the API answers about one of a log's leaves, when there are so many. */
export async function proofIn(log: Log, leaves: Bytes[], index: number, size = leaves.length): Promise<Required<LeafProof>> {
  const some = leaves.slice(0, size)
  const text = `popvote/test\n${size}\n${base64(await rootOf(some))}\n`
  return { leaf: base64(leaves[index]!), index, path: (await pathOf(index, some)).map(base64), checkpoint: await log.sign(text) }
}

export const bytesOf = (...parts: string[]): Bytes => concat(...parts.map(utf8))
