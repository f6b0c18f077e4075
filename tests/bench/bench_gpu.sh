#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench_gpu.sh - our virtio-gpu over vhost-user beside QEMU's own, both shown by QEMU's VNC server
#
# Two machines of QEMU's, in emulation, alike but for the device: virtio-gpu-pci, and vhost-user-gpu-pci
# with vgrant-vhost-user behind it. Linux' stock driver paints a screen of 1920x1080 anew, as fast as
# it can (tests/xen/guest/paint.c), and a viewer (tests/xen/view) takes it, pixels as they are. They
# take turns, ROUNDS times; of each the round with the most screens counts.
#
# Screens: pixels that the viewer got, in whole screens, a second. CPU: of QEMU, which is the guest's,
# too, and of the back-end's processes, a screen. Memory: the sum of what these have for themselves, and
# of their shares of what they share (Pss), 256 MiB of the guest's among it.
#
# Writes build/bench/gpu.json, an array of objects: name, value, unit, peer, peer_value, ratio.
#
#   tests/bench/bench_gpu.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/interop/boot.bash
. tests/interop/boot.bash
build=build/release
seconds=${SECONDS_EACH:-5} rounds=${ROUNDS:-2}
mkdir -p build/bench
work=$(mktemp -d /tmp/vgrant-bench.XXXXXX)
pids=()
stop() {
	((${#pids[@]})) || return 0
	kill "${pids[@]}" 2>/dev/null || true
	wait "${pids[@]}" 2>/dev/null || true
	pids=()
}
trap 'stop; rm -rf "$work"' EXIT
find_boot "$work/cache.log" || {
	echo "bench_gpu: $why" >&2
	exit 0
}
find_rig_qemu
make -s --no-print-directory VARIANT=release $build/vgrant-vhost-user $build/view
mkdir "$work/gpu"
"${CC:-cc}" -D_GNU_SOURCE -O2 -static -o "$work/gpu/paint" tests/xen/guest/paint.c
initrd_of "$work/gpu.cpio" tests/bench/gpu-init virtio-gpu

# machine DEVICE...: until it paints; its VNC server is at $port
machine() {
	port=$((5900 + 40 + RANDOM % 50))
	"${rig_qemu[@]}" -machine q35 -accel tcg -cpu max -m 256 -vga none -nodefaults -no-reboot -serial stdio \
		-display none -vnc "127.0.0.1:$((port - 5900))" \
		-object memory-backend-memfd,id=mem,size=256M,share=on -numa node,memdev=mem \
		-kernel "$boot/vmlinuz" -initrd "$work/gpu.cpio" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable mitigations=off" \
		"$@" </dev/null >"$work/log" 2>&1 &
	pids+=($!)
	local end=$((SECONDS + 200))
	until grep -q '^PAINTS' "$work/log"; do
		if ! kill -0 "${pids[-1]}" 2>/dev/null || ((SECONDS >= end)); then
			echo "bench_gpu: the guest does not paint" >&2
			tail -n 20 "$work/log" >&2
			return 1
		fi
		sleep 0.2
	done
}
peer() { machine -device virtio-gpu-pci,xres=1920,yres=1080; }
ours() {
	$build/vgrant-vhost-user --socket-path "$work/s" gpu 2>"$work/back-end.log" &
	pids+=($!)
	until [[ -S $work/s ]]; do sleep 0.05; done
	machine -chardev socket,id=c1,path="$work/s" -device vhost-user-gpu-pci,chardev=c1,xres=1920,yres=1080
}

# Of the processes, and of their children: seconds of CPU; KiB.
all() { pgrep -d ' ' -P "$(IFS=,; echo "${pids[*]}")" || true; }
busy() {
	local p
	for p in "${pids[@]}" $(all); do sed 's/.*) //' "/proc/$p/stat"; done |
		awk -v hz="$(getconf CLK_TCK)" '{ n += $12 + $13 } END { print n / hz }'
}
memory() {
	local p
	for p in "${pids[@]}" $(all); do cat "/proc/$p/smaps_rollup"; done | awk '/^Pss:/ { n += $2 } END { print n }'
}

declare -A best cpu kib
for ((round = 0; round < rounds; round++)); do
	for who in peer ours; do
		$who
		before=$(busy)
		read -r _ frames _ took < <($build/view "$port" frames "$seconds")
		after=$(busy)
		if [[ ! ${best[$who]-} ]] || awk "BEGIN { exit !($frames / $took > ${best[$who]}) }"; then
			best[$who]=$(awk "BEGIN { printf \"%.2f\", $frames / $took }")
			cpu[$who]=$(awk "BEGIN { printf \"%.3f\", $frames ? ($after - $before) / $frames : 0 }")
			kib[$who]=$(memory)
		fi
		stop
		rm -f "$work/s"
	done
done

rows=()
printf '%-44s %10s %10s %8s\n' '' QEMU vgrant ratio
# row NAME UNIT PEER OURS
row() {
	local ratio
	ratio=$(awk "BEGIN { if ($3 > 0) printf \"%.3f\", $4 / $3; else printf \"null\" }")
	printf '%-44s %10s %10s %8s\n' "$1 ($2)" "$3" "$4" "$ratio"
	rows+=("$(printf '{"name":"vhost-user-gpu %s","value":%s,"unit":"%s","peer":"QEMU virtio-gpu","peer_value":%s,"ratio":%s}' "$1" "$4" "$2" "$3" "$ratio")")
}
row 'whole screens of 1080p that a viewer gets' 1/s "${best[peer]}" "${best[ours]}"
row 'processor a screen, the guest included' s "${cpu[peer]}" "${cpu[ours]}"
row 'memory of its processes' KiB "${kib[peer]}" "${kib[ours]}"
(
	IFS=,
	printf '[%s]\n' "${rows[*]}"
) >build/bench/gpu.json
