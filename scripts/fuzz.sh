#!/bin/sh
# Runs every fuzz test of this repository, each for TIME: a duration, or a number of executions as in 100x. The first that
# finds something is the last.
set -u
time=$1
log=$(mktemp)
trap 'rm -f "$log" "$log.status"' EXIT

# Some are about files. Those are in memory where there is a place for that, which is ten times quicker; programs are not,
# for they might not be executed there.
export GOTMPDIR="${GOTMPDIR:-${TMPDIR:-/tmp}}"
if test -d /dev/shm && test -w /dev/shm; then
	export TMPDIR=/dev/shm
fi

for f in $(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //'); do
	name=${f##*:}
	echo "fuzz $name in ${f%/*} for $time"
	{
		# Else most of a short time goes into making one input smaller.
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 1s "${f%/*}" 2>&1
		echo $? >"$log.status"
	} | tee "$log"
	read -r status <"$log.status"
	test "$status" = 0 && continue
	# Before Go 1.27 the end of the time is taken for a failure now and then: go.dev/issue/75804. A real one has left its input.
	grep -q 'Failing input' "$log" && exit 1
	grep -q '^    context deadline exceeded$' "$log" || exit 1
	echo "fuzz $name: its time ended, nothing was found"
done
