import type { Cloud, CloudMap, Job, Leader, NodeState, Part, Service, Source } from './types'

/** What is worth knowing about a map of clouds, without words. */

export const nodeStates: readonly NodeState[] = ['ready', 'draining', 'drained', 'down']

/** CloudState is that of all its machines together; `partly` is a cloud of which some are as they should be. */
export type CloudState = NodeState | 'partly'

export function stateOf(cloud: Cloud): CloudState {
  const states = new Set(cloud.nodes.map((n) => n.state))
  if (states.has('draining')) return 'draining'
  return states.size === 1 ? [...states][0]! : 'partly'
}

export const nodesIn = (cloud: Cloud, state: NodeState): number => cloud.nodes.filter((n) => n.state === state).length

/** copiesIn is how many copies of all jobs run in a cloud. */
export const copiesIn = (map: CloudMap, cloud: string): number =>
  map.jobs.reduce((sum, job) => sum + job.groups.reduce((n, g) => n + (g.clouds[cloud] ?? 0), 0), 0)

/** total sums a number over the groups of a job. */
export const total = (job: Job, of: 'desired' | 'running' | 'starting' | 'failing' | 'old'): number => job.groups.reduce((n, g) => n + g[of], 0)

export const canariesReady = (job: Job): boolean => {
  const d = job.deployment
  return d !== undefined && d.waiting && d.canaries.length >= d.wanted && d.canaries.every((c) => c.healthy)
}

export const waiting = (map: CloudMap | null): Job[] => map?.jobs.filter((j) => j.deployment?.waiting) ?? []

export type JobState = 'ok' | 'changing' | 'less' | 'failing'

export function stateOfJob(job: Job): JobState {
  if (total(job, 'failing') > 0) return 'failing'
  if (job.deployment || total(job, 'starting') > 0) return 'changing'
  return total(job, 'running') < total(job, 'desired') ? 'less' : 'ok'
}

export const passing = (service: Service): number => service.instances.filter((i) => i.state === 'passing').length

/** whole: one leads, and nobody else says so too. */
export const whole = (leader: Leader): boolean => leader.at.length === 1

/** late is how old an answer may be before it is no longer taken for the present, seconds. */
export const late = 15

/** ageOf is how old what a source said is, seconds; null if it never said anything. */
export const ageOf = (source: Source, now: number): number | null => (source.at ? Math.max(0, Math.round((now - Date.parse(source.at)) / 1000)) : null)

export const fresh = (source: Source, now: number): boolean => {
  const age = ageOf(source, now)
  return age !== null && age <= late
}

export const leaderNames = { consul: 'Consul', nomad: 'Nomad', vault: 'Vault', postgresql: 'PostgreSQL' } as const

/** partsOf are what the verdict has to know of the clouds: none of it stops a vote by itself. */
export function partsOf(map: CloudMap | null, now: number): Part[] {
  if (!map) return []
  const names: string[] = []
  if (map.nomad.asked && !fresh(map.nomad, now)) names.push(leaderNames.nomad)
  if (map.consul.asked && !fresh(map.consul, now)) names.push(leaderNames.consul)
  for (const cloud of map.clouds) if (stateOf(cloud) !== 'ready') names.push(cloud.name)
  for (const leader of map.leaders) if (!whole(leader) && !names.includes(leaderNames[leader.of])) names.push(leaderNames[leader.of])
  for (const job of map.jobs) if (stateOfJob(job) === 'failing') names.push(job.id)
  return names.map((name) => ({ name, state: 'degraded' }))
}
