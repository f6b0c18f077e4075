#!/bin/bash
# A stock Debian boots with its root file system on a vgrant disk.
# not arm64: DKMS and initramfs-tools run on arm64 alone, and this machine cannot run its programs
# needs: debian
# limit: 900
set -uo pipefail
# shellcheck source=tests/xen/lib.bash
. "$(dirname "$0")/../lib.bash"

ok "vgrantd starts" vgrantd_start
guest make debian --type pv --memory 512 \
	--image /rig/debian/kernel --initrd /rig/debian/initrd.img \
	--append "$(dom0 cat /rig/debian/cmdline)" \
	--config "vgrant = [ 'blk,target=/rig/debian/root,serial=ROOT' ]"
ok "the guest is created" guest start debian
like "$(guest wait debian 600 'guest: .* is up')" 'root on /dev/vda' "Debian is up, its root on /dev/vda"
is "$(guest run debian 'cat /sys/block/vda/serial')" ROOT "which is our disk"
like "$(guest run debian 'cat /proc/cmdline; findmnt -no OPTIONS /')" 'rw' "it is mounted writable"
like "$(guest run debian 'modinfo -n virtio_grant')" 'updates/dkms/virtio_grant.ko' "by the module that DKMS installed"
# shellcheck disable=SC2016 # the guest expands these
ok "files written there are read back" guest run debian \
	'cd /root && dd if=/dev/urandom of=f bs=1M count=8 conv=fsync 2>/dev/null && a=$(md5sum <f) && echo 3 >/proc/sys/vm/drop_caches && test "$(md5sum <f)" = "$a"'
ok "and systemd is content" guest run debian 'systemctl is-system-running --wait | grep -qx running || { systemctl --failed; false; }'
ok "xl shutdown ends it in order" guest shutdown debian 240
ok "its root file system is clean" dom0 'blockdev --flushbufs /rig/debian/root 2>/dev/null; e2fsck -fn /rig/debian/root'
ok "vgrantd stops" vgrantd_stop
done_testing
