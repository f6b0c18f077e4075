#!/bin/bash
# vgrant doctor: what is broken on purpose in a running dom0 is named, and mended as it says; nothing when all is well.
# limit: 400
# Text in single quotes is expanded in dom0.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# doctor [GUEST]: its findings, a line each: "id|subject|what|mend"
doctor() {
	dom0 "timeout 60 vgrant doctor --json ${1-} 2>/dev/null" >"$T/doctor"
	python3 -c 'import json,sys
for f in json.load(sys.stdin)["findings"]: print("|".join(f[k] for k in ("id", "subject", "what", "mend")))' <"$T/doctor" ||
		cat "$T/doctor"
}
# well NAME
well() { is "$(doctor)" "" "all is well: $1"; }
# sees NAME REGEX: the one finding there is
sees() {
	doctor >"$T/said"
	like "$(<"$T/said")" "^$2" "$1 is seen"
	is "$(wc -l <"$T/said")" 1 "and nothing else"
}
# mended: what the finding says is typed, up to the first comma, semicolon or word for people
mended() { dom0 "$(cut -d'|' -f4 "$T/said" | sed 's/^[^:]*the guest: //; s/[,;].*//')"; }

dom0 'cd /root; truncate -s 4M well.img tight.img'
quick well --type pv --config "vgrant = [ 'blk,target=/root/well.img' ]"
quick tight --type pv --config "max_grant_frames = 2" --config "vgrant = [ 'blk,target=/root/tight.img,queues=4,queue-size=512' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)
well "a dom0 without guests"
guest start well
ok "a guest has a disk" until_list '^well virtio/64 blk connected' "$BOOT"
well "with a guest"
is "$(dom0 vgrant doctor well)" "0 findings; looked at this domain, 1 guest and 1 device" "it says so in a line"

# ---- a guest ---------------------------------------------------------------------

guest start tight
ok "a guest with a small grant table is there" until_list '^tight virtio/64 blk connected' "$BOOT"
sees "a grant table too small for the queues that are configured" \
	'grants\|guest tight\|it can grant 1024 pages \(max_grant_frames of 2\), and its devices need 2081: 64 blk 2073\|write max_grant_frames = 6 into /etc/xen/tight.cfg'
is "$(doctor well)" "" "which is not the other guest's"
guest destroy tight
dom0 "sed -i 's/^max_grant_frames.*/max_grant_frames = 6/' /etc/xen/tight.cfg"
guest start tight
until_list '^tight virtio/64 blk connected' "$BOOT"
well "the guest has what it says"
# Its keys it may still write: the device that is connected does not see it, and the next one would.
dom0 'd=$(xl domid well); xenstore-chmod /local/domain/$d/device/virtio/64 n0 r$d'
sees "a node that the guest may not write" 'xenstore-permission\|guest well\|domain [0-9]* may not write /local/domain/[0-9]*/device/virtio/64 in xenstore'
ok "it is mended" mended
well "the guest may write it"
dom0 'vgrant attach well blk,target=/root/nothing,id=70 2>/dev/null'
sees "a disk without an image" 'device-failed\|device virtio/70 of well\|/root/nothing'
dom0 'vgrant detach well 70; mkdir -p /small; mount -t tmpfs -o size=24m tmpfs /small; truncate -s 20M /small/x.img
	vgrant attach well blk,target=/small/x.img,id=71 >/dev/null'
