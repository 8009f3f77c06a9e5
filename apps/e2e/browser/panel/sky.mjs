// Three clouds of a real Nomad with a real Consul, and the real control panel that is told of them. Needs root, as
// Nomad's clients do. Each agent is the first process of namespaces of its own: its tasks and mounts go when it does.

import { execFile, spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { freePort } from '../instance.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '../../../..')
const run = promisify(execFile)
const tool = (name) => join(root, 'bin/tools', name)
const env = { PATH: process.env.PATH, NO_PROXY: '*', no_proxy: '*', CHECKPOINT_DISABLE: '1' }
export const names = ['cloud-a', 'cloud-b', 'cloud-c']

/** until tries for a minute and a half; a busy machine takes ten times what an idle one does. */
export async function until(what, is) {
  let last
  for (let i = 0; i < 900; i++) {
    try {
      const got = await is()
      if (got) return got
    } catch (e) {
      last = e
    }
    await new Promise((done) => setTimeout(done, 100))
  }
  throw new Error(`it never came: ${what}`, { cause: last })
}

/** groups are the control groups that Nomad makes for itself and leaves, the innermost first. */
async function groups() {
  const at = '/sys/fs/cgroup'
  const list = async (dir) => (await readdir(dir, { withFileTypes: true }).catch(() => [])).filter((e) => e.isDirectory()).map((e) => join(dir, e.name))
  const found = []
  for (const slice of (await list(at)).filter((d) => d.endsWith('/nomad.slice'))) found.push(...(await list(slice)), slice)
  for (const controller of await list(at)) {
    for (const nomad of (await list(controller)).filter((d) => d.endsWith('/nomad'))) found.push(...(await list(nomad)), nomad)
  }
  return found
}

/** startSky starts all of it. */
export async function startSky() {
  const dir = await mkdtemp(join(tmpdir(), 'sky-'))
  const others = (await groups()).length > 0
  const children = []
  let said = ''
  const start = (command, args, more = {}) => {
    const child = spawn(command, args, { env: { ...env, HOME: dir, TMPDIR: dir }, stdio: ['ignore', 'pipe', 'pipe'], ...more })
    child.stdout.on('data', (d) => (said += d))
    child.stderr.on('data', (d) => (said += d))
    child.ended = new Promise((done) => child.on('exit', done))
    children.push(child)
    return child
  }
  const sky = {
    dir,
    said: () => said,
    async stop() {
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(children.map((c) => c.ended))
      await rm(dir, { recursive: true, force: true, maxRetries: 10 })
      // Those of another Nomad on this machine are its own.
      if (!others) for (const group of await groups()) await rmdir(group).catch(() => {})
    },
  }
  try {
    await begin(sky, start)
  } catch (e) {
    await sky.stop()
    throw new Error(`the clouds did not start:\n${said.slice(-5000)}`, { cause: e })
  }
  return sky
}

async function begin(sky, start) {
  const [nobody, admin, operators] = await Promise.all([freePort(), freePort(), freePort()])
  // One in each cloud: Nomad's clients can't share one, because each takes out what it doesn't know.
  const consuls = {}
  let first
  for (const name of names) {
    const [http, server, lan, wan] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
    consuls[name] = `127.0.0.1:${http}`
    first ??= lan
    start(tool('consul'), ['agent', '-server', '-bootstrap-expect=3', `-node=${name}`, `-node-meta=cloud:${name}`, '-bind=127.0.0.1',
      '-client=127.0.0.1', `-data-dir=${sky.dir}/consul-${name}`, '-disable-host-node-id', '-log-level=warn', `-http-port=${http}`,
      `-server-port=${server}`, `-serf-lan-port=${lan}`, `-serf-wan-port=${wan}`, '-dns-port=-1', '-grpc-port=-1', '-grpc-tls-port=-1',
      `-retry-join=127.0.0.1:${first}`, '-retry-interval=1s', '-hcl=performance { raft_multiplier = 3 }'])
  }
  const consul = (method, path, body) => ask(`http://${consuls['cloud-a']}`, method, path, body)
  await until('Consul’s leader', async () => (await consul('GET', '/v1/status/leader')) !== '')

  const nomad = async (name, datacenter, role) => {
    const ports = await Promise.all([freePort(), freePort(), freePort()])
    const config = join(sky.dir, `${name}.hcl`)
    await writeFile(config, `
region = "popvote"
name = "${name}"
datacenter = "${datacenter}"
data_dir = "${sky.dir}/${name}"
bind_addr = "127.0.0.1"
disable_update_check = true
log_level = "warn"
ports {
  http = ${ports[0]}
  rpc  = ${ports[1]}
  serf = ${ports[2]}
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
plugin "raw_exec" {
  config { enabled = true }
}
consul {
  address          = "${consuls[name] ?? `127.0.0.1:${nobody}`}"
  auto_advertise   = false
  client_auto_join = false
  server_auto_join = false
}
${role}`)
    // --kill-child: what kills this kills Nomad, and that all that it runs.
    start('unshare', ['--pid', '--fork', '--kill-child', '--mount-proc', '--mount', tool('nomad'), 'agent', `-config=${config}`])
    return ports
  }
  const [at, rpc] = await nomad('server', 'cloud-a', `
server {
  enabled           = true
  bootstrap_expect  = 1
  default_scheduler_config { scheduler_algorithm = "spread" }
}`)
  sky.nomad = (method, path, body) => ask(`http://127.0.0.1:${at}`, method, path, body)
  await until('Nomad’s leader', async () => (await sky.nomad('GET', '/v1/status/leader')) !== '')
  for (const name of names) {
    await nomad(name, name, `
client {
  enabled           = true
  servers           = ["127.0.0.1:${rpc}"]
  network_interface = "lo"
  cpu_total_compute = 100000
  memory_total_mb   = 100000
  options {
    "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce"
  }
}`)
  }
  await sky.nomad('PUT', '/v1/namespace/popvote', { Name: 'popvote' })
  await until('Nomad’s clients', async () => (await sky.nomad('GET', '/v1/nodes')).filter((n) => n.Status === 'ready' && n.Drivers.raw_exec?.Healthy).length === 3)

  for (const [name, port, tag] of [['popvote-db', 5432, 'primary'], ['vault', 8200, 'active']]) {
    await consul('PUT', '/v1/agent/service/register', { Name: name, Port: port, Tags: [tag] })
  }
  sky.release = (job, count, release) => sky.nomad('PUT', '/v1/jobs', { Job: jobOf(job, count, release) })
  await sky.release('api-server', 3, 1)
  await sky.release('ballot-server', 3, 1)

  await mkdir(join(sky.dir, 'drills/2026-11-23T125442'), { recursive: true })
  await cp(join(root, 'apps/control-panel/server/testdata/report.json'), join(sky.dir, 'drills/2026-11-23T125442/report.json'))
  for (const program of ['popvote', 'control-panel']) await run('make', ['--no-print-directory', `bin/${program}`], { cwd: root })
  await run(join(root, 'bin/popvote'), ['certs', '--dir', join(sky.dir, 'tls')])
  sky.panel = `http://127.0.0.1:${operators}`
  // No ballot server answers where Consul says: the map has to be there, most of all then.
  start(join(root, 'bin/control-panel'), ['-listen', `127.0.0.1:${operators}`, '-admin', `127.0.0.1:${admin}`,
    '-tls', join(sky.dir, 'tls/control-panel'), '-nomad-address', `http://127.0.0.1:${at}`, '-consul-address', consuls['cloud-a'],
    '-drills', join(sky.dir, 'drills'), '-log-level', 'info'])
  await until('the panel', () => /#login=/.test(sky.said()))
}

const second = 1_000_000_000

/** jobOf is a job that does nothing, as the real ones do it: spread, with a canary, within bounds. */
function jobOf(id, count, release) {
  return {
    ID: id, Namespace: 'popvote', Datacenters: names, Meta: { rebalance: '' }, Spreads: [{ Attribute: '${node.datacenter}', Weight: 100 }],
    Update: { Canary: 1, MaxParallel: 3, AutoRevert: true, HealthCheck: 'task_states', MinHealthyTime: second / 10, HealthyDeadline: 60 * second, ProgressDeadline: 600 * second },
    TaskGroups: [{
      Name: id, Count: count, Scaling: { Enabled: true, Min: 3, Max: 9 },
      Migrate: { MaxParallel: 3, HealthCheck: 'task_states', MinHealthyTime: second / 10, HealthyDeadline: 60 * second },
      Services: [{ Name: id, Provider: 'consul', Meta: { cloud: '${node.datacenter}' }, CanaryTags: ['canary'] }],
      Tasks: [{ Name: id, Driver: 'raw_exec', Config: { command: 'sleep', args: ['infinity'] }, Env: { RELEASE: `${release}` }, KillTimeout: second, Resources: { CPU: 20, MemoryMB: 16 } }],
    }],
  }
}

async function ask(origin, method, path, body) {
  const response = await fetch(origin + path, { method, signal: AbortSignal.timeout(10_000), ...(body ? { body: JSON.stringify(body) } : {}) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text ? JSON.parse(text) : null
}
