#!/bin/sh
# Measures hob against floors in C and in bare Go; see docs/performance.md. Everything is built
# and run in a temporary directory. Arguments go to bench: -runs N, -herd N, -herds N, -rounds N.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
work=$(cd "$work" && pwd -P)
trap 'rm -rf "$work"' EXIT
# bench ends what it started and then itself; only then may its directory go.
trap : HUP INT TERM

cc=${CC:-cc}
for program in client floor; do
  "$cc" -O2 -static -o "$work/$program" "bench/testdata/$program.c" || {
    echo "bench: needs a C compiler and a static libc (gcc libc6-dev, musl-dev or glibc-static)" >&2
    exit 1
  }
done
CGO_ENABLED=0
export CGO_ENABLED
go build -trimpath -o "$work/" ./cmd/client/hob ./cmd/daemon/hobd ./bench
go test -c -o "$work/bench.test" ./bench

unset HOB_PROJECT HOB_NO_SPAWN HOB_STATE_DIR HOB_DAEMON
mkdir -p "$work/tmp" "$work/run/project/.git"
"$work/bench" -bin "$work" -work "$work/run" "$@"
