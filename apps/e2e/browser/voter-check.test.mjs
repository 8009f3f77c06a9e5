// A receipt is checked later, from its code or its file, by somebody whose browser knows nothing of the
// vote any more: while the poll is open, once it is closed, and once its result is published. The parts of
// this file are one story and run in order.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, it } from 'node:test'

import { launch, look, open, sizes } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { arrive, at, kept, vote } from './voter.mjs'

const poll = 'hk-2014-06'
const langs = ['zh-Hant-HK', 'zh-Hans', 'en']
const said = {
  notYetCode: { 'zh-Hant-HK': /暫時沒有這個編號/, 'zh-Hans': /暂时没有这个编号/, en: /code is not in the public log yet/ },
  notYetFile: { 'zh-Hant-HK': /已在票箱內，尚未列入/, 'zh-Hans': /在票箱里，尚未列入/, en: /in the box, and not in the public log yet/ },
  in: { 'zh-Hant-HK': /已列入公開紀錄/, 'zh-Hans': /已经列入公开记录/, en: /This ballot is in the public log/ },
  wrong: { 'zh-Hant-HK': /證明不成立/, 'zh-Hans': /证明不成立/, en: /proof does not hold/ },
  forged: { 'zh-Hant-HK': /並非這項投票的真實收據/, 'zh-Hans': /不是本次投票的真实回执/, en: /not a genuine receipt/ },
  missing: { 'zh-Hant-HK': /沒有這個編號的選票/, 'zh-Hans': /没有这个编号的选票/, en: /No ballot with this code/ },
}

