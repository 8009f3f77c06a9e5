// Another company's check, in a real browser on a phone, in three languages. The company is played on this machine: its
// script, in the frame that the server makes for it, and its judgements, which it gives by what its script saw there.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'

import { launch, look, open, sizes } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { arrive, at, castIt, fill, prove } from './voter.mjs'

const secret = 's3cret-of-the-site'
const siteKey = '0x4AAA-site_key'
const languages = ['zh-Hant-HK', 'zh-Hans', 'en']

/** Plays both services. Their scripts make a button; its response holds what the script was told, and the host it ran at. */
async function startVendor() {
  const script = (name) => `
    const base64 = (v) => btoa(JSON.stringify(v)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
    window.${name} = {
      reset() {},
      render(box, o) {
        const button = document.createElement('button')
        button.textContent = 'I am a person'
        button.type = 'button'
        button.onclick = () => {
          button.disabled = true
          o.callback('stand-in.' + base64({ host: location.hostname, key: o.sitekey, action: o.action, cdata: o.cData, lang: o.language, size: o.size, at: new Date().toISOString() }))
        }
        box.append(button)
        try { window.saw = parent.document.title } catch (e) { window.saw = e.name }
      },
    }
    window[new URLSearchParams(new URL(document.currentScript.src).search).get('onload')]()`
  const vendor = { down: false, refuses: false, asked: [], scripts: [], judged: 0 }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://vendor')
    const name = { '/turnstile/v0/api.js': 'turnstile', '/1/api.js': 'hcaptcha' }[url.pathname]
    let body = ''
    for await (const part of request) body += part
    if (vendor.down) return response.writeHead(500).end()
    if (name) {
      vendor.scripts.push(url.search)
      return response.setHeader('Content-Type', 'application/javascript').end(script(name))
    }
    if (request.method !== 'POST' || !['/turnstile/v0/siteverify', '/siteverify'].includes(url.pathname)) return response.writeHead(404).end()
    const form = Object.fromEntries(new URL(`?${body}`, url).searchParams)
    const made = /^stand-in\.(.+)$/.exec(form.response)?.[1]
    if (made) vendor.asked.push({ path: url.pathname, ...form })
    const { host, key, action, cdata, at } = made ? JSON.parse(Buffer.from(made, 'base64url')) : {}
    const success = form.secret === secret && key === siteKey && !vendor.refuses
    response.setHeader('Content-Type', 'application/json').end(
      JSON.stringify(success ? { success, hostname: host, action, cdata, challenge_ts: at } : { success, 'error-codes': ['invalid-input-response'] }),
    )
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  vendor.origin = `http://127.0.0.1:${server.address().port}`
  vendor.stop = () => (server.close(), server.closeAllConnections())
  return vendor
}

let vendor, dir, turnstile, hcaptcha, browser
before(async () => {
  vendor = await startVendor()
  dir = await mkdtemp(join(tmpdir(), 'popvote-human-'))
  await writeFile(join(dir, 'secret'), secret, { mode: 0o600 })
  const instance = (provider) =>
    startInstance((port) => [
      '--public-origin', `http://127.0.0.1:${port}`, '--human-check-provider', provider, '--human-check-site-key', siteKey,
      '--human-check-secret-file', join(dir, 'secret'), '--human-check-origin', `http://localhost:${port}`, '--human-check-service', vendor.origin,
    ])
  turnstile = await instance('turnstile')
  hcaptcha = await instance('hcaptcha')
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await Promise.all([turnstile?.stop(), hcaptcha?.stop()])
  vendor?.stop()
  if (dir) await rm(dir, { recursive: true, force: true })
})

const frameOf = (instance) => instance.vote.replace('127.0.0.1', 'localhost')
const start = async (instance, lang) => {
  const page = await open(browser, [instance.vote, frameOf(instance), vendor.origin], { ...sizes.phone, locale: lang })
  await arrive(page, instance.vote, lang, 'hk-2014-06')
  await page.click('button.main')
  await at(page, 'identity')
  return page
}
/** From the identity number to the phone's screen, filled in. */
const toPhone = async (page, voter) => {
  await page.fill('#number', voter.hkid)
  await page.click('button.main')
  await at(page, 'phone')
  await page.fill('#phone', voter.phone)
}
const box = (page) => page.frameLocator('#human').getByRole('button')
const cast = async (page, instance, voter) => {
  await at(page, 'verify')
  await prove(page, instance, voter, 'hk-2014-06')
  await fill(page, 'hk-2014-06')
  await castIt(page)
}

