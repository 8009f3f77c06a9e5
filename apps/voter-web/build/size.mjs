// The page's budget. Under attack every byte is sent a million times; a page that outgrows its budget
// does not pass.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = resolve(root, process.env.POPVOTE_OUT ?? '../api-server/page/dist')

/** Bytes, gzipped. The first view is measured with gzip, though most browsers take the smaller Brotli. */
const budget = { firstView: 60_000, script: 30_000, worker: 2_000, css: 4_000 }

const size = (file) => statSync(join(dist, `${file}.gz`)).size
const rows = []
const check = (what, bytes, most) => rows.push({ what, bytes, most, over: bytes > most })

for (const lang of ['zh-Hant-HK', 'zh-Hans', 'en']) {
  const html = readFileSync(join(dist, lang, 'index.html'), 'utf8')
  const linked = [...html.matchAll(/(?:href|src)="\.\.\/(assets\/[^"]+)"/g)].map((m) => m[1])
  const scripts = linked.filter((f) => f.endsWith('.js'))
  const sum = (files) => files.reduce((n, f) => n + size(f), 0)
  if (!scripts.length) throw new Error(`couldn't find the scripts of ${lang}`)
  check(`${lang}: script`, sum(scripts), budget.script)
  check(`${lang}: first view`, size(`${lang}/index.html`) + sum(linked), budget.firstView)
}
const assets = readdirSync(join(dist, 'assets'))
const one = (pattern) => `assets/${assets.find((f) => pattern.test(f))}`
check('worker', size(one(/^worker-.*\.js$/)), budget.worker)
check('style', size(one(/\.css$/)), budget.css)

for (const { what, bytes, most, over } of rows) {
  console.log(`${over ? 'OVER' : 'ok  '}  ${what.padEnd(24)} ${String(bytes).padStart(6)} of ${most} bytes, gzip`)
}
const failed = rows.filter((r) => r.over).length
console.log(`${rows.length - failed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
