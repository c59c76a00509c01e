#!/bin/sh
# Verifies docs/model with Spin: every run of docs/model/runs, or, with the argument short, those that are marked so. A property that
# does not hold, a wrong design without a counter-example, and a search that was not finished end it with status 1. It installs
# nothing. The table and the counter-examples, step by step, are in bin/model afterwards.
#
#   sh scripts/model.sh [short | full | NAME OF A RUN]
set -eu
cd "$(dirname "$0")/.."
root=$PWD
models=$root/docs/model
which=${1:-full}

# check NUMBER: the run of that line of docs/model/runs.
check() {
	line=$(sed -n "$1p" "$models/runs")
	set -- "$1" $line
	number=$1 model=$3 look=$4 want=$5 name=$6
	shift 6
	dir=$work/$number
	mkdir "$dir"
	cd "$dir"
	cp "$models/$model.pml" .
	level=-O2
	[ "$which" = short ] && level=-O1
	flags="-DCOLLAPSE -DNOREDUCE -DMEMLIM=6000 -w $level"
	began=$(date +%s)
	case $look,$want in
	safety,holds) flags="$flags -DSAFETY -DNOCLAIM" args="-m2000000" ;;
	safety,*) flags="$flags -DSAFETY -DNOCLAIM -DBFS" args= ;;
	*) flags="$flags -DNFAIR=3" args="-a -f -m2000000 -N $look" && set -- -DLTL "$@" ;;
	esac
	{
		spin -a "$@" "$model.pml" >spin.out 2>&1 && ! grep -q Error spin.out && ${CC:-cc} $flags -o pan pan.c 2>cc.out && ./pan $args >pan.out 2>&1
	} || true
	touch pan.out
	[ -e pan ] || cat spin.out cc.out 2>/dev/null || true
	got=$(verdict)
	case $look,$want in
	safety,holds | safety,P*) good=$want ;;
	*,holds) good=holds ;;
	*) good=cycle ;;
	esac
	said=ok
	[ "$got" = "$good" ] || said=WRONG
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out)
	seconds=$(($(date +%s) - began))
	trail "$@"
	printf '%-5s %-8s %-6s %-8s %-34s %12s states %4d s\n' "$said" "$model" "$look" "$want" "$name" "${states:-?}" "$seconds"
	[ $said = ok ] || printf '      found: %s; see bin/model/%s.txt\n' "$got" "$name"
	[ "$want" = holds ] && words="holds" || words="**breaks $want**"
	printf '| %s | %s | %s | %s | `%s` | %s | %s |\n' "$name" "$model" "$look" "$words" "$*" "${states:-?}" "$seconds" >"$work/$number.row"
	[ $said = ok ] || : >"$work/wrong"
	cd "$work"
	rm -rf "$dir"
}

# verdict is holds, the property that an assertion names, cycle, or another word.
verdict() {
	if ! grep -q 'errors: ' pan.out; then
		echo "no result"
	elif grep -q 'errors: 0' pan.out; then
		if grep -Eq 'Search not completed|search depth too small|out of memory|memory limit|time limit' pan.out; then
			echo "search not finished"
		else
			echo holds
		fi
	elif grep -q 'acceptance cycle' pan.out; then
		echo cycle
	elif grep -q 'assertion violated' pan.out; then
		sed -n 's/^pan:.*assertion violated[ (]*\([A-Z][0-9][a-z]*\)||.*/\1/p' pan.out | head -n 1
	else
		sed -n 's/^pan:[0-9]*: //p' pan.out | head -n 1
	fi
}

# trail keeps the counter-example: what happened, without indents, and what Spin says at its end.
trail() {
	if [ -e "$model.pml.trail" ]; then
		{
			echo "$name: $look, $*"
			spin -t "$@" "$model.pml" 2>&1 | sed -n '/^ltl /d; /^spin: warning/d; s/^[ \t]*//; /^spin: trail ends/q; /^Starting /d; p'
		} >"$root/bin/model/$name.txt" || true
	elif [ $said = WRONG ]; then
		cat spin.out pan.out >"$root/bin/model/$name.txt"
	fi
}

if [ "$which" = -check ]; then
	work=$2 which=$3
	check "$4"
	exit
fi

missing=
command -v spin >/dev/null 2>&1 || missing="$missing spin"
command -v "${CC:-cc}" >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ -n "$missing" ]; then
	echo "model: missing:$missing; on Debian and Ubuntu: apt-get install$missing" >&2
	exit 1
fi

case $which in
short | full) lines=$(awk -v short="$which" '/^(short|full)/ && (short == "full" || $1 == "short") { print NR }' "$models/runs") ;;
*) lines=$(awk -v name="$which" '/^(short|full)/ && $5 == name { print NR }' "$models/runs") ;;
esac
if [ -z "$lines" ]; then
	echo "model: there is no run \"$which\" in docs/model/runs" >&2
	exit 2
fi

mkdir -p bin/model
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
began=$(date +%s)
jobs=$( (getconf _NPROCESSORS_ONLN || echo 2) 2>/dev/null)
[ "$jobs" -le 4 ] || jobs=4 # each may need a gigabyte
echo "$lines" | xargs -P "$jobs" -n 1 sh "$root/scripts/model.sh" -check "$work" "$which" || : >"$work/wrong"
{
	echo '| run | model | looked for | result | defines | states | s |'
	echo '|---|---|---|---|---|---|---|'
	for n in $lines; do cat "$work/$n.row" 2>/dev/null || : >"$work/wrong"; done
} >bin/model/table.md
echo "model: $(echo "$lines" | wc -l | tr -d ' ') runs in $(($(date +%s) - began)) s; the table and the counter-examples are in bin/model"
if [ -e "$work/wrong" ]; then
	echo "model: not as docs/model says" >&2
	exit 1
fi
