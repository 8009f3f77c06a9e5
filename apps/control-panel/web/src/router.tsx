import { createContext, type ComponentChildren, type JSX } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'

export type Tab = 'numbers' | 'ballot' | 'result' | 'audit'
export const tabs: readonly Tab[] = ['numbers', 'ballot', 'result', 'audit']

export type Route =
  | { name: 'overview'; poll: string }
  | { name: 'polls' }
  | { name: 'new' }
  | { name: 'poll'; id: string; tab: Tab }
  | { name: 'edit'; id: string }
  | { name: 'wall'; id: string }
  | { name: 'operators' }
  | { name: 'clouds' }
  | { name: 'sms' }
  | { name: 'drills' }
  | { name: 'drill'; run: string }
  | { name: 'lost' }

/** routeOf reads an address; every screen has one, so that it can be sent to a colleague. */
export function routeOf(path: string, query: string): Route {
  const parts = path.split('/').filter(Boolean).map(decode)
  const [first, second, third, ...rest] = parts
  if (rest.length > 0) return { name: 'lost' }
  if (first === undefined) return { name: 'overview', poll: new URLSearchParams(query).get('poll') ?? '' }
  if (first === 'new' && second === undefined) return { name: 'new' }
  if (first === 'wall' && third === undefined) return { name: 'wall', id: second ?? '' }
  if (first === 'operators' && second === undefined) return { name: 'operators' }
  if (first === 'clouds' && second === undefined) return { name: 'clouds' }
  if (first === 'sms' && second === undefined) return { name: 'sms' }
  if (first === 'drills' && third === undefined) return second === undefined ? { name: 'drills' } : { name: 'drill', run: second }
  if (first !== 'polls') return { name: 'lost' }
  if (second === undefined) return { name: 'polls' }
  if (third === undefined) return { name: 'poll', id: second, tab: 'numbers' }
  if (third === 'edit') return { name: 'edit', id: second }
  const tab = tabs.find((t) => t === third)
  return tab ? { name: 'poll', id: second, tab } : { name: 'lost' }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export const pathTo = {
  overview: (poll = '') => (poll ? `/?poll=${encodeURIComponent(poll)}` : '/'),
  polls: () => '/polls',
  create: () => '/new',
  poll: (id: string, tab: Tab = 'numbers') => `/polls/${encodeURIComponent(id)}${tab === 'numbers' ? '' : `/${tab}`}`,
  edit: (id: string) => `/polls/${encodeURIComponent(id)}/edit`,
  operators: () => '/operators',
  clouds: () => '/clouds',
  sms: () => '/sms',
  drills: () => '/drills',
  drill: (run: string) => `/drills/${encodeURIComponent(run)}`,
  wall: (id = '') => (id ? `/wall/${encodeURIComponent(id)}` : '/wall'),
}

const Here = createContext<Route>({ name: 'overview', poll: '' })
export const useRoute = (): Route => useContext(Here)

const current = (): Route => routeOf(location.pathname, location.search)

/** go opens a screen without loading the page anew. */
export function go(path: string, replace = false): void {
  if (replace) history.replaceState(null, '', path)
  else history.pushState(null, '', path)
  dispatchEvent(new PopStateEvent('popstate'))
}

export function Router({ children }: { children: ComponentChildren }): JSX.Element {
  const [route, setRoute] = useState(current)
  useEffect(() => {
    let path = location.pathname
    const move = (): void => {
      setRoute(current())
      if (location.pathname === path) return
      path = location.pathname
      scrollTo(0, 0)
      // A screen reader goes on at the new heading, as after a page load.
      requestAnimationFrame(() => document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true }))
    }
    addEventListener('popstate', move)
    return () => removeEventListener('popstate', move)
  }, [])
  return <Here.Provider value={route}>{children}</Here.Provider>
}

interface LinkProps {
  to: string
  children: ComponentChildren
  class?: string
  title?: string
  'aria-label'?: string
  'aria-current'?: 'page' | undefined
  'data-test'?: string
}

export function Link({ to, children, ...rest }: LinkProps): JSX.Element {
  return (
    <a
      {...rest}
      href={to}
      onClick={(e) => {
        if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return
        e.preventDefault()
        go(to)
      }}
    >
      {children}
    </a>
  )
}
