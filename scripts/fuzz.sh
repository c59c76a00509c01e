#!/bin/sh
# Runs every fuzz test, each for the time or the number of executions that is given: scripts/fuzz.sh 5s
#
# The go command sometimes ends a fuzz test in the moment when its time is over with "context deadline exceeded", which is no finding
#: such a one is done again. A finding has written the input down.
set -eu
cd "$(dirname "$0")/.."
time=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT

one() {
	go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 1s "$2" >"$out" 2>&1
}

grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //' | while IFS=: read -r file name; do
	echo "fuzz $file:$name for $time"
	tries=3
	until one "$name" "${file%/*}"; do
		tries=$((tries - 1))
		if [ $tries = 0 ] || grep -q 'Failing input written' "$out" || ! grep -q 'context deadline exceeded' "$out"; then
			cat "$out"
			exit 1
		fi
	done
	grep 'execs:' "$out" | tail -n 1 || true
done
