#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench_vhost.sh - our vhost-user-blk beside qemu-storage-daemon, on the same image
#
# One bare client (vhost_client.c: same ring, same requests) drives each back-end in
# turn, ROUNDS times, ours and the peer's alternately; of each the round with the
# least CPU time per request counts, since whatever else the machine does only adds.
# The image is a file in the page cache, so that what is measured is the back-end and
# not the disk. It was written in pieces of the request's size: file systems keep what
# came in larger pieces in larger folios, and ext4 walks all of a folio's buffers for
# each write into it, ten times the cost of the write itself.
#
# "bare" is what pread(2) or pwrite(2) of the same file takes, without any back-end:
# the floor under both. The peer runs with io_uring, and with its default, a thread pool: the
# better of the two counts.
#
# Writes build/bench/vhost.json, an array of objects: name, value, unit, peer,
# peer_value, ratio.
#
#   tests/bench/bench_vhost.sh [-q]     (-q: two shapes, one round)
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/release
seconds=${SECONDS_EACH:-2} rounds=${ROUNDS:-3}
shapes=("read 4096 1" "read 4096 32" "write 4096 32" "read 131072 32" "write 131072 32")
if [[ ${1-} == -q ]]; then
	shapes=("read 4096 32" "write 4096 32") rounds=1 seconds=1
fi
mkdir -p build/bench
make -s --no-print-directory VARIANT=release $build/vgrant-vhost-user $build/libtesthelp.a
cc=${CC:-cc}
read -ra libs < <(make -s --no-print-directory ldlibs)
"$cc" -std=gnu11 -O2 -g -D_GNU_SOURCE -I. -Ifrontend-glue/include -Wall -Wextra -Werror \
	-o build/bench/vhost_client tests/bench/vhost_client.c \
	build/release/libtesthelp.a build/release/libvgrant.a "${libs[@]}" -lpthread

