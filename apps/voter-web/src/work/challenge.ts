// The proof of work, solved while the voter types. A solved challenge is good for one session and
// five minutes; it is taken here for four, by this device's own clock.

import { type Answer, ask } from '../api/client.ts'
import type { Challenge, HumanCheck } from '../api/types.ts'
import type { Parameters, Solution } from './solve.ts'
import workerURL from './worker.ts?worker&url'

const goodFor = 4 * 60_000

interface Work {
  since: number
  asked: Promise<HumanCheck | undefined>
  answer: Promise<Answer<string>>
}

let current: Work | undefined

/** Starts on a challenge unless a fresh one is being solved or is solved already. */
export function prepare(): Promise<Answer<string>> {
  if (!current || Date.now() - current.since > goodFor) {
    const fetched = ask<Challenge>('/v1/challenge')
    const mine = { since: Date.now(), asked: fetched.then((a) => a.value?.human_check), answer: fetched.then(solve) }
    current = mine
    // A failure is not kept: the next call tries anew.
    void mine.answer.then((a) => a.trouble && current === mine && spend())
  }
  return current.answer
}

/** The check by another company that is asked for beside the work, if there is one and it is in use. */
export function asked(): Promise<HumanCheck | undefined> {
  void prepare()
  return current?.asked ?? Promise.resolve(undefined)
}

/** Forgets the challenge: it has been used, or was refused. */
export function spend(): void {
  current = undefined
}

async function solve({ value, trouble }: Answer<Challenge>): Promise<Answer<string>> {
  if (trouble) return { trouble }
  const challenge = { parameters: value.parameters, signature: value.signature }
  try {
    const solution = await inWorker(challenge.parameters as unknown as Parameters)
    return { value: btoa(JSON.stringify({ challenge, solution })) }
  } catch {
    return { trouble: { code: 'browser-too-old', effect: 'not_applied' } }
  }
}

async function inWorker(parameters: Parameters): Promise<Solution> {
  let worker: Worker
  try {
    worker = new Worker(trusted(workerURL), { type: 'module' })
  } catch {
    // Without workers the page does it itself; WebCrypto's own threads keep it responsive.
    return (await import('./solve.ts')).solve(parameters)
  }
  try {
    return await new Promise<Solution>((resolve, reject) => {
      worker.onmessage = (e: MessageEvent<Solution | null>) => (e.data ? resolve(e.data) : reject(new Error('not solved')))
      worker.onerror = () => import('./solve.ts').then((s) => s.solve(parameters)).then(resolve, reject)
      worker.postMessage(parameters)
    })
  } finally {
    worker.terminate()
  }
}

interface Policies {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL(url: string): string }
}

// Under require-trusted-types-for a worker's address must come from a policy; this one lets a single
// address through.
let policy: ReturnType<Policies['createPolicy']> | undefined
function trusted(url: string): string {
  const types = (globalThis as { trustedTypes?: Policies }).trustedTypes
  policy ??= types?.createPolicy('popvote', {
    createScriptURL: (wanted) => {
      if (wanted !== workerURL) throw new TypeError('no such script')
      return wanted
    },
  })
  return policy ? policy.createScriptURL(url) : url
}
