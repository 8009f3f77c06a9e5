// Checking a receipt: that a sealed ballot is in a batch that the poll's key signed.

import type { JWK, Receipt } from '../api/types.ts'
import { base64, type Bytes, equal, fromBase64, sha256, utf8 } from './bytes.ts'
import { verify } from './jws.ts'

/** The ballot log's leaf of a sealed ballot. */
export const leafOf = (poll: string, sealed: Bytes): Promise<Bytes> =>
  sha256(Uint8Array.of(0), utf8(poll), Uint8Array.of(0), sealed)

const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The short code: the leaf's first 80 bits in Crockford's base32, in groups of four. */
export function codeOf(leaf: Bytes): string {
  let bits = ''
  for (const byte of leaf.subarray(0, 10)) bits += byte.toString(2).padStart(8, '0')
  const letters = bits.match(/.{5}/g)!.map((five) => crockford[parseInt(five, 2)])
  return letters.join('').match(/.{4}/g)!.join(' ')
}

/** A code as people type it: in either case, grouped or not, with the letters that it leaves out. */
export function readCode(text: string): string | undefined {
  const plain = text.normalize('NFKC').toUpperCase().replace(/[\s\u2010-\u2015-]/g, '')
  const code = plain.replace(/O/g, '0').replace(/[IL]/g, '1')
  return new RegExp(`^[${crockford}]{16}$`).test(code) ? code.match(/.{4}/g)!.join(' ') : undefined
}

/** The root that an audit path leads to (RFC 6962 section 2.1.1); throws when the path has the wrong length. */
export async function rootOf(leaf: Bytes, index: number, size: number, path: Bytes[]): Promise<Bytes> {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) throw new Error('the leaf is not in the tree')
  let hash = leaf
  let node = index
  let last = size - 1
  for (const sibling of path) {
    if (last === 0) throw new Error('the path is too long')
    if (node % 2 === 1 || node === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash)
      // A node without a right sibling goes up unchanged until it is one itself.
      while (node % 2 === 0 && node !== 0) {
        node /= 2
        last = Math.floor(last / 2)
      }
    } else {
      hash = await sha256(Uint8Array.of(1), hash, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  if (last !== 0) throw new Error('the path is too short')
  return hash
}

/** Checks a receipt for the sealed ballot; throws, saying what does not hold. */
export async function checkReceipt(receipt: Receipt, poll: string, sealed: Bytes, key: JWK): Promise<void> {
  if (!equal(await leafOf(poll, sealed), fromBase64(receipt.leaf))) throw new Error('the receipt is for another ballot')
  await checkIssued(receipt, poll, key)
}

/** Checks that the poll issued a receipt, for whichever ballot; throws, saying what does not hold. */
export async function checkIssued(receipt: Receipt, poll: string, key: JWK): Promise<void> {
  if (receipt.poll !== poll) throw new Error('the receipt is of another poll')
  const leaf = fromBase64(receipt.leaf)
  if (leaf.length !== 32) throw new Error('the leaf is not a hash')
  if (receipt.code !== codeOf(leaf)) throw new Error('the code is not that of the ballot')
  const batch = (await verify(receipt.batch, key)) as { typ?: string; poll?: string; root?: string; size?: number }
  if (batch.typ !== 'popvote-batch' || batch.poll !== poll) throw new Error('the signature is over something else')
  const root = await rootOf(leaf, receipt.index, batch.size ?? 0, receipt.path.map(fromBase64))
  if (base64(root) !== batch.root) throw new Error('the path does not lead to the signed batch')
}
