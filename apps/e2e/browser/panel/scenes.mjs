// What the stage plays: the polls, numbers and parts of a first day with a hundred thousand voters.

const hour = 3600_000
const iso = (t) => new Date(t).toISOString()

const title = {
  'zh-Hant-HK': '「6.22民間全民投票」重溫示範',
  'zh-Hans': '“6.22民间全民投票”重温示范',
  en: 'The June 2014 civil referendum, a demonstration',
}
const words = (hant, hans, en) => ({ 'zh-Hant-HK': hant, 'zh-Hans': hans, en })
const option = (id, kind, ...label) => ({ id, kind, label: words(...label) })

export function manifest(state, now = Date.now()) {
  return {
    id: 'hk-2014-06',
    sequence: 3,
    state,
    kind: 'rehearsal',
    title,
    summary: words('2014年6月，787,767人就兩條議案投票。', '2014年6月，787,767人就两条议案投票。', 'In June 2014, 787,767 people voted on two motions.'),
    organiser: { name: words('民間團體', '民间团体', 'A civic group'), url: 'https://vote.example.hk' },
    notice: {
      purpose: words('只為確保每人一票。', '只为确保每人一票。', 'So that nobody votes twice.'),
      retention: words('號碼不會儲存。', '号码不会储存。', 'The numbers are not stored.'),
      effect: words('結果沒有法律效力。', '结果没有法律效力。', 'The result has no legal effect.'),
    },
    languages: ['zh-Hant-HK', 'zh-Hans', 'en'],
    opens_at: iso(now - 9 * hour),
    closes_at: iso(now + 63.4 * hour),
    identity: { type: 'hkid' },
    verification: { mode: 'voter_sends', seconds: 180, ballot_seconds: 1800 },
    questions: [
      {
        id: 'proposal', min: 0, max: 1, order: 'random',
        title: words('議案一：有關政改方案', '议案一：有关政改方案', 'Motion 1: constitutional reform proposals'),
        options: [
          option('atd', 'choice', '真普選聯盟方案', '真普选联盟方案', 'Alliance for True Democracy Proposal'),
          option('students', 'choice', '學界方案', '学界方案', 'Students Proposal'),
          option('people-power', 'choice', '人民力量方案', '人民力量方案', 'People Power Proposal'),
          option('abstain', 'abstain', '棄權', '弃权', 'Abstain'),
        ],
      },
      {
        id: 'veto', min: 0, max: 1, order: 'fixed',
        title: words('議案二：立法會應否否決', '议案二：立法会应否否决', 'Motion 2: whether the Legislative Council should veto'),
        options: [
          option('veto', 'choice', '應該否決', '应该否决', 'Should veto'),
          option('no-veto', 'choice', '不應否決', '不应否决', 'Should not veto'),
          option('abstain', 'abstain', '棄權', '弃权', 'Abstain'),
        ],
      },
    ],
    ballot: { suite: 'DHKEM(P-256, HKDF-SHA256)', size: 128, tally_key: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'vkDM7nljRy3BcW_M6VCa2tIgC5au_X8Hxa7rFxlQibg' } },
    signing_key: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'k' },
    log_key: 'log',
  }
}

/** minutes is a day that rises at noon and in the evening; always the same one. */
export function minutes(now, count) {
  let seed = 7
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647
  const first = Math.floor(now / 60_000) - count
  return Array.from({ length: count }, (_, i) => {
    const x = i / count
    const shape = 60 + 190 * Math.exp(-((x - 0.12) ** 2) / 0.006) + 120 * Math.exp(-((x - 0.75) ** 2) / 0.02)
    const all = Math.round(shape * (0.82 + 0.36 * random()))
    const app = Math.round(all * (0.2 + 0.15 * x))
    const station = x > 0.2 && x < 0.9 ? Math.round(6 + 5 * random()) : 0
    return { minute: iso((first + i) * 60_000), by_channel: { web: all - app, app, station } }
  })
}

