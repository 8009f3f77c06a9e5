// An operator and the clouds, on a real Nomad and Consul: scale, promote a canary, take another back, drain a cloud, take
// it back and even it out again; and the reports of drills. Sizes and languages take turns.

import assert from 'node:assert/strict'
import { after, before, it as test } from 'node:test'

import { launch, open, sizes } from './browser.mjs'
import { inspect, loginLink } from './panel/desk.mjs'
import { startSky } from './panel/sky.mjs'

const phone = { ...sizes.phone, viewport: { width: 390, height: 844 } }

let sky, browser, page
before(async () => {
  sky = await startSky()
  browser = await launch()
  page = await open(browser, sky.panel, { ...sizes.desktop, locale: 'en' })
  page.setDefaultTimeout(90_000)
  page.expectRefusals() // no ballot server is there
})
after(async () => {
  await browser?.close()
  await sky?.stop()
})

let broken = false
const it = (name, step) =>
  test(name, async (t) => {
    if (broken) return t.skip('a step before it failed')
    broken = true
    await step()
    broken = false
  })

/** turn shows the same page in another language and size. */
async function turn(lang, size) {
  await page.selectOption('[data-test=lang]', lang)
  await page.setViewportSize(size.viewport)
}

/** row is what a line of the map says, waited for. */
const row = (name, text) => page.locator(`[data-test=${name}]`, { hasText: text }).waitFor()

/** decide types the name and a reason into the open dialog, and sees what was logged. */
async function decide(button, name, reason) {
  await page.click(`[data-test=${button}]`)
  await page.fill('[data-test=confirm]', name)
  await page.fill('[data-test=reason]', reason)
}
async function act(reason) {
  await page.click('[data-test=act]')
  await page.locator('.entry', { hasText: reason }).waitFor()
  await page.click('dialog .button.main')
}

it('shows the clouds, while no ballot server answers', async () => {
  await page.goto(loginLink(sky))
  await page.locator('[data-verdict=down]').waitFor()
  await page.locator('#skyline').waitFor()
  await inspect(page, 'clouds-overview-desktop-en')
  await page.click('nav a[href="/clouds"]')
  await row('job-api-server', '3 / 3')
  await row('service-api-server', '3 / 3')
  await row('leader-postgresql', 'cloud-a')
  await row('leader-vault', 'cloud-a')
  for (const name of ['cloud-a', 'cloud-b', 'cloud-c']) await row(`cloud-${name}`, '1 machine ready')
  await inspect(page, 'clouds-desktop-en')
})

it('scales a job within its bounds', async () => {
  await page.click('[data-test=scale-api-server]')
  await page.fill('[data-test=to]', '10')
  await page.fill('[data-test=confirm]', 'api-server')
  await page.fill('[data-test=reason]', 'the peak comes')
  assert.equal(await page.isDisabled('[data-test=act]'), true, 'ten are too many')
  await page.fill('[data-test=to]', '6')
  await act('the peak comes')
  await row('job-api-server', '6 / 6')
})

it('promotes a canary, and takes another back', async () => {
  await sky.release('api-server', 6, 2)
  await row('deployment-api-server', '1 of 1 canaries healthy')
  await turn('zh-Hans', phone)
  await inspect(page, 'clouds-canary-phone-zh-Hans')
  await decide('promote-api-server', 'api-server', 'looked at it')
  await act('looked at it')
  await page.locator('[data-test=deployment-api-server]').waitFor({ state: 'detached' })
  await row('job-api-server', '6 / 6')
  await turn('en', sizes.desktop)
  await sky.release('api-server', 6, 3)
  await row('deployment-api-server', '1 of 1 canaries healthy')
  // Nomad mixes up a deployment while something is drained.
  await decide('drain-cloud-b', 'cloud-b', 'too early')
  await page.click('[data-test=act]')
  assert.match(await page.locator('dialog [role=alert]').textContent(), /canary waits/)
  await page.keyboard.press('Escape')
  await decide('fail-api-server', 'api-server', 'it is slow')
  await act('it is slow')
  await page.locator('[data-test=deployment-api-server]').waitFor({ state: 'detached' })
})

it('drains a cloud, takes it back, and evens it out', async () => {
  await row('job-api-server', '6 / 6')
  await turn('zh-Hant-HK', phone)
  await decide('drain-cloud-b', 'cloud-b', '供應商維修')
  await inspect(page, 'clouds-drain-phone-zh-Hant-HK')
  await act('供應商維修')
  await row('cloud-cloud-b', '已疏散')
  await row('cloud-cloud-b', '供應商維修')
  await row('job-api-server', '6 / 6')
  await row('service-api-server', '6 / 6')
  await inspect(page, 'clouds-drained-phone-zh-Hant-HK')
  await turn('en', sizes.desktop)
  await decide('drain-cloud-c', 'cloud-c', 'one too many')
  await page.click('[data-test=act]')
  assert.match(await page.locator('dialog [role=alert]').textContent(), /Another cloud is away/)
  await page.keyboard.press('Escape')
  await decide('undrain-cloud-b', 'cloud-b', 'they are done')
  await act('they are done')
  await row('cloud-cloud-b', '1 machine ready')
  await decide('move-api-server', 'api-server', 'even again')
  await act('even again')
  await row('job-api-server', '6 / 6')
  await page.locator('[data-test=deeds] li', { hasText: 'even again' }).waitFor()
  assert.equal(await page.locator('[data-test=deeds] li').count(), 6)
  await inspect(page, 'clouds-after-desktop-en')
  assert.match(sky.said(), /"clouds changed".*"what":"drain".*"to":"cloud-b".*"reason":"供應商維修"/)
})

it('shows what drills measured', async () => {
  await page.click('nav a[href="/drills"]')
  await page.click('table a')
  await page.locator('.timeline').waitFor()
  assert.match(await page.locator('.drill').textContent(), /22,558/)
  await inspect(page, 'drill-desktop-en')
  await page.done()
})
