// The one way to the API. An answer is a value or a Trouble; nothing is thrown but an abort by the
// caller.

import type { Effect, Problem, ProblemCode, Verification, WaitingRoom } from './types.ts'

/** What can go wrong without the server having said so. */
export type LocalCode =
  /** No answer: no connection, or none in time. Whether the request arrived is not known. */
  | 'no-answer'
  /** An answer that is not the API's: a proxy's error page, half a document. */
  | 'strange-answer'
  /** A signed document whose signature does not hold. */
  | 'not-genuine'
  /** The browser lacks what sealing a ballot needs. */
  | 'browser-too-old'

export interface Trouble {
  code: ProblemCode | LocalCode
  effect: Effect
  field?: string | undefined
  /** Seconds. */
  retryAfter?: number | undefined
  verification?: Verification | undefined
  /** A place in the queue before step 1. */
  waiting?: WaitingRoom | undefined
}

export type Answer<T> = { value: T; trouble?: undefined } | { value?: undefined; trouble: Trouble }

export interface Request {
  method?: 'GET' | 'POST'
  token?: string | undefined
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Milliseconds until the answer counts as lost. */
  timeout?: number
}

/** The API's base: the origin of the page, or what the build wrote for a mirror. */
export const apiBase = (): string =>
  document.querySelector<HTMLMetaElement>('meta[name="popvote-api"]')?.content.replace(/\/$/, '') ?? ''

/** Sends a request; the raw response, whatever its status. Throws as fetch does. */
export function send(path: string, request: Request = {}): Promise<Response> {
  const headers = new Headers(request.headers)
  if (request.token) headers.set('Authorization', `Bearer ${request.token}`)
  if (request.body !== undefined) headers.set('Content-Type', 'application/json')
  return fetch(apiBase() + path, {
    method: request.method ?? (request.body === undefined ? 'GET' : 'POST'),
    headers,
    body: request.body === undefined ? null : JSON.stringify(request.body),
    signal: request.signal ?? null,
    credentials: 'omit',
    referrerPolicy: 'no-referrer',
    redirect: 'error',
    ...(request.token ? { cache: 'no-store' as const } : {}),
  })
}

/** Sends a request and reads its JSON answer. */
export async function ask<T>(path: string, request: Request = {}): Promise<Answer<T>> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), request.timeout ?? 15_000)
  const stop = () => late.abort()
  request.signal?.addEventListener('abort', stop)
  try {
    const response = await send(path, { ...request, signal: late.signal })
    if (!response.ok) return { trouble: await troubleOf(response) }
    return { value: (await response.json()) as T }
  } catch (error) {
    request.signal?.throwIfAborted()
    // A body that is not JSON is a strange answer; everything else is none.
    return { trouble: { code: error instanceof SyntaxError ? 'strange-answer' : 'no-answer', effect: 'unknown' } }
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener('abort', stop)
  }
}

/** What a problem document says. */
export const troubleIn = (p: Problem): Trouble => ({
  code: p.code,
  effect: p.effect,
  field: p.field,
  retryAfter: p.retry_after,
  verification: p.verification,
  waiting: p.waiting_room,
})

/** Reads the problem document of a refused request. */
export async function troubleOf(response: Response): Promise<Trouble> {
  const header = Number(response.headers.get('Retry-After') ?? NaN)
  const retryAfter = Number.isFinite(header) ? header : undefined
  try {
    const p = (await response.json()) as Problem
    if (typeof p.code !== 'string') throw new SyntaxError('not a problem document')
    return { ...troubleIn(p), retryAfter: p.retry_after ?? retryAfter }
  } catch {
    return { code: 'strange-answer', effect: 'unknown', retryAfter }
  }
}
