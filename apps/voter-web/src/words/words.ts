// Every word of the page but the poll's own. One catalogue per language; the compiler refuses one
// with anything missing. Written for each language, not translated from another.

import type { LocalCode } from '../api/client.ts'
import type { Lang, ProblemCode } from '../api/types.ts'

/** What happened, and what to do now. Whether the vote counted is said beside it, by `counted`. */
export type Said = readonly [what: string, now: string]

export interface Words {
  lang: Lang
  /** Whose dates and numbers. */
  locale: string
  skip: string
  languages: string
  back: string
  continue: string
  error: string
  errorSummary: string
  loading: string
  noScript: string
  noScriptLink: string
  description: string
  runBy: (organiser: string) => string
  contact: string
  /** Where the voter is: announced and in the title. */
  step: (n: number, of: number) => string
  kind: { rehearsal: string; demo: string }
  /** A span of time in words. */
  span: (seconds: number) => string
  left: (span: string) => string
  moment: (when: string, zone: string) => string
  /** What stands between two sentences. */
  gap: string

  polls: {
    title: string
    none: string
    state: Record<'open' | 'paused' | 'closed' | 'counted' | 'published', string>
  }
  about: {
    start: string
    continue: string
    until: (when: string) => string
    opens: (when: string) => string
    notYet: string
    paused: string
    closed: (when: string) => string
    over: string
    counted: string
    published: string
    seeResult: string
    check: string
    need: string
    needs: (minutes: string) => string[]
    who: string
    why: string
    kept: string
    worth: string
    secret: string
    secretText: string
    revealed: string
    privacy: string
  }
  identity: {
    title: string
    hint: string
    label: string
    why: string
    faults: Record<'empty' | 'form' | 'check', string>
  }
  phone: {
    title: string
    label: string
    hint: string
    sends: (span: string) => string
    sendsText: string
    receives: (span: string) => string
    receivesText: string
    goSends: (span: string) => string
    goReceives: string
    empty: string
    working: string
    workingLong: string
    resume: string
  }
  queue: {
    title: string
    text: string
    /** At most, as far as is known. */
    left: (span: string) => string
    soon: string
    turn: string
    longer: string
    keep: string
    away: string
    fresh: string
    offline: string
    change: string
    leave: string
  }
  sends: {
    title: string
    open: string
    scan: string
    scanText: string
    byHand: string
    to: string
    text: string
    copy: string
    copied: string
    waiting: string
    reconnecting: string
    heard: string
    helpTitle: string
    help: (phoneEnd: string) => string[]
    qr: string
    change: string
  }
  receives: {
    title: string
    hint: (digits: number, phoneEnd: string) => string
    label: string
    tries: (n: number) => string
    wait: (span: string) => string
    resendIn: (span: string) => string
    resend: string
    resent: string
    call: string
    called: string
    noMore: string
    empty: (digits: number) => string
    secret: string
  }
  over: {
    title: string
    text: string
    ballotTitle: string
    ballotText: string
    again: string
  }
  ballot: {
    question: (n: number, of: number) => string
    rule: (min: number, max: number) => string
    chosen: (n: number, max: number) => string
    skip: string
    alone: string
    fixed: string
    random: string
    clear: string
    faults: Record<'too-few' | 'too-many' | 'not-alone', (min: number, max: number) => string>
    soon: (span: string) => string
  }
  review: {
    title: string
    change: string
    changeOf: (question: string) => string
    nothing: string
    final: string
    cast: string
  }
  cast: {
    sealing: string
    sending: string
    waiting: string
    unknownTitle: string
    keep: string
    nextTry: (span: string) => string
    tryNow: string
    stopped: string
    prove: string
    backToReview: string
  }
  receipt: {
    title: string
    code: string
    keep: string
    revealed: string
    checked: string
    checks: [string, string, string]
    wrongTitle: string
    wrong: string
    qr: string
    print: string
    save: string
    how: string
    howTo: string[]
    says: string
    clear: string
    clearText: string
    savedNote: string
    log: {
      title: string
      looking: string
      in: (place: string, size: string) => string
      signed: string
      unsigned: string
      notYet: string
      missing: string
      wrong: string
      stands: string
      again: string
    }
  }
  result: {
    title: string
    ballots: (n: string) => string
    option: string
    votes: string
    share: string
    unanswered: string
    invalid: (n: string) => string
    check: string
  }
  cleared: { title: string; text: string; again: string }

  tryAgain: string
  startAgain: string
  somethingWrong: string
  retryIn: (span: string) => string
  counted: { no: string; this: string; unknown: string; notCast: string }
  trouble: Record<ProblemCode | LocalCode, Said>
}
