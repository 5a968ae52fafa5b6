#!/usr/bin/env bash
# Every test: first what needs no guests, then everything together on a lab.
# bin/cairn and the images have to be there: this is what `make test` runs.
set -euo pipefail
cd "$(dirname "$0")/.."
tags=libvirt_dlopen

unformatted=$(gofmt -l .)
if [[ $unformatted ]]; then
	echo "not formatted, run gofmt -w on: $unformatted" >&2
	exit 1
fi
go vet -tags "$tags,lab" ./...
go test -tags "$tags" -timeout 10m ./...
bin/cairn sim --seeds 200

# A run that is stopped half-way leaves no lab behind.
labsDown() {
	for lab in e2e tutorial drift torture hosts move; do bin/cairn lab --name "$lab" down; done
}
trap labsDown EXIT
go test -tags "$tags,lab" -timeout 30m -count 1 -v ./test/e2e
