// What a page's policy forbids is told to the server, by the browser, and counted there.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'

import { launch } from './browser.mjs'
import { startInstance } from './instance.mjs'

let instance, browser
before(async () => {
  instance = await startInstance()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
})

const count = async (directive, blocked) => {
  const said = await (await fetch(`${instance.admin}/metrics`)).text()
  return Number(said.match(new RegExp(`^popvote_api_csp_violations_total\\{blocked="${blocked}",directive="${directive}"\\} (\\d+)$`, 'm'))?.[1] ?? 0)
}

for (const path of ['/en/', '/plain/en/hk-2014-06/who']) {
  it(`tells of an image from elsewhere on ${path}`, async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(instance.vote + path)
    const before = await count('img-src', 'elsewhere')
    await page.evaluate(() => {
      const image = document.createElement('img')
      image.src = 'https://elsewhere.example/pixel.png?secret'
      document.body.append(image)
    })
    for (let i = 0; (await count('img-src', 'elsewhere')) === before; i++) {
      assert.ok(i < 200, 'no report has come')
      await new Promise((done) => setTimeout(done, 50))
    }
    assert.doesNotMatch(instance.said(), /secret/)
    await context.close()
  })
}
