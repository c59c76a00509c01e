# Everything that is done with hob. `make check` is what CI runs.

PREFIX   ?= $(HOME)/.local
FUZZTIME ?= 3000000x
TIMEOUT  ?= 20m
CRASHES  ?= 300 5ms
DURATION ?= 55s
MUTANTS  ?= full
MODEL    ?= full
SWEEP    ?= full

# Tools are pinned here and not in go.mod: whoever embeds hob would pay for every line of it.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The language server of examples/neovim. Later ones want a newer Go.
GOPLS = golang.org/x/tools/gopls@v0.21.1

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS = -X github.com/hobworks/hob/internal/version.Version=$(VERSION)

# The tests use the race detector wherever it can be built: it needs a C compiler that works.
RACE = $(shell echo 'int main(void) { return 0; }' | $(CC) -x c -o /dev/null - 2>/dev/null && echo -race)

DARWIN = CGO_ENABLED=0 GOOS=darwin GOARCH=arm64

# Where git does not answer (a checkout that belongs to somebody else, as under sudo), go build
# would refuse to stamp the programs and fail.
ifneq ($(shell git status --porcelain -uno >/dev/null 2>&1 && echo ok),ok)
export GOFLAGS := $(strip $(shell go env GOFLAGS) -buildvcs=false)
endif

.DEFAULT_GOAL = build
.NOTPARALLEL:

.PHONY: build
build: ## build hob and hobd into ./bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/hob ./cmd/client/hob
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/hobd ./cmd/daemon/hobd

.PHONY: install
install: build ## install both into PREFIX/bin, by default ~/.local/bin
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 bin/hob bin/hobd '$(DESTDIR)$(PREFIX)/bin/'

.PHONY: demo
demo: ## see it work, in a directory that is removed afterwards
	sh scripts/demo.sh

.PHONY: test
test: ## all tests; with the race detector when there is a C compiler
	$(if $(RACE),CGO_ENABLED=1) go test $(RACE) -count=1 -timeout $(TIMEOUT) ./...

.PHONY: race
race: ## all tests with the race detector; fails without a C compiler
	CGO_ENABLED=1 go test -race -count=1 -timeout $(TIMEOUT) ./...

.PHONY: check
check: FUZZTIME = 5s
check: fmt-check vet lint vuln test model-check fuzz build demo ## all that CI runs

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "gofmt would change: $$out"; exit 1; }

.PHONY: vet
vet: ## go vet for Linux, for macOS, with fault points and with planted bugs; build for macOS
	go vet ./...
	go vet -tags hobfault ./...
	go vet -tags hobfault,mutant ./...
	$(DARWIN) go vet ./...
	$(DARWIN) go build ./...

.PHONY: lint
lint: bin/tools/$(STATICCHECK) ## staticcheck, for Linux and for macOS
	$< ./...
	$(DARWIN) $< ./...

.PHONY: vuln
vuln: bin/tools/$(GOVULNCHECK) ## known vulnerabilities, for Linux and for macOS; says so where their database can't be reached
	sh scripts/vuln.sh $< ./...
	$(DARWIN) sh scripts/vuln.sh $< ./...

.PHONY: gopls
gopls: bin/tools/$(GOPLS) ## the language server that the tests of examples/neovim need

# The file's name has the version in it, so a new version is a new file.
bin/tools/$(STATICCHECK) bin/tools/$(GOVULNCHECK) bin/tools/$(GOPLS):
	GOBIN='$(CURDIR)/bin/tools/new' go install '$(@:bin/tools/%=%)'
	mkdir -p '$(@D)'
	mv bin/tools/new/* '$@'

.PHONY: generate
generate: ## write the generated docs anew; a test says when they are stale
	go test -count=1 -run 'DocIsFresh$$' . ./internal/config ./internal/supervisor -update

.PHONY: fuzz
fuzz: ## every fuzz test, each 3,000,000 times, or for FUZZTIME; make check does 5s of each
	@sh scripts/fuzz.sh $(FUZZTIME)

.PHONY: chaos
chaos: ## faults of fifty kinds for DURATION, with a witness of its own; HOB_CHAOS_SEED repeats one; make test does 6 s of it
	CHAOS_DURATION='$(DURATION)' go test -count=1 -timeout 60m -v -run '^TestEveryFaultIsSurvived$$' ./e2e/chaos

.PHONY: mutants
mutants: ## does chaos find each planted bug? MUTANTS names some, with commas; make test looks for four
	HOB_MUTANTS='$(MUTANTS)' go test -count=1 -timeout 60m -v -run '^TestEveryMutantIsFound$$' ./e2e/chaos

.PHONY: crash
crash: ## SIGKILL of hobd 300 times under services that log and crash, and of everything at once; make test does some
	$(if $(RACE),CGO_ENABLED=1) HOB_CRASHES='$(CRASHES)' go test $(RACE) -count=1 -timeout 60m -v -run '^(TestCrashes|TestKilledWithAllItStarted)$$' ./e2e

.PHONY: storm
storm: ## the tests of services on demand and of upgrades with all of their requests, rounds and clients; make test does a part
	HOB_STORM=full go test -count=1 -timeout 60m -v -run '^(TestNoneIsRefused|TestIdleStop|TestStopAndStart|TestBursts|TestUpgradesUnder|TestTermDuring|TestStopDuring|TestStampede$$)' ./e2e

.PHONY: sweep
sweep: ## every system call of start, stop, adoption and upgrade fails once in six ways, 1,000 pids are used again; SWEEP=300 tries so many of each; make test does a part
	HOB_SWEEP='$(SWEEP)' go test -count=1 -timeout 180m -v -run '^(TestSweep|TestStrangersHavePidsOfOurs)$$' ./e2e

.PHONY: soak
soak: ## 1,000,000 connections and 1,000 restarts leave nothing behind; make test does a part
	HOB_SOAK=full go test -count=1 -timeout 120m -v -run '^TestSoak$$' ./e2e

.PHONY: model
model: ## the protocol and its wrong designs, verified with Spin; MODEL=short does a part in seconds
	sh scripts/model.sh $(MODEL)

# What check does of it: the short part, where Spin is installed.
.PHONY: model-check
model-check:
	@if command -v spin >/dev/null; then sh scripts/model.sh short; else echo 'model: no spin, so it is left out'; fi

.PHONY: bench
bench: ## ratios against floors in C and in bare Go, kept in docs/performance.md; needs a C compiler
	sh scripts/bench.sh -write docs/performance.md

.PHONY: bench-peers
bench-peers: ## hob beside tmux, watchman, supervisord, runit, s6 and pm2, those that are installed, kept in docs/performance.md
	sh scripts/bench.sh -peers -write docs/performance.md

.PHONY: cover
cover: ## what the tests reach, without what the programs do in processes of their own
	mkdir -p bin
	go test -count=1 -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out ./...
	go tool cover -func=bin/cover.out | tail -n 1

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS='	' read -r t d; do printf '%-10s %s\n' "$$t" "$$d"; done
