import type { Account, AuditView, Begun, CloudDeed, Decided, Definition, Done, Doors, DraftView, DrillReport, DrillRun, Fault, JWK, Notices, PollView, Proposal, ResultView, SessionView } from './types'
import { answer, base64url, type CreationOptions, type RequestOptions } from './passkey'

interface Document {
  code: string
  title: string
  status: number
  detail?: string
  effect?: 'applied' | 'not_applied' | 'unknown'
  field?: string
  faults?: Fault[]
  state?: string
}

/** Problem is an answer that is not the one asked for; code `offline` means that none came. */
export class Problem extends Error {
  readonly code: string
  readonly status: number
  readonly detail: string
  readonly effect: 'applied' | 'not_applied' | 'unknown'
  readonly field: string
  readonly faults: readonly Fault[]
  readonly state: string

  constructor(d: Partial<Document>) {
    super(d.title ?? d.code ?? 'internal')
    this.code = d.code ?? 'internal'
    this.status = d.status ?? 0
    this.detail = d.detail ?? ''
    this.effect = d.effect ?? 'unknown'
    this.field = d.field ?? ''
    this.faults = d.faults ?? []
    this.state = d.state ?? ''
  }
}

type Listener = () => void
let onLoggedOut: Listener = () => undefined

/** whenLoggedOut is called whenever the server says that there is no session any more. */
export function whenLoggedOut(f: Listener): void {
  onLoggedOut = f
}

async function ask<T>(method: 'GET' | 'POST', path: string, body?: unknown, proof = ''): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(body === undefined ? {} : { headers: { 'Content-Type': 'application/json', ...(proof ? { 'Popvote-Proof': proof } : {}) }, body: JSON.stringify(body) }),
    })
  } catch {
    // Of a request that got no answer nobody knows whether it was obeyed.
    throw new Problem({ code: 'offline', effect: method === 'GET' ? 'not_applied' : 'unknown' })
  }
  if (answer.status === 204) return undefined as T
  let data: unknown
  try {
    data = await answer.json()
  } catch {
    throw new Problem({ code: 'internal', status: answer.status })
  }
  if (!answer.ok) {
    const problem = new Problem(data as Partial<Document>)
    if (problem.code === 'log-in-needed') onLoggedOut()
    throw problem
  }
  return data as T
}

let proves = false

/** provesActs says whether the operator has a passkey, which from then on confirms each act. */
export function provesActs(yes: boolean): void {
  proves = yes
}

/** act is ask for what is dangerous: the operator's passkey signs what will be sent before it is. */
async function act<T>(path: string, body: unknown): Promise<T> {
  if (!proves) return ask<T>('POST', path, body)
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(body)))
  const { ceremony, options } = await ask<Begun<RequestOptions>>('POST', '/api/acts', { path, body_hash: base64url(hash) })
  const credential = JSON.stringify(await answer(options))
  return ask<T>('POST', path, body, `${ceremony} ${base64url(new TextEncoder().encode(credential).buffer)}`)
}

const at = (id: string, rest = ''): string => `/api/polls/${encodeURIComponent(id)}${rest}`

export interface Draft {
  file?: { name: string; text: string }
  definition?: Definition
  tally_key?: JWK
}

export interface Decision {
  confirm: string
  reason: string
}

export type Deed = CloudDeed['what']

export const api = {
  session: () => ask<SessionView>('GET', '/api/session'),
  logIn: (token: string) => ask<SessionView>('POST', '/api/login', { token }),
  logOut: () => ask<undefined>('POST', '/api/logout', {}),
  link: () => act<{ link: string; until: string; enrols: boolean }>('/api/links', {}),
  doors: () => ask<Doors>('GET', '/api/sign-in'),
  beginSignIn: () => ask<Begun<RequestOptions>>('POST', '/api/sign-in/begin', {}),
  signIn: (ceremony: string, credential: unknown) => ask<SessionView>('POST', '/api/sign-in', { ceremony, credential }),
  notices: () => ask<Notices>('GET', '/api/notices'),
  sawNotices: (up_to: number) => ask<undefined>('POST', '/api/notices/seen', { up_to }),
  proposals: () => ask<{ proposals: Proposal[] }>('GET', '/api/proposals'),
  confirmProposal: (proposal: string, d: Decision) => act<Done>('/api/proposals/confirm', { ...d, proposal }),
  withdrawProposal: (proposal: string, d: Decision) => ask<undefined>('POST', '/api/proposals/withdraw', { ...d, proposal }),
  passkeys: () => ask<{ accounts: Account[] }>('GET', '/api/passkeys'),
  beginPasskey: (name: string) => ask<Begun<CreationOptions>>('POST', '/api/passkeys/begin', name ? { name } : {}),
  addPasskey: (ceremony: string, credential: unknown, label: string) => act<SessionView>('/api/passkeys', { ceremony, credential, label }),
  removePasskey: (passkey: string, reason: string) => act<undefined>('/api/passkeys/remove', { passkey, reason }),
  poll: (id: string) => ask<PollView>('GET', at(id)),
  audit: (id: string) => ask<AuditView>('GET', at(id, '/audit')),
  result: (id: string) => ask<ResultView>('GET', at(id, '/result')),
  check: (draft: Draft) => ask<DraftView>('POST', '/api/drafts/check', draft),
  save: (draft: Draft, reason: string, replace: boolean) =>
    ask<Done>('POST', '/api/drafts', { ...draft, reason, replace }),
  move: (id: string, verb: string, d: Decision) => act<Decided>(at(id, `/${verb}`), d),
  extend: (id: string, d: Decision, closes_at: string) => act<Decided>(at(id, '/extend'), { ...d, closes_at }),
  count: (id: string, d: Decision, secret: { shares: string[] } | { key: string }) =>
    act<Done>(at(id, '/count'), { ...d, ...secret }),
  cloud: (deed: Deed, to: string, d: Decision, more: object) =>
    act<{ deed: CloudDeed }>(`/api/${deed === 'drain' || deed === 'undrain' ? 'clouds' : 'jobs'}/${encodeURIComponent(to)}/${deed}`, { ...d, ...more }),
  drills: () => ask<{ runs: DrillRun[] }>('GET', '/api/drills'),
  drill: (run: string) => ask<{ reports: DrillReport[] }>('GET', `/api/drills/${encodeURIComponent(run)}`),
}

export const downloads = {
  auditCSV: (id: string) => at(id, '/audit.csv'),
  turnoutCSV: (id: string) => at(id, '/turnout.csv'),
  resultCSV: (id: string, lang: string) => at(id, `/result.csv?lang=${lang}`),
  resultJSON: (id: string) => at(id, '/result.json'),
  resultNIST: (id: string) => at(id, '/result.nist.json'),
  certificate: (id: string) => at(id, '/certificate.json'),
  bundle: (id: string) => at(id, '/bundle.zip'),
}
