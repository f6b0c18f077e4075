#!/bin/bash
# What lies below a disk: zones, errors, slowness, no space, a power cut; and a guest that ends in mid-write.
# limit: 900
# long: 200 guests (CRASHES) that end in mid-write
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

crashes=2
[[ ! ${LONG-} ]] || crashes=${CRASHES:-200}

dom0_script <<'EOS'
cd /root && modprobe loop && modprobe dm-mod && modprobe dm-flakey && modprobe dm-delay && modprobe dm-log-writes
# 16 zones of 4 MiB, two of them conventional, in memory.
modprobe null_blk nr_devices=0 && mount -t configfs none /sys/kernel/config 2>/dev/null
n=/sys/kernel/config/nullb/zoned
mkdir $n && cd $n && echo 64 >size && echo 4 >zone_size && echo 2 >zone_nr_conv && echo 4096 >blocksize &&
	echo 1 >memory_backed && echo 1 >zoned && echo 1 >power
cd /root
for d in flaky slow cut log; do
	truncate -s 8M $d.img && back=$(losetup -f --show $d.img) && echo $back >$d.back
	table="linear $back 0"
	[ $d != log ] || { truncate -s 8M entries && table="log-writes $back $(losetup -f --show entries)"; }
	dmsetup create --noudevsync $d --table "0 16384 $table"
done
dmsetup mknodes # no udev here
truncate -s 1M limited.img
mkdir -p full && mount -t tmpfs -o size=4M none full && truncate -s 8M full/full.img
EOS
zoned=$(dom0 'cd /dev; ls -d zoned nullb* 2>/dev/null | head -n 1')
# below NAME TABLE: that is the device of NAME from here on; BACK in it is what it was made of
below() {
	dom0 "back=\$(cat /root/$1.back); dmsetup load $1 --table \"${2//BACK/\$back}\" &&
		dmsetup suspend --noudevsync --noflush --nolockfs $1 && dmsetup resume --noudevsync $1"
}
worker() { json "d[\"host/virtio/$1\"][\"worker\"][\"pid\"]"; }
# killed ID: its worker is, and there is another
killed() {
	local pid
	pid=$(worker "$1")
	dom0 "kill -9 $pid" && until_dom0 60 "vgrant list --json host | grep -q '\"pid\": *[0-9]' &&
		! vgrant list --json host | grep -q '\"pid\": *$pid\b'" && until_list "host virtio/$1 blk connected"
}

