// Operators with passkeys, in a browser with an authenticator of its own: register one after a log-in by link, log in
// with it, invite a colleague, lose it, and come back by a recovery link. Sizes and languages take turns.

import assert from 'node:assert/strict'
import { after, before, it as test } from 'node:test'

import { launch, open, sizes } from './browser.mjs'
import { freePort, startInstance } from './instance.mjs'
import { done, inspect, loginLink, stateIs } from './panel/desk.mjs'
import { inside, logOut, register, seat } from './panel/seat.mjs'

const phone = { ...sizes.phone, viewport: { width: 390, height: 844 } }

let instance, panel, browser
before(async () => {
  // Browsers make passkeys for names, not for numbers.
  const port = await freePort()
  panel = `http://localhost:${port}`
  instance = await startInstance('--panel-listen', `127.0.0.1:${port}`, '--panel-origin', panel)
  browser = await launch()
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

let anna, ben, link
it('registers a passkey after a log-in by link', async () => {
  link = loginLink(instance)
  anna = await seat(browser, panel, { ...sizes.desktop, locale: 'en' })
  await anna.goto(link)
  await inside(anna)
  await anna.goto(`${panel}/operators`)
  await anna.locator('[data-test=register]').waitFor()
  await inspect(anna, 'passkeys-none-desktop-en')
  await register(anna, 'Anna', 'Laptop')
  await anna.locator('[data-test=passkey]', { hasText: 'Laptop' }).waitFor()
  assert.equal(await anna.textContent('.account'), 'Anna')
  const made = await anna.credentials()
  assert.equal(made.length, 1)
  assert.ok(made[0].isResidentCredential && made[0].rpId === 'localhost')
  await inspect(anna, 'passkeys-first-desktop-en')
})

it('logs in with it, and only if the authenticator knows who it is', async () => {
  await logOut(anna)
  await anna.selectOption('[data-test=lang]', 'zh-Hant-HK')
  await anna.setViewportSize(phone.viewport)
  await inspect(anna, 'passkeys-login-phone-zh-Hant-HK')
  await anna.verified(false)
  await anna.click('[data-test=passkey-login]')
  await anna.locator('[role=alert]').waitFor()
  await inspect(anna, 'passkeys-login-refused-phone-zh-Hant-HK')
  await anna.verified(true)
  await anna.click('[data-test=passkey-login]')
  await inside(anna)
  await anna.goto(`${panel}/operators`)
  await anna.locator('[data-test=passkey]').waitFor()
  await inspect(anna, 'passkeys-list-phone-zh-Hant-HK')
})

it('confirms a dangerous act with it, and without it does nothing', async () => {
  await anna.goto(`${panel}/polls/lunch`)
  await anna.verified(false)
  await anna.click('[data-test=do-pause]')
  await anna.fill('[data-test=confirm]', 'lunch')
  await anna.fill('[data-test=reason]', 'the rice is burnt')
  await anna.click('[data-test=act]')
  await anna.locator('dialog [role=alert]').waitFor()
  await inspect(anna, 'passkeys-act-phone-zh-Hant-HK')
  await stateIs(anna, 'open')
  await anna.verified(true)
  await anna.click('[data-test=act]')
  await anna.locator('.entry').waitFor()
  assert.match(await anna.textContent('.entry'), /Anna.*the rice is burnt/s)
  await done(anna)
  await stateIs(anna, 'paused')

  // A script that has the session alone, and no passkey, gets nowhere.
  const code = await anna.evaluate(async () => {
    const answer = await fetch('/api/polls/lunch/resume', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ confirm: 'lunch', reason: 'mischief' }),
    })
    return (await answer.json()).code
  })
  assert.equal(code, 'proof-needed')
})

it('invites a colleague, who can do nothing before there is a passkey', async () => {
  await anna.selectOption('[data-test=lang]', 'en')
  await anna.setViewportSize(sizes.desktop.viewport)
  await anna.click('.account')
  await anna.click('[data-test=make-link]')
  const invitation = await anna.locator('.link-card code').textContent()
  await inspect(anna, 'passkeys-invitation-desktop-en')
  await anna.keyboard.press('Escape')

  ben = await seat(browser, panel, { ...phone, locale: 'zh-Hans' })
  await ben.goto(invitation)
  await ben.locator('[data-test=register]').waitFor()
  await inspect(ben, 'passkeys-enrol-phone-zh-Hans')
  const refused = await ben.evaluate(async () => (await (await fetch('/api/overview')).json()).code)
  assert.equal(refused, 'passkey-needed')
  await register(ben, 'Anna', 'Phone')
  await ben.locator('[role=alert]').waitFor()
  await register(ben, 'Ben', 'Phone')
  await inside(ben)
  assert.equal(await ben.textContent('.account'), 'Ben')
})

it('lets nobody in by a link alone any more', async () => {
  const stranger = await open(browser, panel, { ...sizes.desktop, locale: 'en' })
  stranger.expectRefusals()
  await stranger.goto(link)
  await stranger.locator('[role=alert]').waitFor()
  await stranger.locator('[data-test=passkey-login]').waitFor()
  await inspect(stranger, 'passkeys-link-refused-desktop-en')
  await stranger.done()

  // Whoever is in is told, on every screen.
  await anna.locator('[data-test=unseen]').waitFor()
  await anna.click('nav a[href="/operators"]')
  await anna.locator('[data-test=notice]', { hasText: 'link was refused' }).waitFor()
  await inspect(anna, 'passkeys-notices-desktop-en')
  await anna.click('[data-test=see-notices]')
  await anna.locator('[data-test=unseen]').waitFor({ state: 'detached' })
  await anna.selectOption('[data-test=lang]', 'zh-Hans')
  await anna.setViewportSize(phone.viewport)
  await inspect(anna, 'passkeys-notices-phone-zh-Hans')
})

it('is brought back by a recovery link from the machine, and a lost passkey is removed', async () => {
  const said = await instance.run('operator', 'recover', 'Ben', '--reason', 'his phone is lost', '--panel-origin', panel)
  const recovery = /http:\S+#login=[\w-]+/.exec(said)[0]
  const again = await seat(browser, panel, { ...sizes.desktop, locale: 'en' })
  await again.goto(recovery)
  await again.locator('h1', { hasText: 'Register a passkey' }).waitFor()
  assert.match(await again.textContent('main'), /for Ben/)
  await inspect(again, 'passkeys-recover-desktop-en')
  await register(again, '', 'New phone')
  await inside(again)
  await again.goto(`${panel}/operators`)
  await again.locator('[data-test=passkey]', { hasText: 'New phone' }).waitFor()
  const lost = again.locator('[data-test=passkey]', { hasText: 'Phone' }).filter({ hasNotText: 'New' })
  await lost.locator('button').click()
  await again.fill('[data-test=reason]', 'it is lost')
  await inspect(again, 'passkeys-remove-desktop-en')
  await again.click('[data-test=remove-passkey]')
  await lost.waitFor({ state: 'detached' })

  // Whoever has the phone is out, and gets in no more.
  await ben.locator('[data-test=passkey-login]').waitFor()
  await ben.click('[data-test=passkey-login]')
  await ben.locator('[role=alert]').waitFor()
  await Promise.all([again.done(), ben.done(), anna.done()])
})
