// Two operators who decide together: one proposes to close a poll, the other confirms it.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'

import { launch, sizes } from './browser.mjs'
import { freePort, startInstance } from './instance.mjs'
import { inspect, loginLink, stateIs } from './panel/desk.mjs'
import { inside, register, seat } from './panel/seat.mjs'

const phone = { ...sizes.phone, viewport: { width: 390, height: 844 } }

let instance, panel, browser
before(async () => {
  const port = await freePort()
  panel = `http://localhost:${port}`
  instance = await startInstance('--panel-listen', `127.0.0.1:${port}`, '--panel-origin', panel, '--operators-needed', '2')
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

it('closes a poll once a second operator has confirmed it', async () => {
  const anna = await seat(browser, panel, { ...sizes.desktop, locale: 'en' })
  await anna.goto(loginLink(instance))
  await inside(anna)
  await anna.goto(`${panel}/operators`)
  await register(anna, 'Anna', 'Laptop')
  await anna.locator('[data-test=passkey]').waitFor()
  await anna.click('.account')
  await anna.click('[data-test=make-link]')
  const invitation = await anna.locator('.link-card code').textContent()
  await anna.keyboard.press('Escape')
  const ben = await seat(browser, panel, { ...phone, locale: 'zh-Hant-HK' })
  await ben.goto(invitation)
  await register(ben, 'Ben', 'Phone')
  await inside(ben)

  await anna.goto(`${panel}/polls/lunch`)
  await anna.click('[data-test=do-close]')
  await anna.fill('[data-test=confirm]', 'lunch')
  await anna.fill('[data-test=reason]', 'the kitchen closes')
  await inspect(anna, 'two-propose-desktop-en')
  await anna.click('[data-test=act]')
  await anna.locator('[data-test=proposed]').waitFor()
  await inspect(anna, 'two-proposed-desktop-en')
  await anna.click('dialog .button.main')
  await stateIs(anna, 'open')

  await ben.locator('[data-test=unseen]').waitFor()
  await ben.goto(`${panel}/operators`)
  await ben.locator('[data-test=proposal]', { hasText: 'the kitchen closes' }).waitFor()
  await inspect(ben, 'two-waiting-phone-zh-Hant-HK')
  await ben.click('[data-test=confirm-proposal]')
  await ben.fill('[data-test=confirm]', 'lunch')
  await ben.fill('[data-test=reason]', 'so it does')
  await inspect(ben, 'two-confirm-phone-zh-Hant-HK')
  await ben.click('[data-test=act]')
  await ben.locator('[data-test=proposal]').waitFor({ state: 'detached' })
  await stateIs(anna, 'closed')
  await anna.goto(`${panel}/polls/lunch/audit`)
  await anna.locator('.audit').waitFor()
  assert.match(await anna.textContent('.audit tbody tr'), /Anna \+ Ben.*the kitchen closes/s)
  await Promise.all([anna.done(), ben.done()])
})
