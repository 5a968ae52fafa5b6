# Cairn is built with no libvirt headers: the binding loads libvirt when it runs.
TAGS    := libvirt_dlopen
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      := go

# Packages whose quick tests are also run under the race detector.
RACE := ./agent/... ./api/... ./controller/... ./network/ ./scheduler/... ./web/...

export CGO_ENABLED := 1
export PATH        := $(PATH):/usr/local/go/bin

.DEFAULT_GOAL := help

help: ## list what there is to make
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deps: ## install what building and the lab need, if it is missing
	@deploy/deps.sh

build: ## build bin/cairn
	$(GO) build -trimpath -tags $(TAGS) -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/cairn

images: ## build the guest images, into deploy/images/out
	@deploy/images/build.sh tiny debian

demo: deps build ## start a lab of three hosts with guests that reach each other
	@deploy/images/build.sh tiny
	@deploy/demo.sh

test: deps build images ## run every test, end to end on a lab included
	@deploy/test.sh

check: deps ## what is quick and strict: format, lint, known vulnerabilities, races
	@deploy/check.sh $(RACE)

sim: build ## simulate 10,000 seeds of faults
	bin/cairn sim --seeds 10000

torture: ## kill one of three controllers 200 times, under a load whose history is checked
	CAIRN_KILLS=200 $(GO) test -tags $(TAGS) -count 1 -timeout 30m -v ./test/torture

bench-boot: deps build ## measure from POST to running, beside the same by hand
	@deploy/images/build.sh tiny
	$(GO) run -tags $(TAGS) ./bench/boot

bench-writes: build ## measure writes through the API, beside a bare etcd client
	$(GO) run -tags $(TAGS) ./bench/writes

bench-lists: build ## measure a page of 100 out of 100,000 instances
	$(GO) run -tags $(TAGS) ./bench/lists

bench-scale: build ## measure 1,000 hosts and 20,000 instances, then idle
	$(GO) run -tags $(TAGS) ./bench/scale

bench-takeover: build ## measure how long nobody leads after the leader was killed
	$(GO) run -tags $(TAGS) ./bench/takeover

bench-network: ## measure the way between two guests, beside the same without rules
	$(GO) run ./bench/network

clean: ## remove what was built
	rm -rf bin deploy/images/out

.PHONY: help deps build images demo test check sim torture bench-boot bench-writes bench-lists bench-scale bench-takeover bench-network clean
