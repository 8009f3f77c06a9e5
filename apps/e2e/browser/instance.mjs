// A whole PopVote, started from the built program on free ports and a directory of its own, and
// stopped with everything it made.

import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const program = process.env.POPVOTE ?? join(here, '../../../bin/popvote')

export async function freePort() {
  const server = createServer()
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}

/**
 * Starts an instance with the sample polls: hk-2014-06 (voters send an SMS) and lunch (voters receive
 * one). Give more `flags` to change it; a function among them makes some of the voters' port.
 */
export async function startInstance(...flags) {
  if (!existsSync(program)) throw new Error(`couldn't find ${program}: run make build`)
  const data = await mkdtemp(join(tmpdir(), 'popvote-browser-'))
  const [vote, panel, phone, admin] = await Promise.all([1, 2, 3, 4].map(freePort))
  const at = (port) => `127.0.0.1:${port}`
  const child = spawn(
    program,
    ['up', '--seed-demo', '--data', data, '--listen', at(vote), '--panel-listen', at(panel), '--phone-listen', at(phone),
      '--admin-listen', at(admin), '--limits-scale', '1000', '--challenge-most', '1', '--log-level', 'warn',
      ...flags.flatMap((f) => (typeof f === 'function' ? f(vote) : f))],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  child.stdout.on('data', (d) => (said += d))
  child.stderr.on('data', (d) => (said += d))
  const ended = new Promise((done) => child.on('exit', done))

  const instance = {
    /** Origins. */
    vote: `http://${at(vote)}`,
    panel: `http://${at(panel)}`,
    phone: `http://${at(phone)}`,
    admin: `http://${at(admin)}`,
    data,
    /** What the program has printed: the panel's log-in link, among other things. */
    said: () => said,
    /** Runs `popvote …` on this instance's data. */
    run: async (...args) => (await promisify(execFile)(program, [...args, '--data', data])).stdout,
    /** Sends an SMS from a phone to the poll's number. */
    async text(from, to, text) {
      const response = await fetch(`${instance.phone}/sms`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ from, to, text }),
      })
      if (!response.ok) throw new Error(`couldn't text: ${await response.text()}`)
    },
    /** The newest SMS to a phone that holds digits, waited for; `after` is the text of an older one. */
    async code(phone, after) {
      for (let i = 0; i < 100; i++) {
        const response = await fetch(`${instance.phone}/sms?to=${encodeURIComponent(phone)}`)
        const newest = (await response.json()).messages.at(-1)?.text
        const code = newest && newest !== after && /\b\d{6}\b/.exec(newest)?.[0]
        if (code) return { code, text: newest }
        await new Promise((done) => setTimeout(done, 50))
      }
      throw new Error(`no SMS came to ${phone}`)
    },
    /** Waits until voters are served a poll: API servers read the register every second. */
    async served(poll) {
      for (let i = 0; i < 100; i++) {
        if ((await fetch(`${instance.vote}/v1/polls/${poll}`)).ok) return
        await new Promise((done) => setTimeout(done, 100))
      }
      throw new Error(`poll ${poll} is not served`)
    },
    async stop() {
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
      await ended
      clearTimeout(late)
      await rm(data, { recursive: true, force: true })
    },
  }

  for (let i = 0; i < 300; i++) {
    const up = await fetch(`${instance.vote}/v1/polls`).then((r) => r.ok, () => false)
    if (up) return instance
    if (child.exitCode !== null) break
    await new Promise((done) => setTimeout(done, 100))
  }
  await instance.stop()
  throw new Error(`popvote did not start:\n${said}`)
}

let people = Math.floor(Math.random() * 50_000) * 10

/** A voter nobody has been yet: a valid identity number and a mobile phone. */
export function newVoter() {
  people++
  const digits = String(people).padStart(6, '0')
  const letter = 'ABCDEFGHKMPRSVWYZ'[people % 17]
  const sum = 36 * 9 + parseInt(letter, 36) * 8 + [...digits].reduce((n, d, i) => n + Number(d) * (7 - i), 0)
  const check = (11 - (sum % 11)) % 11
  return { hkid: `${letter}${digits}(${check === 10 ? 'A' : check})`, phone: `+85296${digits}` }
}