# Waits between its steps for a file, that the agent makes.
cat >"$T/host.main" <<'EOS'
told() { while [ ! -e /tmp/$1 ]; do usleep 50000; done; }
put() { dd if=/dev/zero of=$1 bs=4k seek=$2 count=1 conv=fsync,notrunc oflag=direct 2>/dev/null; }
get() { dd if=$1 of=/dev/null bs=4k skip=$2 count=1 iflag=direct 2>/dev/null; }
not() { ! "$@"; }
zoned=$(disk zoned) flaky=$(disk flaky) slow=$(disk slow) limited=$(disk limited) full=$(disk full) cut=$(disk cut) log=$(disk log)
q=/sys/block/${zoned#/dev/}/queue
check "a zoned disk is one" [ "$(cat $q/zoned) $(cat $q/nr_zones)" = "host-managed 16" ]
check "its blocks are the host's" [ "$(cat $q/logical_block_size)" = 4096 ]
zones $zoned 16 2
check "a disk works" put $flaky 1
check "an image is written as long as there is space" put $full 1
dd if=/dev/zero of=$full bs=64k count=64 oflag=direct 2>/dev/null
check "then a write is an error" not put $full 1500
check "and what is there can be read" get $full 1
say at-errors
told errors
check "the disk below fails: a write is an error" not put $flaky 2
check "and a read" not get $flaky 3
say at-mended
told mended
check "it works again: reads" get $flaky 3
check "and writes" put $flaky 4
check "there is space again" put $full 1500
# Few blocks, written over and over: a write that a worker which was killed had begun, and which lands
# after a later one, is seen.
hammer $slow 1 10000 4 | tee /tmp/slow
check "a slow disk, whose worker is killed: every write read back" grep -q done /tmp/slow
check "a disk at its limit is written" dd if=/dev/zero of=$limited bs=4k count=32 oflag=direct
say at-cut
i=8
while [ ! -e /tmp/end ]; do
	i=$((i + 1))
	printf 'block %-4090s' $i >/tmp/block
	for d in $cut $log; do
		dd if=/tmp/block of=$d bs=4k seek=$i count=1 conv=fsync,notrunc oflag=direct 2>/dev/null || break 2
	done
	say "durable $i"
done
EOS
install -D "$IMAGE/products/zones" "$T/own/rig/bin/zones"
chmod 755 "$T/own/rig/bin"
quick host --type pv --script "$T/host.main" --config "vgrant = [
	'blk,target=/dev/$zoned,serial=zoned', 'blk,target=/dev/mapper/flaky,serial=flaky',
	'blk,target=/dev/mapper/slow,serial=slow', 'blk,target=/root/limited.img,serial=limited,bps=64K,iops-read=10000,limit-group=g',
	'blk,target=/root/full/full.img,serial=full', 'blk,target=/dev/mapper/cut,cache=writeback,serial=cut',
	'blk,target=/dev/mapper/log,serial=log' ]"
ok "vgrantd starts" vgrantd_start
ok "a guest is created" guest start host

ok "zones, and a host without space" await host '^at-errors'
is "$(dom0 "grep -h VmPin /proc/$(worker 65)/status /proc/$(worker 67)/status" | xargs)" "VmPin: 512 kB VmPin: 0 kB" \
	"with direct I/O a worker has its memory pinned, once; without, none"
like "$(dom0 vgrant list host)" 'full\.img fails: No space left on device; the guest saw an I/O error [0-9]+ s ago' \
	"vgrant list says so"
below flaky '0 16384 error'
guest run host 'touch /tmp/errors'
ok "the disk below fails" await host '^at-mended'
like "$(dom0 vgrant list host)" '/dev/mapper/flaky fails: Input/output error; the guest saw an I/O error [0-9]+ s ago' \
	"vgrant list says which, and why"
is "$(json '[(f["io"] > 1, f["space"] > 0, sum(f.values()) == d[k]["counters"]["errors"]) for k in ("host/virtio/65", "host/virtio/68") for f in [d[k]["failed"]]]')" \
	"[(True, False, True), (False, True, True)]" "and errors are counted as what they are"
below flaky '0 16384 linear BACK 0'
below slow '0 16384 delay BACK 0 100'
dom0 mount -o remount,size=16M /root/full
guest run host 'touch /tmp/mended'
ok "load on a slow disk" await host '^hammer: at [1-9][0-9]'
for i in 1 2; do ok "its worker is killed in the middle: $i" killed 66; done
ok "the load goes on" pulse host
guest run host 'touch /run/hammer.stop'
ok "the guest gets on to the end" await host '^at-cut'
like "$(dom0 vgrant list -v host)" 'has waited [0-9]+ times at its limit' "one disk was held to its limit"
like "$(dom0 vgrant show host 67)" 'write' "and how long operations took is kept"
ok "a limit is changed while the guest runs" dom0 vgrant set host 67 bps=1G

