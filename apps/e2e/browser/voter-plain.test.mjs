// The whole vote in a browser that runs no scripts: three languages, both ways of proving a phone, on a phone.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { launch, open, sizes } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { digits, looker } from './plain.mjs'

let instance, browser
before(async () => {
  instance = await startInstance()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

const scriptless = { ...sizes.phone, javaScriptEnabled: false }
const press = (page) => Promise.all([page.waitForNavigation(), page.locator('main .main').last().click()])
const at = (page, step) => assert.match(page.url(), new RegExp(`/${step}$`))

for (const lang of ['zh-Hant-HK', 'zh-Hans', 'en']) {
  for (const poll of ['hk-2014-06', 'lunch']) {
    it(`votes without scripts in ${lang} in ${poll}`, async () => {
      const page = await open(browser, instance.vote, { ...scriptless, locale: lang })
      page.expectRefusals()
      const voter = newVoter()
      const twin = await looker(browser, instance, { ...sizes.phone, locale: lang })
      const see = (name) => twin.see(page, `plain-${poll}-${lang}-${name}`)

      await page.goto(`${instance.vote}/${lang}/?poll=${poll}`)
      await press(page)
      assert.equal(new URL(page.url()).pathname, `/plain/${lang}/`)
      await page.click(`.cards a[href$="/${poll}"]`)
      assert.equal(await page.getAttribute('html', 'lang'), lang)
      assert.ok(await page.locator('.box.warn').isVisible(), 'who sees the vote is said before it begins')
      await see('1-about')

      await press(page)
      await press(page)
      assert.equal(await page.locator('[role=alert] a').count(), 3)
      await see('2-who-empty')
      await page.fill('#number', voter.hkid)
      await page.fill('#phone', voter.phone)
      await page.fill('#digits', '12')
      await press(page)
      assert.equal(await page.inputValue('#number'), voter.hkid, 'what was typed stays')
      assert.equal(await page.inputValue('#digits'), '')
      assert.ok(await page.locator('.captcha img').evaluate((img) => img.complete && img.naturalWidth === 240))
      await see('2-who-wrong')
      await page.fill('#digits', await digits(instance, page))
      await press(page)

      at(page, 'phone')
      await see('3-phone')
      if (poll === 'lunch') {
        const { code } = await instance.code(voter.phone)
        await page.fill('#code', code === '000000' ? '000001' : '000000')
        await press(page)
        await page.locator('#code-fault').waitFor()
        await see('3-phone-wrong')
        await page.waitForTimeout(1100)
        await page.fill('#code', code)
        await press(page)
      } else {
        assert.equal(await page.locator('.onphone').isVisible(), true, 'a phone opens its messages')
        const [to, text] = await page.locator('output').allTextContents()
        await page.goto(`${page.url()}?waiting=1`)
        await see('3-phone-waiting')
        await instance.text(voter.phone, to, text)
        // Nothing is pressed: the page asks by itself.
        await page.waitForURL(/\/ballot$/)
      }

      at(page, 'ballot')
      await see('4-ballot')
      const cards = page.locator('fieldset').nth(0).locator('.card')
      if (poll === 'lunch') {
        await press(page)
        await page.locator('[role=alert]').waitFor()
        await see('4-ballot-error')
        await cards.nth(1).click()
      }
      await cards.nth(0).click()
      await page.locator('fieldset').nth(1).locator('.card').nth(1).click()
      const chosen = await page.locator('.card:has(:checked) b').allTextContents()
      await press(page)
      at(page, 'check')
      assert.deepEqual((await page.locator('.review b').allTextContents()).sort(), chosen.sort())
      await see('5-check')
      await press(page)
      at(page, 'receipt')
      assert.match((await page.locator('.code').textContent()).trim(), /^([0-9A-HJKMNP-TV-Z]{4} ){3}[0-9A-HJKMNP-TV-Z]{4}$/)
      await see('6-receipt')
      await press(page)
      at(page, 'cleared')
      assert.deepEqual(await page.context().cookies(), [])
      await twin.done()
      await page.done()
    })
  }
}

describe('without scripts', () => {
  it('one cookie is kept, as strict as can be, and two recordings are there to play', async () => {
    const page = await open(browser, instance.vote, { ...scriptless, ...sizes.desktop })
    await page.goto(`${instance.vote}/plain/zh-Hant-HK/lunch/who`)
    const voter = newVoter()
    const sounds = await page.locator('audio').evaluateAll((all) => all.map((a) => a.src))
    assert.equal(sounds.length, 2)
    for (const url of sounds) {
      const response = await page.request.get(url)
      assert.equal(response.headers()['content-type'], 'audio/wav')
      assert.equal((await response.body()).subarray(0, 4).toString(), 'RIFF')
    }
    const twin = await looker(browser, instance, sizes.desktop)
    await twin.see(page, 'plain-desktop-who')
    await twin.done()
    await page.fill('#number', voter.hkid)
    await page.fill('#phone', voter.phone)
    await page.fill('#digits', await digits(instance, page))
    await press(page)
    at(page, 'phone')
    const [cookie, ...others] = await page.context().cookies()
    assert.deepEqual(others, [])
    assert.deepEqual(
      { name: cookie.name, path: cookie.path, secure: cookie.secure, httpOnly: cookie.httpOnly, sameSite: cookie.sameSite, expires: cookie.expires },
      { name: '__Host-popvote-plain', path: '/', secure: true, httpOnly: true, sameSite: 'Strict', expires: -1 },
    )
    // Another language keeps the place.
    await Promise.all([page.waitForNavigation(), page.click('nav a[lang=en]')])
    at(page, 'phone')
    assert.equal(await page.getAttribute('html', 'lang'), 'en')
    await page.done()
  })

  it('everything can be read at 320 px', async () => {
    const page = await open(browser, instance.vote, { ...scriptless, viewport: { width: 320, height: 568 } })
    const twin = await looker(browser, instance, { viewport: { width: 320, height: 568 } })
    for (const path of ['', 'lunch', 'lunch/who']) {
      await page.goto(`${instance.vote}/plain/en/${path}`)
      await twin.see(page, `plain-narrow-${path.replace('/', '-') || 'list'}`)
    }
    await twin.done()
    await page.done()
  })
})
