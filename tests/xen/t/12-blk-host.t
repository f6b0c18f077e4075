#!/bin/bash
# What lies below a disk: zones, errors, slowness, a power cut, and a guest that ends in mid-write.
# limit: 600
# long: 200 guests that end in mid-write
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

crashes=1
[[ ! ${LONG-} ]] || crashes=200

dom0_script <<'EOS'
cd /root && modprobe loop && modprobe dm-flakey && modprobe dm-delay
# 16 zones of 4 MiB, two of them conventional, in memory.
modprobe null_blk nr_devices=0 && mount -t configfs none /sys/kernel/config 2>/dev/null
n=/sys/kernel/config/nullb/zoned
mkdir $n && cd $n && echo 64 >size && echo 4 >zone_size && echo 2 >zone_nr_conv && echo 4096 >blocksize &&
	echo 1 >memory_backed && echo 1 >zoned && echo 1 >power
cd /root
for d in flaky slow; do
	truncate -s 8M $d.img && back=$(losetup -f --show $d.img) && echo $back >$d.back
	dmsetup create --noudevsync $d --table "0 16384 linear $back 0"
done
dmsetup mknodes # no udev here
truncate -s 1M limited.img
EOS
zoned=$(dom0 'cd /dev; ls -d zoned nullb* 2>/dev/null | head -n 1')
# below NAME TABLE: from now on that is the device of NAME; what is under way to it is dropped if need be
below() {
	dom0 "back=\$(cat /root/$1.back); dmsetup suspend --noudevsync --noflush --nolockfs $1 &&
		dmsetup load $1 --table \"${2//BACK/\$back}\" && dmsetup resume --noudevsync $1"
}
worker() { json "d[\"host/virtio/$1\"][\"worker\"][\"pid\"]"; }
# killed ID: its worker, and there is another
killed() {
	local pid
	pid=$(worker "$1")
	dom0 "kill -9 $pid" && until_dom0 30 "vgrant list --json host | grep -q '\"pid\": *[0-9]' &&
		! vgrant list --json host | grep -q '\"pid\": *$pid\b'"
}

# Waits for a word of ours between its steps: for a file that the agent makes.
cat >"$T/host.main" <<'EOS'
told() { while [ ! -e /tmp/$1 ]; do usleep 50000; done; }
put() { dd if=/dev/zero of=$1 bs=4k seek=$2 count=1 conv=fsync,notrunc oflag=direct 2>/dev/null; }
get() { dd if=$1 of=/dev/null bs=4k skip=$2 count=1 iflag=direct 2>/dev/null; }
zoned=$(disk zoned) flaky=$(disk flaky) slow=$(disk slow) limited=$(disk limited)
q=/sys/block/${zoned#/dev/}/queue
check "a zoned disk is one" [ "$(cat $q/zoned)" = host-managed -a "$(cat $q/nr_zones)" = 16 ]
check "its blocks are the host's" [ "$(cat $q/logical_block_size)" = 4096 ]
zones $zoned 16 2
check "a disk works" put $flaky 1
say at-errors
told errors
check "the disk below fails: a write is an error" sh -c "! dd if=/dev/zero of=$flaky bs=4k seek=2 count=1 conv=fsync,notrunc oflag=direct 2>/dev/null"
check "and a read" sh -c "! dd if=$flaky of=/dev/null bs=4k skip=3 count=1 iflag=direct 2>/dev/null"
say at-mended
told mended
check "it works again: reads" get $flaky 3
check "and writes" put $flaky 4
check "a slow disk, whose worker is killed: no error" sh -c "say() { echo \$*; }; say at-slow; aio $slow verify 4096-16384 8 4"
check "a disk at its limit is written" dd if=/dev/zero of=$limited bs=4k count=32 oflag=direct
say at-cut
i=8
while [ ! -e /tmp/end ]; do
	i=$((i + 1))
	printf 'block %-4090s' $i | dd of=$flaky bs=4k seek=$i count=1 conv=fsync,notrunc 2>/dev/null && echo "durable $i"
done
EOS
{ guest_kit && echo 'main() {' && cat "$T/host.main" && echo 'echo @end; }; main </dev/null &'; } >"$T/main"
push "$T/main" /rig/host.main
dom0 "chmod 755 /rig/host.main; guest make host --type pv --memory 256 --vgrant yes --module virtio_blk \
	--file /rig/bin/zones:rig/bin/zones --file /rig/bin/aio:rig/bin/aio --main /rig/host.main --config \"vgrant = [
	'blk,target=/dev/$zoned,serial=zoned', 'blk,target=/dev/mapper/flaky,serial=flaky',
	'blk,target=/dev/mapper/slow,serial=slow', 'blk,target=/root/limited.img,serial=limited,bps=64K,iops-read=10000,limit-group=g' ]\""
