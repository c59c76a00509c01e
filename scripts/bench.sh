#!/bin/sh
# Measures hob against floors in C and in bare Go; see docs/performance.md. Everything is built
# and run in a temporary directory. Arguments go to bench, and so does what BENCHFLAGS holds: -short for a quick look
# whether all of it works, -only crash,log for some of it, -h for the rest. With -peers it is other tools that hob is measured against.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
work=$(cd "$work" && pwd -P)
trap 'rm -rf "$work"' EXIT
# bench ends what it started and then itself; only then may its directory go.
trap : HUP INT TERM

cc=${CC:-cc}
for program in client floor worker; do
  "$cc" -O2 -static -o "$work/$program" "bench/testdata/$program.c" || {
    echo "bench: needs a C compiler and a static libc (gcc libc6-dev, musl-dev or glibc-static)" >&2
    exit 1
  }
done
CGO_ENABLED=0
export CGO_ENABLED
go build -trimpath -o "$work/" ./cmd/client/hob ./cmd/daemon/hobd ./bench ./bench/loop
go test -c -o "$work/bench.test" ./bench

unset HOB_PROJECT HOB_NO_SPAWN HOB_STATE_DIR HOB_DAEMON
# shellcheck disable=SC2086 # it holds several
"$work/bench" -bin "$work" -work "$work/run" ${BENCHFLAGS:-} "$@"