export function stats(state, { now = Date.now(), votes = true, ...more } = {}) {
  const per_minute = votes ? minutes(now, 540) : []
  const by_channel = {}
  for (const m of per_minute) for (const [c, n] of Object.entries(m.by_channel)) by_channel[c] = (by_channel[c] ?? 0) + n
  const total = Object.values(by_channel).reduce((a, b) => a + b, 0)
  const shares = [[15, 0.01], [30, 0.09], [45, 0.22], [60, 0.25], [90, 0.24], [120, 0.1], [180, 0.06], [300, 0.02], [600, 0.008], [0, 0.002]]
  return {
    poll: 'hk-2014-06', at: iso(now), now: iso(now), state, total, by_channel, per_minute,
    rate_now: votes && state === 'open' ? 3.7 : 0, peak_second: votes ? 47 : 0, peak_at: votes ? iso(now - 7.9 * hour) : '0001-01-01T00:00:00Z',
    took: votes ? shares.map(([up_to, share]) => ({ up_to, count: Math.round(total * share) })) : [],
    refused: votes ? { 'already-voted': 1834, 'poll-not-open': 212, overloaded: 3 } : {},
    whole: true, counting: false, ...more,
  }
}

export const parts = [
  { name: 'api-server', state: 'ok', version: 'v0.1.0', facts: [{ name: 'address', value: '127.0.0.1:8080' }, { name: 'waiting', value: '412' }] },
  { name: 'sms-gateway', state: 'ok', version: 'v0.1.0', note: 'It is connected to the simulated phone network, not to a real one.' },
  {
    name: 'ballot-server', state: 'ok', version: 'v0.1.0',
    facts: [
      { name: 'queue', value: '3' }, { name: 'queue_max', value: '8192' }, { name: 'last_commit_ms', value: '6.4' },
      { name: 'disk_free_bytes', value: '412316860416' }, { name: 'database', value: 'sqlite' }, { name: 'schema', value: '1' },
    ],
  },
]

export const broken = [
  parts[0],
  { ...parts[1], state: 'degraded', note: 'The provider “north” does not answer; messages go out through “south” alone.' },
  { name: 'ballot-server', state: 'down', note: 'The ballot server does not answer: no vote can be recorded.' },
]

const hash = (n) => Buffer.from(Array.from({ length: 32 }, (_, i) => (n * 37 + i * 11) % 256)).toString('base64')

export function audit(now = Date.now()) {
  const rows = [
    ['operator-a41c', 'apply', 'First draft for the rehearsal', '{"id":"hk-2014-06"}', 30],
    ['operator-a41c', 'apply', 'Corrected the Simplified Chinese of motion 2', '{"id":"hk-2014-06"}', 26],
    ['operator-07fe', 'open', 'Rehearsal begins', '{"from":"draft","to":"open"}', 9],
    ['operator-07fe', 'paused', 'Provider asks for five minutes', '{"from":"open","to":"paused"}', 6.2],
    ['operator-07fe', 'open', 'Provider is back', '{"from":"paused","to":"open"}', 6.1],
    ['operator-a41c', 'published', 'By mistake', '{"refused":"it cannot become published from here"}', 2],
    ['operator-a41c', 'extend', 'Queues at the stations in the storm', '{"from":"2026-11-25T12:00:00Z","to":"2026-11-25T16:00:00Z"}', 0.4],
  ]
  return {
    broken: 0,
    entries: rows.map(([actor, action, reason, detail, ago], i) => ({
      seq: i + 1, at: iso(now - ago * hour), poll: 'hk-2014-06', actor, action, reason, detail, prev: i ? hash(i) : null, hash: hash(i + 1),
    })),
  }
}

