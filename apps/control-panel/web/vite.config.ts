import { rmSync } from 'node:fs'
import { defineConfig, type Plugin } from 'vite'

// The voter's tokens know dark only as the system's wish. Operators may choose for themselves (the
// wall is always dark), so the same block is put under data-theme as well: one source, no copy.
const themes: Plugin = {
  name: 'themes',
  enforce: 'pre',
  transform(code, id) {
    if (!id.split('?')[0]?.endsWith('/voter-web/src/tokens.css')) return
    const dark = /@media \(prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}\s*\}/
    const found = dark.exec(code)
    if (!found) throw new Error('tokens.css has no dark block of the expected form')
    return code.replace(
      dark,
      `@media (prefers-color-scheme: dark) { :root:not([data-theme='light']) {${found[1]}} }
       :root[data-theme='dark'] { color-scheme: dark; ${found[1]} }
       :root[data-theme='light'] { color-scheme: light; }`,
    )
  },
}

// Files of earlier builds would be embedded too; emptying all of dist would take its .gitignore along.
const sweep: Plugin = {
  name: 'sweep',
  apply: 'build',
  buildStart: () => rmSync('../page/dist/assets', { recursive: true, force: true }),
}

// The page is embedded by apps/control-panel/page; its policy forbids inline script and style, so
// nothing may be inlined here either.
export default defineConfig({
  plugins: [themes, sweep],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../page/dist',
    emptyOutDir: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
  server: { port: 5181, proxy: { '/api': 'http://127.0.0.1:8081' } },
})
