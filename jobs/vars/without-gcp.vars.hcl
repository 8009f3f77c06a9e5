# production.vars.hcl without gcp: for a drain that was planned, or a loss that lasts. Differs in datacenters alone.
site = {
  # A Nomad datacenter per cloud.
  datacenters = ["aws", "hetzner"]
  driver      = "exec"
  node_pools  = { app = "app", edge = "edge" }
  # Where the programs are on the machines, if no release is given.
  programs = "/usr/local/bin"
  # In all. What two of three clouds must carry is 1.5 times the peak's share.
  counts         = { api-server = 6, ballot-server = 3, sms-gateway = 3, control-panel = 1 }
  distinct_hosts = true
  # MHz and MB.
  resources = {
    api-server    = { cpu = 2000, memory = 1024 }
    ballot-server = { cpu = 2000, memory = 1024 }
    sms-gateway   = { cpu = 500, memory = 256 }
    control-panel = { cpu = 500, memory = 256 }
    haproxy       = { cpu = 2000, memory = 1024 }
    redis         = { cpu = 500, memory = 768 }
    migrate       = { cpu = 200, memory = 128 }
    verify        = { cpu = 500, memory = 512 }
    prober        = { cpu = 100, memory = 128 }
  }

  # The agent on each machine, and the active Vault.
  consul = "127.0.0.1:8500"
  # Where the control panel asks Nomad. Empty: at its task's own socket.
  nomad = ""
  vault = { address = "https://active.vault.service.consul:8200", ca = "/etc/popvote/ca.pem" }
  # After the ? of a connection string. The servers' names come from Consul.
  database = { name = "popvote", options = "sslmode=verify-full&sslrootcert=/etc/popvote/ca.pem" }

  # What browsers see, and which other origins' pages may call the API.
  public_origin = "https://vote.example.org"
  panel_origin  = "https://panel.internal.example.org"
  mirrors       = []
  # Who is told of weaknesses, by /.well-known/security.txt: mailto:, tel: or https:. Nobody, and there is no such file.
  security = { contact = [], policy = "", languages = [] }
  # The number that voters text.
  inbound_number = "+85264500000"
  # What voters' phone numbers may begin with; the gateway's table says the same of where SMS go.
  countries = ["+852"]
  # Whether voters to whom no SMS comes may have the code spoken in a call: some route needs a call-price.
  calls = false
  # Multiplies every limit of docs/limits.md: 1, except where one address plays a city.
  limits_scale = 1
  # Rows of docs/limits.md with other numbers, for all polls and for single ones:
  # polls = { staff-2026 = { verify-phone = { count = 1, window = "168h" } } }
  limits = { override = {}, polls = {} }
  # Another company's check beside the proof of work: turnstile or hcaptcha, the site key, and the origin of the check's
  # page. Its secret is in Vault (docs/human-check.md). Empty: none.
  human_check = { provider = "", site_key = "", origin = "" }
  # PBKDF2 iterations of one try at the proof of work.
  challenge_cost = 2000
  # The most that it is multiplied by, near the limits and for networks of bots: 1, 2, 4 or 8.
  challenge_most = 8
  # Sessions that each API server begins in a second; who is beyond that waits their turn (docs/waiting-room.md).
  admission_rate = 1000
  # What of secret/popvote/sms-providers in Vault is a file of the gateway's, by its name there: routes.yaml, the
  # table of docs/sms.md, and every file with a credential that it names. None where SMS are simulated.
  sms_files = ["routes.yaml"]
  # Networks of people who try things out, for which a page is the phone network; real voters are in none.
  simulate_sms = []

  # The edges' own addresses in the network between the clouds: their X-Forwarded-For is believed. Never a whole
  # private range, which would let everybody in it choose an address.
  edges = ["10.77.1.10", "10.77.2.10", "10.77.3.10"]
  edge = {
    program = "/usr/sbin/haproxy"
    # Where voters connect: "*" is every address of the machine.
    address = "*"
    https   = 443
    http    = 80
    # A PEM file on the edge's machines, chain and key. Empty: it is in Vault, secret/popvote/haproxy.
    certificate = ""
    # Networks of balancers in front, which say whose connection it is by PROXY protocol. Nobody else may.
    balancers = []
    # From one IPv4 address or one IPv6 /64, which may be a whole campus or phone network: requests in ten seconds,
    # and connections at a time.
    requests    = 2000
    connections = 2000
    # The same of an SMS provider: its calls to /hooks/ in ten seconds.
    hooks = 20000
  }
  redis = { program = "/usr/bin/redis-server", client = "/usr/bin/redis-cli", port = 6379, memory = "512mb" }
  # The polls whose public log is read and checked every hour.
  polls = ["hk-2014-06"]
  # A synthetic voter in each cloud, at its own cloud's edges or at all of them. It votes nowhere, unless it has a poll
  # of kind rehearsal that is for it alone, and SMS are simulated. ca: a file with who signed the edges' certificate,
  # if it is nobody whom browsers know.
  probe = { every_edge = true, poll = "", ca = "" }
}
