// Writes what the API server's pages without scripts share with this page: every word, and the looks.

import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { createServer } from 'vite'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const out = join(root, '../api-server/plain')

const server = await createServer({
  root,
  configFile: false,
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: { middlewareMode: true, ws: false, hmr: false, watch: null },
  appType: 'custom',
})
const { catalogues } = await server.ssrLoadModule('/src/prerender.tsx')
const { plainWords } = await server.ssrLoadModule('/src/words/plain.ts')
const { flat } = await server.ssrLoadModule('/src/words/flat.ts')
await server.close()

const words = Object.fromEntries(Object.entries(catalogues).map(([lang, w]) => [lang, flat({ ...w, ...plainWords[lang] })]))
await writeFile(join(out, 'words.gen.json'), `${JSON.stringify(words, null, 1)}\n`)

const css = await Promise.all(['tokens.css', 'page.css'].map((name) => readFile(join(root, 'src', name), 'utf8')))
await writeFile(join(out, 'style.gen.css'), `/* Written by npm run generate from apps/voter-web/src. */\n${css.join('\n')}`)
