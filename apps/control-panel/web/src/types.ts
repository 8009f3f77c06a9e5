// The panel's own API, as apps/control-panel/server speaks it.

export type Lang = 'zh-Hant-HK' | 'zh-Hans' | 'en'
export const langs: readonly Lang[] = ['zh-Hant-HK', 'zh-Hans', 'en']

export type Text = Partial<Record<string, string>>
export type PollState = 'draft' | 'open' | 'paused' | 'closed' | 'counted' | 'published'
export type PollKind = 'public' | 'rehearsal' | 'demo'
export type Channel = 'web' | 'app' | 'station'
export const channels: readonly Channel[] = ['web', 'app', 'station']
export type PartState = 'ok' | 'degraded' | 'down'

export interface PollSummary {
  id: string
  title: Text
  state: PollState
  kind: PollKind
  opens_at: string
  closes_at: string
}

export interface Fact {
  name: string
  value: string
}

export interface Part {
  name: string
  state: PartState
  note?: string
  version?: string
  cloud?: string
  facts?: Fact[]
}

export interface Overview {
  now: string
  /** null while the ballot server does not answer. */
  polls: PollSummary[] | null
  parts: Part[]
  /** The number of the newest notice. */
  notice?: number
}

export type NoticeKind =
  | 'link-refused' | 'passkey-refused' | 'counter-regressed' | 'recovery-made' | 'link-made' | 'passkey-added' | 'passkey-removed' | 'new-device' | 'proposed' | 'proposal-withdrawn'

/** Notice is something that every operator is told of. */
export interface Notice {
  seq: number
  at: string
  kind: NoticeKind
  name?: string
  label?: string
  by: string
  reason?: string
  poll?: string
  verb?: ProposedVerb
  times?: number
}

export type ProposedVerb = 'open' | 'close' | 'publish' | 'extend' | 'destroy-key'

/** Proposal waits for a second operator. */
export interface Proposal {
  id: string
  poll: string
  verb: ProposedVerb
  by: string
  reason: string
  at: string
  until: string
  mine: boolean
  closes_at?: string
}

export interface Notices {
  seen: number
  notices: Notice[]
}

export interface MinuteCount {
  minute: string
  by_channel: Partial<Record<Channel, number>> | null
}

export interface TookBucket {
  /** Seconds; 0 is longer than all others. */
  up_to: number
  count: number
}

export interface Stats {
  poll: string
  at: string
  state: PollState
  total: number
  by_channel: Partial<Record<Channel, number>> | null
  per_minute: MinuteCount[] | null
  rate_now: number
  peak_second: number
  peak_at: string
  took: TookBucket[] | null
  refused: Record<string, number> | null
  count?: { done: number; total: number }
}

export interface LiveStats extends Stats {
  /** per_minute is the whole curve; else it replaces the minutes it names. */
  whole: boolean
  counting: boolean
  now: string
}

export interface JWK {
  kty: string
  crv: string
  x: string
  y: string
  kid: string
}

export type OptionKind = 'choice' | 'abstain' | 'blank'

export interface Option {
  id: string
  label: Text
  text?: Text
  kind: OptionKind
}

export interface Question {
  id: string
  title: Text
  text?: Text
  min: number
  max: number
  order: string
  options: Option[]
}

export interface Definition {
  id: string
  kind: PollKind
  title: Text
  summary?: Text
  organiser: { name: Text; url?: string; contact?: string }
  notice: { purpose: Text; retention: Text; effect: Text }
  languages: string[]
  opens_at: string
  closes_at: string
  identity: { type: string }
  verification: { mode: 'voter_sends' | 'voter_receives'; seconds: number; ballot_seconds: number }
  questions: Question[]
  tally_key: JWK
  reveal_tally_key?: boolean
  seal_on_server?: boolean
  audit_window_days?: number
}

export interface Manifest extends Omit<Definition, 'tally_key'> {
  sequence: number
  state: PollState
  ballot: { suite: string; size: number; tally_key: JWK }
  signing_key: JWK
  log_key: string
}

export interface PollView {
  now: string
  manifest: Manifest
  definition: Definition
  stats: Stats
  counting: boolean
  identity_key?: IdentityKey
}

/** IdentityKey is what becomes of the key that voters' and phones' tags are made with. */
export interface IdentityKey {
  /** The end of the audit window. */
  kept_until: string
  destroyed_at: string | null
}

export interface AuditEntry {
  seq: number
  at: string
  poll: string
  actor: string
  action: string
  reason: string
  detail: string
  /** base64 */
  prev: string | null
  hash: string
}

export interface AuditView {
  entries: AuditEntry[]
  broken: number
}

export interface ResultView {
  result: {
    poll: string
    counted_at: string
    ballots: number
    invalid: number
    questions: { id: string; unanswered: number; options: { id: string; votes: number }[] }[]
    log: { size: number; root: string }
    tally_key_id: string
    manifest_sha256: string
  }
  manifest: Manifest
  published: boolean
}

export interface Done {
  poll: PollSummary | null
  entry: AuditEntry | null
}