ok "vgrantd starts" vgrantd_start
ok "a guest is created" guest start host

ok "zones, of the host's device" await host '^at-errors'
below flaky '0 16384 error'
dom0 'guest run host touch /tmp/errors'
ok "the disk below fails" await host '^at-mended'
like "$(dom0 vgrant list host)" '/dev/mapper/flaky fails: Input/output error; the guest saw an I/O error [0-9]+ s ago' \
	"vgrant list says which, and why"
is "$(json '(d["host/virtio/65"]["failed"]["io"] >= 2, d["host/virtio/65"]["counters"]["errors"] == d["host/virtio/65"]["failed"]["io"])')" \
	"(True, True)" "and they are counted as what they are"
below flaky '0 16384 linear BACK 0'
below slow '0 16384 delay BACK 0 100'
dom0 'guest run host touch /tmp/mended'
ok "load on a slow disk" await host '^at-slow'
ok "its worker is killed in the middle" killed 66
ok "the guest gets on to the end" await host '^at-cut' 300
like "$(dom0 vgrant list -v host)" 'has waited [0-9]+ times at its limit' "one disk was held to its limit"
like "$(dom0 vgrant list -v host)" 'write +[0-9]+, on average [0-9]+ us, 50 % within' "and how long operations took is kept"
ok "a limit is changed while the guest runs" dom0 vgrant set host 67 bps=1G

# Power cut: what was acknowledged after a flush is there. From a certain moment on nothing that anybody
# writes arrives on the disk, whose cache in dom0 is lost, too.
ok "durable writes" await host '^durable [0-9]{2}'
durable=$(dom0 'guest console host' | tr -d '\r' | sed -n 's/^durable //p' | tail -n 1)
below flaky '0 16384 flakey BACK 0 0 3600 1 drop_writes'
ok "the guest is gone, too" dom0 xl destroy host
until_dom0 60 '! vgrant list --brief | grep -q .'
is "$(dom0 "dmsetup remove --noudevsync flaky; losetup -d \$(cat flaky.back); cd /root
	for i in \$(seq 9 $durable); do dd if=flaky.img bs=4k skip=\$i count=1 2>/dev/null | grep -aq \"^block \$i \" || echo \$i; done")" \
	"" "power is cut after $durable writes with fsync: all of them are there"
verdicts "host: " < <(dom0 'guest console host | grep -a ^@' | tr -d '\r')

# A guest ends in mid-write: its file system's journal is replayed, and each file that it had synced is there.
cat >"$T/crash.main" <<'EOS'
mount -t ext4 $(disk fs) /mnt
i=0
while :; do
	i=$((i + 1))
	seq $i $((i + 2000)) | dd of=/mnt/f$i bs=4k conv=fsync 2>/dev/null && echo "synced $i"
	[ $i -lt 12 ] || rm -f /mnt/f$((i - 12))
done
EOS
dom0 'cd /root && truncate -s 32M fs.img && mkfs.ext4 -q -F fs.img'
quick crash --type pv --script "$T/crash.main" --config "vgrant = [ 'blk,target=/root/fs.img,serial=fs' ]"
lost=
for ((n = 1; n <= crashes; n++)); do
	dom0 'rm -f /var/log/xen/console/guest-crash.log'
	guest start crash >/dev/null
	await crash '^synced ([2-9]|1[0-9])$' >/dev/null || lost+="crash $n: nothing synced; "
	dom0 "sleep 0.$((RANDOM % 10)); xl destroy crash"
	until_dom0 60 '! vgrant list --brief | grep -q .'
	lost+=$(dom0 'cd /root; n=$(guest console crash | tr -d "\r" | sed -n "s/^synced //p" | tail -n 1)
		e2fsck -p fs.img >/tmp/fsck 2>&1; [ $? -le 1 ] || { echo "e2fsck: "; cat /tmp/fsck; }
		mkdir -p m && mount -o loop fs.img m || echo "it does not mount"
		i=$((n > 11 ? n - 10 : 1))
		for i in $(seq $i $n); do seq $i $((i + 2000)) | cmp -s - m/f$i || echo "f$i of $n "; done
		rm -f m/f*; umount m; e2fsck -fn fs.img >/dev/null 2>&1 || echo "not clean"')
done
is "$lost" "" "a guest that ends in mid-write, $crashes times: every file that it had synced is there"
ok "vgrantd stops" vgrantd_stop
dom0 'dmsetup remove --noudevsync slow; losetup -D; rmdir /sys/kernel/config/nullb/zoned'
done_testing
