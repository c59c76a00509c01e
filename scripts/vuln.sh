#!/bin/sh
# Runs govulncheck, TOOL ARG…, and fails on what it finds. Its database is on the network: where that can't be reached,
# this says so and is content, so that a check can be made offline.
out=$("$@" 2>&1)
status=$?
printf '%s\n' "$out"
case $status,$out in
	1,*"fetching vulnerabilities: "*)
		echo "vuln: NOT CHECKED: the database of known vulnerabilities can't be reached from here" >&2
		status=0
		;;
esac
exit $status