export interface SessionView {
  actor: string
  until: string
  now: string
  /** Whether there are such screens. */
  clouds: boolean
  routes: boolean
  drills: boolean
  /** Whether the actor is an account, which has passkeys. */
  account: boolean
  /** A session that may register a passkey and nothing else; `named` is whom it is for, if that is said already. */
  enrols: boolean
  named?: string
  /** Whether there can be passkeys at this address. */
  passkeys: boolean
  /** How many operators it takes to open, close, extend, publish and destroy. */
  operators_needed?: number
}

/** How to log in: whether by passkey alone, and whether there can be any here. */
export interface Doors {
  passkeys: boolean
  possible: boolean
}

export interface Passkey {
  id: string
  label: string
  added_at: string
  last_used_at: string | null
  synced: boolean
  current: boolean
}

export interface Account {
  name: string
  mine: boolean
  passkeys: Passkey[]
}

/** A challenge on its way to an authenticator. */
export interface Begun<T> {
  ceremony: string
  options: T
}

export type NodeState = 'ready' | 'draining' | 'drained' | 'down'

/** Source is how well Nomad or Consul answers; `at` is when it was last read whole. */
export interface Source {
  asked: boolean
  at?: string
  failing: boolean
  denied: boolean
}

export interface CloudNode {
  name: string
  pool: string
  state: NodeState
  by?: string
  why?: string
}

export interface Cloud {
  name: string
  nodes: CloudNode[]
}

export interface Group {
  name: string
  desired: number
  running: number
  starting: number
  failing: number
  old: number
  clouds: Record<string, number>
  bounds?: { min: number; max: number }
  move?: { from: string; to: string }
}

export interface Deployment {
  id: string
  version: number
  canaries: { cloud: string; healthy: boolean; failing: boolean }[]
  wanted: number
  waiting: boolean
  reverts: boolean
  until?: string
}

export interface Job {
  id: string
  version: number
  groups: Group[]
  deployment?: Deployment
}

export interface Instance {
  cloud: string
  node: string
  address: string
  state: 'passing' | 'warning' | 'critical'
  says?: string
  canary?: boolean
}

export interface Service {
  name: string
  instances: Instance[]
}

export type Leads = 'consul' | 'nomad' | 'vault' | 'postgresql'

export interface Leader {
  of: Leads
  at: { cloud: string; node: string }[]
}

/** CloudDeed is something that an operator had done to the clouds. */
export interface CloudDeed {
  at: string
  actor: string
  what: 'drain' | 'undrain' | 'promote' | 'fail' | 'scale' | 'move'
  to: string
  detail?: string
  reason: string
}

export interface CloudMap {
  now: string
  nomad: Source
  consul: Source
  clouds: Cloud[]
  jobs: Job[]
  services: Service[]
  leaders: Leader[]
  deeds: CloudDeed[]
}

export type Breaker = 'closed' | 'half_open' | 'open'

/** Counts are what one gateway has counted since it began. */
export interface Counts {
  sent: number
  failed: number
  unknown: number
  calls: number
  delivered: number
  undelivered: number
  /** The share of the settled codes that were used. */
  used: number
  settled: number
  spent_hour: number
  spent_day: number
  /** How many receipts of delivery took how long, in the last half-hour. */
  delays?: Delay[]
}

/** Delay is as many as took up to so many seconds, and longer than the delay before; 0 is for more than ten minutes. */
export interface Delay {
  within: number
  count: number
}

/** CountryReport is of one route to one country, by its calling code; "+" is everywhere else. */
export interface CountryReport extends Counts {
  to: string
}

/** RouteReport is of one route; its receipts are also those whose country the gateway doesn't know. */
export interface RouteReport extends Counts {
  name: string
  kind: string
  countries?: CountryReport[] | null
  faults: Breaker
  conversion: Breaker
  rests_until?: string
  away?: boolean
  trouble?: { at: string; what: string }
}

/** Spending is what one gateway has spent under its part of a cap; `to` is a calling code, + for everywhere else, or all. */
export interface Spending {
  to: string
  hour: number
  hour_cap: number
  day: number
  day_cap: number
}

export interface GatewayReport {
  at: string
  since: string
  currency?: string
  routes: RouteReport[] | null
  spending: Spending[] | null
  refused: Record<string, number> | null
}

/** Gateway has a report, or says why not. */
export interface Gateway {
  address?: string
  cloud?: string
  silent?: 'no_answer' | 'refused' | 'older'
  report?: GatewayReport
}

export interface RoutesView {
  now: string
  gateways: Gateway[]
}

export interface DrillRun {
  name: string
  at: string
  drills: number
  failed: number
}

/** DrillReport is what popvote drill measured; times are seconds since its load began. */
export interface DrillReport {
  name: string
  hypothesis: string
  target: string
  before: string
  limit_seconds: number
  fault_at: number
  undo_at: number
  whole_at: number
  end: number
  acknowledged: number
  lost: number
  doubled: number
  strange: number
  gap_seconds: number
  gap_after_seconds: number
  replaced_seconds: number
  ejected_seconds: number
  p99_before_ms: number
  p99_during_ms: number
  p99_after_ms: number
  events: { at: number; what: string }[] | null
  per_second: number[] | null
  wrong: string[] | null
}

export interface Fault {
  path: string
  line?: number
  column?: number
  message: string
}

export interface DraftView {
  definition: Definition
  existing: PollSummary | null
}

/** Decided is what came of a decision: it was done, or waits for a second operator. */
export type Decided = Done | { proposal: Proposal }
