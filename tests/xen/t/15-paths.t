#!/bin/bash
# Data by every path: pool, pool that is full, pool and direct grants in one request, mapped; each verified.
# limit: 600
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

dom0 'cd /root; for g in pv pvh; do for d in pool map; do truncate -s 8M $g-$d.img; done; done'

# The module reads its parameters when it makes a device's pool.
cat >"$T/paths.main" <<'EOS'
count() { cat "/sys/block/${1#/dev/}/device/../$2"; }
again() {
	echo $1 >/sys/module/virtio_grant/parameters/pool_pages
	echo $2 >/sys/module/virtio_grant/parameters/pool_threshold
	for d in /sys/bus/xen/drivers/virtio_grant/virtio-*; do
		echo ${d##*/} >/sys/bus/xen/drivers/virtio_grant/unbind
		echo ${d##*/} >/sys/bus/xen/drivers/virtio_grant/bind
	done
	pool=$(disk pool) map=$(disk map)
}
# verified DISK DEPTH SIZES: written in random order at that depth, read back, every word compared
verified() { aio $1 verify $3 $2 2; }
pool=$(disk pool) map=$(disk map)
# A request of 8 KiB and its header do not fit into two pages, however fast the backend is.
check "pool of 2 pages, requests of 4 to 16 KiB" verified $pool 32 4096-16384
say "pooled $(count $pool pooled), full $(count $pool pool_full), granted $(count $pool granted), bounced $(count $pool bounced)"
check "it was used" [ $(count $pool pooled) -gt 20 ]
check "it was full, and buffers were granted instead" [ $(count $pool pool_full) -gt 100 ]
# What shares its page with others is granted as a copy, from the bounce pool.
check "each of those" [ $(($(count $pool granted) + $(count $pool bounced))) -ge $(count $pool pool_full) ]
check "requests of 512 bytes to 256 KiB with it" verified $pool 16 512-262144
check "threads that read back what they wrote" sh -c "hammer $pool 4 1 8 | grep done"

again 256 2048
check "headers and status in the pool, data by grants" verified $pool 32 4096-65536
check "both were used" [ $(count $pool pooled) -gt 200 -a $(count $pool granted) -gt 200 ]
check "and it was never full" [ $(count $pool pool_full) = 0 ]

again 64 131072
check "all in the pool" verified $pool 8 4096-4096
check "not one buffer was granted" [ $(count $pool granted) = 0 ]

again 0 16384
check "no pool" [ $(count $map pool_pages) = 0 -a $(count $map pooled) = 0 ]
check "requests of 1 MiB, mapped" verified $map 4 1048576-1048576
check "requests of 512 bytes to 1 MiB, mapped or copied" verified $map 16 512-1048576
hammer $map 8 1 4 | tee /tmp/hammer
check "threads that read back what they wrote" grep -q done /tmp/hammer
EOS
make_guest() {
	local name=$1
	shift
	{ guest_kit && echo 'main() {' && cat "$T/paths.main" && echo 'echo @end; }; main </dev/null &'; } >"$T/main"
	push "$T/main" /rig/paths.main
	dom0 "chmod 755 /rig/paths.main; guest make $name $* --memory 256 --vgrant yes --file /rig/bin/aio:rig/bin/aio \
		--file /rig/bin/hammer:rig/bin/hammer --main /rig/paths.main \
		--append 'virtio_grant.pool_pages=2 virtio_grant.pool_threshold=16384' \
		--config \"vgrant = [ 'blk,target=/root/$name-pool.img,serial=pool',
			'blk,target=/root/$name-map.img,serial=map,map-from=64K' ]\""
}
make_guest pv --type pv
make_guest pvh --type pvh --kernel backports
ok "vgrantd starts" vgrantd_start
before=$(holds)
guest start pv
guest start pvh
harvest pv 400
harvest pvh 400
for g in pv pvh; do
	diag "$g: $(dom0 "guest console $g | grep -a ^pooled" | tr -d '\r')"
	is "$(json "(lambda x: [x[\"maps\"] > 30, x[\"mapped_pages\"] > 1500, x[\"copied_bytes\"] > 10000])(
		d[\"$g/virtio/65\"][\"xen\"])")" "[True, True, True]" "$g: large requests were mapped, the others copied"
	# Since the guest's disk came for the last time: its control page, and a ring in three parts.
	is "$(json "(lambda x: x[\"maps\"] - x[\"unmaps\"])(d[\"$g/virtio/65\"][\"xen\"])")" 4 \
		"$g: all but control page and ring was unmapped"
	sum=$(dom0 "guest console $g | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r' | tail -n 1)
	is "$(dom0 hammer --sum /root/$g-map.img 8)" "$sum" "$g: dom0 finds in the image what was written"
done
is "$(json '[k for k in d if d[k]["counters"]["faults"] or d[k]["counters"]["errors"] or d[k]["worker"]["restarts"]]')" \
	"[]" "no fault, no error, no restart anywhere"
is "$(dom0 'for g in pv pvh; do guest console $g | grep -ac "Grant still in use"; done' | tr '\n' ' ')" "0 0 " \
	"and no guest found a grant still in use"
guest destroy pv pvh
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds what it held before"
ok "vgrantd stops" vgrantd_stop
done_testing
