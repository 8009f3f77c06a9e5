import { createChallenge, pbkdf2, verifySolution } from 'altcha/lib'
import { expect, it } from 'vitest'

import { solve } from '../src/work/solve.ts'

it.each(['00', '0', 'a', ''])('solves what ALTCHA’s own library sets, prefix "%s"', async (keyPrefix) => {
  const challenge = await createChallenge({
    algorithm: 'PBKDF2/SHA-256',
    cost: 10,
    keyPrefix,
    deriveKey: pbkdf2.deriveKey,
    hmacSignatureSecret: 'secret',
    expiresAt: new Date(Date.now() + 60_000),
  })
  const solution = await solve(challenge.parameters)
  expect(solution.derivedKey.startsWith(keyPrefix)).toBe(true)
  const checked = await verifySolution({ challenge, solution, deriveKey: pbkdf2.deriveKey, hmacSignatureSecret: 'secret' })
  expect(checked.verified).toBe(true)
})

it('finds the first counter that fits', async () => {
  const p = { algorithm: 'PBKDF2/SHA-256', nonce: '00'.repeat(16), salt: '11'.repeat(16), cost: 1, keyLength: 32, keyPrefix: '0' }
  const { counter } = await solve(p)
  for (let n = 0; n < counter; n++) {
    const password = new Uint8Array(20)
    new DataView(password.buffer).setUint32(16, n)
    const { derivedKey } = await pbkdf2.deriveKey(p, new Uint8Array(16).fill(0x11), password)
    expect(Buffer.from(derivedKey).toString('hex').startsWith('0')).toBe(false)
  }
})

it('refuses an algorithm it does not know', async () => {
  await expect(solve({ algorithm: 'SHA-1', nonce: '', salt: '', cost: 1, keyPrefix: '' })).rejects.toThrow('SHA-1')
})