for (const lang of languages) {
  it(`asks for the check beside the work, and says so before anything is loaded (${lang})`, async () => {
    const before = vendor.scripts.length
    const page = await start(turnstile, lang)
    const voter = newVoter()
    await page.locator('.hint', { hasText: 'Cloudflare (Turnstile)' }).waitFor()
    await look(page, `voter-human-${lang}-1-notice`)
    assert.equal(vendor.scripts.length, before, 'the service learns of nobody before the screen with its check')
    await toPhone(page, voter)
    await box(page).waitFor()
    assert.equal(vendor.scripts.length, before + 1)
    const frame = page.frames().find((f) => f.url().startsWith(frameOf(turnstile)))
    assert.equal(await frame.evaluate(() => window.saw), 'SecurityError', 'the script sees nothing of the page')
    page.expectRefusals(/Unsafe attempt to initiate navigation/)
    const led = await frame.evaluate(() => {
      try {
        window.top.location.href = 'about:blank'
        return 'away'
      } catch (e) {
        return e.name
      }
    })
    assert.equal(led, 'SecurityError', 'the script leads nobody away')
    await page.click('button.main')
    await page.locator('.box.danger').waitFor()
    assert.ok(page.url().endsWith('#phone'), 'nothing is sent before the check')
    await page.locator('#human').scrollIntoViewIfNeeded() // or it is not painted
    await look(page, `voter-human-${lang}-2-first`)
    const asked = vendor.asked.length
    await box(page).click()
    await page.click('button.main')
    await cast(page, turnstile, voter)
    assert.equal(vendor.asked.length, asked + 1, 'it is asked once')
    const { path, response, ...rest } = vendor.asked.at(-1)
    assert.equal(path, '/turnstile/v0/siteverify')
    assert.deepEqual(rest, { secret }, 'it is told nothing of the voter')
    const { lang: spoken, action, cdata } = JSON.parse(Buffer.from(response.split('.')[1], 'base64url'))
    assert.deepEqual({ spoken, action, cdata }, { spoken: { en: 'en', 'zh-Hans': 'zh-cn', 'zh-Hant-HK': 'zh-tw' }[lang], action: 'session', cdata: 'hk-2014-06' })
    await page.done()
  })

  it(`says that the check can't be loaded here, and loads it again (${lang})`, async () => {
    const page = await start(turnstile, lang)
    page.expectRefusals()
    await page.route(`${vendor.origin}/**`, (route) => route.abort('blockedbyclient'))
    const voter = newVoter()
    await toPhone(page, voter)
    const again = page.locator('.field button')
    await again.waitFor()
    await look(page, `voter-human-${lang}-3-blocked`)
    // The server looks for itself, and the check works: who blocks it doesn't get past it.
    await page.click('button.main')
    await page.locator('.box.danger').waitFor()
    assert.ok(page.url().endsWith('#phone'))
    await look(page, `voter-human-${lang}-4-required`)
    await page.unroute(`${vendor.origin}/**`)
    await again.click()
    await box(page).click()
    await page.click('button.main')
    await cast(page, turnstile, voter)
    await page.done()
  })
}

it('has the check done again when the service does not pass it', async () => {
  const page = await start(turnstile, 'en')
  page.expectRefusals()
  const voter = newVoter()
  await toPhone(page, voter)
  vendor.refuses = true
  try {
    await box(page).click()
    await page.click('button.main')
    await page.locator('.box.danger', { hasText: 'was not passed' }).waitFor()
  } finally {
    vendor.refuses = false
  }
  await box(page).click()
  await page.click('button.main')
  await cast(page, turnstile, voter)
  await page.done()
})

it('fits the smallest phone', async () => {
  const page = await start(turnstile, 'en')
  await page.setViewportSize({ width: 320, height: 568 })
  await toPhone(page, newVoter())
  await box(page).click()
  await look(page, 'voter-human-en-5-small')
  await page.click('button.main')
  await at(page, 'verify')
  assert.equal(JSON.parse(Buffer.from(vendor.asked.at(-1).response.split('.')[1], 'base64url')).size, 'compact')
  await page.done()
})

it('asks hCaptcha as hCaptcha wants it', async () => {
  const page = await start(hcaptcha, 'zh-Hant-HK')
  const voter = newVoter()
  await page.locator('.hint', { hasText: 'hCaptcha' }).waitFor()
  await toPhone(page, voter)
  await box(page).click()
  await page.click('button.main')
  await cast(page, hcaptcha, voter)
  const { path, response, ...rest } = vendor.asked.at(-1)
  assert.ok(response && path === '/siteverify')
  assert.deepEqual(rest, { secret, sitekey: siteKey })
  assert.match(vendor.scripts.at(-1), /hl=zh-TW/)
  await page.done()
})

it('goes on by work alone while the service is down', async () => {
  const page = await start(hcaptcha, 'en')
  page.expectRefusals()
  const voter = newVoter()
  await toPhone(page, voter)
  await box(page).click()
  vendor.down = true
  try {
    await page.click('button.main')
    await cast(page, hcaptcha, voter)
    // Who comes now is told of no check.
    const next = await start(hcaptcha, 'en')
    const other = newVoter()
    await toPhone(next, other)
    await next.click('button.main')
    await at(next, 'verify')
    assert.equal(await next.locator('#human').count(), 0)
    await next.done()
  } finally {
    vendor.down = false
  }
  await page.done()
})