until_list '^well virtio/71 blk connected'
well "an image that may grow"
dom0 'dd if=/dev/zero of=/small/fill bs=1M count=20 2>/dev/null'
sees "a full file system below it" 'space\|device virtio/71 of well\|the file system of /small/x.img has 4.0 MiB left'
dom0 'vgrant detach well 71 && umount /small && rmdir /small'
dom0 'vgrant attach well rng,id=72,backend=tight >/dev/null'
sees "a device that waits for a domain without vgrantd" 'unserved\|guest well\|nobody serves its device 72: it waits for domain'
dom0 'xenstore-rm /local/domain/$(xl domid tight)/backend/virtio; xenstore-rm /local/domain/$(xl domid well)/device/virtio/72'
well "it is gone"
guest destroy tight
# No xl stays beside it, and others may write to the file.
dom0 "sed 's/^name.*/name = \"bare\"/; /^vgrant/,\$ d' /etc/xen/well.cfg >/root/bare.cfg; chmod 666 /root/bare.cfg; xl create -q -p -e /root/bare.cfg"
well "a guest whose file nobody finds may have none of ours"
like "$(doctor bare)" '^unconfigured\|guest bare\|no file in /etc/xen/auto, /etc/xen says name = "bare"' "but who asks is told"
dom0 "mv /root/bare.cfg /etc/xen/bare.cfg; chmod 644 /etc/xen/bare.cfg; echo \"vgrant = [ 'rng' ]\" >>/etc/xen/bare.cfg"
sees "a guest that has not what its file says" 'unconfigured\|guest bare\|it has no devices, and /etc/xen/bare.cfg has 1\|[^|]*systemctl reload vgrantd'
dom0 'pkill -HUP -ox vgrantd'
ok "which is mended by a reload" until_list '^bare virtio/64 rng'
well "the guest has its device"
dom0 'xl destroy bare; rm /etc/xen/bare.cfg'
until_dom0 30 '! vgrant list --brief | grep -q bare'

# ---- the kernel, and Xen -----------------------------------------------------------

dom0 'mv /dev/xen/gntdev /dev/xen/away'
sees "the grant device is gone" 'device-missing\|this domain\|/dev/xen/gntdev is not there\|modprobe xen-gntdev'
dom0 'mv /dev/xen/away /dev/xen/gntdev; echo 16 >/sys/module/xen_gntdev/parameters/limit'
sees "a limit of it" 'gntdev-limit\|this domain\|the kernel maps 16 grants at a time'
ok "it is mended" mended
dom0 'sysctl -qw kernel.io_uring_disabled=2'
sees "io_uring is forbidden" 'io-uring\|'
ok "it is mended" mended
well "the kernel is as before"
was=$(dom0 'xenhypfs cat /params/gnttab_max_maptrack_frames')
dom0 'xenhypfs write /params/gnttab_max_maptrack_frames 100'
sees "too few mappings for one guest" 'maptrack\|this domain\|one guest may have 98304 pages mapped .*lets a domain map 25600'
dom0 "xenhypfs write /params/gnttab_max_maptrack_frames $was"

# ---- xenstored, files, vgrantd -------------------------------------------------------

# It goes on by itself, too: whatever hangs here, nothing else does. And it takes no more connections than two that wait.
dom0 'pkill -STOP -x xenstored; (for i in $(seq 60); do sleep 1; [ -e /tmp/go-on ] && break; done; pkill -CONT -x xenstored) </dev/null >/dev/null 2>&1 &
	rm -f /tmp/go-on; for i in 1 2 3; do (xenstore-read domid </dev/null >/dev/null 2>&1 &); done'
doctor >"$T/said"
dom0 'pkill -CONT -x xenstored; touch /tmp/go-on'
like "$(<"$T/said")" 'xenstored\|this domain\|xenstored has not answered for 5 s' "a xenstored that hangs is seen"
dom0 'echo "name = \"open\"" >/etc/xen/open.cfg; chmod 666 /etc/xen/open.cfg'
sees "a configuration that anybody may write" 'file\|this domain\|.*/etc/xen/open.cfg'
dom0 'rm /etc/xen/open.cfg; mkdir -p /etc/vgrant; printf "[limits]\ndevices = many\n" >/etc/vgrant/vgrantd.conf'
sees "a setting that is wrong" 'settings\|this domain\|/etc/vgrant/vgrantd.conf:2: '
dom0 'rm /etc/vgrant/vgrantd.conf'
dom0 "sed -i 's|/root/well.img|/root/other.img|' /etc/xen/well.cfg"
sees "a configuration that the next start will not like" 'configuration\|guest well\|/etc/xen/well.cfg:[0-9]*:[0-9]*: .*/root/other.img'
dom0 "sed -i 's|/root/other.img|/root/well.img|' /etc/xen/well.cfg"
well "all is mended"
ok "vgrantd stops" vgrantd_stop
sees "no vgrantd" 'vgrantd\|this domain\|vgrantd does not run'
nok "its exit status says that there are findings" dom0 vgrant doctor
ok "vgrantd starts" vgrantd_start
ok "the guest goes on" until_list '^well virtio/64 blk connected'
well "at the end"
guest destroy well
until_dom0 60 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
