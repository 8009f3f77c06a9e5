# HAProxy's configuration, rendered by Nomad from Consul and from the job's environment.

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
  http-request redirect scheme https code 308

frontend voters
  bind {{ env "EDGE_ADDRESS" }}:{{ env "EDGE_HTTPS" }} ssl crt {{ env "EDGE_CERTIFICATE" }} alpn h2,http/1.1
{{- if env "EDGE_BALANCERS" }}
  # These say by PROXY protocol whose connection it is, and are believed. Nobody else is asked.
  tcp-request connection expect-proxy layer4 if { src {{ env "EDGE_BALANCERS" }} }
{{- end }}
  # A /64 is one customer. In each process for itself: a reload begins anew.
  tcp-request session track-sc1 src,ipmask(32,64) table connections
  tcp-request session reject if { sc1_conn_cur gt {{ env "EDGE_CONNECTIONS" }} }
  http-request track-sc0 src,ipmask(32,64) table clients
  http-request return status 429 content-type application/problem+json string '{"type":"about:blank","title":"Too many requests","status":429,"code":"rate-limited","effect":"not_applied"}' hdr retry-after 10 hdr cache-control no-store if { sc0_http_req_rate gt {{ env "EDGE_REQUESTS" }} }

  # Whatever a client says about where it comes from is replaced, never added to.
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  http-request del-header X-Real-Ip
  http-request del-header X-Forwarded-Host
  http-request del-header Forwarded

  # A repeated cast is the same cast only if it says so.
  http-request disable-l7-retry unless { req.hdr(Idempotency-Key) -m found }
  default_backend api-server

# Two tables: an entry that is tracked twice counts each request twice.
backend clients
  stick-table type ipv6 size 200k expire 60s store http_req_rate(10s)

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
{{- /* Who is ready by Consul's word, but for a canary. If that is nobody, all there are: the checks here know, too. */}}
{{- $who := "api-server|any" }}
{{- range service "api-server" }}{{ if not (.Tags | contains "canary") }}{{ $who = "api-server" }}{{ end }}{{ end }}
{{- range service $who }}
{{- if not (.Tags | contains "canary") }}
  server {{ .ID }} {{ .Address }}:{{ .Port }} port {{ index .ServiceMeta "admin" }} weight {{ if eq (index .ServiceMeta "cloud") (env "NOMAD_DC") }}100{{ else }}20{{ end }}
{{- end }}
{{- end }}

# Probes and metrics.
frontend admin
  bind {{ env "NOMAD_ADDR_admin" }}
  http-request use-service prometheus-exporter if { path /metrics }
  http-request return status 200 if { path /livez }
  http-request return status 503 if { path /readyz } { nbsrv(api-server) lt 1 }
  http-request return status 200 if { path /readyz }
  http-request return status 404
