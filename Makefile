# Needs git, make and Go; everything else is Go modules.
# make demo   builds pvkit and runs the main job
# make test   runs every test this machine can run and counts the skips

export CGO_ENABLED := 0
GO      ?= go
GOFLAGS_BUILD := -trimpath
CMDS    := $(notdir $(wildcard cmd/*))
TARGETS := linux/amd64 linux/arm64 linux/arm/7 linux/riscv64
GO_MIN  := $(shell sed -n 's/^go //p' go.mod)

.PHONY: all build demo test check bench cross reproducible setup clean help

all: build

help:
	@sed -n 's/^# //p' Makefile | head -3
	@echo "make build | cross | reproducible | check | bench | clean"

setup:
	@command -v git >/dev/null || { echo "pvkit: git is missing: install the package 'git'"; exit 2; }
	@command -v $(GO) >/dev/null || { echo "pvkit: Go is missing: install Go $(GO_MIN) or newer"; exit 2; }
	@$(GO) list -m >/dev/null || { echo "pvkit: this needs Go $(GO_MIN) or newer; found: $$(GOTOOLCHAIN=local $(GO) env GOVERSION)"; exit 2; }
	@$(GO) mod download || { echo "pvkit: the Go modules could not be downloaded: check the network and GOPROXY"; exit 2; }

build: setup
	@mkdir -p bin
	$(GO) build $(GOFLAGS_BUILD) -o bin/ $(addprefix ./cmd/,$(CMDS))

demo: build
	@sh ci/demo.sh

test: setup
	$(GO) vet ./...
	$(GO) run ./internal/testrun ./...

# What a change must pass before it is sent.
check: setup
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: skipped"; fi
	@if command -v cc >/dev/null; then CGO_ENABLED=1 $(GO) test -race ./...; else echo "no C compiler: the race detector is skipped"; $(GO) test ./...; fi
	$(MAKE) cross reproducible

# Every command for every device platform.
cross: setup
	@set -e; for t in $(TARGETS); do \
	  set -- $$(echo "$$t" | tr / ' '); echo "build $$t"; \
	  GOOS=$$1 GOARCH=$$2 GOARM=$${3:-} $(GO) build $(GOFLAGS_BUILD) -o /dev/null ./...; \
	done

# Two builds in two places give the same bytes.
reproducible: setup
	@sh ci/reproducible.sh

bench: setup
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf bin out dist
