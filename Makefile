# Everything that is done with this repository more than once. `make` alone lists it.
#
# There is no module at the root, so ./... means nothing here: the go.work set is called "work".

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-builtin-rules

# Binaries are pure Go, so they need nothing where they run.
export CGO_ENABLED := 0

PROGRAMS := api-server ballot-server sms-gateway control-panel popvote
MODULES   = $(shell go list -m -f '{{.Dir}}')
ALL       = $(addsuffix /...,$(MODULES))

# There is no root module whose version the toolchain could know.
VERSION  ?= $(shell git describe --tags --always --match 'v*' 2>/dev/null || echo dev)
REVISION ?= $(shell git describe --always --abbrev=40 --exclude '*' --dirty=+dirty 2>/dev/null)
STAMP     = -s -w -X github.com/popvote/popvote/libs/service.version=$(VERSION) \
            -X github.com/popvote/popvote/libs/service.revision=$(REVISION)

LINTER_VERSION := $(shell sed -n 's,.*github.com/golangci/golangci-lint/v2 \(v[^ ]*\).*,\1,p' tools/golangci-lint/go.mod)
LINTER         := bin/tools/golangci-lint-$(LINTER_VERSION)

FUZZ_TIME ?= 60s
CHAOS_TIME ?= 10m
CHAOS_SEED ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' Makefile

# --- for people -------------------------------------------------------------------------------

run: pages ## build everything and start a whole vote on this machine
	@$(MAKE) --no-print-directory bin/popvote
	bin/popvote up --seed-demo

build: pages ## static binaries of every program in bin/, version and revision stamped
	@for program in $(PROGRAMS); do $(MAKE) --no-print-directory TRIM=-trimpath "bin/$$program"; done
	@ls -l $(addprefix bin/,$(PROGRAMS))

# GOWORK=off: what is tested is what is shipped only if each module builds by its own go.mod. Paths are
# trimmed from what is released alone: trimming makes the compiler start from nothing.
.PHONY: $(addprefix bin/,$(PROGRAMS))
$(addprefix bin/,$(PROGRAMS)): bin/%:
	cd apps/$* && GOWORK=off go build $(TRIM) -buildvcs=false -ldflags '$(STAMP)' -o ../../bin/$* .

pages: npm ## build the voter's page and the control panel, which the binaries embed
	npm run --silent --prefix apps build

clean: ## remove what was built (not data/)
	rm -rf bin apps/node_modules apps/e2e/artefacts apps/voter-web/.cache
	find apps/api-server/page/dist apps/control-panel/page/dist -mindepth 1 ! -name .gitignore -delete

# --- tests ------------------------------------------------------------------------------------

test: bootstrap pages cluster-tools ## every test: Go, npm, and a real browser
	@tools/closing "go test" go test -timeout 20m $$(go list work | grep -v /apps/e2e)
	@tools/closing "job files and the edge" $(MAKE) --no-print-directory jobs-test
	@tools/closing "a machine image" tools/packer/roots ballotdb
	@for program in $(PROGRAMS); do $(MAKE) --no-print-directory "bin/$$program"; done
	@tools/closing "three clouds, and the leaders' own taken away" tools/drilled kill-leaders
	@# -count=1: the test cache does not see the programs that these build and run.
	@tools/closing "go test, end to end" go test -count=1 -timeout 40m ./apps/e2e/...
	@tools/closing "npm test" npm run --silent --prefix apps test
	@tools/closing "browser tests" npm run --silent --prefix apps browser

fuzz: ## fuzz everything that parses, a minute in all (FUZZ_TIME=60s)
	tools/fuzz $(FUZZ_TIME)

chaos: pages ## everything goes wrong for CHAOS_TIME=10m; prints its CHAOS_SEED, which repeats the faults
	CHAOS_TIME=$(CHAOS_TIME) CHAOS_SEED=$(CHAOS_SEED) go test -count=1 -timeout 0 -v -run '^TestChaos$$' ./apps/e2e

bench: pages cluster-tools ## measure casts and journeys on this machine, beside yardsticks: in one process, then the programs apart, as in a cluster, and with voters held
	@for program in popvote api-server ballot-server sms-gateway; do $(MAKE) --no-print-directory "bin/$$program"; done
	bin/popvote bench
	bin/popvote bench --programs bin --edge
	bin/popvote bench --programs bin --held 50000

