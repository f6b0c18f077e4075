#!/bin/bash
# Every way to configure a disk; what is wrong is told, and harms nothing else; attach and detach.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

dom0_script <<'EOS'
cd /root && modprobe loop && losetup -D
rm -f none.img # as a second run in one dom0 needs it
for i in good adopted disk one two hot; do truncate -s 8M $i.img; mkfs.ext4 -q -F $i.img; done
truncate -s 1000001 odd.img
mkfifo fifo 2>/dev/null
losetup /dev/loop1 disk.img
EOS

cat >"$T/forms.main" <<'EOS'
good=$(disk good) adopted=$(disk adopted)
check "made and adopted disks are there" [ -b "$good" -a -b "$adopted" ]
# It has no serial number to be waited for.
for try in $(seq 300); do
	third=$(cd /dev && ls -d vd[a-z] | sed 's,^,/dev/,' | grep -vx -e "$good" -e "$adopted")
	[ "$third" ] && break
	usleep 100000
done
check "and xl's disk, and no other" [ $(echo $third | wc -w) = 1 ]
for d in $good $adopted $third; do
	check "$d takes files" sh -c "mount -t ext4 $d /mnt && seq 1000 >/mnt/numbers && umount /mnt"
done
say forms done
hot=$(disk hot)
check "an attached disk appears" mount -t ext4 $hot /mnt
seq 1000 >/mnt/numbers
sync
say hot mounted
while [ -e /sys/block/${hot#/dev/} ]; do usleep 100000; done
check "detached under its mount it goes, and reports errors" sh -c '! { seq 1000 >/mnt/more && sync -f /mnt/more; }'
umount -l /mnt
check "the others live on" sh -c "mount -t ext4 $good /mnt && md5sum /mnt/numbers && umount /mnt"
hot=$(disk again)
check "a disk can be attached after that" [ -b "$hot" ]
EOS
quick forms --type pv --script "$T/forms.main" --config 'uuid = "12345678-1111-2222-3333-444444444444"' \
	--config "virtio = [ 'backend=0,type=virtio,device2,transport=mmio,grant_usage=1' ]" \
	--config "disk = [ 'format=raw,vdev=xvda,access=rw,backendtype=standalone,specification=virtio,target=/dev/loop1' ]" \
	--config "vgrant = [ 'blk,target=/root/adopted.img,serial=adopted', 'blk,target=/root/good.img,serial=good' ]"

# Everything that is wrong, around one that is right.
cat >"$T/bad.main" <<'EOS'
one=$(disk one)
check "the good one among bad ones works" sh -c "mount -t ext4 $one /mnt && seq 1000 >/mnt/numbers && umount /mnt"
EOS
quick bad --type pv --script "$T/bad.main" --config "vgrant = [
	'blk,target=/root/none.img',
	'blk,target=/root',
	'blk,target=/root/fifo',
	'blk,target=/dev/null',
	'blk,target=/root/two.img,colour=red',
	'blk',
	'blk,target=/root/two.img,queues=many',
	'drum,target=/root/two.img',
	',,=',
	'blk,target=/root/good.img',
	'blk,target=/root/one.img,serial=one',
	'blk,target=/root/one.img,serial=one',
	'blk,target=/root/odd.img' ]"

ok "vgrantd starts" vgrantd_start
before=$(holds)
ok "xl create with virtio=[...] and disk=[...]" guest start forms
ok "xl create with nonsense in vgrant=[...]" guest start bad
ok "all forms serve" await forms '^forms done'
harvest bad

is "$(devices forms)" "forms virtio/0 blk connected
forms virtio/64 blk connected
forms virtio_disk/51712 blk connected" "the entry with a node of xl's is adopted, the other one made, the disk served"
is "$(json '[d["forms/"+n]["origin"] for n in ("virtio/0","virtio/64","virtio_disk/51712")]')" \
	"['config', 'config', 'xl-disk']" "and vgrant list says where each is from"
list=$(dom0 vgrant list bad)
for want in \
	'none.img does not exist' '/root is a directory' 'fifo is neither a file' '/dev/null is neither a file' \
	'colour' 'target' 'queues=many' "device 'drum'" 'good.img is in use' 'one.img is in use' 'odd.img .* no multiple'; do
	like "$list" "$want" "vgrant list tells of: $want"
done
log=$(vgrantd_log)
for want in 'none.img does not exist' 'colour' "device 'drum'" 'one.img is in use'; do
	like "$log" "guest bad.*$want" "and the log of: $want"
done
diag "$list"
like "$(devices bad)" 'bad virtio/7[45] blk connected' "the good one is connected"
# The two whose image somebody else holds are opened again for ten seconds, before they have failed.
until_dom0 60 '[ $(vgrant list --brief bad | cut -f 4 | grep -cx failed) = 12 ]'
is "$(devices bad | grep -c ' failed$')" 12 "the other twelve failed"
dom0 'truncate -s 8M /root/none.img; pkill -HUP -ox vgrantd'
ok "a device that failed is tried again at SIGHUP" until_list 'bad virtio/64 blk connected'
is "$(dom0 'xl shutdown bad; for i in $(seq 100); do xl domid bad >/dev/null 2>&1 || exit; sleep 0.5; done; echo stays' 2>&1 |
	grep -v '^Shutting down domain')" "" "xl shutdown ends it, without complaint"

