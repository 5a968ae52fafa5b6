# Cairn is built with no libvirt headers: the binding loads libvirt when it runs.
TAGS    := libvirt_dlopen
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      := go
OUT     := deploy/images/out

export CGO_ENABLED := 1
export PATH        := $(PATH):/usr/local/go/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

deps: ## install what building and the lab need, if it is missing
	@deploy/deps.sh

build: ## bin/cairn
	@mkdir -p bin
	$(GO) build -trimpath -tags $(TAGS) -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/cairn

images: ## the guest images, in deploy/images/out
	@deploy/images/build.sh tiny debian

test: deps build images ## every test, end to end included
	$(GO) vet -tags $(TAGS) ./...
	$(GO) test -tags $(TAGS) ./...

clean: ## remove what was built
	rm -rf bin $(OUT)

.PHONY: help deps build images test clean
