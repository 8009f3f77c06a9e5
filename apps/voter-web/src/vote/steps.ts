// The steps, their addresses, and which of them a journey allows. The address is the page's hash, so
// that the page works on any static host and nothing of it reaches a server.

import { fault } from '../crypto/ballot.ts'
import type { Journey } from './journey.ts'

export type Name =
  | 'polls'
  | 'about'
  | 'identity'
  | 'phone'
  | 'wait'
  | 'verify'
  | 'ballot'
  | 'review'
  | 'cast'
  | 'receipt'
  | 'result'
  | 'check'
  | 'cleared'

export interface Step {
  name: Name
  /** For a ballot: which question, from 1. */
  n?: number
}

const names: readonly string[] = [
  'polls', 'about', 'identity', 'phone', 'wait', 'verify', 'ballot', 'review', 'cast', 'receipt', 'result', 'check', 'cleared',
] satisfies Name[]

export const hashOf = (step: Step): string => '#' + step.name + (step.n ? `-${step.n}` : '')

export function stepOf(hash: string): Step | undefined {
  const [, name, n] = /^#([a-z]+)(?:-([1-9]\d?))?$/.exec(hash) ?? []
  if (!name || !names.includes(name)) return undefined
  if (name === 'ballot') return { name, n: Number(n ?? 1) }
  return n ? undefined : { name: name as Name }
}

export const same = (a: Step, b: Step): boolean => a.name === b.name && a.n === b.n

/** The first question whose answer may not stand, from 1; undefined when the ballot is complete. */
export function incomplete(j: Journey): number | undefined {
  const i = j.manifest.questions.findIndex((q) => fault(q, j.answers[q.id] ?? []))
  return i < 0 ? undefined : i + 1
}

/** How far the voter has come: where "continue" leads. */
export function furthest(j: Journey): Step {
  if (j.receipt) return { name: 'receipt' }
  if (j.verified) {
    if (j.pending || j.casting) return { name: 'cast' }
    // Questions that may stay unanswered count as done only once they have been passed.
    const n = j.manifest.questions.findIndex((q) => !(q.id in j.answers) || fault(q, j.answers[q.id]!))
    return n < 0 ? { name: 'review' } : { name: 'ballot', n: n + 1 }
  }
  if (j.session) return { name: 'verify' }
  if (j.waiting) return { name: 'wait' }
  return { name: j.draft?.number ? 'phone' : 'identity' }
}

/** The step to show when the address asks for one: itself if the journey allows it. */
export function allowed(want: Step, j: Journey): Step {
  if (j.receipt) return want.name === 'check' ? want : { name: 'receipt' }
  // A ballot that may be in the box comes before everything else: this page is finding out.
  if (j.pending?.maybe && j.verified) return { name: 'cast' }
  switch (want.name) {
    case 'polls':
    case 'about':
    case 'result':
    case 'check':
    case 'cleared':
      return want
    case 'identity':
      return j.verified ? { name: 'about' } : want
    case 'phone':
      if (j.verified) return { name: 'about' }
      return j.draft?.number ? want : { name: 'identity' }
    case 'wait':
      return j.verified ? { name: 'about' } : j.waiting ? want : furthest(j)
    case 'verify':
      return j.verified ? { name: 'about' } : j.session ? want : furthest(j)
    case 'ballot':
      if (!j.verified) return furthest(j)
      return want.n! <= j.manifest.questions.length ? want : furthest(j)
    case 'review':
      return j.verified && !incomplete(j) ? want : furthest(j)
    case 'cast':
      return j.verified && (j.pending || j.casting) ? want : furthest(j)
    case 'receipt':
      return furthest(j)
  }
}
