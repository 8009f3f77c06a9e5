// An operator's browser with an authenticator of its own, made of software (Chromium's virtual one).

import { open } from '../browser.mjs'

/** seat is a browser with an authenticator that knows its operator; `verified` is whether it checks who it is. */
export async function seat(browser, panel, options) {
  const page = await open(browser, panel, options)
  page.expectRefusals() // of what is not known yet, and of links
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('WebAuthn.enable')
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true,
    },
  })
  page.verified = (isUserVerified) => devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified })
  page.credentials = async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials
  return page
}

/** inside: the operator is in. */
export const inside = (page) => page.locator('.account').waitFor()

/** register fills in the form for a passkey. */
export async function register(page, name, label) {
  if (name) await page.fill('[data-test=operator-name]', name)
  await page.fill('[data-test=passkey-label]', label)
  await page.click('[data-test=register]')
}

export async function logOut(page) {
  await page.click('.account')
  await page.click('[data-test=log-out]')
  await page.locator('[data-test=passkey-login]').waitFor()
}
