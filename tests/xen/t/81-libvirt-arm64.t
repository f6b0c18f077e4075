#!/bin/bash
# A guest of libvirt's on arm64, with devices in its metadata: defined, started, changed, ended.
# only: arm64
# limit: 600
# What libvirt does the same everywhere is for 80-libvirt.t.
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
# shellcheck source=tests/xen/t/libvirt.bash
. "$(dirname "$0")/libvirt.bash"

libvirt_there
quick lv --type pv
ok "vgrantd starts" vgrantd_start
dom0 virtlogd -d
ok "libvirtd has its Xen driver" in_dom0 libvirtd_begin
ok "vgrantd is connected" until_dom0 60 "grep -q 'libvirt: connected to xen:///system' /var/log/vgrantd.log"
before=$(holds)
virsh capabilities >"$T/capabilities"
like "$(<"$T/capabilities")" "<arch name='aarch64'>" "it knows the architecture"
diag "$(grep -E 'os_type|<arch|machine|domain type' "$T/capabilities")"
ok "a guest is defined" define lv 11111111-2222-3333-4444-555555555501 pv "<vgrant:blk target='/root/one.img' id='64' serial='one'/>"
ok "and started" launch lv
ok "its disk connects" until_list '^lv virtio/64 blk connected'
is "$(guest run lv 'cat /sys/block/vda/size')" 8192 "the guest has it"
is "$(dom0 vgrant doctor lv)" "0 findings; looked at this domain, 1 guest and 1 device" "vgrant doctor has nothing to say"
ok "live metadata plugs a disk" virsh metadata lv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/><blk target='/root/two.img' id='65' serial='two'/></devices>"
ok "which connects" until_list '^lv virtio/65 blk connected'
ok "vgrant detach --live takes it away" dom0 vgrant detach lv 65 --live
ok "virsh suspend and resume" in_dom0 'v suspend lv && v resume lv'
ok "the guest reads on" guest run lv 'dd if=/dev/vda of=/dev/null bs=64k'
# What Xen cannot do there libvirt refuses, and the guest goes on.
nok "virsh save is refused" virsh save lv /root/lv.save
ok "the guest reads on" guest run lv 'dd if=/dev/vda of=/dev/null bs=64k'
ok "virsh shutdown" virsh shutdown lv
ok "ends it" until_dom0 "$BOOT" '! xl domid lv'
ok "its devices are gone" gone
like "$(in_dom0 'sed "s|/root/one.img|/root/nosuch.img|" /root/lv.xml >/root/bad.xml; v define /root/bad.xml && v start lv' 2>&1)" \
	'/root/nosuch.img: No such file' "the hook refuses a guest whose image is not there, with the reason"
ok "virsh undefine" virsh undefine lv
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd stops" vgrantd_stop
in_dom0 'libvirtd_end; pkill -x virtlogd; rm -rf /etc/libvirt/hooks/libxl.d; ip link del xenbr0'
done_testing
