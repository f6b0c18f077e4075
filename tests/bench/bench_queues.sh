#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench_queues.sh - what more queues, and threads that serve them, do for a disk
#
# The bare client of bench_vhost.sh keeps 32 requests in flight, on 1, 2 and 4 queues;
# the back-end serves them in as many threads. The shapes are interleaved, ROUNDS times,
# and the best round of each counts. The client is one thread, which fills one
# processor: where it is the limit, or where there are fewer processors than threads,
# more threads cannot gain. What one then sees is what they cost.
#
# Writes build/bench/queues.json, an array of objects: name, value, unit, peer,
# peer_value, ratio; the peer is ourselves with one queue and one thread.
#
#   tests/bench/bench_queues.sh [-q]     (-q: one round)
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/release
seconds=${SECONDS_EACH:-2} rounds=${ROUNDS:-3} total=32
[[ ${1-} != -q ]] || seconds=1 rounds=1
mkdir -p build/bench
make -s --no-print-directory VARIANT=release $build/vgrant-vhost-user $build/vgrant $build/libtesthelp.a
read -ra libs < <(make -s --no-print-directory ldlibs)
"${CC:-cc}" -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -Ifrontend-glue/include -Wall -Wextra -Werror \
	-o build/bench/vhost_client tests/bench/vhost_client.c \
	build/release/libtesthelp.a build/release/libvgrant.a "${libs[@]}" -lpthread

work=$(mktemp -d /tmp/vgrant-bench.XXXXXX)
pid=
cleanup() {
	[[ ! $pid ]] || kill "$pid" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap cleanup EXIT
dd if=/dev/urandom of="$work/image" bs=4096 count=$(((256 << 20) / 4096)) status=none

# Start a back-end with so many queues and threads; its process goes to $server.
serve() { # QUEUES
	$build/vgrant-vhost-user --socket-path "$work/s" "blk,target=$work/image,queues=$1,threads=$1" 2>"$work/log" &
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

declare -A iops cpu
for _ in $(seq "$rounds"); do
	for op in read write; do
		for n in 1 2 4; do
			serve $n
			read -r i c _ < <(build/bench/vhost_client "$work/s" "$server" $op 4096 $((total / n)) "$seconds" $n)
			stop
			((i <= ${iops[$op $n]:-0})) || iops[$op $n]=$i cpu[$op $n]=$c
		done
	done
done

json=build/bench/queues.json
echo "[" >$json
comma=
printf '%-40s %10s %12s   %s\n' "vhost-user-blk, 4 KiB, 32 in flight" IOPS "CPU us/req" "IOPS to one queue's"
for op in read write; do
	for n in 1 2 4; do
		ratio=$(awk "BEGIN{printf \"%.2f\", ${iops[$op $n]} / ${iops[$op 1]}}")
		printf '%-40s %10s %12s   %s\n' "$op, queues=$n threads=$n" "${iops[$op $n]}" "${cpu[$op $n]}" "$ratio"
		printf '%s  {"name": "vhost-user-blk %s 4 KiB, %s queues and threads: IOPS", "value": %s, "unit": "1/s", "peer": "one queue, one thread", "peer_value": %s, "ratio": %s}' \
			"$comma" "$op" "$n" "${iops[$op $n]}" "${iops[$op 1]}" "$ratio" >>$json
		comma=$',\n'
	done
done
printf '\n]\n' >>$json
