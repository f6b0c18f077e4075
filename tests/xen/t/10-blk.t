#!/bin/bash
# Disks of a PV and a PVH guest: stock virtio_blk mounts, reads, writes; dom0 finds it in the images.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# A file system made from a real tree: this one's sources, and a large file.
mkdir "$T/tree"
cp -a "$REPO/backend" "$T/tree/"
head -c 1000000 /dev/urandom >"$T/tree/large"
ln -s large "$T/tree/link"
(cd "$T/tree" && find . -type f -exec md5sum {} + >"$T/sums" && mv "$T/sums" ./sums)
push "$T/tree" /root/
dom0_script <<'EOS'
cd /root && modprobe loop
for g in pv pvh; do
	truncate -s 24M $g-tree.img && mkfs.ext4 -q -F -d tree $g-tree.img
	truncate -s 8M $g-raw.img
done
truncate -s 24M loop.img && mkfs.ext4 -q -F loop.img
losetup -D; losetup /dev/loop0 loop.img
# A thin volume: what is discarded there goes back to its pool, in blocks of 64 KiB.
modprobe dm-thin-pool && truncate -s 4M thin.meta && truncate -s 32M thin.data
meta=$(losetup -f --show thin.meta) data=$(losetup -f --show thin.data)
dmsetup create --noudevsync tpool --table "0 65536 thin-pool $meta $data 128 0"
dmsetup mknodes # no udev here
dmsetup message tpool 0 "create_thin 0"
dmsetup create --noudevsync thin --table "0 32768 thin /dev/mapper/tpool 0"
dmsetup mknodes
head -c 1M /dev/urandom >ro.img
md5sum ro.img | cut -c1-32 >ro.sum
EOS
ro_sum=$(dom0 cat /root/ro.sum)

# What a guest does; RAW has several queues and threads.
script() {
	cat <<EOS
tree=\$(disk tree) other=\$(disk other) ro=\$(disk ro) raw=\$(disk raw)
check "four disks, by serial number" [ -b "\$tree" -a -b "\$other" -a -b "\$ro" -a -b "\$raw" ]
check "the file system mounts" mount -t ext4 \$tree /mnt
cd /mnt
check "every file of the tree is as it was" md5sum -c -s sums
check "a link is a link" [ "\$(readlink link)" = large ]
mkdir out && seq 100000 >out/numbers && cp -a backend/devices out/
md5sum <out/numbers >out/sum
check "fsync" fsync_file out/numbers
cd /
check "it unmounts" umount /mnt
check "a read-only disk is read-only" [ "\$(cat /sys/block/\${ro#/dev/}/ro)" = 1 ]
check "and reads right" [ "\$(md5sum <\$ro | cut -c1-32)" = $ro_sum ]
check "it cannot be written" sh -c "! dd if=/dev/zero of=\$ro bs=4k count=1 2>/dev/null"
check "$1 queue(s)" [ "\$(ls /sys/block/\${raw#/dev/}/mq | wc -l)" = $1 ]
check "another file system takes files" sh -c "mount -t ext4 \$other /mnt && seq 50000 >/mnt/numbers && umount /mnt"
check "discard" blkdiscard -o 4194304 -l 1048576 \$raw
hammer \$raw 4 1 4 | tee /tmp/hammer
check "random writes, from four threads, read back" grep -q done /tmp/hammer
EOS
}
fsync_file='fsync_file() { dd if=/dev/zero of="$1.more" bs=4k count=10 conv=fsync 2>&1; }'
{ echo "$fsync_file" && script 2; } >"$T/pv.main"
{ echo "$fsync_file" && script 1 && cat <<'EOS'; } >"$T/pvh.main"
thin=$(disk thin)
check "a thin volume is written" dd if=/dev/urandom of=$thin bs=64k count=64 conv=fsync
check "and a part of it discarded" blkdiscard -o 1048576 -l 2097152 $thin
EOS
disks() {
	echo "vgrant = [ 'blk,target=/root/$1-tree.img,serial=tree$2', 'blk,target=$3,serial=other,packed=0$2',
		'blk,target=/root/ro.img,readonly,serial=ro', 'blk,target=/root/$1-raw.img,serial=raw,queues=$4$5'${6:+, $6} ]"
}
dom0 'truncate -s 24M /root/pvh-other.img && mkfs.ext4 -q -F /root/pvh-other.img'
quick pv --type pv --vcpus 2 --script "$T/pv.main" \
	--config "$(disks pv '' /dev/loop0 2 ',packed=0')"
