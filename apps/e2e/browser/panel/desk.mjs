// An operator at the panel, by what is on the screen; the same in every language.

import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import { AxeBuilder } from '@axe-core/playwright'

import { artefacts } from '../browser.mjs'

/** The log-in link that the program has printed. */
export function loginLink(instance) {
  const link = /http:\/\/\S+\/#login=[\w-]+/.exec(instance.said())?.[0]
  assert.ok(link, `no log-in link in:\n${instance.said()}`)
  return link
}

/** Decides something: types the poll's id and a reason into the open dialog, and sees the audit entry. */
export async function decide(page, verb, poll, reason) {
  await page.click(`[data-test=do-${verb}]`)
  await page.fill('[data-test=confirm]', poll)
  await page.fill('[data-test=reason]', reason)
  await page.click('[data-test=act]')
  await page.locator('.entry').waitFor()
  assert.match(await page.locator('.entry').textContent(), new RegExp(reason))
}

/** Leaves the dialog by its main button. */
export const done = (page) => page.click('dialog .button.main')

export const stateIs = (page, state) => page.locator(`.poll-id .badge-${state}`).waitFor()

/**
 * Looks at a state of the panel: axe finds nothing at all, nothing sticks out sideways, there is one
 * first heading and a title, and everything to click is at least 24 px high (WCAG 2.5.8).
 */
export async function inspect(page, name) {
  await mkdir(artefacts, { recursive: true })
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    const axe = new AxeBuilder({ page })
    // Everything in light; in dark, what a change of colours can change.
    if (colorScheme === 'light') axe.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
    else axe.withRules(['color-contrast', 'link-in-text-block'])
    const { violations } = await axe.analyze()
    assert.deepEqual(
      violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' | ')}`),
      [],
      `${name}, ${colorScheme}`,
    )
    await page.screenshot({ path: join(artefacts, `panel-${name}-${colorScheme}.png`), fullPage: true })
  }
  const shape = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    headings: document.querySelectorAll('h1').length,
    title: document.title,
    small: [...document.querySelectorAll('button, select, input:not([type=checkbox], .hidden), .button, nav a')]
      .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 24)
      .map((e) => e.outerHTML.slice(0, 80)),
  }))
  assert.equal(shape.wide, false, `${name} sticks out sideways`)
  assert.equal(shape.headings, 1, `${name} has ${shape.headings} first headings`)
  assert.match(shape.title, /\S · PopVote$/, `${name} has no title`)
  assert.deepEqual(shape.small, [], `${name} has small targets`)
}