# A module of its own, which no program needs.
jobs-test: bootstrap cluster-tools
	@$(MAKE) --no-print-directory bin/api-server
	cd tools/jobs && GOWORK=off go vet ./... && GOWORK=off go test -count=1 -timeout 15m ./...

packer-roots: bootstrap cluster-tools ## every machine image's root, made, verified and spoilt (as root, on Debian)
	tools/packer/roots

cluster: bootstrap pages cluster-tools ## three clouds on this machine, in network namespaces of their own (as root)
	@for program in $(PROGRAMS); do $(MAKE) --no-print-directory "bin/$$program"; done
	bin/popvote cluster up

cluster-journey: npm ## vote in a browser through each cloud's balancer (after make cluster)
	cd apps/e2e/browser && node --test --test-timeout=120000 cluster-journey.mjs

drill: ## take a cloud away in every way, and measure (after make cluster; as root)
	bin/popvote drill

cluster-down: ## take them away again, and everything that is theirs
	bin/popvote cluster down

cluster-smoke: bootstrap cluster-tools ## start Consul, Nomad and Vault by themselves, and ask each for what it is for (as root)
	cd tools/smoke && GOWORK=off go vet . && GOWORK=off go test -count=1 -v .

# --- checks -----------------------------------------------------------------------------------

check: bootstrap format vet lint fences generated web shell packer ## every check that needs no running program

format: $(LINTER) ## gofumpt has nothing to say
	@$(LINTER) fmt --diff $(MODULES) || { echo 'run: make formatted'; exit 1; }

formatted: $(LINTER) ## write all Go files as gofumpt would
	$(LINTER) fmt $(MODULES)

vet: pages ## go vet over the workspace
	go vet work

lint: pages $(LINTER) ## golangci-lint with the linters of .golangci.yml
	$(LINTER) run --allow-parallel-runners --timeout 15m $(ALL)

fences: pages ## module boundaries, one version of everything, one name for each service
	cd tools/fences && export GOWORK=off && go vet . && go test . && go run . ../..

generate: npm ## write the generated files anew
	for module in $(MODULES); do (cd "$$module" && GOWORK=off go generate ./...); done
	npm run --silent --prefix apps generate

# Compared with a copy of before, not with the last commit: what is being worked on may be generated.
generated: npm ## generated files are current
	@tools/current $(MAKE) --no-print-directory generate

web: pages ## type check and lint the pages, lint the API description
	npm run --silent --prefix apps typecheck
	npm run --silent --prefix apps lint
	npm run --silent --prefix apps size
	apps/node_modules/.bin/redocly lint --config tools/redocly.yaml libs/channelsapi/openapi.yaml

shell: ## shellcheck over every script
	shellcheck .ci/run $$(grep -lE '^#!/.*\b(ba)?sh' tools/* 2>/dev/null || true)

packer: bootstrap ## templates and scripts of machine images, and that these checks can fail
	tools/packer/check

# --- what the above needs ---------------------------------------------------------------------

bootstrap: ## install what is missing and comes from Debian: chromium, PostgreSQL, Redis, Patroni, HAProxy, Packer …
	@tools/bootstrap

cluster-tools: bin/tools/consul bin/tools/nomad bin/tools/vault ## Consul, Nomad and Vault from PATH, or built at their pins, once

# Phony: what is on PATH may be another program than last time. The script knows when nothing is to do.
.PHONY: bin/tools/consul bin/tools/nomad bin/tools/vault
bin/tools/consul bin/tools/nomad bin/tools/vault: bin/tools/%:
	@tools/pinned $*

# npm ci only when the lock file is newer than what it installed.
npm: apps/node_modules/.package-lock.json ## install the pages' dependencies, as locked
apps/node_modules/.package-lock.json: apps/package-lock.json
	npm ci --prefix apps --no-audit --no-fund
	@touch $@

# Built from source at the version of its own go.mod, once.
$(LINTER): tools/golangci-lint/go.mod
	@echo "building golangci-lint $(LINTER_VERSION), which takes a few minutes, once"
	cd tools/golangci-lint && GOWORK=off go build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

.PHONY: help run build pages clean test fuzz chaos bench check format formatted vet lint fences generate generated web shell packer packer-roots jobs-test bootstrap npm cluster drill cluster-down cluster-tools cluster-smoke