quick pvh --type pvh --kernel backports --script "$T/pvh.main" \
	--config "$(disks pvh ',direct' /root/pvh-other.img 2 ',queue-size=64' "'blk,target=/dev/mapper/thin,serial=thin'")"

ok "vgrantd starts" vgrantd_start
ok "a PVH guest is created" guest start pvh
ok "a PV guest is created" guest start pv
harvest pv
harvest pvh

is "$(devices pv)" "pv virtio/64 blk connected
pv virtio/65 blk connected
pv virtio/66 blk connected
pv virtio/67 blk connected" "vgrant list shows four devices of the PV guest"
is "$(json '[(q["index"],q["size"],q["running"],q["packed"]) for q in d["pvh/virtio/67"]["queues"]]')" \
	"[(0, 64, True, True)]" "and a packed queue of the PVH guest's, which has but one CPU"
is "$(json '[(q["index"],q["size"],q["running"],q["packed"]) for q in d["pv/virtio/67"]["queues"]]')" \
	"[(0, 256, True, False), (1, 256, True, False)]" "and two split ones of the PV guest's"
is "$(json '[(d["pvh/virtio/66"]["counters"][k]) for k in ("errors","bytes_written","bytes_read")]' |
	sed 's/[0-9]\{7\}\]/many/')" "[0, 0, many" "a read-only disk has been read, and not written"
is "$(json '[k for k in d if d[k]["counters"]["faults"] or d[k]["worker"]["restarts"] or d[k]["error"]]')" \
	"[]" "no fault, no restart, no error anywhere"
is "$(json '[k for k in d if any(q["inflight"] for q in d[k]["queues"])]')" "[]" "nothing is in flight"
is "$(json '[k for k in d if int(d[k]["features"]["negotiated"],16) & ~int(d[k]["features"]["offered"],16)]')" \
	"[]" "only what was offered was negotiated"
is "$(json 'all(sum(q["kicks"] for q in d[k]["queues"]) > 0 for k in d)')" True "each was kicked"
is "$(json 'd["pv/virtio/67"]["counters"]["bytes_written"] >= 4<<20')" True "bytes written are counted"
for g in pv pvh; do
	sum=$(dom0 "guest console $g | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r')
	is "$(dom0 hammer --sum /root/$g-raw.img 4)" "$sum" "$g: dom0 finds in the image what was written"
done

is "$(dom0 'dmsetup status tpool' | cut -d' ' -f6)" "32/512" \
	"of the 64 blocks that were written to a thin volume, the pool has those back that were discarded"
is "$(dom0 "xl destroy pv; xl destroy pvh" 2>&1)" "" "xl destroy has nothing to complain about"
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(dom0 'vgrant list --brief')" "" "no device is left"
is "$(dom0 'xenstore-ls /local/domain/0/backend/virtio 2>&1')" "" "nor a node in xenstore"
is "$(dom0 'ls /run/vgrant | grep record')" '' "nor a record"
ok "the thin volume is nobody's any more" dom0 'dmsetup remove --noudevsync thin && dmsetup remove --noudevsync tpool'
ok "the file systems are clean" dom0 'losetup -D; cd /root
	for i in pv-tree pvh-tree loop pvh-other; do e2fsck -fn $i.img || exit; done'
for g in pv pvh; do
	is "$(dom0 "debugfs -R 'cat out/numbers' /root/$g-tree.img 2>/dev/null | md5sum
		debugfs -R 'cat large' /root/$g-tree.img 2>/dev/null | md5sum
		debugfs -R 'cat out/devices/blk/blk.c' /root/$g-tree.img 2>/dev/null | md5sum")" \
		"$(seq 100000 | md5sum; md5sum <"$T/tree/large"; md5sum <"$T/tree/backend/devices/blk/blk.c")" \
		"$g: dom0 reads the files that the guest wrote"
done
for i in loop pvh-other; do
	is "$(dom0 "debugfs -R 'cat numbers' /root/$i.img 2>/dev/null | md5sum")" "$(seq 50000 | md5sum)" \
		"and those on $i.img"
done
like "$(dom0 'cat /root/*-raw.img | tail -c +4194305 | head -c 1M | tr -d "\0" | wc -c')" '^0$' "discarded blocks read as zeroes"
ok "vgrantd stops" vgrantd_stop
nok "and logged no error" dom0 'grep -E "error|warn" /var/log/vgrantd.log'
done_testing
