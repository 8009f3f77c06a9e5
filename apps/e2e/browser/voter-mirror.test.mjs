// The voter's page from a mirror: a copy under some path of another origin, talking to the API across
// origins, as one would be put up while the first is under attack.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { after, before, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { launch, open, sizes } from './browser.mjs'
import { newVoter, startInstance } from './instance.mjs'
import { vote } from './voter.mjs'

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }
let dir, host, mirror, instance, browser
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'popvote-mirror-'))
  host = createServer((request, response) => {
    const path = new URL(request.url, mirror).pathname.replace(/^\/a\/copy/, '').replace(/\/$/, '/index.html')
    readFile(join(dir, path)).then(
      (body) => response.setHeader('Content-Type', types[extname(path)] ?? 'application/octet-stream').end(body),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise((done) => host.listen(0, '127.0.0.1', done))
  mirror = `http://127.0.0.1:${host.address().port}`
  instance = await startInstance('--allow-origin', mirror)
  await promisify(execFile)('node', ['build/build.mjs'], {
    cwd: fileURLToPath(new URL('../../voter-web', import.meta.url)),
    env: { ...process.env, POPVOTE_API: instance.vote, POPVOTE_OUT: dir },
  })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await instance?.stop()
  host?.close()
  host?.closeAllConnections()
  await rm(dir, { recursive: true, force: true })
})

for (const poll of ['hk-2014-06', 'lunch']) {
  it(`takes a vote in ${poll}`, async () => {
    const page = await open(browser, [mirror, instance.vote], sizes.phone)
    await vote(page, { ...instance, vote: `${mirror}/a/copy` }, newVoter(), 'zh-Hant-HK', poll)
    await page.done()
  })
}

it('is turned away where the API does not list it', async () => {
  const other = await startInstance()
  try {
    const page = await open(browser, [mirror, other.vote])
    page.expectRefusals(/CORS|Failed to load|net::/)
    // The same copy, with the page's own meta pointed at an API that does not know the mirror.
    await page.route(`${mirror}/a/copy/en/**`, async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, body: (await response.text()).replaceAll(instance.vote, other.vote) })
    })
    await page.goto(`${mirror}/a/copy/en/?poll=lunch`)
    await page.locator('[role=alert]').waitFor()
    assert.match(await page.locator('main').innerText(), /did not answer|may not talk/)
    await page.done()
  } finally {
    await other.stop()
  }
})
