// The waiting room in a real browser: three languages on a phone. The whole way goes through a real server that lets in
// one voter in six seconds; longer waits, and what can go wrong in one, are made on the wire.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'

import { launch, look, open, sizes } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { digits, looker } from './plain.mjs'
import { arrive, at, castIt, fill, kept, prove } from './voter.mjs'

let instance, browser
before(async () => {
  instance = await startInstance('--admission-rate', String(1 / 6))
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

const languages = ['zh-Hant-HK', 'zh-Hans', 'en']
const body = (page) => page.locator('main').innerText()

/** Identity and phone, and the button that asks for a session. */
async function ask(page, voter) {
  await page.click('button.main')
  await page.fill('#number', voter.hkid)
  await page.click('button.main')
  await at(page, 'phone')
  await page.fill('#phone', voter.phone)
  await page.click('button.main')
}

const start = async (lang) => {
  const page = await open(browser, instance.vote, { ...sizes.phone, locale: lang })
  page.expectRefusals()
  await arrive(page, instance.vote, lang, 'hk-2014-06')
  return page
}

for (const lang of languages) {
  it(`waits its turn, keeps its place through a reload, and goes on by itself (${lang})`, async () => {
    // Voters come until one has to wait; that one is followed.
    let page, voter
    for (let n = 0; n < 5; n++) {
      page = await start(lang)
      voter = newVoter()
      await ask(page, voter)
      await page.waitForFunction(() => ['#wait', '#verify'].includes(location.hash))
      if (page.url().endsWith('#wait')) break
      await page.done()
    }
    await at(page, 'wait')
    const ticket = () => page.evaluate(() => JSON.parse(sessionStorage.getItem('popvote:hk-2014-06')).waiting)
    const before = await ticket()
    await page.reload()
    await page.locator('.clock').waitFor()
    assert.ok(['#wait', '#verify'].includes(new URL(page.url()).hash))
    const after = await ticket()
    if (after) assert.equal(after.issued, before.issued, 'the place is the same')
    await at(page, 'verify')
    assert.ok(!(await kept(page)).session.includes(voter.hkid), 'the number is forgotten once the session is open')
    await prove(page, instance, voter, 'hk-2014-06')
    await fill(page, 'hk-2014-06')
    await castIt(page)
    await page.done()
  })

  it(`says what it is like to wait (${lang})`, async () => {
    const page = await start(lang)
    const issued = new Date()
    const place = (seconds) => ({
      ticket: 'hk-2014-06.vault:v1:AAAA', issued_at: issued.toISOString(), expires_at: new Date(Date.now() + 3_600_000).toISOString(), seconds,
    })
    let sessions = 0
    await page.route('**/sessions', (route) =>
      sessions++ === 0
        ? route.fulfill({
            status: 429,
            contentType: 'application/problem+json',
            body: JSON.stringify({
              type: '/problems/waiting-room', title: 'waiting', status: 429, code: 'waiting-room', effect: 'not_applied', retry_after: 415, waiting_room: place(415),
            }),
          })
        : route.continue(),
    )
    let seconds = 415
    let called = false
    await page.route('**/queue', (route) =>
      seconds < 0
        ? route.abort('connectionrefused')
        : route.fulfill({
            json: {
              called: new Date(issued.getTime() + (called ? 1000 : -60_000)).toISOString(),
              since: new Date(issued.getTime() - 3_600_000).toISOString(),
              rate: 1, waiting: seconds, steps: [{ until: new Date(issued.getTime() + 500).toISOString(), seconds }],
            },
          }),
    )
    const nudge = () => page.evaluate(() => window.dispatchEvent(new window.Event('online')))
    await ask(page, newVoter())
    await at(page, 'wait')
    assert.match(await body(page), /7/, 'seven minutes or less')
    assert.match(await page.title(), /7/, 'in the title too')
    await look(page, `voter-queue-${lang}-1-waiting`)
    await page.locator('summary').click()
    await look(page, `voter-queue-${lang}-2-change`)

    seconds = 1500
    await nudge()
    await page.locator('.box.warn').waitFor()
    assert.match(await page.locator('.clock').innerText(), /25|30/)
    await look(page, `voter-queue-${lang}-3-longer`)

    seconds = -1
    await nudge()
    await page.locator('.busy.warn').waitFor()
    await look(page, `voter-queue-${lang}-4-offline`)

    seconds = 5
    await nudge()
    await page.waitForFunction(() => !/\d/.test(document.querySelector('.clock')?.textContent ?? '1'))
    await look(page, `voter-queue-${lang}-5-soon`)

    // Its ticket is none of the server's: it is told so, and takes a place anew, or goes straight on.
    called = true
    await nudge()
    await page.waitForFunction(() => location.hash === '#verify' || document.querySelectorAll('.box.warn').length > 0)
    assert.ok(sessions >= 3, 'once with the ticket, and once with new work')
    await page.done()
  })
}

for (const lang of languages) {
  it(`shows the place and a button to a browser without scripts (${lang})`, async () => {
    const page = await open(browser, instance.vote, { ...sizes.phone, javaScriptEnabled: false, locale: lang })
    page.expectRefusals()
    const twin = await looker(browser, instance, { ...sizes.phone, locale: lang })
    const press = (what) => Promise.all([page.waitForNavigation(), what.click()])
    const waits = () => page.locator('[name=place]').count()
    for (let n = 0; n < 5 && !(await waits()); n++) {
      const voter = newVoter()
      await page.goto(`${instance.vote}/plain/${lang}/hk-2014-06/who`)
      await page.fill('#number', voter.hkid)
      await page.fill('#phone', voter.phone)
      await page.fill('#digits', await digits(instance, page))
      await press(page.locator('main .main').last())
    }
    assert.equal(await waits(), 1, 'it is never full')
    await twin.see(page, `plain-queue-${lang}`)
    // Another language, from the same form: the place stays, if it has not become a session meanwhile.
    const other = languages.find((l) => l !== lang)
    await press(page.locator(`nav button[lang="${other}"]`))
    assert.equal(await page.getAttribute('html', 'lang'), other)
    for (let i = 0; i < 20 && !page.url().endsWith('/phone'); i++) {
      assert.equal(await waits(), 1, 'the place is lost')
      await page.waitForTimeout(1000)
      await press(page.locator('main .main').last())
    }
    assert.match(page.url(), /\/phone$/)
    await twin.done()
    await page.done()
  })
}
