// The pages as files: drawn at build time, so that the first words are there before any script is.

import { renderToString } from 'preact-render-to-string'

import type { Lang } from './api/types.ts'
import { App } from './page/app.tsx'
import { languages } from './page/frame.tsx'
import { en } from './words/en.ts'
import type { Words } from './words/words.ts'
import { zhHans } from './words/zh-Hans.ts'
import { zhHantHK } from './words/zh-Hant-HK.ts'

export const catalogues: Record<Lang, Words> = { 'zh-Hant-HK': zhHantHK, 'zh-Hans': zhHans, en }

export interface Assets {
  /** Paths from the site's root, without a leading slash. */
  entry: string
  chunks: string[]
  css: string
}

/** One language's page. `api` is the API's origin, or empty where it is the page's own; `frame` a human check's, or empty. */
export function page(lang: Lang, assets: Assets, api: string, frame: string): string {
  const w = catalogues[lang]
  const to = (path: string) => `../${path}`
  return document(
    lang,
    <>
      <meta name="popvote-api" content={api} />
      <meta name="description" content={w.description} />
      <title>PopVote</title>
      <link rel="icon" href="data:," />
      <link rel="stylesheet" href={to(assets.css)} />
      {assets.chunks.map((c) => <link rel="modulepreload" href={to(c)} key={c} />)}
      <script type="module" src={to(assets.entry)} />
    </>,
    <div id="app"><App w={w} plain={`${api}/plain/${lang}/`} /></div>,
    policy(api, frame),
  )
}

/** The front door: which language? It needs no script. */
export function door(assets: Assets): string {
  const names = Object.entries(languages) as [Lang, string][]
  return document(
    'zh-Hant-HK',
    <>
      <title>語言 · 语言 · Language · PopVote</title>
      <link rel="icon" href="data:," />
      <link rel="stylesheet" href={assets.css} />
    </>,
    <div id="app">
      <header><div class="inner"><div class="whose"><b>PopVote</b></div></div></header>
      <main id="main">
        <h1>
          語言 · <span lang="zh-Hans">语言</span> · <span lang="en">Language</span>
        </h1>
        <ul class="cards choose">
          {names.map(([lang, name]) => (
            <li key={lang}>
              <a class="card" href={`${lang}/`} lang={lang} hreflang={lang}>
                <span><b>{name}</b><small>{catalogues[lang].description}</small></span>
              </a>
            </li>
          ))}
        </ul>
      </main>
    </div>,
    policy('', ''),
  )
}

/** For hosts that cannot set headers. A server that can sets the same, and frame-ancestors. */
const policy = (api: string, frame: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "worker-src 'self'",
    `connect-src 'self'${api && ` ${new URL(api).origin}`}`,
    // The API's own server says in its header which origin may be framed, if any; it knows, and this file does not.
    api ? `frame-src ${frame ? new URL(frame).origin : "'none'"}` : 'frame-src http: https:',
    "form-action 'none'",
    "base-uri 'none'",
    "require-trusted-types-for 'script'",
    'trusted-types popvote',
  ].join('; ')

function document(lang: string, head: preact.JSX.Element, body: preact.JSX.Element, csp: string): string {
  return (
    '<!doctype html>' +
    renderToString(
      <html lang={lang}>
        <head>
          <meta charset="utf-8" />
          <meta http-equiv="Content-Security-Policy" content={csp} />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="referrer" content="no-referrer" />
          <meta name="color-scheme" content="light dark" />
          {head}
        </head>
        <body>{body}</body>
      </html>,
    ) +
    '\n'
  )
}
