// An operator's whole poll at the panel: log in, create, open, watch a vote arrive, pause, resume,
// extend, close, count with the trustees' shares, publish, and hand out a bundle that verifies.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, it as test } from 'node:test'
import { promisify } from 'node:util'

import { launch, open, tabTo } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { decide, done, inspect, loginLink, stateIs } from './panel/desk.mjs'
import { answer, arrive, at, castIt, identify, receiptCode, sendSMS } from './voter.mjs'

const program = process.env.POPVOTE ?? join(new URL('.', import.meta.url).pathname, '../../../bin/popvote')
const id = 'rehearsal-1'

let instance, browser, page, shares, tallyKey
before(async () => {
  instance = await startInstance()
  browser = await launch()
  shares = join(instance.data, 'rehearsal-shares')
  await mkdir(shares)
  tallyKey = (await promisify(execFile)(program, ['trustee', 'new', '--needed', '2', '--of', '3', '--dir', shares])).stdout
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

// Each step stands on the one before: after a failure the rest would only fail slowly.
let broken = false
const it = (name, step) =>
  test(name, async (t) => {
    if (broken) return t.skip('a step before it failed')
    broken = true
    await step()
    broken = false
  })

// A poll that is over before the journey is: its key can be destroyed at the end.
const brief = 'brief-1'
const time = (hours) => new Date(Date.now() + hours * 3600_000).toISOString()
const file = () => `id: ${id}
kind: rehearsal
languages: [zh-Hant-HK, zh-Hans, en]
title: {zh-Hant-HK: 綵排, zh-Hans: 演练, en: Rehearsal of the panel}
organiser: {name: {zh-Hant-HK: 民間團體, zh-Hans: 民间团体, en: A civic group}}
notice:
  purpose: {zh-Hant-HK: 每人一票。, zh-Hans: 每人一票。, en: So that nobody votes twice.}
  retention: {zh-Hant-HK: 號碼不會儲存。, zh-Hans: 号码不会储存。, en: The numbers are not stored.}
  effect: {zh-Hant-HK: 沒有效力。, zh-Hans: 没有效力。, en: It has no effect.}
opens_at: ${time(-1)}
closes_at: ${time(2)}
identity: {type: hkid}
verification: {mode: voter_sends}
questions:
  - id: motion
    title: {zh-Hant-HK: 議案, zh-Hans: 议案, en: The motion}
    min: 0
    max: 1
    options:
      - {id: for, label: {zh-Hant-HK: 贊成, zh-Hans: 赞成, en: For}}
      - {id: against, label: {zh-Hant-HK: 反對, zh-Hans: 反对, en: Against}}
      - {id: abstain, label: {zh-Hant-HK: 棄權, zh-Hans: 弃权, en: Abstain}, kind: abstain}
`

const briefFile = () =>
  file().replace(`id: ${id}`, `id: ${brief}`).replace('kind: rehearsal', 'kind: demo')
    .replace(/closes_at: .*/, `closes_at: ${time(90 / 3600)}`) + tallyKey

const upload = (selector, name, text) => page.setInputFiles(selector, { name, mimeType: 'text/plain', buffer: Buffer.from(text) })

it('has a voter come to a poll that is soon over', async () => {
  const name = join(instance.data, 'brief.yaml')
  await writeFile(name, briefFile())
  await instance.run('poll', 'apply', name, '--reason', 'a short one')
  await instance.run('poll', 'open', brief, '--reason', 'for a moment', '--yes')
  await instance.served(brief)
  const booth = await open(browser, instance.vote, { locale: 'en' })
  await arrive(booth, instance.vote, 'en', brief)
  await booth.click('button.main')
  await identify(booth, newVoter())
  await booth.done()
})

it('logs in by the printed link, once', async () => {
  const link = loginLink(instance)
  page = await open(browser, instance.panel, { viewport: { width: 1440, height: 900 }, locale: 'en' })
  page.expectRefusals()
  await page.goto(instance.panel)
  await page.locator('h1', { hasText: 'Log in' }).waitFor()
  await inspect(page, 'login')
  await page.goto(link)
  await page.locator('[data-test=verdict]').waitFor()
  assert.equal(page.url(), `${instance.panel}/`, 'the secret has left the address')
  const cookie = (await page.context().cookies()).find((c) => c.name === 'popvote_panel')
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict')
  await page.waitForSelector('[data-test=turnout]')
  await inspect(page, 'journey-overview')

  const stranger = await open(browser, instance.panel)
  stranger.expectRefusals()
  await stranger.goto(link)
  await stranger.locator('[role=alert]').waitFor()
  await inspect(stranger, 'login-spent')
  await stranger.done()
})

it('creates a draft from a file, mistakes and a missing key included', async () => {
  await page.goto(`${instance.panel}/new`)
  await upload('[data-test=file]', 'poll.yaml', file().replace('kind: rehearsal', 'kind: serious').replace('max: 1', 'max: 9'))
  await page.locator('.faults').waitFor()
  assert.match(await page.locator('.faults').textContent(), /Line 2, column \d+.*serious/s)
  await inspect(page, 'journey-file-faults')
  await upload('[data-test=file]', 'poll.yaml', file())
  await page.fill('[data-test=tally-key]', tallyKey)
  await page.locator('[data-test=save]').waitFor()
  assert.deepEqual(await page.locator('.paper h3').allTextContents(), ['綵排', '演练', 'Rehearsal of the panel'])
  await inspect(page, 'journey-file-good')
  await page.fill('[data-test=reason]', 'the first draft')
  await page.click('[data-test=save]')
  await page.locator('.entry').waitFor()
  await done(page)
  await stateIs(page, 'draft')
  await inspect(page, 'journey-draft')
})

it('edits the draft with the form', async () => {
  await page.goto(`${instance.panel}/polls/${id}/edit`)
  await page.locator('#f-title input[lang=en]').fill('')
  await page.click('[data-test=check]')
  await page.locator('.faults').waitFor()
  await inspect(page, 'journey-form-faults')
  await page.locator('#f-title input[lang=en]').fill('Rehearsal at the desk')
  await page.check('[data-test=seal-on-server]')
  await page.click('[data-test=check]')
  await page.fill('.save [data-test=reason]', 'a better title')
  await page.click('[data-test=save]')
  await page.locator('.entry').waitFor()
  await done(page)
  await page.locator('h1', { hasText: 'Rehearsal at the desk' }).waitFor()
  await page.goto(`${instance.panel}/polls/${id}/edit`)
  await page.locator('[data-test=seal-on-server]').waitFor()
  assert.ok(await page.isChecked('[data-test=seal-on-server]'), 'it was saved')
})

it('opens it, and refuses what was not meant', async () => {
  await page.goto(`${instance.panel}/polls/${id}`)
  await page.click('[data-test=do-open]')
  await inspect(page, 'journey-open-dialog')
  await page.fill('[data-test=confirm]', 'another')
  await page.fill('[data-test=reason]', 'rehearsal begins')
  assert.ok(await page.locator('[data-test=act]').isDisabled(), 'the wrong id opens nothing')
  await page.keyboard.press('Escape')
  await decide(page, 'open', id, 'rehearsal begins')
  await inspect(page, 'journey-open-done')
  await done(page)
  await stateIs(page, 'open')
})

it('sees a vote arrive by itself', async () => {
  assert.equal(await page.locator('[data-test=turnout]').textContent(), '0')
  const voter = newVoter()
  const booth = await open(browser, instance.vote, { locale: 'en' })
  await instance.served(id)
  await arrive(booth, instance.vote, 'en', id)
  await booth.click('button.main')
  await identify(booth, voter)
  await sendSMS(booth, instance, voter)
  await answer(booth, 1, 0)
  await at(booth, 'review')
  await castIt(booth)
  await receiptCode(booth)
  await booth.done()
  await page.waitForFunction(() => document.querySelector('[data-test=turnout]')?.textContent === '1', null, { timeout: 5000 })
})

it('pauses, resumes and extends, with the keyboard alone', async () => {
  for (const [verb, state] of [['pause', 'paused'], ['resume', 'open'], ['extend', 'open']]) {
    await tabTo(page, `[data-test=do-${verb}]`)
    await page.keyboard.press('Enter')
    await tabTo(page, '[data-test=confirm]')
    await page.keyboard.type(id)
    await page.keyboard.press('Tab')
    await page.keyboard.type(`to ${verb} it`)
    await tabTo(page, '[data-test=act]')
    await page.keyboard.press('Enter')
    await page.locator('.entry').waitFor()
    await page.keyboard.press('Escape')
    await stateIs(page, state)
  }
})

it('closes it, and counts it with two of three shares', async () => {
  await decide(page, 'close', id, 'rehearsal is over')
  await done(page)
  await stateIs(page, 'closed')

  await page.click('[data-test=do-count]')
  await page.setInputFiles('[data-test=shares]', join(shares, 'share-2.json'))
  await page.locator('.files li').waitFor()
  await page.fill('[data-test=confirm]', id)
  await page.fill('[data-test=reason]', 'with one trustee')
  await page.click('[data-test=act]')
  await page.locator('dialog [role=alert]').waitFor()
  await inspect(page, 'journey-count-few')
  await page.setInputFiles('[data-test=shares]', join(shares, 'share-3.json'))
  await page.locator('.count.enough').waitFor()
  await page.fill('[data-test=reason]', 'two trustees are here')
  await page.click('[data-test=act]')
  await page.locator('.entry').waitFor()
  await done(page)
  await stateIs(page, 'counted')
  await page.goto(`${instance.panel}/polls/${id}/result`)
  await page.locator('[data-test=ballots]').waitFor()
  assert.equal(await page.locator('[data-test=ballots]').textContent(), '1')
  assert.equal(await page.locator('[data-test=bundle]').count(), 0, 'no bundle before the result is public')
  await inspect(page, 'journey-counted')
})

it('publishes it, with a bundle that verifies', async () => {
  await decide(page, 'publish', id, 'for everybody to check')
  await done(page)
  await stateIs(page, 'published')
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-test=bundle]')])
  assert.equal(download.suggestedFilename(), `${id}-bundle.zip`)
  const bundle = join(instance.data, 'bundle.zip')
  await writeFile(bundle, await readFile(await download.path()))
  await promisify(execFile)(program, ['verify', bundle])
  const [nist] = await Promise.all([page.waitForEvent('download'), page.click('[data-test=nist]')])
  assert.equal(JSON.parse(await readFile(await nist.path())).Election[0].BallotCounts[0].BallotsCast, 1)
})

it('destroys an identity key once it may, and not before', async () => {
  await page.goto(`${instance.panel}/polls/${id}`)
  assert.match(await page.locator('[data-test=key-kept]').textContent(), /^Kept until .+ more/)
  assert.equal(await page.locator('[data-test=do-destroy]').count(), 0)

  await page.goto(`${instance.panel}/polls/${brief}`)
  await page.locator('[data-test=do-destroy]').waitFor({ timeout: 120_000 })
  await inspect(page, 'journey-key-kept')
  await page.click('[data-test=do-destroy]')
  await inspect(page, 'journey-destroy-dialog')
  await page.keyboard.press('Escape')
  await decide(page, 'destroy', brief, 'the audit window is over')
  await done(page)
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-test=certificate]')])
  assert.equal(download.suggestedFilename(), `${brief}-key-destroyed.json`)
  assert.equal(JSON.parse(await readFile(await download.path())).document.poll, brief)
  assert.equal(await page.locator('[data-test=do-destroy]').count(), 0)
  await inspect(page, 'journey-key-destroyed')
  await instance.run('poll', 'key-proof', brief)
})

it('has it all in the audit trail', async () => {
  await page.goto(`${instance.panel}/polls/${id}/audit`)
  await page.locator('.audit').waitFor()
  const deeds = await page.locator('.audit tbody tr td:nth-child(4)').allTextContents()
  assert.deepEqual(deeds.reverse(), ['Saved a draft', 'Saved a draft', 'Opened', 'Paused', 'Resumed', 'Extended', 'Closed', 'Counted', 'Published'])
  assert.match(await page.locator('.chain').textContent(), /whole/)
  await inspect(page, 'journey-audit')
})

it('shows how the SMS route of this machine does', async () => {
  await page.click(`nav a[href="/sms"]`)
  await page.locator('[data-test=route-simulated-][data-state=works]').waitFor()
  assert.equal(await page.locator('[data-test=silent]').count(), 0)
  await inspect(page, 'journey-sms')
})

it('logs out for good', async () => {
  await page.click('.account')
  await inspect(page, 'journey-session')
  await page.click('[data-test=log-out]')
  await page.locator('h1', { hasText: 'Log in' }).waitFor()
  await page.goto(`${instance.panel}/polls/${id}`)
  await page.locator('h1', { hasText: 'Log in' }).waitFor()
  await page.done()
})
