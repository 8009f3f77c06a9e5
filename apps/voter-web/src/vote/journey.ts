// One voter's way through one poll, as far as this tab knows it. It lives in sessionStorage, so that
// a reload loses nothing and closing the tab loses all; never in localStorage. The identity number
// is in it only until step 1 has succeeded.

import type { Manifest, Receipt, Session, Verification, Verified } from '../api/types.ts'

/** A place in the queue before step 1. */
export interface Waiting {
  ticket: string
  /** When it was given out, by the service's clock, milliseconds: the place itself. */
  issued: number
  /** When its turn comes at the latest, by this device's clock; as known now, and as was said first. */
  turn: number
  first: number
  /** Whom it is for. */
  of: { number: string; phone: string }
}

export interface Journey {
  manifest: Manifest
  /** What was typed, until the session is open. */
  draft?: { number?: string; phone?: string }
  /** More people come than are let in: the place in the queue, until the session is open. */
  waiting?: Waiting
  /** Step 1 is done: the session's token, and what the voter has to do now. */
  session?: {
    token: string
    /** By this device's clock, milliseconds. */
    deadline: number
    /** When `verification` came, by this device's clock: its seconds count from there. */
    since: number
    verification: Verification
    /** The phone's last four digits, to tell the voter which one. */
    phoneEnd: string
  }
  /** Step 2 is done: the token that may cast, and until when. */
  verified?: { token: string; deadline: number }
  /** The order of options drawn for this voter, by question. */
  order: Record<string, string[]>
  /** The voter's choices, by question. */
  answers: Record<string, string[]>
  /** The voter has pressed the button that casts. */
  casting?: true
  /** A ballot sealed and perhaps sent. Its bytes and its key stay the same through every retry. */
  pending?: {
    key: string
    sealed: string
    /** It may be in the box: an attempt ended without an answer. */
    maybe: boolean
  }
  /** The ballot is in the box. */
  receipt?: { receipt: Receipt; genuine: boolean }
}

const prefix = 'popvote:'

// A browser that refuses storage still votes; it only forgets at a reload.
const storage = (): Storage | undefined => {
  try {
    return sessionStorage
  } catch {
    return undefined
  }
}

export function load(poll: string): Journey | undefined {
  try {
    return (JSON.parse(storage()?.getItem(prefix + poll) ?? 'null') ?? undefined) as Journey | undefined
  } catch {
    return undefined
  }
}

export function save(journey: Journey): void {
  try {
    storage()?.setItem(prefix + journey.manifest.id, JSON.stringify(journey))
  } catch {
    // Full or refused: the journey goes on in memory.
  }
}

/** Forgets every journey of this tab. */
export function forgetAll(): void {
  const s = storage()
  if (!s) return
  for (const key of Object.keys(s)) if (key.startsWith(prefix)) s.removeItem(key)
}

export function begin(manifest: Manifest): Journey {
  const order: Record<string, string[]> = {}
  for (const q of manifest.questions) {
    const ids = q.options.map((o) => o.id)
    // Chance places the choices; abstain and blank stay where the organiser put them, because what
    // they say ("none of the above") may depend on it.
    const drawn = shuffled(q.options.filter((o) => o.kind === 'choice').map((o) => o.id))
    order[q.id] = q.order === 'random' ? q.options.map((o) => (o.kind === 'choice' ? drawn.pop()! : o.id)) : ids
  }
  return { manifest, order, answers: {} }
}

/** Takes a newer manifest into a journey; one whose questions changed starts its answers anew. */
export function renew(journey: Journey, manifest: Manifest): Journey {
  const same = JSON.stringify(manifest.questions) === JSON.stringify(journey.manifest.questions)
  if (same) return { ...journey, manifest }
  const { order, answers } = begin(manifest)
  return { ...journey, manifest, order, answers }
}

/** Step 1 succeeded: what was typed is forgotten. */
export function opened(journey: Journey, session: Session, phone: string, now: number): Journey {
  const { draft: _typed, waiting: _place, verified: _old, ...rest } = journey
  const { verification } = session
  return {
    ...rest,
    session: {
      token: session.access_token,
      deadline: now + verification.seconds * 1000,
      since: now,
      verification,
      phoneEnd: phone.normalize('NFKC').replace(/\D/g, '').slice(-4),
    },
  }
}

/** Step 2 succeeded. */
export function proved(journey: Journey, verified: Verified, now: number): Journey {
  const { session: _done, ...rest } = journey
  return { ...rest, verified: { token: verified.access_token, deadline: now + verified.seconds * 1000 } }
}

/** The ballot is in the box: all that is left is the receipt. Choices and tokens are forgotten. */
export function finished(journey: Journey, receipt: Receipt, genuine: boolean): Journey {
  return { manifest: journey.manifest, order: {}, answers: {}, receipt: { receipt, genuine } }
}

/** The session is over, by time or by the server's word. Choices stay: they need not be made again. */
export function lapsed(journey: Journey): Journey {
  const { session: _s, verified: _v, ...rest } = journey
  return rest
}

/** An even shuffle (Fisher–Yates); rejection sampling keeps every order equally likely. */
export function shuffled<T>(items: readonly T[]): T[] {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = below(i + 1)
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

function below(n: number): number {
  const limit = 2 ** 32 - (2 ** 32 % n)
  for (;;) {
    const [x] = crypto.getRandomValues(new Uint32Array(1))
    if (x! < limit) return x! % n
  }
}