work=$(mktemp -d /tmp/vgrant-bench.XXXXXX)
pids=()
cleanup() {
	((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
	wait
	rm -rf "$work"
}
trap cleanup EXIT
# Written, so that no hole is read; and in the page cache.
for bytes in 4096 131072; do
	dd if=/dev/urandom of="$work/image.$bytes" bs=$bytes count=$(((256 << 20) / bytes)) status=none
done

wait_socket() {
	for _ in {1..100}; do
		[[ -S $1 ]] && return
		sleep 0.05
	done
	echo "bench_vhost: $1 does not appear" >&2
	return 1
}

# Start a back-end; its process goes to $server.
ours() { # BYTES
	$build/vgrant-vhost-user --socket-path "$work/s" "blk,target=$work/image.$1" 2>"$work/log" &
	pids=($!)
	wait_socket "$work/s"
	for _ in {1..100}; do
		server=$(pgrep -P "${pids[0]}") && return
		sleep 0.02
	done
}
peer() { # AIO BYTES
	qemu-storage-daemon --blockdev "driver=file,node-name=n,filename=$work/image.$2,aio=$1" \
		--export "type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=$work/s,writable=on" \
		2>"$work/log" &
	pids=($!)
	server=$!
	wait_socket "$work/s"
}
stop() {
	kill "${pids[@]}"
	wait "${pids[@]}" 2>/dev/null || true
	pids=()
	rm -f "$work/s"
}

declare -A best_cpu best_iops best_rate
keep_best() { # KEY IOPS CPU RATE
	if [[ ! ${best_cpu[$1]-} ]] || (($(awk "BEGIN{print ($3 < ${best_cpu[$1]})}"))); then
		best_cpu[$1]=$3 best_rate[$1]=$4
	fi
	if [[ ! ${best_iops[$1]-} ]] || (($2 > best_iops[$1])); then best_iops[$1]=$2; fi
}
# One measurement: best_*[KEY] keep the best of each.
measure() { # KEY OP BYTES DEPTH
	local iops cpu rate
	if [[ $1 == bare* ]]; then
		read -r iops cpu rate < <(build/bench/vhost_client bare "$work/image.$3" "$2" "$3" "$seconds")
	else
		read -r iops cpu rate < <(build/bench/vhost_client "$work/s" "$server" "$2" "$3" "$4" "$seconds") ||
			{ cat "$work/log" >&2; return 1; }
	fi
	keep_best "$1" "$iops" "$cpu" "$rate"
}

have_peer=$(command -v qemu-storage-daemon || true)
for _ in $(seq "$rounds"); do
	for shape in "${shapes[@]}"; do
		read -r _ bytes _ <<<"$shape"
		# shellcheck disable=SC2086 # three words
		{
			measure "bare $shape" $shape
			ours "$bytes"
			measure "ours $shape" $shape
			stop
			[[ $have_peer ]] || continue
			for aio in io_uring threads; do
				peer $aio "$bytes"
				measure "$aio $shape" $shape
				stop
			done
		}
	done
done

# The same through a stock driver: User Mode Linux, dd with O_DIRECT, one request at a time.
uml_shapes=("read 4096 20000" "write 4096 20000" "read 131072 2000" "write 131072 2000")
cpu_ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$server/stat"; }
uml() { # KEY OP BYTES COUNT
	local before after seconds
	before=$(cpu_ticks)
	TMPDIR=/dev/shm timeout 120 build/bench/uml-run linux.uml mem=128M root=/dev/root rootfstype=hostfs \
		hostfs=/ ro init="$PWD/tests/interop/uml-init" con=null con0=fd:0,fd:1 \
		GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX_Usable,-AVX2_Usable,-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW \
		virtio_uml.device="$work/s:2" vgrant_test=bench op="$2" bytes="$3" count="$4" \
		</dev/null >"$work/uml.log" 2>&1 || true
	after=$(cpu_ticks)
	seconds=$(sed -n 's/^SECONDS //p' "$work/uml.log" | tr -d '\r')
	[[ $seconds ]] || { tail -n 5 "$work/uml.log" >&2; return 1; }
	keep_best "$1" "$(awk "BEGIN{printf \"%.0f\", $4 / $seconds}")" \
		"$(awk "BEGIN{printf \"%.3f\", ($after - $before) * 1e6 / $(getconf CLK_TCK) / $4}")" 0
}
have_uml=
if [[ ${1-} != -q ]] && command -v linux.uml >/dev/null && "$cc" -o build/bench/uml-run tests/interop/uml-run.c -lseccomp; then
	have_uml=1
	for _ in $(seq "$rounds"); do
		for shape in "${uml_shapes[@]}"; do
			read -r _ bytes _ <<<"$shape"
			# shellcheck disable=SC2086 # three words
			{
				ours "$bytes"
				uml "uml ours $shape" $shape
				stop
				[[ $have_peer ]] || continue
				peer io_uring "$bytes"
				uml "uml peer $shape" $shape
				stop
			}
		done
	done
fi

json=build/bench/vhost.json
echo "[" >$json
comma=
emit() { # NAME VALUE UNIT PEER PEER_VALUE RATIO
	printf '%s  {"name": "%s", "value": %s, "unit": "%s", "peer": "%s", "peer_value": %s, "ratio": %s}' \
		"$comma" "$1" "$2" "$3" "$4" "$5" "$6" >>$json
	comma=$',\n'
}
printf '%-28s %10s %10s %10s %12s   %s\n' "vhost-user-blk" IOPS "bare us/req" "CPU us/req" "IOPS/CPU s" "peer: IOPS, CPU us/req, IOPS/CPU s; ratio"
for shape in "${shapes[@]}"; do
	read -r op bytes depth <<<"$shape"
	name="$op $((bytes / 1024)) KiB, depth $depth"
	printf '%-28s %10s %10s %10s %12s' "$name" "${best_iops[ours $shape]}" "${best_cpu[bare $shape]}" "${best_cpu[ours $shape]}" "${best_rate[ours $shape]}"
	if [[ $have_peer ]]; then
		aio=io_uring
		(($(awk "BEGIN{print (${best_cpu[threads $shape]} < ${best_cpu[io_uring $shape]})}"))) && aio=threads
		ratio=$(awk "BEGIN{printf \"%.2f\", ${best_cpu[$aio $shape]} / ${best_cpu[ours $shape]}}")
		iops_ratio=$(awk "BEGIN{printf \"%.2f\", ${best_iops[ours $shape]} / ${best_iops[$aio $shape]}}")
		printf '   %s (%s), %s, %s; %s\n' "${best_iops[$aio $shape]}" $aio "${best_cpu[$aio $shape]}" "${best_rate[$aio $shape]}" "$ratio"
		emit "vhost-user-blk $name: requests per CPU second" "${best_rate[ours $shape]}" "1/s" "qemu-storage-daemon" "${best_rate[$aio $shape]}" "$ratio"
		emit "vhost-user-blk $name: CPU time per request" "${best_cpu[ours $shape]}" us "bare system call" "${best_cpu[bare $shape]}" \
			"$(awk "BEGIN{printf \"%.2f\", ${best_cpu[bare $shape]} / ${best_cpu[ours $shape]}}")"
		emit "vhost-user-blk $name: IOPS" "${best_iops[ours $shape]}" "1/s" "qemu-storage-daemon" "${best_iops[$aio $shape]}" "$iops_ratio"
	else
		echo "   (no qemu-storage-daemon)"
		emit "vhost-user-blk $name: requests per CPU second" "${best_rate[ours $shape]}" "1/s" "none" null null
	fi
done
if [[ $have_uml && $have_peer ]]; then
	printf '%-28s %10s %10s   %s\n' "same, User Mode Linux, dd" IOPS "CPU us/req" "peer: IOPS, CPU us/req; ratio of IOPS"
	for shape in "${uml_shapes[@]}"; do
		read -r op bytes depth <<<"$shape"
		name="$op $((bytes / 1024)) KiB, depth 1"
		ratio=$(awk "BEGIN{printf \"%.2f\", ${best_iops[uml ours $shape]} / ${best_iops[uml peer $shape]}}")
		printf '%-28s %10s %10s   %s, %s; %s\n' "$name" "${best_iops[uml ours $shape]}" "${best_cpu[uml ours $shape]}" \
			"${best_iops[uml peer $shape]}" "${best_cpu[uml peer $shape]}" "$ratio"
		emit "User Mode Linux on vhost-user-blk, $name: IOPS" "${best_iops[uml ours $shape]}" "1/s" "qemu-storage-daemon" "${best_iops[uml peer $shape]}" "$ratio"
	done
fi
printf '\n]\n' >>$json
