import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import type { Lang } from '../src/api/types.ts'
import { catalogues } from '../src/prerender.tsx'
import { checkWords } from '../src/words/check.ts'
import { humanWords } from '../src/words/human.ts'
import type { Words } from '../src/words/words.ts'

const spec = readFileSync(new URL('../../../libs/channelsapi/openapi.yaml', import.meta.url), 'utf8')
const codes = spec.split('ProblemCode:\n')[1]!.split('enum:')[1]!.match(/[a-z][a-z-]+/g)!

/** Every sentence of a catalogue, functions called with some numbers, with its path. */
function* sentences(value: unknown, path = ''): Generator<[string, string]> {
  if (typeof value === 'string') yield [path, value]
  else if (typeof value === 'function') {
    for (const n of [1, 2, 61, 180]) {
      yield* sentences((value as (...a: unknown[]) => unknown)(n, n + 1), `${path}(${n})`)
    }
  } else if (value && typeof value === 'object') for (const [k, v] of Object.entries(value)) yield* sentences(v, `${path}.${k}`)
}

const everything = { ...catalogues }
for (const lang of Object.keys(catalogues) as Lang[]) everything[lang] = Object.assign({ check: checkWords[lang], human: humanWords[lang] }, catalogues[lang])

describe.each(Object.entries(everything))('the catalogue of %s', (lang, words) => {
  it('has a sentence for every problem of the API', () => {
    expect(codes.length).toBeGreaterThan(40)
    for (const code of codes) {
      const [what, now] = words.trouble[code as keyof Words['trouble']]
      expect(what, code).toBeTruthy()
      expect(now, code).toBeTruthy()
    }
  })

  it('says something everywhere, and names no code', () => {
    for (const [path, text] of sentences(words)) {
      if (path !== ".gap") expect(text.trim(), path).not.toBe('')
      expect(text, path).not.toMatch(/undefined|NaN|\[object|\b[a-z]+-[a-z]+-[a-z]+\b(?<!up-to-date)|\bOTP\b|\btoken\b/)
    }
  })

  it('keeps to its own script', () => {
    const others: Record<string, RegExp> = {
      'zh-Hant-HK': /[这们说时为个请输码验证选过还没发现开关签讯网页]/u,
      'zh-Hans': /[這們說時為個請輸碼驗證選過還沒發現開關簽訊網頁]/u,
      en: /\p{Script=Han}/u,
    }
    for (const [path, text] of sentences(words)) {
      expect(others[lang]!.exec(text)?.[0], `${path}: ${text}`).toBeUndefined()
    }
  })
})

it('has the same members in every language', () => {
  const shape = (w: Words) => [...sentences(w)].map(([path]) => path.replace(/\.needs\(\d+\)\.\d+/, '.needs')).length
  expect(new Set(Object.values(everything).map(shape)).size).toBe(1)
})
