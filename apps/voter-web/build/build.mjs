// Builds the page into the API server, which embeds it; any static host can carry the same files.
//
//   POPVOTE_API=https://vote.example  the API's origin, for a mirror (default: the page's own)
//   POPVOTE_HUMAN=https://check.example  where the human check's page is, for a mirror of a vote that has one
//   POPVOTE_OUT=dir                   where to (default: ../api-server/page/dist)

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'

import { build, createServer } from 'vite'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const out = resolve(root, process.env.POPVOTE_OUT ?? '../api-server/page/dist')
const api = process.env.POPVOTE_API ?? ''
const frame = process.env.POPVOTE_HUMAN ?? ''
const langs = ['zh-Hant-HK', 'zh-Hans', 'en']

// The directory is embedded by Go, so it must stay, and so must its .gitignore.
await mkdir(out, { recursive: true })
for (const name of await readdir(out)) {
  if (name !== '.gitignore') await rm(join(out, name), { recursive: true })
}

const shared = {
  root,
  configFile: false,
  logLevel: 'warn',
  // Relative, so that a mirror may carry the page under any path.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
}

const { output } = await build({
  ...shared,
  build: {
    outDir: out,
    emptyOutDir: false,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
    rollupOptions: {
      input: Object.fromEntries(langs.map((lang) => [lang, join(root, `src/entry/${lang}.ts`)])),
      output: {
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
      },
    },
  },
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'assets/[name]-[hash].js' } } },
})

const css = output.find((o) => o.fileName.endsWith('.css')).fileName
const chunk = (name) => output.find((o) => o.fileName === name)
const needs = (name, seen = new Set()) => {
  for (const i of chunk(name).imports) if (!seen.has(i)) needs(i, seen.add(i))
  return [...seen]
}

const server = await createServer({ ...shared, server: { middlewareMode: true, ws: false, hmr: false, watch: null }, appType: 'custom' })
const { page, door } = await server.ssrLoadModule('/src/prerender.tsx')
await server.close()
for (const lang of langs) {
  const entry = output.find((o) => o.type === 'chunk' && o.isEntry && o.name === lang).fileName
  await mkdir(join(out, lang), { recursive: true })
  await writeFile(join(out, lang, 'index.html'), page(lang, { entry, chunks: needs(entry), css }, api, frame))
}
await writeFile(join(out, 'index.html'), door({ entry: '', chunks: [], css }))

// Beside each file its compressed twins: no server computes them under load.
for (const file of await files(out)) {
  if (file.endsWith('.gitignore')) continue
  const plain = await readFile(file)
  const br = await promisify(brotliCompress)(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
  await writeFile(`${file}.br`, br)
  await writeFile(`${file}.gz`, await promisify(gzip)(plain, { level: 9 }))
}
console.log(`voter-web: ${(await files(out)).length} files in ${relative(process.cwd(), out)}`)

async function files(dir) {
  const list = await readdir(dir, { withFileTypes: true, recursive: true })
  return list.filter((e) => e.isFile()).map((e) => join(e.parentPath ?? e.path, e.name))
}
