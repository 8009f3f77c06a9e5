import { describe, expect, it } from 'vitest'
import { csvOf } from '../src/csv'
import { deed, wasRefused } from '../src/deed'
import { fresh, option, question, readKey, swap, tidy } from '../src/draft'
import { hex } from '../src/format'
import { routeOf } from '../src/router'
import { tokenIn } from '../src/screens/login'
import { readShare, tally } from '../src/shares'
import type { AuditEntry } from '../src/types'
import { catalogue } from '../src/words'

describe('a table for spreadsheets', () => {
  it('holds no formula, and quotes what needs it', () => {
    expect(csvOf([['=1+1', '+x', '-y', '@z', '\tt', '＝1']])).toBe("\ufeff'=1+1,'+x,'-y,'@z,'\tt,'＝1\r\n")
    expect(csvOf([['a,b', 'say "x"', 'two\nlines', 'plain']])).toBe('\ufeff"a,b","say ""x""","two\nlines",plain\r\n')
  })
})

describe('a share file', () => {
  const share = (index: number, key = 'k'): string => JSON.stringify({ typ: 'popvote-share', key_id: key, k: 2, n: 3, index, value: 'x' })
  it('says which it is', () => {
    expect(readShare('a', share(2))).toMatchObject({ readable: true, index: 2, k: 2, n: 3, keyId: 'k' })
    for (const text of ['', '{}', 'hello', '[]', 'null', JSON.stringify({ typ: 'other' }), share(0)]) expect(readShare('a', text).readable).toBe(false)
  })
  it('counts once, and for its own key only', () => {
    const shares = [share(1), share(1), share(2, 'other'), 'junk'].map((text, i) => readShare(String(i), text))
    expect(tally(shares, 'k')).toEqual({ have: 1, need: 2 })
    expect(tally([], 'k')).toEqual({ have: 0, need: 0 })
  })
})

describe('a public key', () => {
  const jwk = { kty: 'EC', crv: 'P-256', x: 'xx', y: 'yy', kid: 'kk' }
  it('is read in each form that `popvote trustee new` prints', () => {
    expect(readKey(JSON.stringify(jwk))).toEqual(jwk)
    expect(readKey(JSON.stringify({ tally_key: jwk, files: [] }))).toEqual(jwk)
    expect(readKey('tally_key:\n  kty: EC\n  crv: P-256\n  x: "xx"\n  y: "yy"\n  kid: "kk"\n')).toEqual(jwk)
  })
  it('never takes the private half along', () => {
    expect(JSON.stringify(readKey(JSON.stringify({ ...jwk, d: 'secret' })))).not.toContain('secret')
  })
  it('is not read from anything else', () => {
    for (const text of ['', '{}', 'null', '7', '{"kty":"RSA"}', 'kty: EC']) expect(readKey(text)).toBeNull()
  })
})

describe('a draft', () => {
  it('leaves out what is empty, and other languages than its own', () => {
    const d = fresh(0)
    d.languages = ['en']
    d.title = { en: ' A ', 'zh-Hans': '甲' }
    d.summary = { en: ' ' }
    d.organiser = { name: { en: 'B' }, url: '' }
    const t = tidy(d)
    expect(t.title).toEqual({ en: 'A' })
    expect('summary' in t).toBe(false)
    expect(t.organiser).toEqual({ name: { en: 'B' } })
    expect('text' in t.questions[0]!).toBe(false)
    expect(t.questions[0]!.options.at(-1)!.label).toEqual({ en: 'Abstain' })
  })
  it('says no to what nobody ticked, and yes to what somebody did', () => {
    const t = tidy({ ...fresh(0), reveal_tally_key: false, seal_on_server: false })
    expect('reveal_tally_key' in t || 'seal_on_server' in t).toBe(false)
    const ticked = tidy({ ...fresh(0), reveal_tally_key: true, seal_on_server: true })
    expect([ticked.reveal_tally_key, ticked.seal_on_server]).toEqual([true, true])
  })
  it('gives new questions and options ids of their own', () => {
    const q = question([question([])])
    expect(q.id).toBe('q2')
    expect(new Set(q.options.map((o) => o.id)).size).toBe(3)
    expect(option(q.options, 'choice').id).toBe('c')
  })
  it('moves within its list only', () => {
    expect(swap([1, 2, 3], 0, 1)).toEqual([2, 1, 3])
    expect(swap([1, 2, 3], 0, -1)).toEqual([1, 2, 3])
    expect(swap([1, 2, 3], 2, 1)).toEqual([1, 2, 3])
  })
})

describe('an audit entry', () => {
  const entry = (action: string, detail: string): AuditEntry => ({ seq: 1, at: '', poll: 'p', actor: 'a', action, reason: 'r', detail, prev: null, hash: '' })
  const t = catalogue.en
  it('is told in words', () => {
    expect(deed(entry('open', '{"from":"draft"}'), t)).toBe('Opened')
    expect(deed(entry('open', '{"from":"paused"}'), t)).toBe('Resumed')
    expect(deed(entry('closed', '{"refused":"no"}'), t)).toBe('Refused: Closed')
    expect(wasRefused(entry('closed', '{"refused":"no"}'))).toBe(true)
    expect(deed(entry('rotated', 'null'), t)).toBe('rotated')
    expect(deed(entry('open', 'not JSON'), t)).toBe('Opened')
  })
})

describe('addresses', () => {
  it.each([
    ['/', '?poll=x', { name: 'overview', poll: 'x' }],
    ['/polls', '', { name: 'polls' }],
    ['/polls/a%2Fb', '', { name: 'poll', id: 'a/b', tab: 'numbers' }],
    ['/polls/p/audit', '', { name: 'poll', id: 'p', tab: 'audit' }],
    ['/polls/p/edit', '', { name: 'edit', id: 'p' }],
    ['/polls/p/nothing', '', { name: 'lost' }],
    ['/polls/p/audit/more', '', { name: 'lost' }],
    ['/new', '', { name: 'new' }],
    ['/wall/p', '', { name: 'wall', id: 'p' }],
    ['/%E0%A4%A', '', { name: 'lost' }],
  ])('%s%s', (path, query, route) => {
    expect(routeOf(path, query)).toEqual(route)
  })
})

describe('a log-in link', () => {
  const token = 'A'.repeat(43)
  it('is taken whole, as its fragment, or as its secret', () => {
    for (const link of [`http://127.0.0.1:8081/#login=${token}`, `#login=${token}`, ` ${token}\n`]) expect(tokenIn(link)).toBe(token)
    for (const link of ['', 'http://127.0.0.1:8081/', '#login=short', '#other']) expect(tokenIn(link)).toBe('')
  })
})

describe('a hash', () => {
  it('is shown in hexadecimal', () => {
    expect(hex('AP8Q')).toBe('00ff10')
    expect(hex(null)).toBe('')
    expect(hex('!!')).toBe('')
  })
})
