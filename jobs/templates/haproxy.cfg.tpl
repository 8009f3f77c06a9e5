# HAProxy's configuration, rendered by Nomad from Consul and from the job's environment.
{{- /* What HAProxy answers by itself: data, as the servers' answers are. Theirs have these already, or a page's own. */}}
{{- define "guards" }}
  http-response set-var(txn.served) bool(true)
  http-after-response set-header Content-Security-Policy "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox" unless { var(txn.served) -m found }
  http-after-response set-header Cross-Origin-Resource-Policy same-origin unless { var(txn.served) -m found }
  http-after-response set-header Referrer-Policy no-referrer unless { var(txn.served) -m found }
  http-after-response set-header X-Content-Type-Options nosniff unless { var(txn.served) -m found }
{{- end }}
{{- /* The copies of a service that are ready by Consul's word, but for a canary. If that is nobody, all there are: the checks
       here know, too. A copy's own cloud is first. */}}
{{- define "servers" }}
{{- $who := print . "|any" }}
{{- range service . }}{{ if not (.Tags | contains "canary") }}{{ $who = $ }}{{ end }}{{ end }}
{{- range service $who }}
{{- if not (.Tags | contains "canary") }}
  server {{ .ID }} {{ .Address }}:{{ .Port }} port {{ index .ServiceMeta "admin" }} weight {{ if eq (index .ServiceMeta "cloud") (env "NOMAD_DC") }}100{{ else }}20{{ end }}
{{- end }}
{{- end }}
{{- end }}

global
  # Requests are not logged: an address beside a time could say who voted. What is logged is what servers do.
  log stdout format raw daemon notice
{{- if env "EDGE_USER" }}
  user {{ env "EDGE_USER" }}
  group {{ env "EDGE_USER" }}
{{- end }}
  fd-hard-limit 200000
  # Streams end by themselves long before; whoever still holds an old process after that does so on purpose.
  hard-stop-after 15m
  # AEAD with forward secrecy, and nothing else.
  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384
  ssl-default-bind-curves X25519:P-256

defaults
  mode http
  log global
  timeout connect 1s
  # Whoever hasn't sent a whole request by then, its body included, is not a voter.
  timeout http-request 10s
  timeout http-keep-alive 15s
  timeout client-fin 5s
  timeout client 75s
  # A long poll takes 25 s.
  timeout server 30s
  timeout queue 5s
  option http-buffer-request
  option redispatch 1
  option dontlognull
  # A voter who left is waited for by nobody: what the server does for a vote it does to the end all the same.
  option abortonclose
  retries 2
  # What has no outcome. An answer that says "overloaded" is one: it is never asked again from here.
  retry-on conn-failure empty-response
  # What was asked may have been repeated here, so nobody knows whether it was done: internal is the code for that.
{{- range $status := parseJSON "[500,502,503,504]" }}
  http-error status {{ $status }} content-type application/problem+json string '{"type":"about:blank","title":"Something went wrong on our side","status":{{ $status }},"code":"internal","effect":"unknown"}' hdr retry-after 2 hdr cache-control no-store
{{- end }}

frontend plain
  bind {{ env "EDGE_ADDRESS" }}:{{ env "EDGE_HTTP" }}
{{- template "guards" }}
  # A page is sent on. Who calls the API is told: a redirect would hide that tokens are sent where others read them.
  http-request return status 403 content-type application/problem+json string '{"type":"about:blank","title":"Only over TLS","status":403,"code":"tls-required","effect":"not_applied","detail":"Ask at the https address. What this request said may have been read on its way: throw away a token that was in it, and start again."}' hdr cache-control no-store if { path,url_dec -m beg /v1/ /hooks/ }
  http-request redirect scheme https code 308

