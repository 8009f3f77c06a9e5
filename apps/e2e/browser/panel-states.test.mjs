// States of the panel that no journey reaches: a full first day, parts that are down, numbers that went
// stale, a lost connection, nothing at all. Every one in light and dark; sizes and languages take turns,
// so that each screen's states meet them all.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'

import { launch, open, sizes } from './browser.mjs'
import { inspect } from './panel/desk.mjs'
import { broken, clouds, free, ill, lost, routes, scene } from './panel/scenes.mjs'
import { raise } from './panel/stage.mjs'

let browser
before(async () => {
  browser = await launch()
})
after(() => browser?.close())

const langs = ['zh-Hant-HK', 'zh-Hans', 'en']
const turns = Object.entries(sizes)
let turn = 0

/** state shows a play; `then` brings it to the state, in whatever language it is. */
function state(name, play, path, wait, then = async () => {}, on = [turns[turn % 2]]) {
  for (const [size, options] of on) {
    const lang = langs[turn++ % 3]
    it(`${name}, ${size}, ${lang}`, async () => {
      const stage = await raise(play())
      try {
        const page = await open(browser, stage.origin, { ...options, locale: lang })
        page.expectRefusals()
        await page.goto(stage.origin + path)
        await page.locator(wait).first().waitFor()
        await then(page, stage)
        assert.equal(await page.getAttribute('html', 'lang'), lang)
        await inspect(page, `${name}-${size}-${lang}`)
        await page.done()
      } finally {
        await stage.close()
      }
    })
  }
}

const verdict = (key) => (page) => page.locator(`[data-verdict=${key}]`).waitFor()
const id = 'hk-2014-06'

/** withKey says of a scene's identity key until when it is kept, in hours from now, and when it was destroyed. */
function withKey(play, hours, destroyed_at = null) {
  play[`/api/polls/${id}`].identity_key = { kept_until: new Date(Date.now() + hours * 3600_000).toISOString(), destroyed_at }
  return play
}

state('day', () => scene('open'), '/', '.uplot', verdict('voting'), turns)
state('parts-down', () => scene('open', { shown: broken }), '/', '.uplot', verdict('down'))
state('paused', () => scene('paused'), '/', '.uplot', verdict('paused'))
state('no-vote-yet', () => scene('open', { votes: false }), '/', '.plot-empty', verdict('quiet'))
state('no-poll', () => scene('open', { polls: [] }), '/', '.nothing', verdict('none'))
state('stale', () => scene('open'), '/', '.uplot', async (page, stage) => {
  stage.say('stale', { since: new Date().toISOString(), now: new Date().toISOString() })
  await verdict('silent')(page)
  await page.locator('.pulse-bad').waitFor()
})
state('offline', () => scene('open'), '/', '.uplot', async (page, stage) => {
  stage.cut()
  await verdict('blind')(page)
  // What was known stays, with its age.
  assert.match(await page.locator('[data-test=turnout]').textContent(), /^6\d,\d{3}$/)
  assert.match(await page.locator('.pulse-bad').textContent(), /\d/)
})
state('polls', () => scene('open'), '/polls', 'table')
state('poll', () => scene('open'), `/polls/${id}`, '.uplot')
state('close-dialog', () => scene('open'), `/polls/${id}`, '.uplot', (page) => page.click('[data-test=do-close]'))
state('counting', () => scene('closed', { more: { counting: true, count: { done: 21_000, total: 65_672 } } }), `/polls/${id}`, 'progress')
state('destroy-dialog', () => withKey(scene('published'), -1), `/polls/${id}`, '.uplot', (page) => page.click('[data-test=do-destroy]'))
state('key-kept', () => withKey(scene('counted'), 30 * 24), `/polls/${id}`, '[data-test=key-kept]')
state('key-destroyed', () => withKey(scene('published'), -1, new Date().toISOString()), `/polls/${id}`, '[data-test=certificate]')
state('result', () => scene('published'), `/polls/${id}/result`, '.outcome')
state('no-result', () => scene('open'), `/polls/${id}/result`, '.nothing')
state('audit', () => scene('open'), `/polls/${id}/audit`, '.chain')
state('audit-broken', () => {
  const play = scene('open')
  play[`/api/polls/${id}/audit`].broken = 4
  return play
}, `/polls/${id}/audit`, '.chain-broken')
state('form', () => scene('draft', { votes: false }), `/polls/${id}/edit`, '.question')
state('file', () => scene('open'), '/new', '.drop')
state('wall', () => scene('open'), '/wall', '.uplot')
state('no-such-poll', () => ({ ...scene('open'), [`/api/polls/${id}`]: { status: 404, code: 'poll-not-found', title: 'No such poll.' } }), `/polls/${id}`, '.nothing')
state('server-error', () => ({ ...scene('open'), [`/api/polls/${id}/audit`]: { status: 500, code: 'internal', effect: 'unknown', title: 'Something went wrong.' } }), `/polls/${id}/audit`, '[role=alert]')
const sky = (change) => scene('open', { sky: clouds(change) })
state('day-in-clouds', () => sky(), '/', '#skyline', verdict('voting'), turns)
state('cloud-lost-overview', () => sky(lost), '/', '#skyline', verdict('degraded'))
state('clouds', () => sky(), '/clouds', '[data-test=cloud-aws]')
state('cloud-lost', () => sky(lost), '/clouds', '.rollout-waits', async (page) => {
  assert.equal(await page.isDisabled('[data-test=promote-api-server]'), true)
  await page.locator('[data-test=leader-nomad].wrong').waitFor()
  await page.locator('[data-test=source-nomad].pulse-bad').waitFor()
}, turns)
state('clouds-never', () => sky((map) => Object.assign(map, {
  nomad: { asked: true, failing: true, denied: true }, consul: { asked: false, failing: false, denied: false }, clouds: [], jobs: [], services: [], leaders: [], deeds: [],
})), '/clouds', '.nothing')
state('clouds-not-known', () => scene('open'), '/clouds', '.nothing')
state('drills', () => sky(), '/drills', 'table', async () => {}, turns)
state('drill-failed', () => sky(), '/drills/2026-11-23T125442', '.faults', async () => {}, turns)
state('drills-none', () => ({ ...sky(), '/api/drills': { runs: [] } }), '/drills', '.nothing')
const sms = (change) => scene('open', { sky: clouds(), sms: routes(change) })
state('sms', () => sms(), '/sms', '[data-test=route-twilio-gcp]', async (page) => {
  assert.equal(await page.locator('[data-state=works]').count(), 6)
  assert.equal(await page.locator('[data-test=silent]').count(), 0)
  assert.equal(await page.locator('[data-test^="reach-"]').count(), 6)
  // Three gateways' numbers in one line.
  assert.match(await page.locator('[data-test="reach-+852-twilio"]').textContent(), /9,00\d/)
  await page.locator('[data-test=placeless]').waitFor()
}, turns)
state('sms-ill', () => sms(ill), '/sms', '[data-test=silent]', async (page) => {
  assert.equal(await page.locator('[data-test=silent] li').count(), 2)
  const states = Object.entries({ 'local-smpp-aws': 'away', 'twilio-aws': 'throttled', 'local-smpp-hetzner': 'last', 'twilio-hetzner': 'trying' })
  for (const [route, is] of states) await page.locator(`[data-test=route-${route}][data-state=${is}]`).waitFor()
  assert.equal(await page.locator('[data-test^=route-][data-test$=-gcp]').count(), 0)
  await page.locator('[data-test=purse-all-aws][data-state=down]').waitFor()
  await page.locator('[data-test=purse-all-hetzner][data-state=degraded]').waitFor()
}, turns)
state('sms-free', () => scene('open', { sms: routes(free) }), '/sms', '[data-test=route-simulated-]', async (page) => {
  assert.equal(await page.locator('[data-test^=purse-]').count(), 0)
}, turns)
state('sms-none', () => sms((view) => (view.gateways = [])), '/sms', '.nothing')
state('sms-unheard', () => sms((view) => view.gateways.forEach((g) => Object.assign(g, { silent: 'no_answer', report: undefined }))), '/sms', '.nothing', async (page) => {
  assert.equal(await page.locator('[data-test=silent] li').count(), 3)
})
state('sms-old', () => sms((view) => (view.now = new Date(Date.now() - 50_000).toISOString())), '/sms', '[data-test=routes-old]')
state('sms-loading', () => {
  const play = sms()
  const live = play.live
  return { ...play, live: (poll) => live(poll).filter(([event]) => event !== 'routes') }
}, '/sms', '.loading')
state('sms-not-asked', () => scene('open'), '/sms', '.nothing')
state('nowhere', () => scene('open'), '/somewhere/else', '.nothing')

