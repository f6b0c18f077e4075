#!/bin/bash
# A guest is saved and restored, with a file system mounted and load on a disk.
# not arm64: Xen has no save and restore of guests there
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

dom0 'cd /root; truncate -s 4M load.img; truncate -s 16M save.img && mkfs.ext4 -q -F save.img'
cat >"$T/save.main" <<'EOS'
save=$(disk save) load=$(disk load)
check "the file system mounts" mount -t ext4 $save /mnt
seq 1000 >/mnt/before
hammer $load 4 10000 | tee /tmp/out
check "every write read back, before and after" grep -q done /tmp/out
check "the file from before is there" [ "$(md5sum </mnt/before)" = "$(seq 1000 | md5sum)" ]
seq 2000 >/mnt/after
check "it unmounts" umount /mnt
EOS
quick save-pv --type pv --memory 128 --script "$T/save.main" --config "vgrant = [
	'blk,target=/root/save.img,serial=save', 'blk,target=/root/load.img,serial=load,packed=0' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)
guest start save-pv
ok "load" await save-pv '^hammer: at [1-9]'
out=$(dom0 'timeout 120 xl save save-pv /root/save.chk 2>&1; echo status $?')
like "$out" 'status 0$' "xl save"
nok "which ends the domain" dom0 xl domid save-pv
ok "its devices are gone" until_dom0 30 '! vgrant list --brief | grep -q .'
# xl runs it before vgrantd has made any node, and xenbus looks for a resumed device's backend once.
dom0 'pkill -STOP -o vgrantd'
out=$(dom0 'timeout 120 xl restore /etc/xen/save-pv.cfg /root/save.chk 2>&1; echo status $?')
like "$out" 'status 0$' "xl restore"
ok "it runs, and misses its devices" until_dom0 60 "guest run save-pv 'dmesg' | grep -q 'restored before its backend'"
dom0 'pkill -CONT -o vgrantd'
ok "its devices connect again" until_list 'save-pv virtio/65 blk connected'
ok "the load goes on" pulse save-pv
guest run save-pv 'touch /run/hammer.stop'
harvest save-pv
sum=$(dom0 "guest console save-pv | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r')
is "$(dom0 hammer --sum /root/load.img 4)" "$sum" "dom0 finds in the image what was written"
is "$(dom0 xl destroy save-pv 2>&1)" "" "xl destroy has nothing to complain about"
ok "the file system is clean" dom0 e2fsck -fn /root/save.img
is "$(dom0 "debugfs -R 'cat after' /root/save.img 2>/dev/null | md5sum")" "$(seq 2000 | md5sum)" "and has what was written after"

# A disk and a bridge that the guest had are no more where it is restored: it loses those two, and nothing else.
# The card's driver sets its queues' affinity on the way, of a device that is being given up.
dom0 'cd /root; truncate -s 4M lost.img kept.img; modprobe -a tun bridge; ip link add lostbr type bridge && ip link set lostbr up'
guest make lost-pv --type pv --memory 128 --vcpus 2 --append slub_debug=F --vgrant yes --file /rig/bin/aio:rig/bin/aio --module virtio_net --module virtio-rng --config "vgrant = [
	'blk,target=/root/lost.img,serial=lost,queues=2', 'blk,target=/root/kept.img,serial=kept', 'net,bridge=lostbr,queues=2', 'rng', 'console' ]"
guest start lost-pv
ok "a guest with two disks and a card" await lost-pv 'waiting for commands'
ok "all are connected" until_dom0 60 '[ $(vgrant list --brief lost-pv | grep -c connected) = 5 ]'
is "$(guest run lost-pv 'cat /proc/interrupts' | grep -c -E 'virtio[0-9]+-(in|out)put\.[01]')" 4 "the card has two pairs of queues"
kept=$(guest run lost-pv 'grep -lx kept /sys/block/vd*/serial | cut -d/ -f4')