frontend voters
  bind {{ env "EDGE_ADDRESS" }}:{{ env "EDGE_HTTPS" }} ssl crt {{ env "EDGE_CERTIFICATE" }} alpn h2,http/1.1
{{- if env "EDGE_BALANCERS" }}
  # These say by PROXY protocol whose connection it is, and are believed. Nobody else is asked.
  tcp-request connection expect-proxy layer4 if { src {{ env "EDGE_BALANCERS" }} }
{{- end }}
  # Also what HAProxy answers by itself. Only its 400 and 408 for a header that is malformed, or never ends, are bare: no
  # browser sends one.
  http-after-response set-header Strict-Transport-Security "max-age=31536000; includeSubDomains"
{{- template "guards" }}

  # SMS providers' calls: a name of a route, and nothing that could lead elsewhere.
  acl hooks {{ if env "EDGE_HOOKS" }}path -m reg ^/hooks/[a-z0-9-]+/?${{ else }}always_false{{ end }}

  # A /64 is one customer. In each process for itself: a reload begins anew.
  tcp-request session track-sc1 src,ipmask(32,64) table connections
  tcp-request session reject if { sc1_conn_cur gt {{ env "EDGE_CONNECTIONS" }} }
  # A provider may have one address for all that voters text.
  http-request track-sc0 src,ipmask(32,64) table clients unless hooks
  http-request track-sc0 src,ipmask(32,64) table providers if hooks
  http-request return status 429 content-type application/problem+json string '{"type":"about:blank","title":"Too many requests","status":429,"code":"rate-limited","effect":"not_applied"}' hdr retry-after 10 hdr cache-control no-store if !hooks { sc0_http_req_rate gt {{ env "EDGE_REQUESTS" }} }{{ if env "EDGE_HOOKS" }} or hooks { sc0_http_req_rate gt {{ env "EDGE_HOOKS" }} }
  # As much as a gateway reads.
  http-request return status 413 content-type application/problem+json string '{"type":"about:blank","title":"The body is too large","status":413,"code":"body-too-large","effect":"not_applied"}' hdr cache-control no-store if hooks { req.body_size gt 262144 }{{ end }}

  # Whatever a client says about where it comes from, or what it asked for, is replaced, never added to. The two below are
  # all that our servers read; others are gone for what may stand behind them one day.
  http-request del-header ^(x[-_](forwarded|real|client|cluster|original|rewrite|method|http[-_]method)|true[-_]client|cf[-_]connecting|forwarded) -m reg
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https

  # A repeated cast is the same cast only if it says so.
  http-request disable-l7-retry unless { req.hdr(Idempotency-Key) -m found }
{{- if env "EDGE_HOOKS" }}
  use_backend hooks if hooks
{{- end }}
  default_backend api-server

# A table each: an entry that is tracked twice counts each request twice.
backend clients
  stick-table type ipv6 size 200k expire 60s store http_req_rate(10s)

backend providers
  stick-table type ipv6 size 10k expire 60s store http_req_rate(10s)

backend connections
  stick-table type ipv6 size 200k expire 60s store conn_cur

backend api-server
  balance leastconn
  option httpchk GET /readyz
  # Pinged every 15 s, so that four may be lost.
  http-request set-timeout server 75s if { path /v1/verification } { req.hdr(Accept) -m sub text/event-stream }
  # Frozen: two checks, 4 s. Answers are not looked at: a server that is overloaded says 503, and to take it out then
  # would be to overload the next.
  default-server check inter 1500ms fastinter 500ms downinter 2s fall 2 rise 2
  timeout check 1s
{{- template "servers" "api-server" }}
{{- if env "EDGE_HOOKS" }}

# The gateways' listeners for providers, and no other of theirs.
backend hooks
  balance leastconn
  option httpchk GET /readyz
  # A call whose connection broke may have been heard. It is its provider who calls again.
  retry-on conn-failure
  # A gateway takes 10 s at most.
  timeout server 15s
  default-server check inter 1500ms fastinter 500ms downinter 2s fall 2 rise 2
  timeout check 1s
{{- template "servers" "sms-gateway-hooks" }}
{{- end }}

# Probes and metrics.
frontend admin
  bind {{ env "NOMAD_ADDR_admin" }}
  http-request use-service prometheus-exporter if { path /metrics }
  http-request return status 200 if { path /livez }
  http-request return status 503 if { path /readyz } { nbsrv(api-server) lt 1 }
  http-request return status 200 if { path /readyz }
  http-request return status 404
