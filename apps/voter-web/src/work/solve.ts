// Solving a proof of work: ALTCHA's second version, PBKDF2/SHA-256. The counter is searched whose
// derived key starts with the wanted prefix.

export interface Parameters {
  algorithm: string
  nonce: string
  salt: string
  cost: number
  keyLength?: number
  keyPrefix: string
  expiresAt?: number
}

export interface Solution {
  counter: number
  derivedKey: string
  time: number
}

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16))

// WebCrypto derives on threads of its own, so a few at once keep more than one core busy.
const abreast = 4

export async function solve(p: Parameters): Promise<Solution> {
  if (p.algorithm !== 'PBKDF2/SHA-256') throw new Error(`cannot solve ${p.algorithm}`)
  const started = performance.now()
  const nonce = bytes(p.nonce)
  const pbkdf2 = { name: 'PBKDF2', hash: 'SHA-256', salt: bytes(p.salt), iterations: p.cost }

  const derive = async (counter: number) => {
    const password = new Uint8Array(nonce.length + 4)
    password.set(nonce)
    new DataView(password.buffer).setUint32(nonce.length, counter)
    const key = await crypto.subtle.importKey('raw', password, 'PBKDF2', false, ['deriveBits'])
    const bits = await crypto.subtle.deriveBits(pbkdf2, key, (p.keyLength ?? 32) * 8)
    return Array.from(new Uint8Array(bits), (b) => b.toString(16).padStart(2, '0')).join('')
  }

  for (let from = 0; ; from += abreast) {
    const keys = await Promise.all(Array.from({ length: abreast }, (_, i) => derive(from + i)))
    const hit = keys.findIndex((k) => k.startsWith(p.keyPrefix))
    const derivedKey = keys[hit]
    if (derivedKey) return { counter: from + hit, derivedKey, time: Math.round(performance.now() - started) }
  }
}