# Its pool, as it comes: small, as large as what is in flight, small again; and large when the worker dies, and when it is saved.
of_kept() { guest run lost-pv "cat /sys/block/$kept/device/../$1"; }
has_pool() {
	guest run lost-pv 'for i in $(seq 300); do [ $(cat /sys/block/'"$kept"'/device/../pool_pages) = '"$1"' ] && exit; usleep 100000; done; exit 1'
}
busy() { guest run lost-pv "(aio /dev/$kept read 65536 32 1000 </dev/null >/tmp/aio 2>&1 & echo \$! >/tmp/aio.pid)"; }
goes_on() {
	guest run lost-pv 'f=/sys/block/'"$kept"'/device/../pooled; n=$(cat $f); for i in $(seq 300); do
		[ $(cat $f) -gt $((n + 100)) ] && exit; usleep 100000; done; exit 1'
}
# Nobody may reap it: it has ended when it is no program any more.
idle() { guest run lost-pv 'p=$(cat /tmp/aio.pid); kill $p; for i in $(seq 300); do [ -e /proc/$p/exe ] || exit; usleep 100000; done; cat /tmp/aio'; }
is "$(of_kept pool_pages)" 64 "a disk has a pool, of 64 pages"
busy
ok "with 32 requests of 64 KiB in flight it grows to its limit" has_pool 512
dom0 "kill -9 $(json "d['lost-pv/virtio/65']['worker']['pid']")"
ok "the worker is killed, and the load goes on" goes_on
is "$(json "(lambda x: [x['worker']['restarts'], x['counters']['faults'], x['counters']['errors']])(d['lost-pv/virtio/65'])")" "[1, 0, 0]" "with another one, and without an error"
is "$(of_kept pool_pages)" 512 "the pool is as large as it was"
idle
ok "it is small again, once there is nothing to do" has_pool 64
like "$(guest run lost-pv "aio /dev/$kept verify 512-131072 32 2")" 'verified' "every word is where it was written"
busy
ok "it grows again" has_pool 512
like "$(dom0 'timeout 120 xl save lost-pv /root/lost.chk 2>&1; echo status $?')" 'status 0$' "xl save"
dom0 'mv /root/lost.img /root/was.img; ip link del lostbr'
like "$(dom0 'timeout 120 xl restore /etc/xen/lost-pv.cfg /root/lost.chk 2>&1; echo status $?')" 'status 0$' "xl restore without one image, and without the bridge"
ok "its device has failed" until_list 'lost-pv virtio/64 blk failed'
ok "and so has the card" until_list 'lost-pv virtio/66 net failed'
ok "the other one is connected" until_list 'lost-pv virtio/65 blk connected'
ok "random numbers, too" until_list 'lost-pv virtio/67 rng connected'
ok "which the guest reads" guest run -t 60 lost-pv 'head -c 64 /dev/hwrng >/dev/null'
guest run lost-pv 'echo here again >/dev/hvc1'
like "$(dom0 'timeout 20 head -n 1 $(xenstore-read /local/domain/$(xl domid lost-pv)/device/console/68/tty)')" 'here again' "and its console"
ok "the load goes on" goes_on
ok "and its pool has grown anew" has_pool 512
idle
is "$(guest run lost-pv "dd if=/dev/urandom of=/dev/$kept bs=4k count=16 oflag=direct 2>/dev/null && echo written")" written "and is written to"
like "$(guest run lost-pv "aio /dev/$kept verify 512-131072 32 2")" 'verified' "every word is where it was written"
ok "what has failed is detached" dom0 'vgrant detach lost-pv 64 && vgrant detach lost-pv 66'
ok "and gone in the guest" guest run lost-pv 'for i in $(seq 100); do
	[ $(ls /sys/block | grep -c ^vd) = 1 ] && [ "$(ls /sys/class/net)" = lo ] && exit; usleep 100000; done; ls /sys/class/net; exit 1'
dom0 'mv /root/was.img /root/lost.img'
ok "attached again" dom0 'vgrant attach lost-pv blk,target=/root/lost.img,serial=lost'
ok "it connects" until_dom0 60 '[ $(vgrant list --brief lost-pv | grep -c connected) = 4 ]'
is "$(complaints lost-pv slab)" "" "the guest's kernel has nothing to say"
dom0 xl destroy lost-pv
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
