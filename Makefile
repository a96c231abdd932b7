# Every target is one command and enough: what it needs it installs (as root)
# or names (.ci/need).
GO ?= go
BIN := bin/reemboss
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test lint bench soak fuzz prove clean

all: build

# One static binary.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN) ./cmd/reemboss

# A whole night on sample data, then where to look.
demo: build
	$(BIN) demo

# Linters and all tests, with the race detector, against the real gpg, sshd, LibreOffice; then a chosen tenth of
# what `make prove` breaks, without the race detector, and each fuzz target for SMOKE.
SMOKE ?= 3s
test:
	.ci/need
	$(MAKE) --no-print-directory lint
	.ci/test
	.ci/prove $(SMOKE) . 10

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt these files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	CGO_ENABLED=1 $(GO) vet -tags pkcs11 ./batch/...
	CGO_ENABLED=1 $(GO) run $(STATICCHECK) -tags pkcs11 ./batch/...

# Benchmarks of the parts, among them modules with a full pipeline against one request per round trip (times), and
# a token in batches against one card a call (ratio); then a night of ROWS re-embossing rows on as many cards.
ROWS ?= 1000000
bench: build
	$(GO) test -run '^$$' -bench . -benchtime 1s ./...
	CGO_ENABLED=1 $(GO) test -tags pkcs11 -run '^$$' -bench Batches -benchtime 1s ./batch/hsm/pkcs11
	REEMBOSS_BENCH_ROWS=$(ROWS) $(GO) test -run '^$$' -bench 'Night|Returns' -benchtime 1x -timeout 60m -v ./cmd/reemboss

# A quarter of nights in a row: bureaus that reject, lose, tell late, twice and
# in no order and refuse files, transfers that end nowhere. `make test` runs a tenth of it.
# Then CARDS random cards: a token of SoftHSM and the software agree on every value.
NIGHTS ?= 90
SEED ?= 1
CARDS ?= 1000000
soak:
	REEMBOSS_SOAK_NIGHTS=$(NIGHTS) REEMBOSS_SOAK_ROWS=80 REEMBOSS_SOAK_SEED=$(SEED) $(GO) test -count=1 -run NightsOnEnd -timeout 60m -v ./batch
	CGO_ENABLED=1 REEMBOSS_SOAK_CARDS=$(CARDS) $(GO) test -count=1 -tags pkcs11 -run SoftHSMAgreesWithSoftware -timeout 60m -v ./batch/hsm/pkcs11

# Each fuzz target for FUZZTIME (those whose package and name match FUZZ).
FUZZTIME ?= 5m
FUZZ ?= .
fuzz:
	.ci/fuzz $(FUZZTIME) '$(FUZZ)'

# Every crash point, fault and damaged file instead of the tenth of `make test`; then what was tried and what broke.
# PROVE chooses tests by name.
PROVE ?= .
prove:
	.ci/need
	.ci/prove 30s '$(PROVE)'

clean:
	rm -rf bin
