// A stage for the panel's page: the built page over a server that says what the script wants it to say.
// It reaches what no journey can: a full first day, parts that are down, numbers that went stale.
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../../../control-panel/page/dist/', import.meta.url))
const kinds = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
// The page must work under the very policy that the real server sends.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'none'; " +
  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

/** raise serves a play: { '/api/path': answer or (request) => answer }, and `live`, the events of the stream. */
export async function raise(play) {
  const streams = new Set()
  const stage = { play }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://stage')
    if (url.pathname === '/api/live') {
      if (stage.play.live === null) return response.writeHead(502).end()
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
      streams.add(response)
      request.on('close', () => streams.delete(response))
      for (const [event, data] of stage.play.live(url.searchParams.get('poll') ?? '')) send(response, event, data)
      return
    }
    if (url.pathname.startsWith('/api/')) {
      const line = stage.play[url.pathname]
      const answer = typeof line === 'function' ? await line(request) : line
      const { status = 200, ...body } = answer ?? { status: 404, code: 'not-found', title: 'Nothing is here.' }
      response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' })
      return response.end(JSON.stringify(body))
    }
    const name = extname(url.pathname) ? url.pathname : '/index.html'
    try {
      const body = await readFile(join(dist, name))
      response.writeHead(200, { 'Content-Type': kinds[extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': policy })
      response.end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  stage.origin = `http://127.0.0.1:${server.address().port}`
  /** say sends an event to every page that listens. */
  stage.say = (event, data) => streams.forEach((s) => send(s, event, data))
  /** cut breaks every stream, and refuses new ones until the play has a live again. */
  stage.cut = () => {
    stage.play = { ...stage.play, live: null }
    streams.forEach((s) => s.destroy())
  }
  stage.close = () => {
    streams.forEach((s) => s.destroy())
    server.closeAllConnections()
    return new Promise((done) => server.close(done))
  }
  return stage
}

function send(response, event, data) {
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}