export function result(state, now = Date.now()) {
  return {
    published: state === 'published',
    manifest: manifest(state, now),
    result: {
      poll: 'hk-2014-06', counted_at: iso(now), ballots: 787767, invalid: 9,
      questions: [
        { id: 'proposal', unanswered: 1230, options: [{ id: 'atd', votes: 331427 }, { id: 'students', votes: 302567 }, { id: 'people-power', votes: 81588 }, { id: 'abstain', votes: 70946 }] },
        { id: 'veto', unanswered: 2114, options: [{ id: 'veto', votes: 691972 }, { id: 'no-veto', votes: 60071 }, { id: 'abstain', votes: 33601 }] },
      ],
      log: { size: 787767, root: hash(5) }, tally_key_id: 'vkDM7nljRy3BcW_M6VCa2tIgC5au_X8Hxa7rFxlQibg', manifest_sha256: 'a41c07fe'.repeat(8),
    },
  }
}

const summary = (m) => ({ id: m.id, title: m.title, state: m.state, kind: m.kind, opens_at: m.opens_at, closes_at: m.closes_at })

export function lunch(state, now = Date.now()) {
  return { id: 'lunch', title: words('午餐吃甚麼', '午饭吃什么', 'What is for lunch'), state, kind: 'demo', opens_at: iso(now - 40 * hour), closes_at: iso(now - 2 * hour) }
}

/** clouds is a map of three clouds; `change` turns it into what is to be seen. */
export function clouds(change = () => {}, now = Date.now()) {
  const names = ['aws', 'gcp', 'hetzner']
  const ago = (seconds) => iso(now - seconds * 1000)
  const group = (name, desired) => ({ name, desired, running: desired, starting: 0, failing: 0, old: 0, clouds: Object.fromEntries(names.map((c) => [c, desired / 3])) })
  const jobs = [['api-server', 9], ['ballot-server', 3], ['control-panel', 3], ['haproxy', 6], ['redis', 3], ['sms-gateway', 3]]
  const map = {
    now: iso(now), nomad: { asked: true, at: ago(2), failing: false, denied: false }, consul: { asked: true, at: ago(3), failing: false, denied: false },
    clouds: names.map((name) => ({ name, nodes: ['app-1', 'app-2', 'edge-1'].map((n) => ({ name: `${name}-${n}`, pool: n.slice(0, -2), state: 'ready' })) })),
    jobs: jobs.map(([id, n], i) => ({ id, version: 4 + i, groups: [{ ...group(id, n), ...(id === 'api-server' ? { bounds: { min: 9, max: 27 } } : {}) }] })),
    services: [...jobs, ['popvote-db', 3], ['vault', 3]].map(([name, n]) => ({
      name, instances: Array.from({ length: n }, (_, i) => ({ cloud: names[i % 3], node: `${names[i % 3]}-app-1`, address: `10.203.0.${i + 1}:20${i}00`, state: 'passing' })),
    })),
    leaders: [['consul', 0], ['nomad', 1], ['vault', 2], ['postgresql', 0]].map(([of, i]) => ({ of, at: [{ cloud: names[i], node: `${names[i]}-1` }] })),
    deeds: [{ at: ago(5000), actor: 'operator-a41c', what: 'scale', to: 'api-server', detail: 'api-server 6 → 9', reason: 'The first evening' }],
  }
  change(map)
  return map
}

/** lost is the map when a cloud has gone, and Nomad’s leader with it. */
export const lost = (map) => {
  map.nomad = { ...map.nomad, at: iso(Date.now() - 48_000), failing: true }
  map.clouds[1].nodes.forEach((n) => (n.state = 'down'))
  map.clouds[2].nodes[2] = { ...map.clouds[2].nodes[2], state: 'drained', by: 'operator-07fe', why: 'Its disk is slow' }
  map.leaders[1].at = []
  map.leaders[3].at.push({ cloud: 'gcp', node: 'gcp-1' })
  const [api, ballot] = map.jobs
  Object.assign(api.groups[0], { running: 6, failing: 3, old: 6, clouds: { aws: 3, hetzner: 3 } })
  api.deployment = { id: 'd', version: 5, canaries: [{ cloud: 'aws', healthy: false, failing: true }], wanted: 1, waiting: true, reverts: true, until: iso(Date.now() + 400_000) }
  Object.assign(ballot.groups[0], { running: 2, clouds: { aws: 1, hetzner: 1 } })
  for (const s of map.services) {
    for (const i of s.instances) if (i.cloud === 'gcp') Object.assign(i, { state: 'critical', says: 'Agent not live or unreachable' })
  }
  map.services[3].instances = []
}