nok "attach refuses what is wrong" dom0 vgrant attach forms blk,target=/root/none2.img
is "$(dom0 'vgrant attach forms blk,target=/root/two.img,colour=red 2>&1; echo $?' | tail -n 1)" 1 "and what it does not know"
nok "and a guest that is not there" dom0 vgrant attach nobody blk,target=/root/two.img
out=$(dom0 vgrant attach forms blk,target=/root/hot.img,serial=hot 2>&1)
like "$out" 'device [0-9]+ of forms' "attach says which device it made"
id=$(sed -n 's/.*device \([0-9]*\) of.*/\1/p' <<<"$out" | tail -n 1)
ok "the guest mounts it" await forms '^hot mounted'
ok "it is detached under the mount" dom0 vgrant detach forms "$id"
until_dom0 30 "! vgrant list --brief forms | grep -q virtio/$id"
is "$(dom0 "xenstore-ls -f /local/domain/0/backend/virtio | grep -c /$id/")" 0 "its nodes are gone"
ok "another one is attached" dom0 vgrant attach forms blk,target=/root/two.img,serial=again
harvest forms
is "$(dom0 "debugfs -R 'cat numbers' /root/hot.img 2>/dev/null | md5sum")" "$(seq 1000 | md5sum)" \
	"what was synced before it was pulled out is on it"

is "$(dom0 xl destroy forms 2>&1)" "" "xl destroy has nothing to complain about"
until_dom0 30 '! vgrant list --brief | grep -q .'
ok "xl create FILE name=..." dom0 'xl create -q -p /etc/xen/forms.cfg name=\"second\"'
ok "the file is known by its uuid" until_list '^second virtio/64 blk'
is "$(dom0 xl destroy second 2>&1)" "" "it can be destroyed"
until_dom0 30 '! vgrant list --brief | grep -q .'
dom0 'mkdir -p /srv/any && grep -v "^\(uuid\|disk\|virtio\) *=" /etc/xen/forms.cfg >/srv/any/forms.cfg'
ok "xl create FILE name=..., elsewhere and without uuid" dom0 'cd /srv/any && xl create -q -p forms.cfg name=\"third\" "vgrant=[\"rng\"]"'
ok "the file is known by what xl was told, and so is what it sets" until_list '^third virtio/64 rng'
like "$(dom0 vgrant list -v third)" '/srv/any/forms.cfg' "vgrant list says where it lies"
vgrantd_stop
dom0 xl destroy third
ok "xl create without vgrantd" dom0 'cd /srv/any && xl create -q -p forms.cfg name=\"third\" "vgrant=[\"rng\"]"'
vgrantd_start
ok "which learns of it later, by where xl was called" until_list '^third virtio/64 rng'
dom0 'xl destroy third; rm -r /srv/any'
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
is "$(dom0 'xenstore-ls -f /local/domain/0/backend | grep -E "virtio(_disk)?/[0-9]"')" "" "no node of any guest is left"
is "$(dom0 'grep -il "error\|timed out" /var/log/xen/xl-*.log')" "" "xl's log has no error either"
dom0 losetup -D
for i in good adopted disk; do
	is "$(dom0 "debugfs -R 'cat numbers' /root/$i.img 2>/dev/null | md5sum")" "$(seq 1000 | md5sum)" "$i.img has the file"
done
done_testing
