# meshsec: `make help` lists the targets.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

GO      ?= go
ARCH    ?= $(shell $(GO) env GOARCH)
# Twelve digits: how many git takes by itself differs between clones.
VERSION ?= $(shell git -c safe.directory=$(CURDIR) describe --tags --always --dirty --abbrev=12 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN     := $(if $(filter $(shell $(GO) env GOARCH),$(ARCH)),bin/meshsec,bin/meshsec-$(ARCH))
PLUGIN  ?= build/plugin
FUZZTIME ?= 30s
KERNEL  ?= 6.12,6.1

# Root may work in a clone that another user made: without this git refuses it, and go build with it.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)

.PHONY: help hosts fresh build plugin install upgrade release reproducible publish engines demo check test e2e chaos crash soak storm model lab lab-arm64 bench setup clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## ?/  make \1\t/' | expand -t 20

build: ## the static binary bin/meshsec (ARCH=arm64 or arm: bin/meshsec-ARCH)
	@CGO_ENABLED=0 GOARCH=$(ARCH) $(if $(filter arm,$(ARCH)),GOARM=7) $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/meshsec

plugin: build ## build/plugin/{config.json,rootfs}, as `docker plugin create` takes it (PLUGIN=another folder)
	@# One that is right already stays, since others may be reading it.
	if cmp -s config.json $(PLUGIN)/config.json && cmp -s $(BIN) $(PLUGIN)/rootfs/meshsec; then exit; fi
	rm -rf $(PLUGIN) $(PLUGIN).new
	mkdir -p $(PLUGIN).new/rootfs/{data,etc,tmp,host/etc,host/run,host/proc/sys/net,run/docker/plugins}
	cp config.json $(PLUGIN).new/config.json
	cp $(BIN) $(PLUGIN).new/rootfs/meshsec
	mv $(PLUGIN).new $(PLUGIN)

install: plugin ## the managed plugin meshsec/plugin into this host's Docker, and the command meshsec into /usr/local/bin (JOIN=token: as a further host)
	@scripts/install

upgrade: plugin ## this version's binary into the installed plugin; state, settings and networks stay, containers keep running
	@scripts/upgrade

release: ## build/release: the plugin and the static command for amd64, arm64 and arm/v7, their components (SBOM), and checksums
	@VERSION='$(VERSION)' scripts/release

reproducible: release ## the release once more, from a clone in another directory: the same bits
	@scripts/reproducible

publish: ## the plugins of build/release to a registry, a tag for each architecture (REGISTRY=registry.example/namespace/meshsec)
	@REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' scripts/publish

setup: ## the Debian packages that all targets need, where they are missing; each target installs its own
	@scripts/setup hosts test lab

hosts:
	@scripts/setup

engines: ## today's Docker engine, client and Compose for the test hosts, from internal/engines/pins; kept in .cache/engines
	@scripts/setup test
	scripts/engines

demo: hosts plugin ## three hosts on this machine: networks, containers, ping, a file, the underlay's traffic (KEEP=1 leaves it up; ENGINE=29: on today's engine)
	@$(if $(filter 29 29-nftables,$(ENGINE)),scripts/setup test; scripts/engines)
	. scripts/goenv; $(GO) build -o bin/demo ./internal/demo
	MESHSEC_ENGINE="$(or $(ENGINE),20.10)" bin/demo

check: hosts ## format, vet, lint and unit tests; no Docker
	@scripts/check

test: setup plugin engines ## everything: check, race, end to end through real dockerds, laboratory, fuzzing (FUZZTIME each; KEEP_GOING=1: also after a failed step)
	@FUZZTIME=$(FUZZTIME) KEEP_GOING=$(KEEP_GOING) scripts/test

e2e: hosts plugin ## the end-to-end suite on one engine (ENGINE=20.10, 29 or 29-nftables, default 29; RUN=expression of test names)
	@scripts/setup test
	$(if $(filter 29 29-nftables,$(or $(ENGINE),29)),scripts/engines)
	MESHSEC_ENGINE="$(or $(ENGINE),29)" scripts/e2e all $(if $(RUN),-run '$(RUN)') | scripts/verdicts "build/e2e-$(or $(ENGINE),29).log"

chaos: hosts plugin ## random faults on hosts under traffic and attack (N=schedules, default 10; SEED=of the first, default random; HOSTS=3; MEMBERS=1: of etcd; DOCKER=1: with dockerds)
	@$(if $(DOCKER),scripts/setup test; scripts/engines)
	. scripts/goenv; $(GO) build -o bin/chaos ./internal/chaos
	bin/chaos -seed "$(or $(SEED),0)" -n "$(or $(N),10)" -hosts "$(or $(HOSTS),3)" -members "$(or $(MEMBERS),1)" $(if $(DOCKER),-docker)

crash: hosts plugin ## an agent killed before its first write to etcd, disk or kernel, before its second, and so on (EVERY=1; FOUNDER=1: the one that embeds etcd)
	@. scripts/goenv; $(GO) build -o bin/chaos ./internal/chaos
	bin/chaos -points 1 -n "$(or $(EVERY),1)" $(if $(FOUNDER),-founder)

soak: hosts plugin ## containers that come and go under traffic, attack and new keys every 5 s, and whether anything is left (MINUTES=30)
	@. scripts/goenv; $(GO) build -o bin/chaos ./internal/chaos
	bin/chaos -seed "$(or $(SEED),0)" -hosts "$(or $(HOSTS),3)" -soak "$(or $(MINUTES),30)m"

storm: hosts plugin ## hosts that all start at the same moment: until all reach all, and what it costs etcd and processors (HOSTS=64)
	@. scripts/goenv; $(GO) build -o bin/benchmesh ./internal/bench/mesh
	bin/benchmesh -storm "$(or $(HOSTS),64)"

model: ## the model of handshake and rekeying, checked by Spin (DEEP=1: also that restarts end well, minutes)
	@scripts/setup test
	DEEP=$(DEEP) scripts/model

lab: plugin ## the kernel data plane, in an emulated machine whose kernel has ESP (KERNEL=6.12 or 6.1: one of both)
	@KERNEL=$(KERNEL) scripts/lab

lab-arm64: plugin ## the agent on an emulated arm64 machine, joined by a wire to an x86-64 one: both ping through ESP
	@scripts/setup lab
	$(MAKE) -s build ARCH=arm64
	. scripts/goenv; $(GO) build -o bin/lab ./internal/lab
	bin/lab -pair -- internal/lab/proof/joined

bench: hosts plugin engines ## the benchmarks of docs/benchmarks.md
	@scripts/bench

fresh: ## make in a clone of HEAD on a fresh machine: a minimal Debian root (TARGET=demo)
	@scripts/fresh $(or $(TARGET),demo)

clean: ## remove what was built
	@rm -rf bin build
