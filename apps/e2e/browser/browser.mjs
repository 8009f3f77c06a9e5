// Chromium, and what every page of ours has to keep to in it: nothing from another origin, nothing
// that its own policy forbids, nothing that a screen reader or a small screen cannot use.

import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

export const artefacts = join(dirname(fileURLToPath(import.meta.url)), '../artefacts')

export const sizes = {
  phone: { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 } },
}

export const launch = () =>
  chromium.launch({
    // The same engine without a browser's own windows, which cost a third of the processor time.
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium-headless-shell',
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  })

/**
 * Opens a page of its own context, watched from its first request on; it may ask the given origin (or
 * list of them) and no other. `page.watched()` fails on anything that went wrong so far; done() closes.
 */
export async function open(browser, origins, options = {}) {
  const context = await browser.newContext({ timezoneId: 'Asia/Hong_Kong', permissions: ['clipboard-read', 'clipboard-write'], ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const wrong = []
  const expected = []
  page.on('request', (r) => {
    const url = new URL(r.url())
    if (![origins].flat().includes(url.origin) && !['data:', 'blob:'].includes(url.protocol)) wrong.push(`a request to ${url.origin}`)
    // Tokens and numbers travel in headers and bodies, never in an address. (A drill is named by its time, 2026-11-23T125442.)
    if (/vault:|(?<!\d{4}-\d\d-\d\d)[A-Z]\d{6}/.test(decodeURIComponent(r.url()))) wrong.push(`a secret in an address: ${r.url()}`)
  })
  page.on('pageerror', (e) => wrong.push(`an error in the page: ${e.message}`))
  page.on('console', (m) => {
    if (['error', 'warning'].includes(m.type()) && !expected.some((e) => e.test(m.text()))) wrong.push(`the console: ${m.text()}`)
  })
  await page.addInitScript(() => {
    window.violations = []
    document.addEventListener('securitypolicyviolation', (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`))
  })
  // A refused request is written to the console by the browser itself; tests of refusals expect it.
  page.expectRefusals = (pattern = /Failed to load resource|net::ERR_/) => expected.push(pattern)
  page.watched = async () => {
    const violations = await page.evaluate(() => window.violations ?? []).catch(() => [])
    assert.deepEqual([...wrong, ...violations.map((v) => `against the policy: ${v}`)], [])
  }
  const close = context.close.bind(context)
  page.done = async () => {
    try {
      await page.watched()
    } finally {
      await close()
    }
  }
  return page
}

/**
 * Looks at a state of the page: axe finds nothing, nothing sticks out sideways, one first heading, a
 * title; in light and dark, with a picture of each.
 */
export async function look(page, name) {
  await mkdir(artefacts, { recursive: true })
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    // One frame of ours is all that a page has: legacy mode runs in it, without a second page each time.
    const axe = new AxeBuilder({ page }).options({ iframes: false }).setLegacyMode()
    // Everything in light; in dark, what a change of colours can change.
    if (colorScheme === 'light') axe.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
    else axe.withRules(['color-contrast', 'link-in-text-block'])
    const { violations } = await axe.analyze()
    assert.deepEqual(
      violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' | ')}`),
      [],
      `${name}, ${colorScheme}`,
    )
    await page.screenshot({ path: join(artefacts, `${name}-${colorScheme}.png`), fullPage: true })
  }
  await page.emulateMedia({ colorScheme: 'light' })
  const shape = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    headings: document.querySelectorAll('h1').length,
    title: document.title,
    heading: document.querySelector('h1')?.textContent ?? '',
    small: [...document.querySelectorAll('button, input, .button, .card, summary, nav a')]
      .filter((e) => e.offsetParent)
      .map((e) => [e.closest('.card') ?? e, e.textContent])
      .filter(([e]) => e.getBoundingClientRect().height < 40)
      .map(([, text]) => text),
  }))
  assert.equal(shape.wide, false, `${name} sticks out sideways`)
  assert.equal(shape.headings, 1, `${name} has ${shape.headings} first headings`)
  assert.ok(shape.title.includes(shape.heading) && shape.heading, `${name}: the title "${shape.title}" does not say "${shape.heading}"`)
  assert.deepEqual(shape.small, [], `${name} has small targets`)
}

/** Moves the focus by Tab until it is on the wanted element, as somebody without a mouse does. */
export async function tabTo(page, selector) {
  for (let i = 0; i < 60; i++) {
    if (await page.evaluate((s) => document.activeElement?.matches(s) ?? false, selector)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`the Tab key never reaches ${selector}`)
}
