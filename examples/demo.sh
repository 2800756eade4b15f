#!/bin/sh
# The demonstration of `make demo`: a one-machine cluster in an empty directory, a healthy start, the five
# classic failures with their reasons; then the cluster stays until ctrl-c.
# DEMO_STAY=no ends it after the demonstration (used by the tests).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$here/bin}
dir=$(mktemp -d "${TMPDIR:-/tmp}/argosy-demo.XXXXXX")
export ARGOSY_HOST="unix://$dir/argosy.sock"
PATH=$bin:$PATH
up= other=

end() {
	trap - INT TERM EXIT
	[ -z "$other" ] || kill "$other" 2>/dev/null || true
	if [ -n "$up" ]; then
		kill -TERM "$up" 2>/dev/null || true
		wait "$up" 2>/dev/null || true
	fi
	rm -rf "$dir"
	exit "${1:-0}"
}
trap 'echo; echo "ending the cluster and its units"; end 0' INT TERM
trap 'end $?' EXIT

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ argosy %s\n' "$*"; "$bin/argosy" "$@" && code=0 || code=$?; printf '(exit %s)\n' "$code"; }

mkdir "$dir/units"
for f in "$here"/examples/units/*; do sed "s#@BIN@#$bin#g" "$f" >"$dir/units/$(basename "$f")"; done
cd "$dir/units"

say "A cluster of one machine, in $dir"
"$bin/argosy" up --data "$dir/data" --socket "$dir/argosy.sock" --name demo --stop-units >"$dir/up.log" 2>&1 &
up=$!
tries=0
until "$bin/argosy" version >/dev/null 2>&1 && [ -S "$dir/argosy.sock" ]; do
	tries=$((tries + 1))
	[ $tries -lt 150 ] || { cat "$dir/up.log"; exit 1; }
	sleep 0.1
done
"$bin/hello" -port 8199 >/dev/null 2>&1 &
other=$!

say "Three instances of a web service"
run start 'hello@{1..3}'
say "1. It ends at once, again and again"
run start crash.service
say "2. Its program is not there"
run start missing.service
say "3. It needs more memory than its limit"
run start hungry.service
say "4. Another program holds its port"
run start taken.service
say "5. No machine has room for it"
run start big.service
say "What the cluster says now"
run status
[ "${DEMO_STAY:-yes}" = yes ] || exit 0
cat <<TEXT

The cluster is running. In another terminal, as the same user:

  export ARGOSY_HOST=$ARGOSY_HOST PATH=$bin:\$PATH
  argosy list-units
  argosy why crash
  argosy journal -f 'hello@*'
  argosy stop 'hello@*'

ctrl-c here ends the cluster and its units.
TEXT
wait "$up" || true
