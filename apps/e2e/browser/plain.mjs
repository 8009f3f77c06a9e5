// The pages without scripts, for tests: what a person reads off a picture, and a way to look at them.

import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { look, open } from './browser.mjs'

const mac = (key, ...parts) => {
  const h = createHmac('sha256', key)
  for (const part of parts) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    h.update(length).update(part)
  }
  return h.digest()
}

/** The digits of the picture shown, by the instance's own key. */
export async function digits(instance, page) {
  const { secrets } = JSON.parse(await readFile(join(instance.data, 'keys.json'), 'utf8'))
  const key = mac(Buffer.from(secrets.challenges, 'base64'), 'popvote captcha v1')
  const ticket = Buffer.from(await page.inputValue('[name=ticket]'), 'base64url')
  let number = mac(key, 'digits', ticket.subarray(0, 24)).readBigUInt64BE()
  let text = ''
  for (let i = 0; i < 6; i++, number /= 10n) text += number % 10n
  return text
}

/**
 * Looks at pages without scripts, in a twin that runs them: what looks, such as axe, is a script itself.
 */
export async function looker(browser, instance, options) {
  const twin = await open(browser, instance.vote, options)
  twin.expectRefusals()
  const see = async (page, name) => {
    const [url, body] = [page.url(), await page.content()]
    await twin.unrouteAll()
    await twin.route(url, (route) => route.fulfill({ body, contentType: 'text/html; charset=utf-8' }))
    await twin.goto(url)
    await look(twin, name)
  }
  return { see, done: () => twin.done() }
}
