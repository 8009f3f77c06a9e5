// A catalogue as data, for a program that cannot call its functions: a sentence per key. What a function is
// given stands in it as {0} and {1}.

import type { Words } from './words.ts'

/** Where a function's words depend on its numbers: some numbers, and the key of what it then says. */
const forms: Record<string, [key: string, numbers: number[]][]> = {
  // By minutes and seconds: none, one, more.
  span: [
    ['0.1', [1]], ['0.n', [0, 7]], ['1.0', [60]], ['n.0', [8, 0]],
    ['1.1', [61]], ['1.n', [60, 7]], ['n.1', [8, 1]], ['n.n', [8, 7]],
  ],
  'receives.tries': [['1', [1]], ['n', [7]]],
  'ballot.rule': [['one', [0, 1]], ['exactly', [7, 7]], ['between', [7, 8]], ['most', [0, 8]]],
  'ballot.faults.too-few': [['1', [1]], ['n', [7]]],
}

export function flat(w: Words): Record<string, string> {
  const out: Record<string, string> = {}
  const walk = (value: unknown, path: string): void => {
    if (typeof value === 'string') out[path] = value
    else if (typeof value === 'function') {
      const say = value as (...given: unknown[]) => unknown
      if (path === 'span') {
        for (const [key, [a, b]] of forms[path]!) {
          const seconds = key.startsWith('n') ? a! * 60 + b! : a! + (b ?? 0)
          out[`span.${key}`] = String(say(seconds)).replace('8', '{0}').replace('7', '{1}')
        }
      } else if (forms[path]) {
        for (const [key, numbers] of forms[path]) {
          out[`${path}.${key}`] = String(say(...numbers)).replace('7', '{0}').replace('8', '{1}')
        }
      } else walk(say('{0}', '{1}'), path)
    } else for (const [key, member] of Object.entries(value as object)) walk(member, path ? `${path}.${key}` : key)
  }
  walk(w, '')
  return out
}
