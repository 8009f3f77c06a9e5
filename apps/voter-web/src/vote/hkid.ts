// The Hong Kong identity card number: a typing filter, so that a slip is found before anything is
// sent. The server decides.

export type HKIDFault = 'empty' | 'form' | 'check'

// What people write around a number, and what pasting brings along: the server leaves out the same.
const around = /[\s\p{Cf}\p{Pd}\u2212()[\]{}【】〔〕「」]/gu

/** What is wrong with the number as typed; undefined when its check digit agrees. */
export function hkidFault(input: string): HKIDFault | undefined {
  // NFKC folds the full-width letters, digits and brackets of Chinese keyboards.
  const plain = input.normalize('NFKC').toUpperCase().replace(around, '')
  if (!plain) return 'empty'
  const parts = /^([A-Z]{1,2})([0-9]{6})([0-9A])$/.exec(plain)
  if (!parts) return 'form'
  const [, letters, digits, check] = parts
  // Weights 9 to 2 over eight places; a missing first letter counts 36, letters 10 to 35.
  const body = letters!.padStart(2, ' ') + digits!
  const sum = Array.from(body).reduce((total, c, i) => total + (c === ' ' ? 36 : parseInt(c, 36)) * (9 - i), 0)
  return parseInt(check!, 16) === (11 - (sum % 11)) % 11 ? undefined : 'check'
}