/** drills are two runs, one of which did not hold. */
export function drills() {
  const report = (name, wrong) => ({
    name, hypothesis: 'The cloud that leads everything loses its power: another leads within 30 s, and no acknowledged vote is lost.', target: 'gcp', before: '',
    limit_seconds: 30, fault_at: 8.1, undo_at: 72.2, whole_at: 82, end: 88.1, acknowledged: 22558, lost: wrong.length, doubled: 0, strange: 0, gap_seconds: wrong.length ? 41.3 : 16.9,
    gap_after_seconds: 0.2, replaced_seconds: 64, ejected_seconds: 3.4, p99_before_ms: 19.4, p99_during_ms: 16.1, p99_after_ms: 30.9,
    events: [{ at: 8.1, what: 'the fault begins in gcp' }, { at: 25.2, what: 'PostgreSQL’s primary: hetzner' }, { at: 72.2, what: 'the fault ends' }],
    per_second: Array.from({ length: 89 }, (_, i) => (i > 8 && i < (wrong.length ? 49 : 25) ? 0 : 300 + ((i * 37) % 50))), wrong,
  })
  return [report('kill-leaders', []), report('freeze-leaders', ['1 acknowledged votes are lost', 'no vote was acknowledged for 41.3 s, and 30 s were allowed'])]
}

/** routes are three gateways of two routes each; `change` turns them into what is to be seen. */
export function routes(change = () => {}, now = Date.now()) {
  const ago = (seconds) => iso(now - seconds * 1000)
  const route = (name, kind, sent, price) => ({
    name, kind, sent, failed: Math.round(sent / 90), unknown: Math.round(sent / 400), calls: kind === 'twilio' ? 41 : 0, delivered: Math.round(sent * 0.94), undelivered: Math.round(sent * 0.02),
    used: 0.87, settled: 412, faults: 'closed', conversion: 'closed', spent_hour: sent * price * 0.2, spent_day: sent * price,
  })
  const country = (r, to, share, i) => ({
    ...Object.fromEntries(['sent', 'failed', 'unknown', 'calls', 'delivered', 'undelivered', 'settled'].map((k) => [k, Math.floor(r[k] * share)])),
    to, used: r.used, spent_hour: r.spent_hour * share, spent_day: r.spent_day * share,
    delays: [{ within: 3 + i, count: 300 }, { within: 8, count: 90 }, { within: 40, count: 20 }, ...(to === '+44' ? [{ within: 0, count: 60 }] : [])],
  })
  const view = {
    now: iso(now),
    gateways: ['aws', 'gcp', 'hetzner'].map((cloud, i) => {
      const both = [route('local-smpp', 'smpp', 9214 - 311 * i, 0.28), route('twilio', 'twilio', 3071 + 57 * i, 0.31)]
      both.forEach((r, i) => (r.countries = [country(r, '+852', 0.96, i), country(r, '+44', 0.03, i), { ...country(r, '+', 0, i), delays: [] }]))
      const [hour, day] = ['spent_hour', 'spent_day'].map((k) => both.reduce((n, r) => n + r[k], 0))
      return {
        cloud, address: `10.203.0.${i + 1}:21400`,
        report: {
          at: ago(1), since: ago(9 * 3600), currency: 'HKD', routes: both, refused: { spent: 0, unused: 0, country: 12, no_route: 0 },
          spending: [{ to: 'all', hour, hour_cap: 1000, day, day_cap: 6666.67 }, { to: '+852', hour, hour_cap: 1000, day, day_cap: 6666.67 }],
        },
      }
    }),
  }
  change(view)
  return view
}

