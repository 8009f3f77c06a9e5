// A voter's way through the page, by what is on the screen and nothing else; the same in every
// language.

import assert from 'node:assert/strict'

/** The step the page is at, by its address. */
export const at = (page, step) => page.waitForFunction((s) => location.hash === `#${s}`, step)

/** Opens a poll's first screen. */
export async function arrive(page, origin, lang, poll) {
  await page.goto(`${origin}/${lang}/?poll=${poll}`)
  await at(page, 'about')
  await page.locator('button.main').waitFor()
}

/** Identity and phone, up to the waiting screen or the code's. */
export async function identify(page, voter) {
  await at(page, 'identity')
  await page.fill('#number', voter.hkid)
  await page.click('button.main')
  await at(page, 'phone')
  await page.fill('#phone', voter.phone)
  await page.click('button.main')
  await at(page, 'verify')
}

/** Sends the SMS that the page asks for, from the voter's phone. */
export async function sendSMS(page, instance, voter) {
  const [to, text] = await page.locator('output').allTextContents()
  await instance.text(voter.phone, to, text)
  await at(page, 'ballot-1')
}

/** Enters the code that the voter's phone has received. */
export async function enterCode(page, instance, voter) {
  const { code } = await instance.code(voter.phone)
  await page.fill('#code', code)
  await page.click('button.main')
  await at(page, 'ballot-1')
}

export async function prove(page, instance, voter, poll) {
  if (poll === 'lunch') await enterCode(page, instance, voter)
  else await sendSMS(page, instance, voter)
}

/** Answers a question with its nth option on the screen. */
export async function answer(page, question, ...nth) {
  await at(page, `ballot-${question}`)
  for (const n of nth) await page.locator('.card').nth(n).click()
  await page.click('button.main')
}

/** Both questions and the review, up to the button that casts. */
export async function fill(page, poll) {
  await answer(page, 1, ...(poll === 'lunch' ? [0, 1] : [0]))
  await answer(page, 2, 1)
  await at(page, 'review')
}

/** Every code that a page has shown. */
export const receipts = new Set()

export const castIt = async (page) => {
  await page.click('button.main')
  await at(page, 'receipt')
  return receiptCode(page)
}

/** Everything from the first screen to the receipt; its code. */
export async function vote(page, instance, voter, lang = 'en', poll = 'hk-2014-06') {
  await arrive(page, instance.vote, lang, poll)
  await page.click('button.main')
  await identify(page, voter)
  await prove(page, instance, voter, poll)
  await fill(page, poll)
  return castIt(page)
}

export async function receiptCode(page) {
  const code = (await page.locator('.code').textContent()).trim()
  assert.match(code, /^([0-9A-HJKMNP-TV-Z]{4} ){3}[0-9A-HJKMNP-TV-Z]{4}$/)
  receipts.add(code)
  return code
}

/** Everything this tab has kept. */
export const kept = (page) =>
  page.evaluate(() => ({ session: JSON.stringify(sessionStorage), local: localStorage.length, cookies: document.cookie }))