it('comes back by itself once the connection does', async () => {
  const play = scene('open')
  const stage = await raise(play)
  const page = await open(browser, stage.origin, { ...sizes.desktop, locale: 'en' })
  page.expectRefusals()
  await page.goto(stage.origin)
  await verdict('voting')(page)
  stage.cut()
  await verdict('blind')(page)
  stage.play = play
  await verdict('voting')(page)
  await page.done()
  await stage.close()
})

it('gives a change of state to everybody who looks', async () => {
  const stage = await raise(scene('open'))
  const page = await open(browser, stage.origin, { ...sizes.desktop, locale: 'en' })
  await page.goto(`${stage.origin}/polls/${id}`)
  await page.locator('[data-test=do-pause]').waitFor()
  stage.play = scene('paused')
  stage.say('stats', stage.play.live(id)[1][1])
  await page.locator('[data-test=do-resume]').waitFor()
  await page.done()
  await stage.close()
})

it('says that it does not know, where an answer was lost', async () => {
  const stage = await raise({ ...scene('open'), [`/api/polls/${id}/close`]: (request) => void request.socket.destroy() })
  const page = await open(browser, stage.origin, { ...sizes.desktop, locale: 'en' })
  page.expectRefusals()
  await page.goto(`${stage.origin}/polls/${id}`)
  await page.click('[data-test=do-close]')
  await page.fill('[data-test=confirm]', id)
  await page.fill('[data-test=reason]', 'the end')
  await page.click('[data-test=act]')
  assert.match(await page.locator('dialog [role=alert]').textContent(), /not known whether this was done/)
  await inspect(page, 'unknown-outcome')
  await page.done()
  await stage.close()
})

it('has the routes follow what the gateways say', async () => {
  const stage = await raise(sms())
  const page = await open(browser, stage.origin, { ...sizes.desktop, locale: 'en' })
  await page.goto(`${stage.origin}/sms`)
  await page.locator('[data-test=route-twilio-aws][data-state=works]').waitFor()
  stage.say('routes', routes(ill))
  await page.locator('[data-test=route-twilio-aws][data-state=throttled]').waitFor()
  await page.locator('[data-test=silent]').waitFor()
  stage.say('routes', routes())
  await page.locator('[data-test=silent]').waitFor({ state: 'detached' })
  await page.done()
  await stage.close()
})
