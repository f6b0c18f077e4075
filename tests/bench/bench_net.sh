#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench_net.sh - a network card over vhost-user: frames, CPU time and system calls
#
# One bare client (net_client.c) sends frames through the back-end to its TAP, or from
# there to itself, with some of them out at a time; all in a network namespace of its
# own. Short frames are of no protocol, so that the host's stack does little with them;
# long ones are TCP's, to be cut into segments. Of ROUNDS the one with the least CPU
# time a frame counts. How many system calls the worker makes of a frame is counted by
# strace, in a run of its own: timing is another there.
#
# Prints a table, and writes build/bench/net.json, an array of objects: name, value,
# unit, peer, peer_value, ratio. There is no peer: the numbers are for comparing two
# versions of this, by BUILD=, the folder of the other one's vgrant-vhost-user.
#
#   tests/bench/bench_net.sh [-q]     (-q: one round, short)
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-2} rounds=${ROUNDS:-3}
[[ ${1-} != -q ]] || seconds=0.5 rounds=1
if [[ ! ${BENCH_NET_INSIDE-} ]]; then
	mkdir -p build/bench
	make -s --no-print-directory VARIANT=release build/release/vgrant-vhost-user build/release/libtesthelp.a
	read -ra libs < <(pkg-config --libs liburing json-c libseccomp libcap-ng)
	"${CC:-cc}" -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -Ifrontend-glue/include -Wall -Wextra -Werror \
		-o build/bench/net_client tests/bench/net_client.c \
		build/release/libtesthelp.a build/release/libvgrant.a "${libs[@]}" -lpthread
	if ! unshare -n true 2>/dev/null || [[ ! -c /dev/net/tun ]]; then
		echo "bench_net: this takes root and /dev/net/tun; left out"
		exit 0
	fi
	BENCH_NET_INSIDE=1 exec unshare -n "$0" "$@"
fi

work=$(mktemp -d /tmp/vgrant-bench.XXXXXX)
pid=
cleanup() {
	[[ ! $pid ]] || kill "$pid" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap cleanup EXIT
serve() {
	"${BUILD:-build/release}/vgrant-vhost-user" --socket-path "$work/s" "net,vifname=bench0,bridge=,mac=02:00:00:00:00:02" 2>"$work/log" &
	pid=$!
	for _ in {1..100}; do
		# Not a child that only sees what it may do: the worker, once it has settled.
		[[ ! -S $work/s ]] || { sleep 0.3; server=$(pgrep -P "$pid") && return; }
		sleep 0.05
	done
	cat "$work/log" >&2
	return 1
}
stop() {
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	pid=
	rm -f "$work/s"
}
# run WAY BYTES BURST: frames, frames a second, CPU microseconds a frame
run() { build/bench/net_client "$work/s" "$server" "$1" bench0 "$2" "$3" "$seconds" || { cat "$work/log" >&2; return 1; }; }

shapes=("tx 60 1" "tx 60 8" "tx 60 64" "tx 2910 2" "tx 64000 1" "tx 64000 8"
	"rx 60 1" "rx 60 8" "rx 60 64" "rx 64000 1" "rx 64000 8")
declare -A cpu rate calls
for _ in $(seq "$rounds"); do
	for shape in "${shapes[@]}"; do
		serve
		# shellcheck disable=SC2086 # three words
		read -r _ r c < <(run $shape)
		stop
		if [[ ! ${cpu[$shape]-} ]] || awk "BEGIN { exit !($c < ${cpu[$shape]}) }"; then
			cpu[$shape]=$c rate[$shape]=$r
		fi
	done
done
for shape in "${shapes[@]}"; do
	calls[$shape]=null
	command -v strace >/dev/null || continue
	serve
	strace -f -c -U calls,name -o "$work/calls" -p "$server" 2>/dev/null &
	tracer=$!
	sleep 0.5
	# shellcheck disable=SC2086 # three words
	read -r n _ < <(run $shape)
	stop
	wait $tracer 2>/dev/null || true
	calls[$shape]=$(awk -v n="$n" '$2 == "total" { printf "%.2f", $1 / n }' "$work/calls")
done

json=build/bench/net.json
echo "[" >$json
comma=
printf '%-40s %10s %14s %20s\n' "vhost-user-net" "frames/s" "CPU us/frame" "system calls/frame"
for shape in "${shapes[@]}"; do
	read -r way bytes burst <<<"$shape"
	name="$way of $bytes bytes, $burst out"
	printf '%-40s %10s %14s %20s\n' "$name" "${rate[$shape]}" "${cpu[$shape]}" "${calls[$shape]}"
	printf '%s  {"name": "vhost-user-net %s: CPU time a frame", "value": %s, "unit": "us", "peer": "none", "peer_value": null, "ratio": null},\n' "$comma" "$name" "${cpu[$shape]}" >>$json
	printf '  {"name": "vhost-user-net %s: system calls a frame", "value": %s, "unit": "1", "peer": "none", "peer_value": null, "ratio": null}' "$name" "${calls[$shape]:-null}" >>$json
	comma=$',\n'
done
printf '\n]\n' >>$json
