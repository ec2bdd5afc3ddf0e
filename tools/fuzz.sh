#!/usr/bin/env bash
# Runs every fuzz target of all modules, one at a time: tools/fuzz.sh RUNS_EACH
# A count, as 50000x, and no time: until Go 1.27 the end of a time can fail a target that
# found nothing (golang/go#75804).
set -euo pipefail
cd "$(dirname "$0")/.."

targets=$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort || true)
while IFS=: read -r file func; do
	[ -n "$file" ] || continue
	name=${func#func }
	printf '%s: %s %s\n' "$(dirname "$file")" "$name" "$1"
	go test -C "$(dirname "$file")" -run='^$' -fuzz="^$name\$" -fuzztime="$1" -fuzzminimizetime=1s . </dev/null
done <<<"$targets"
