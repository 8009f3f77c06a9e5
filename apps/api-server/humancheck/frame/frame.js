// The page of the human check: it loads one service's script, and tells the page that frames it what becomes of it.
// That page says hello first, so that it is known which of those that may frame this one it is; nobody else is told.
'use strict'

const box = document.getElementById('check')
const { name, sitekey, action, script, lang, parents } = box.dataset
let origin

const tell = (state, response) => parent.postMessage({ humanCheck: state, response }, origin)

addEventListener('message', (event) => {
  if (origin || event.source !== parent || event.data?.humanCheck !== 'hello' || !parents.split(' ').includes(event.origin)) return
  origin = event.origin
  load(event.data.poll)
})

function load(poll) {
  const element = document.createElement('script')
  const late = setTimeout(() => tell('failed'), 15000)
  element.onerror = () => (clearTimeout(late), tell('failed'))
  // Both services' scripts call this by its name once they are ready.
  globalThis.humanCheckReady = () => (clearTimeout(late), render(poll))
  element.src = `${script}&onload=humanCheckReady`
  document.head.append(element)
}

function render(poll) {
  const service = globalThis[name]
  // Both services' usual widgets are some 300 px wide.
  const narrow = innerWidth < 304
  try {
    service.render(box, {
      sitekey,
      // Turnstile says it again with its judgement; hCaptcha has none.
      size: narrow ? 'compact' : name === 'turnstile' ? 'flexible' : 'normal',
      ...(name === 'turnstile' ? { action, cData: poll, language: lang, 'response-field': false } : {}),
      theme: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
      callback: (response) => tell('passed', response),
      'expired-callback': () => (tell('waiting'), service.reset()),
      'error-callback': () => tell('failed'),
      'open-callback': () => tell('open'),
      'close-callback': () => tell('waiting'),
      'before-interactive-callback': () => tell('waiting'),
    })
    tell('waiting')
  } catch {
    tell('failed')
  }
}
