#!/bin/bash
# A guest is saved and restored, with a file system mounted and load on a disk.
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
ok "it runs, and misses its devices" await save-pv 'restored before its backend'
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
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
