// An API made of answers, for tests: each request is answered by the next of a list.

import { vi } from 'vitest'

export interface Asked {
  path: string
  headers: Headers
  body: Record<string, unknown>
  signal: AbortSignal | undefined
}

type Reply = Response | Error | ((asked: Asked) => Response | Promise<Response>)

/** Replaces fetch; returns what was asked. The last reply is given again for ever. */
export function answering(...replies: Reply[]): Asked[] {
  const asked: Asked[] = []
  vi.stubGlobal('document', { querySelector: () => null })
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const signal = init.signal ?? undefined
    const a: Asked = {
      path,
      headers: new Headers(init.headers),
      body: typeof init.body === 'string' ? (JSON.parse(init.body) as Asked['body']) : {},
      signal,
    }
    asked.push(a)
    const reply = replies.length > 1 ? replies.shift()! : replies[0]!
    await Promise.resolve()
    if (reply instanceof Error) throw reply
    return reply instanceof Response ? reply.clone() : reply(a)
  })
  return asked
}

export const json = (value: unknown, status = 200): Response => Response.json(value, { status })

export const problem = (code: string, status: number, effect = 'not_applied', more: object = {}): Response =>
  new Response(JSON.stringify({ type: code, title: '', status, code, effect, ...more }), {
    status,
    headers: { 'Content-Type': 'application/problem+json' },
  })

export const lost = new TypeError('network error')
