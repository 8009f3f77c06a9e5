# Three clouds on one machine, each a network namespace with an agent of its own.
site = {
  # A Nomad datacenter per cloud.
  datacenters = ["cloud-a", "cloud-b", "cloud-c"]
  driver      = "raw_exec"
  # A machine is in one pool, and each cloud has one machine.
  node_pools = { app = "default", edge = "default" }
  # Where the programs are on the machines, if no release is given.
  programs = "/run/popvote-cluster/bin"
  # One in each cloud, and each cloud's work fits on another.
  counts = { api-server = 3, ballot-server = 3, sms-gateway = 3, control-panel = 1 }
  # Each cloud is one machine, which must take a lost one's work.
  distinct_hosts = false
  # MHz and MB.
  resources = {
    api-server    = { cpu = 200, memory = 256 }
    ballot-server = { cpu = 200, memory = 256 }
    sms-gateway   = { cpu = 50, memory = 128 }
    control-panel = { cpu = 50, memory = 128 }
    haproxy       = { cpu = 100, memory = 128 }
    redis         = { cpu = 50, memory = 128 }
    migrate       = { cpu = 50, memory = 128 }
    verify        = { cpu = 50, memory = 128 }
    prober        = { cpu = 50, memory = 64 }
  }

  # The agent on each machine, and its own Vault, which hands on what the active one has to answer.
  consul = "127.0.0.1:8500"
  # Where the control panel asks Nomad. Empty: at its task's own socket, whose path has to be shorter than it may be here.
  nomad = "http://127.0.0.1:4646"
  vault = { address = "https://127.0.0.1:8200", ca = "/run/popvote-cluster/ca.pem" }
  # After the ? of a connection string. The servers' names come from Consul.
  database = { name = "popvote", options = "sslmode=verify-full&sslrootcert=/run/popvote-cluster/ca.pem" }

  # What browsers see, and which other origins' pages may call the API.
  public_origin = "https://10.203.0.1"
  panel_origin  = "https://panel.internal.example.org"
  mirrors       = ["https://10.203.0.2", "https://10.203.0.3"]
  # Who is told of weaknesses, by /.well-known/security.txt: mailto:, tel: or https:. Nobody, and there is no such file.
  security = { contact = [], policy = "", languages = [] }
  # The number that voters text.
  inbound_number = "+85264500000"
  # What voters' phone numbers may begin with; the gateway's table says the same of where SMS go.
  countries = ["+852"]
  # Whether voters to whom no SMS comes may have the code spoken in a call: some route needs a call-price.
  calls = true
  # Multiplies every limit of docs/limits.md: 1, except where one address plays a city.
  limits_scale = 1000
  # Rows of docs/limits.md with other numbers, for all polls and for single ones:
  # polls = { staff-2026 = { verify-phone = { count = 1, window = "168h" } } }
  limits = { override = {}, polls = {} }
  # Another company's check beside the proof of work: turnstile or hcaptcha, the site key, and the origin of the check's
  # page. Its secret is in Vault (docs/human-check.md). Empty: none.
  human_check = { provider = "", site_key = "", origin = "" }
  # PBKDF2 iterations of one try at the proof of work.
  challenge_cost = 100
  # The most that it is multiplied by: never, because the voters of drills are fast and from one address.
  challenge_most = 1
  # Sessions that each API server begins in a second; who is beyond that waits their turn (docs/waiting-room.md).
  admission_rate = 100000
  # What of secret/popvote/sms-providers in Vault is a file of the gateway's, by its name there: routes.yaml, the
  # table of docs/sms.md, and every file with a credential that it names. None where SMS are simulated.
  sms_files = []
  # Networks of people who try things out, for which a page is the phone network.
  simulate_sms = ["10.203.0.0/24"]

  # The edges' own addresses in the network between the clouds: their X-Forwarded-For is believed. Never a whole
  # private range, which would let everybody in it choose an address.
  edges = ["10.203.0.1", "10.203.0.2", "10.203.0.3"]
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
    requests    = 100000
    connections = 10000
    # The same of an SMS provider: its calls to /hooks/ in ten seconds.
    hooks = 100000
  }
  redis = { program = "/usr/bin/redis-server", client = "/usr/bin/redis-cli", port = 6379, memory = "64mb" }
  # The polls whose public log is read and checked every hour.
  polls = ["hk-2014-06"]
  # A synthetic voter in each cloud, at its own cloud's edges or at all of them. It votes nowhere, unless it has a poll
  # of kind rehearsal that is for it alone, and SMS are simulated. ca: a file with who signed the edges' certificate,
  # if it is nobody whom browsers know.
  probe = { every_edge = true, poll = "", ca = "/run/popvote-cluster/ca.pem" }
}
