import { readFileSync } from 'node:fs'

import { describe, expect, it } from 'vitest'

import type { Lang } from '../src/api/types.ts'
import { catalogues } from '../src/prerender.tsx'
import { flat } from '../src/words/flat.ts'
import { plainWords } from '../src/words/plain.ts'

const read = (name: string) => readFileSync(new URL(`../../api-server/plain/${name}`, import.meta.url), 'utf8')
const written = JSON.parse(read('words.gen.json')) as Record<string, Record<string, string>>
const fill = (text: string, ...given: unknown[]) => given.reduce<string>((t, g, i) => t.replaceAll(`{${i}}`, String(g)), text)

describe.each(Object.keys(catalogues) as Lang[])('the plain pages’ words in %s', (lang) => {
  const w = catalogues[lang]
  const data = flat({ ...w, ...plainWords[lang] })

  it('are the ones that npm run generate writes', () => {
    expect(written[lang]).toEqual(data)
  })

  it('say what the functions say', () => {
    expect(fill(data['step']!, 2, 4)).toBe(w.step(2, 4))
    expect(fill(data['span.n.n']!, 12, 34)).toBe(w.span(12 * 60 + 34))
    expect(fill(data['span.1.n']!, 1, 5)).toBe(w.span(65))
    expect(fill(data['span.n.1']!, 9, 1)).toBe(w.span(541))
    expect(fill(data['span.n.0']!, 30, 0)).toBe(w.span(1800))
    expect(fill(data['span.0.n']!, 0, 18)).toBe(w.span(18))
    expect(fill(data['receives.tries.n']!, 4)).toBe(w.receives.tries(4))
    expect(data['receives.tries.1']).toBe(w.receives.tries(1))
    expect(fill(data['ballot.rule.between']!, 2, 3)).toBe(w.ballot.rule(2, 3))
    expect(fill(data['ballot.rule.exactly']!, 3, 3)).toBe(w.ballot.rule(3, 3))
    expect(fill(data['ballot.rule.most']!, 0, 5)).toBe(w.ballot.rule(0, 5))
    expect(data['ballot.rule.one']).toBe(w.ballot.rule(0, 1))
    expect(fill(data['ballot.faults.too-many']!, 1, 3)).toBe(w.ballot.faults['too-many'](1, 3))
  })

  it('hold no leftovers of a function', () => {
    for (const [key, text] of Object.entries(data)) expect(text, key).not.toMatch(/undefined|NaN|\[object|=>/)
  })

  it('keep to their own script', () => {
    const others = { 'zh-Hant-HK': /[这们说时为个请输码验证选过还没发现开关签讯网页]/u, 'zh-Hans': /[這們說時為個請輸碼驗證選過還沒發現開關簽訊網頁]/u, en: /\p{Script=Han}/u }
    for (const [key, text] of Object.entries(data)) expect(others[lang].exec(text)?.[0], `${key}: ${text}`).toBeUndefined()
  })
})

it('the plain pages look as this page does', () => {
  for (const name of ['tokens.css', 'page.css']) {
    expect(read('style.gen.css')).toContain(readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8'))
  }
})