let instance, browser, code, first, later
before(async () => {
  instance = await startInstance()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

/** The check's screen, in a browser that has never been here. */
async function stranger(lang = 'en', size = sizes.phone) {
  const page = await open(browser, instance.vote, { ...size, locale: lang })
  await page.goto(`${instance.vote}/${lang}/?poll=${poll}#check`)
  await page.locator('#receipt-code').waitFor()
  return page
}
const byCode = async (page, text = code) => {
  await page.fill('#receipt-code', text)
  await page.click('button.main')
}
const byFile = (page, text) =>
  page.setInputFiles('input[type=file]', { name: 'receipt.json', mimeType: 'application/json', buffer: Buffer.from(text) })
const verdict = (page, pattern) =>
  page.waitForFunction((p) => new RegExp(p).test(document.querySelector('h1')?.textContent ?? ''), pattern.source)
const click = (page, name) => page.getByRole('button', { name }).click()
const read = async (download) => readFile(await (await download).path(), 'utf8')
const checks = (page) => page.locator('.checks').innerText()

async function save(page) {
  const download = page.waitForEvent('download')
  await page.locator('.row button').first().click()
  return read(download)
}

it('leads there from the receipt, while the ballot waits in the box', async () => {
  const page = await open(browser, instance.vote, sizes.phone)
  code = await vote(page, instance, newVoter())
  first = await save(page)
  await click(page, 'Check a receipt')
  await at(page, 'check')
  assert.equal(await page.inputValue('#receipt-code'), code, 'the code need not be typed')
  await page.click('button.main')
  await verdict(page, said.notYetCode.en)
  assert.match(await page.locator('main').innerText(), /at the latest when voting closes, planned for .*2026/)
  await click(page, 'Correct the code')
  assert.equal(await page.inputValue('#receipt-code'), code)
  await page.goBack()
  await at(page, 'receipt')
  assert.equal(await page.locator('.code').innerText().then((c) => c.replace(/\s+/g, ' ').trim()), code, 'the receipt is still there')
  await page.done()
})

it('leads there from the first screen, by keyboard alone', async () => {
  const page = await open(browser, instance.vote, sizes.desktop)
  await arrive(page, instance.vote, 'en', poll)
  await page.getByRole('button', { name: 'Check a receipt' }).focus()
  await page.keyboard.press('Enter')
  await at(page, 'check')
  await page.locator('#receipt-code').focus()
  await page.keyboard.type(code.toLowerCase().replaceAll(' ', ''))
  await page.keyboard.press('Enter')
  await verdict(page, said.notYetCode.en)
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1', 'the verdict has the focus')
  await page.done()
})

for (const lang of langs) {
  it(`says what to do with what is no receipt, and when to come back (${lang})`, async () => {
    const page = await stranger(lang)
    await look(page, `voter-check-${lang}-1-form`)
    await page.click('button.main')
    await page.locator('[role=alert]:focus').waitFor()
    await byCode(page, code.slice(0, 12))
    await page.locator('.wrong').waitFor()
    await look(page, `voter-check-${lang}-2-fault`)
    for (const text of ['', '{}', 'x'.repeat(300_000)]) {
      await byFile(page, text)
      await page.waitForFunction(() => document.querySelector('[role=alert] a')?.getAttribute('href') === '#file')
      await page.fill('#receipt-code', '')
      await page.click('button.main')
      await page.waitForFunction(() => document.querySelector('[role=alert] a')?.getAttribute('href') === '#receipt-code')
    }
    await byCode(page)
    await verdict(page, said.notYetCode[lang])
    await look(page, `voter-check-${lang}-3-not-yet`)
    await page.locator('.row button').last().click()
    await byFile(page, first)
    await verdict(page, said.notYetFile[lang])
    await page.done()
  })
}

it('proves the ballot once voting has closed', async () => {
  const page = await open(browser, instance.vote, sizes.desktop)
  await vote(page, instance, newVoter(), 'en')
  await instance.run('poll', 'close', poll, '--yes')
  await page.locator('.checks').nth(1).waitFor({ timeout: 60_000 }) // the receipt's page has found it, by itself
  later = await save(page)
  assert.ok(JSON.parse(later).log.index >= 0)
  await page.done()
})

for (const lang of langs) {
  it(`proves it to a browser that knows nothing of the vote (${lang})`, async () => {
    const page = await stranger(lang)
    const asked = []
    page.on('request', (r) => asked.push(r.url()))
    await byCode(page, `PopVote ${poll} ${code}`)
    await verdict(page, said.in[lang])
    assert.match(await checks(page), /[12]/)
    assert.equal(await page.locator('.checks li').count(), 2)
    await look(page, `voter-check-${lang}-4-in`)
    await page.locator('.row button').last().click()
    await byFile(page, first)
    await verdict(page, said.in[lang])
    assert.equal(await page.locator('.checks li').count(), 3, 'a file proves that the receipt is the poll’s')
    await page.locator('.row button').last().click()
    await byFile(page, later)
    await verdict(page, said.in[lang])
    assert.equal(await page.locator('.checks li').count(), 4, 'and one with a proof, that the ballot has not moved')
    await look(page, `voter-check-${lang}-5-in-by-file`)
    for (const url of asked) assert.doesNotMatch(decodeURIComponent(url), new RegExp(code.slice(0, 4)), 'no address says which ballot')
    assert.deepEqual(await kept(page).then(({ local, cookies }) => [local, cookies]), [0, ''])
    assert.doesNotMatch((await kept(page)).session, new RegExp(code.slice(0, 4)), 'nothing of it is kept')
    await page.done()
  })

  it(`refuses a proof that was tampered with, and gives the evidence (${lang})`, async () => {
    const page = await stranger(lang)
    let bend
    await page.route('**/log/proof', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, json: bend(await response.json()) })
    })
    const other = (p) => ({ ...p, index: 1 - p.index })
    const flipped = (p) => ({ ...p, path: p.path.map((h) => (h[0] === 'A' ? 'B' : 'A') + h.slice(1)) })
    const unsigned = (p) => ({ ...p, checkpoint: p.checkpoint.replace(/.{8}\n$/, 'AAAAAA==\n') })
    const older = (p) => ({ ...p, checkpoint: p.checkpoint.replace('\n2\n', '\n3\n') })
    for (bend of [other, flipped, unsigned, older]) {
      await byCode(page)
      await verdict(page, said.wrong[lang])
      await page.locator('.row button').last().click()
    }
    bend = flipped
    await byFile(page, first)
    await verdict(page, said.wrong[lang])
    await look(page, `voter-check-${lang}-6-wrong`)
    const download = page.waitForEvent('download')
    await page.click('button.main')
    const evidence = JSON.parse(await read(download))
    assert.equal(evidence.asked.receipt.code, code)
    assert.equal(evidence.answer.path.length, 1)
    assert.ok(evidence.poll.log_key && evidence.answer.checkpoint.includes(evidence.poll.log_key.split('+')[0]))
    // Once the log answers as it should, so does the page.
    bend = (p) => p
    await page.locator('.row button').first().click()
    await verdict(page, said.in[lang])
    // And a file that somebody has changed is none.
    await page.locator('.row button').last().click()
    const file = JSON.parse(first)
    await byFile(page, JSON.stringify({ ...file, receipt: { ...file.receipt, index: file.receipt.index + 1 } }))
    await verdict(page, said.forged[lang])
    await look(page, `voter-check-${lang}-7-forged`)
    await page.done()
  })
}

