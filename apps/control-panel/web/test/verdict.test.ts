import { describe, expect, it } from 'vitest'
import type { Part, PollState, PollSummary, Stats } from '../src/types'
import { decisions, judge, watched, type Scene } from '../src/verdict'

const now = Date.parse('2026-11-23T04:00:00Z')
const poll = (state: PollState, opens = '2026-11-23T03:00:00Z', closes = '2026-11-23T05:00:00Z', id = 'p'): PollSummary => ({
  id, title: { en: id }, state, kind: 'public', opens_at: opens, closes_at: closes,
})
const stats = (state: PollState, rate = 1): Stats => ({
  poll: 'p', at: '', state, total: 1, by_channel: null, per_minute: null, rate_now: rate, peak_second: 0, peak_at: '', took: null, refused: null,
})
const part = (name: string, state: Part['state']): Part => ({ name, state })
const scene = (change: Partial<Scene> = {}): Scene => {
  const p = change.poll === undefined ? poll('open') : change.poll
  return { poll: p, polls: p ? [p] : [], stats: p ? stats(p.state) : null, parts: [part('api-server', 'ok')], connection: 'live', troubleLately: 0, now, ...change }
}

describe('the verdict', () => {
  it.each<[string, Partial<Scene>, string, string]>([
    ['all is well', {}, 'good', 'voting'],
    ['nobody votes just now', { stats: stats('open', 0) }, 'good', 'quiet'],
    ['nothing was heard yet', { poll: null, polls: null, parts: [] }, 'idle', 'loading'],
    ['there is no poll', { poll: null, polls: [] }, 'idle', 'none'],
    ['it is a draft', { poll: poll('draft') }, 'idle', 'draft'],
    ['it is open before its time', { poll: poll('open', '2026-11-23T04:30:00Z') }, 'idle', 'early'],
    ['its time is over', { poll: poll('open', undefined, '2026-11-23T04:00:00Z') }, 'watch', 'over'],
    ['it is paused', { poll: poll('paused') }, 'watch', 'paused'],
    ['it is closed', { poll: poll('closed') }, 'watch', 'closed'],
    ['it is counted', { poll: poll('counted') }, 'idle', 'counted'],
    ['it is published', { poll: poll('published') }, 'idle', 'published'],
    ['a part is degraded', { parts: [part('sms-gateway', 'degraded')] }, 'watch', 'degraded'],
    ['votes are turned away', { troubleLately: 4 }, 'watch', 'turning'],
    ['a part is down', { parts: [part('ballot-server', 'down')] }, 'bad', 'down'],
    ['the ballot server is silent', { connection: 'old' }, 'bad', 'silent'],
    ['the page is cut off', { connection: 'lost' }, 'bad', 'blind'],
  ])('when %s', (_, change, level, key) => {
    expect(judge(scene(change))).toMatchObject({ level, key })
  })

  it('never calls old numbers good', () => {
    for (const connection of ['lost', 'old', 'ended'] as const) expect(judge(scene({ connection })).level).toBe('bad')
  })

  it('says that a part is down even where the poll is idle', () => {
    expect(judge(scene({ poll: poll('published'), parts: [part('api-server', 'down')] })).key).toBe('down')
  })

  it('believes the live state over the list, which is read less often', () => {
    expect(judge(scene({ stats: stats('paused') })).key).toBe('paused')
  })
})

describe('decisions', () => {
  it('come with the most urgent first', () => {
    const list = [
      poll('counted', undefined, undefined, 'e'), poll('closed', undefined, undefined, 'd'), poll('open', undefined, '2026-11-23T03:59:00Z', 'c'),
      poll('draft', undefined, undefined, 'b'), poll('paused', undefined, undefined, 'a'), poll('open', undefined, undefined, 'x'),
      poll('draft', '2026-11-24T00:00:00Z', '2026-11-25T00:00:00Z', 'y'), poll('published', undefined, undefined, 'z'),
    ]
    expect(decisions(list, now).map((d) => `${d.poll.id} ${d.key}`)).toEqual(['a resume', 'b open', 'c close', 'd count', 'e publish'])
  })
})

describe('the poll that is watched', () => {
  it('is the one being voted on', () => {
    expect(watched([poll('draft', undefined, undefined, 'a'), poll('open', undefined, undefined, 'b')])?.id).toBe('b')
    expect(watched([poll('published', undefined, undefined, 'a'), poll('draft', undefined, undefined, 'b')])?.id).toBe('a')
    expect(watched([])).toBeNull()
    expect(watched(null)).toBeNull()
  })
})