# Power cut: what was acknowledged after a flush is there. Of one disk, by way of dom0's page cache, nothing
# arrives any more from a certain moment on; of the other there is a log, into which a write comes when the
# disk was told to flush, or with the word that it be durable.
ok "durable writes" await host '^durable [2-9][0-9]'
durable=$(dom0 'guest console host' | tr -d '\r' | sed -n 's/^durable //p' | tail -n 1)
below cut '0 16384 flakey BACK 0 0 3600 1 drop_writes'
dom0 dmsetup message log 0 mark cut
ok "the guest is gone, too" dom0 xl destroy host
until_dom0 60 '! vgrant list --brief | grep -q .'
dom0 'dmsetup remove --noudevsync cut; dmsetup remove --noudevsync log; sync'
is "$(dom0 "cd /root; for i in \$(seq 9 $durable); do dd if=cut.img bs=4k skip=\$i count=1 2>/dev/null | grep -aq \"^block \$i \" || echo \$i; done")" \
	"" "power is cut after $((durable - 8)) writes with fsync: all of them are there"
pull /root/entries "$T/entries"
# Documentation/admin-guide/device-mapper/log-writes.rst of Linux: a superblock, then entries, each in a
# sector of its own with its data behind; flag 4 is a discard, which has none, 8 a mark.
is "$(python3 - "$T/entries" "$durable" <<'EOS'
import struct, sys
log = open(sys.argv[1], "rb").read()
there, at, marked = set(), 512, False
for _ in range(struct.unpack_from("<Q", log, 16)[0]):
    sector, count, flags, length = struct.unpack_from("<4Q", log, at)
    if flags & 8 and log[at + 32:at + 32 + length].startswith(b"cut"):
        marked = True
        break
    at += 512
    if flags & 4:
        continue
    there |= {sector // 8 for text in [log[at:at + 16]] if text.startswith(b"block %d " % (sector // 8))}
    at += count * 512
print(marked, [i for i in range(9, int(sys.argv[2]) + 1) if i not in there])
EOS
)" "True []" "and of all of them the disk below was told to make them durable"
verdicts "host: " < <(dom0 'guest console host | grep -a ^@' | tr -d '\r')

# A guest ends in mid-write: its file system's journal is replayed, and each file that it had synced is there.
cat >"$T/crash.main" <<'EOS'
mount -t ext4 $(disk fs) /mnt
i=0
while :; do
	i=$((i + 1))
	seq $i $((i + 2000)) | dd of=/mnt/f$i bs=4k conv=fsync 2>/dev/null && echo "synced $i"
	[ $i -lt 21 ] || rm -f /mnt/f$((i - 20))
done
EOS
dom0 'cd /root && truncate -s 32M fs.img && mkfs.ext4 -q -F fs.img'
quick crash --type pv --script "$T/crash.main" --config "vgrant = [ 'blk,target=/root/fs.img,serial=fs' ]"
lost=
for ((n = 1; n <= crashes; n++)); do
	guest start crash >/dev/null
	await crash '^synced ([2-9]|1[0-9])$' >/dev/null || lost+="crash $n: nothing synced; "
	lost+=$(dom0 "sleep 0.$((RANDOM % 1000)); xl destroy crash"'
		for i in $(seq 120); do vgrant list --brief | grep -q . || break; sleep 0.5; done
		cd /root; n=$(guest console crash | tr -d "\r" | sed -n "s/^synced //p" | tail -n 1)
		e2fsck -p fs.img >/tmp/fsck 2>&1; [ $? -le 1 ] || { echo "e2fsck: "; cat /tmp/fsck; }
		mkdir -p m && mount -o loop fs.img m || echo "it does not mount"
		for i in $(seq $((n > 10 ? n - 10 : 1)) $n); do seq $i $((i + 2000)) | busybox cmp -s - m/f$i || echo "f$i of $n "; done
		rm -f m/f*; umount m; e2fsck -fn fs.img >/dev/null 2>&1 || echo "not clean"')
done
is "$lost" "" "a guest that ends in mid-write, $crashes times: every file that it had synced is there"
ok "vgrantd stops" vgrantd_stop
dom0 'dmsetup remove --noudevsync slow; dmsetup remove --noudevsync flaky; losetup -D; umount full; rmdir /sys/kernel/config/nullb/zoned'
done_testing
