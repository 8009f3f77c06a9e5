import { stdnum } from 'stdnum'
import { expect, it } from 'vitest'

import { hkidFault } from '../src/vote/hkid.ts'

it.each([
  'A123456(3)', 'L555555(0)', 'G123456(A)', 'K123456(0)', 'C123456(9)', 'P103265(1)', 'A182361(5)', 'AB987654(3)', 'AY987654(6)',
  'a1234563', ' A 123456 (3) ', 'Ａ１２３４５６（３）', 'A123456-3', 'A123456【3】', '\u200eA123456(3)\u200f', 'A123456（3）',
])('takes %s', (number) => expect(hkidFault(number)).toBeUndefined())

it.each([
  ['', 'empty'], ['  ()', 'empty'], ['1234567', 'form'], ['ABC123456(3)', 'form'], ['A12345(3)', 'form'], ['A123456(B)', 'form'],
  ['A123456', 'form'], ['A1234567(3)', 'form'], ['A12345O(3)', 'form'], ['A123456(4)', 'check'], ['B123456(3)', 'check'],
  ['AY987654(A)', 'check'],
])('refuses %s: %s', (number, fault) => expect(hkidFault(number)).toBe(fault))

it('agrees with another implementation on ten thousand numbers, right and wrong', () => {
  // Without O: stdnum refuses that letter whatever the check digit, and we leave it to the issuer.
  const letters = 'ABCDEFGHIJKLMNPQRSTUVWXYZ'
  const theirs = stdnum.HK!.hkid!
  // A fixed sequence (xorshift), so that a failure comes again.
  let state = 0x9e3779b9
  const below = (n: number) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % n
  }
  let right = 0
  for (let i = 0; i < 10_000; i++) {
    const prefix = (i % 2 ? letters[below(25)]! : '') + letters[below(25)]!
    const number = `${prefix}${String(below(1_000_000)).padStart(6, '0')}${'0123456789A'[below(11)]!}`
    const valid = theirs.validate(number).isValid
    expect(hkidFault(number) === undefined, number).toBe(valid)
    if (valid) right++
  }
  expect(right).toBeGreaterThan(500)
})
