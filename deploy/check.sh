#!/usr/bin/env bash
# What has to hold of the source, beside the tests: `make check` runs it with the
# packages to be tested under the race detector. That the generated files are
# fresh, and the rules of test/tree, are tests of those packages.
set -euo pipefail
cd "$(dirname "$0")/.."
tags=libvirt_dlopen
tools=$PWD/bin/tools

# Pinned in a module of their own, and built here: nothing comes as a binary.
echo "== tools"
go -C deploy/tools build -o "$tools/" tool
echo "== format"
"$tools/golangci-lint" fmt --diff
echo "== vet and lint"
go vet -tags "$tags,lab" ./...
"$tools/golangci-lint" run
echo "== known vulnerabilities"
if ! out=$("$tools/govulncheck" -tags "$tags" ./... 2>&1); then
	# What cannot be asked is said, and is no failure of the source.
	case $out in
	*"fetching vulnerabilities"* | *"dial tcp"* | *"no such host"*) echo "not checked, for the database cannot be reached: ${out##*$'\n'}" ;;
	*)
		echo "$out"
		exit 1
		;;
	esac
fi
echo "== modules"
go mod verify
go mod tidy -diff
echo "== tests"
go test -tags "$tags" ./test/tree ./cmd/...
go test -race -tags "$tags" -timeout 15m "$@"