/** ill is them when one gateway is silent, one of yesterday, and of the last one's routes none works as it should. */
export const ill = (view) => {
  const [aws, gcp, hetzner] = view.gateways
  Object.assign(gcp, { silent: 'no_answer', report: undefined })
  view.gateways.push({ cloud: 'hetzner', address: '10.203.0.9:21400', silent: 'older' })
  const soon = iso(Date.now() + 40_000)
  const at = iso(Date.now() - 90_000)
  Object.assign(aws.report.routes[0], { faults: 'open', rests_until: soon, away: true, failed: 512, trouble: { at, what: 'unavailable' } })
  Object.assign(aws.report.routes[1], { rests_until: soon, trouble: { at, what: 'throttled' } })
  Object.assign(hetzner.report.routes[0], { conversion: 'open', used: 0.04, trouble: { at, what: 'slow' } })
  Object.assign(hetzner.report.routes[1], { faults: 'half_open', trouble: { at, what: 'unknown' } })
  Object.assign(aws.report.spending[0], { hour: 1000, day: 6001.5 })
  Object.assign(hetzner.report.spending[0], { hour: 870.25 })
  Object.assign(aws.report.refused, { spent: 208, unused: 31 })
}

/** free is the one gateway of `popvote up`, where nothing costs anything and nobody has been sent anything yet. */
export const free = (view) => {
  const [{ report }] = view.gateways
  const { currency: _, ...rest } = report
  const nothing = { sent: 0, failed: 0, unknown: 0, calls: 0, delivered: 0, undelivered: 0, used: 1, settled: 0, spent_hour: 0, spent_day: 0 }
  view.gateways = [{ report: {
    ...rest, routes: [{ ...report.routes[0], ...nothing, name: 'simulated', kind: 'simulated', countries: [{ ...nothing, to: '+' }] }], refused: { spent: 0, unused: 0, country: 0, no_route: 0 },
    spending: [{ to: 'all', hour: 0, hour_cap: 0, day: 0, day_cap: 0 }],
  } }]
}

/** scene is a whole play around one poll in one state. */
export function scene(state, { now = Date.now(), votes = true, polls, shown = parts, more = {}, sky = null, sms = null } = {}) {
  const m = manifest(state, now)
  if (state === 'closed' || state === 'counted' || state === 'published') m.closes_at = iso(now - 0.6 * hour)
  const list = polls ?? [summary(m), lunch('counted', now)]
  const numbers = stats(state, { now, votes, ...more })
  const { ballot, signing_key, log_key, sequence, state: _, ...definition } = m
  return {
    '/api/session': { actor: 'operator-07fe', until: iso(now + 300 * hour), now: iso(now), clouds: sky !== null, routes: sms !== null, drills: sky !== null },
    '/api/logout': { status: 200 },
    '/api/links': { link: 'http://127.0.0.1:8081/#login=ZHVtbXktbGluay10aGF0LWxvZ3Mtbm9ib2R5LWlu', until: iso(now + 12 * hour) },
    '/api/polls/hk-2014-06': { now: iso(now), manifest: m, definition: { ...definition, tally_key: ballot.tally_key }, stats: numbers, counting: numbers.counting },
    '/api/polls/hk-2014-06/audit': audit(now),
    '/api/polls/hk-2014-06/result': result(state, now),
    '/api/drills': { runs: [{ name: '2026-11-23T125442', at: '2026-11-23T12:54:42Z', drills: 2, failed: 1 }, { name: '2026-11-22T080000', at: '2026-11-22T08:00:00Z', drills: 8, failed: 0 }] },
    '/api/drills/2026-11-23T125442': { reports: drills() },
    live: (poll) => [['overview', { now: iso(now), polls: list, parts: shown }], ...(sky ? [['clouds', sky]] : []), ...(sms ? [['routes', sms]] : []), ...(poll === 'hk-2014-06' ? [['stats', numbers]] : [])],
  }
}
