import { describe, expect, it } from 'vitest'
import { formatFor } from '../src/format'
import { langs } from '../src/types'
import { catalogue, preferred } from '../src/words'

type Tree = Record<string, unknown>

function* leaves(tree: Tree, path = ''): Generator<[string, unknown]> {
  for (const [key, value] of Object.entries(tree)) {
    const at = path ? `${path}.${key}` : key
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) yield* leaves(value as Tree, at)
    else yield [at, value]
  }
}

const english = new Map(leaves(catalogue.en))

describe.each(['zh-Hant-HK', 'zh-Hans'] as const)('the words of %s', (lang) => {
  const own = new Map(leaves(catalogue[lang]))

  it('are for the same things as the English ones, tables included', () => {
    expect([...own.keys()].sort()).toEqual([...english.keys()].sort())
  })

  it('are written, not left over', () => {
    const same = [...own].filter(([k, v]) => typeof v === 'string' && /[a-z]{3}/i.test(v) && v !== 'CSV' && v === english.get(k)).map(([k]) => k)
    expect(same).toEqual([])
  })

  it('use the characters of their script', () => {
    const text = [...own.values()].flat().map((v) => (typeof v === 'function' ? String(v) : String(v))).join('')
    // Characters that exist in one of the two scripts only.
    const foreign = lang === 'zh-Hans' ? /[們這個開關數據時點選結後還為讓從對錯誤檔錄戶網頁]/ : /[们这个开关数据时点选结后还为让从对错误档录户网页]/
    expect(text.match(foreign)?.[0]).toBeUndefined()
  })
})

describe('every sentence', () => {
  it('puts what it is given into words', () => {
    for (const lang of langs) {
      const { action, verdict, session, create } = catalogue[lang]
      expect(action.close.what({ total: '#1', early: '#2' })).toMatch(/#1.*#2/s)
      expect(action.extend.what({ closes: '#1', next: '#2', by: '#3' })).toMatch(/(?=.*#1)(?=.*#2)(?=.*#3)/s)
      expect(action.pause.what({ total: '#1', rate: '#2' })).toMatch(/(?=.*#1)(?=.*#2)/s)
      expect(action.publish.what({ ballots: '#1', invalid: '#2' })).toMatch(/(?=.*#1)(?=.*#2)/s)
      expect(action.open.what({ opens: '#1', closes: '#2', questions: '#3', languages: '#4', early: true })).toMatch(/(?=.*#1)(?=.*#2)(?=.*#3)(?=.*#4)/s)
      expect(action.destroy.what({ total: '#1', ended: '#2' })).toMatch(/(?=.*#1)(?=.*#2)/s)
      expect(catalogue[lang].poll.idKey.kept('#1', '#2')).toMatch(/(?=.*#1)(?=.*#2)/s)
      expect(action.count.enough('#1', '#2')).toMatch(/(?=.*#1)(?=.*#2)/s)
      expect(verdict.down('#1')[0]).toContain('#1')
      expect(session.linkWhat('#1')).toContain('#1')
      expect(create.taken('#1', '#2')).toMatch(/(?=.*#1)(?=.*#2)/s)
    }
  })
})

describe('numbers and times', () => {
  it('say their zone behind the time', () => {
    for (const lang of langs) {
      const f = formatFor(lang, 'Asia/Hong_Kong')
      expect(f.when('2014-06-22T14:00:00Z')).toMatch(/22:00 GMT\+8$/)
      expect(f.clock('2014-06-22T14:00:07Z')).toBe('22:00:07 GMT+8')
    }
  })

  it('give a length of time in its two largest units', () => {
    const f = formatFor('en')
    expect([0, 59, 60, 61, 3600, 3661, 90061, 86400].map(f.span)).toEqual(['0 s', '59 s', '1 min', '1 min 1 s', '1 h', '1 h 1 min', '1 d 1 h', '1 d'])
  })

  it('round a rate no further than it is known', () => {
    const f = formatFor('en')
    expect([0, 0.34, 9.96, 12.4, 1234.5].map(f.rate)).toEqual(['0', '0.3', '10.0', '12', '1,235'])
  })
})

describe('the language of a browser', () => {
  it.each([[['zh-HK'], 'zh-Hant-HK'], [['zh-CN'], 'zh-Hans'], [['zh-Hans-HK'], 'zh-Hans'], [['zh'], 'zh-Hant-HK'], [['fr', 'en-GB'], 'en'], [['fr'], 'en'], [[], 'en']])(
    '%j is met with %s',
    (wanted, lang) => {
      expect(preferred(wanted)).toBe(lang)
    },
  )
})
