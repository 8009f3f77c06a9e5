// HPKE (RFC 9180), base mode, sender's side, of one suite:
// DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. WebCrypto does all the arithmetic.
// Every length HKDF is asked for is at most 32 bytes, so one HMAC block is the whole of Expand.

import { type Bytes, concat, utf8 } from './bytes.ts'

const version = utf8('HPKE-v1')
const empty = new Uint8Array(0)
const kem = Uint8Array.of(...utf8('KEM'), 0x00, 0x10)
const suite = Uint8Array.of(...utf8('HPKE'), 0x00, 0x10, 0x00, 0x01, 0x00, 0x01)
const curve = { name: 'ECDH', namedCurve: 'P-256' }

async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  const k = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', k, data))
}

// An empty salt is 32 zeros to HMAC, and not every browser takes an empty key.
const labeledExtract = (id: Bytes, salt: Bytes, label: string, ikm: Bytes) =>
  hmac(salt.length ? salt : new Uint8Array(32), concat(version, id, utf8(label), ikm))

const labeledExpand = async (id: Bytes, prk: Bytes, label: string, info: Bytes, length: number) =>
  (await hmac(prk, concat(Uint8Array.of(0, length), version, id, utf8(label), info, Uint8Array.of(1)))).slice(0, length)

/** Reads an uncompressed P-256 point (65 bytes) as a key to seal to. */
export const recipient = (point: Bytes): Promise<CryptoKey> => crypto.subtle.importKey('raw', point, curve, true, [])

/**
 * Seals `plain` to the recipient: enc (65 bytes) ‖ ciphertext (16 bytes longer than `plain`).
 * `ephemeral` is for the RFC's test vectors alone; everybody else leaves it out.
 */
export async function seal(
  to: CryptoKey,
  info: Bytes,
  plain: Bytes,
  aad: Bytes = empty,
  ephemeral?: CryptoKeyPair,
): Promise<Bytes> {
  const { publicKey, privateKey } = ephemeral ?? (await crypto.subtle.generateKey(curve, true, ['deriveBits']))
  const enc = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey))
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', to))
  const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: to }, privateKey, 256))

  // Encap (section 4.1).
  const eae = await labeledExtract(kem, empty, 'eae_prk', dh)
  const shared = await labeledExpand(kem, eae, 'shared_secret', concat(enc, point), 32)

  // KeySchedule (section 5.1), mode 0: no PSK.
  const context = concat(
    Uint8Array.of(0),
    await labeledExtract(suite, empty, 'psk_id_hash', empty),
    await labeledExtract(suite, empty, 'info_hash', info),
  )
  const secret = await labeledExtract(suite, shared, 'secret', empty)
  const key = await labeledExpand(suite, secret, 'key', context, 16)
  // One message per context, so the sequence number is 0 and the nonce is the base nonce.
  const iv = await labeledExpand(suite, secret, 'base_nonce', context, 12)

  const aes = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt'])
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: aad }, aes, plain)
  return concat(enc, new Uint8Array(sealed))
}