it('proves it still when the result is published, and misses what is not there', async () => {
  const share = (n) => ['--share', join(instance.data, 'trustees', poll, `share-${n}.json`)]
  await instance.run('poll', 'count', poll, ...share(1), ...share(2))
  await instance.run('poll', 'publish', poll, '--yes')
  const public_ = async () => {
    const [m, r] = await Promise.all(['', '/results'].map((path) => fetch(`${instance.vote}/v1/polls/${poll}${path}`)))
    return r.ok && (await m.json()).document.state === 'published'
  }
  for (let i = 0; !(await public_()) && i < 100; i++) await new Promise((done) => setTimeout(done, 100))
  for (const lang of langs) {
    const page = await stranger(lang)
    await byFile(page, later)
    await verdict(page, said.in[lang])
    assert.equal(await page.locator('.checks li').count(), 5, 'the result was counted from this log')
    await page.locator('.row button').last().click()
    await byCode(page, code.replace(/^./, (c) => (c === '0' ? '1' : '0')))
    await verdict(page, said.missing[lang])
    await look(page, `voter-check-${lang}-8-missing`)
    await page.done()
  }
})

it('says so when the line is lost, and goes on when it is back', async () => {
  const page = await open(browser, instance.vote, sizes.phone)
  page.expectRefusals()
  await page.route('**/assets/check-*.js', (route) => route.abort('internetdisconnected'))
  await page.goto(`${instance.vote}/en/?poll=${poll}#check`)
  await page.locator('[role=alert]').waitFor()
  await page.unroute('**/assets/check-*.js')
  await click(page, 'Try again')
  await page.locator('#receipt-code').waitFor()
  await page.route('**/log/proof', (route) => route.abort('internetdisconnected'))
  await byCode(page)
  await page.locator('[role=alert]').waitFor()
  assert.match(await page.locator('main').innerText(), /did not answer/)
  await page.unroute('**/log/proof')
  await page.click('button.main')
  await verdict(page, said.in.en)
  await page.done()
})

it('can be read at 320 px and at twice the text size', async () => {
  const page = await stranger('en', { viewport: { width: 320, height: 568 } })
  const fits = async (name) => {
    await look(page, `voter-check-narrow-${name}`)
    await page.evaluate(() => (document.documentElement.style.fontSize = '36px'))
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320, `${name} sticks out sideways`)
    await page.screenshot({ path: new URL(`../artefacts/voter-check-large-${name}.png`, import.meta.url).pathname, fullPage: true })
    await page.evaluate(() => (document.documentElement.style.fontSize = ''))
  }
  await fits('form')
  await byFile(page, later)
  await verdict(page, said.in.en)
  await fits('in')
  await page.done()
})
