// The journey of voter-journey.test.mjs through each cloud's balancer, against the three clouds that
// `popvote cluster up` has brought up: `make cluster-journey`. Not among the other tests, because it
// brings nothing up itself.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'

import { launch, look, open, sizes } from './browser.mjs'
import { newVoter } from './instance.mjs'
import { receiptCode, vote } from './voter.mjs'

const clouds = ['10.203.0.1', '10.203.0.2', '10.203.0.3']

/** The simulated phone networks: each gateway is one, with handsets of its own. */
async function networks() {
  const response = await fetch(`http://${clouds[0]}:8500/v1/health/service/sms-gateway?passing`)
  const all = (await response.json()).map(({ Service: s }) => `http://${s.Address}:${s.Meta.phone}`)
  assert.ok(all.length > 0, 'a gateway is ready')
  return all
}

const cluster = {
  /** Sends an SMS from a phone, by whichever network. */
  async text(from, to, text) {
    const [network] = await networks()
    const response = await fetch(`${network}/sms`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ from, to, text }),
    })
    assert.ok(response.ok, 'the text is taken')
  },
  /** The code that a phone was sent, by whichever network. */
  async code(phone) {
    const all = await networks()
    for (let i = 0; i < 100; i++) {
      for (const network of all) {
        const { messages } = await (await fetch(`${network}/sms?to=${encodeURIComponent(phone)}`)).json()
        const code = /\b\d{6}\b/.exec(messages.at(-1)?.text ?? '')?.[0]
        if (code) return { code }
      }
      await new Promise((done) => setTimeout(done, 100))
    }
    throw new Error(`no SMS came to ${phone}`)
  },
}

let browser
before(async () => { browser = await launch() })
after(() => browser?.close())

for (const [n, cloud] of clouds.entries()) {
  for (const poll of ['hk-2014-06', 'lunch']) {
    const lang = ['zh-Hant-HK', 'zh-Hans', 'en'][n]
    it(`votes in ${poll} through ${cloud} in ${lang}`, async () => {
      const origin = `https://${cloud}`
      // Who signed the edges' certificate, no browser knows; popvote drill checks it.
      const page = await open(browser, origin, { ...sizes.phone, locale: lang, ignoreHTTPSErrors: true })
      await vote(page, { ...cluster, vote: origin }, newVoter(), lang, poll)
      await receiptCode(page)
      await look(page, `cluster-${poll}-${cloud}-receipt`)
      await page.done()
    })
  }
}
