import './tokens.css'
import './page.css'

import { hydrate } from 'preact'

import { App } from './page/app.tsx'
import type { Words } from './words/words.ts'

/** Wakes the page that the build has drawn. */
export function start(w: Words): void {
  hydrate(<App w={w} />, document.getElementById('app')!)
}
