#!/bin/bash
# Guests that virsh alone manages, with devices in their metadata: every step of a guest's life.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

virsh() { dom0 "timeout 120 virsh -q -c xen:///system $(printf '%q ' "$@")"; }
# domain NAME UUID TYPE DEVICES: its XML, on the CPU that guests have here
domain() {
	local os=xenpvh machine=xenpvh
	[[ $3 == pvh ]] || os=linux machine=xenpv
	cat <<XML
<domain type='xen'>
  <name>$1</name>
  <uuid>$2</uuid>
  <metadata>
    <vgrant:devices xmlns:vgrant='urn:vgrant:devices:1'>$4</vgrant:devices>
  </metadata>
  <memory unit='MiB'>192</memory>
  <vcpu cpuset='1'>1</vcpu>
  <os>
    <type arch='x86_64' machine='$machine'>$os</type>
    <kernel>/rig/kernels/stock/vmlinux</kernel>
    <initrd>/rig/$1.initramfs</initrd>
    <cmdline>console=hvc0 guest=$1</cmdline>
  </os>
  <on_crash>destroy</on_crash>
  <devices><console type='pty'><target type='xen' port='0'/></console></devices>
</domain>
XML
}
# define NAME UUID TYPE DEVICES
define() {
	domain "$@" >"$T/$1.xml"
	push "$T/$1.xml" "/root/$1.xml"
	virsh define "/root/$1.xml"
}
# launch NAME: start it, and again where the emulated CPU lost it before its first program
launch() {
	local _
	for _ in 1 2 3; do
		dom0 "rm -f /var/log/xen/console/guest-$1.log"
		virsh start "$1" || return
		await "$1" '^guest: .* is up' 100 && return
		virsh destroy "$1"
	done
	return 1
}
gone() { until_dom0 60 '! vgrant list --brief | grep -q .'; }
started() { dom0 "grep -c 'libvirt: connected to xen:///system' /var/log/vgrantd.log"; }

dom0_script <<'EOS'
cd /root
truncate -s 4M one.img two.img pvh.img
mkdir -p /etc/libvirt/hooks/libxl.d /run/dbus
dbus-uuidgen --ensure
pgrep -x dbus-daemon >/dev/null || dbus-daemon --system --fork
EOS
sed 's|@SBINDIR@|/rig/bin|' "$REPO/configs/libvirt/hook" >"$T/50-vgrant"
push "$T/50-vgrant" /etc/libvirt/hooks/libxl.d/50-vgrant
dom0 chmod 755 /etc/libvirt/hooks/libxl.d/50-vgrant

pv=11111111-2222-3333-4444-555555555501 pvh=11111111-2222-3333-4444-555555555502
# A file of xl's has the guest's name, too: what libvirt has counts.
quick lv-pv --type pv --config "vgrant = [ 'rng,id=99' ]"
quick lv-pvh --type pvh

# Without libvirtd vgrantd starts and serves; when that comes, it is found.
ok "vgrantd starts before libvirtd" vgrantd_start
ok "and says what it misses" until_dom0 20 "grep -q 'libvirt: not connected' /var/log/vgrantd.log"
dom0 'virtlogd -d; libvirtd -d'
ok "libvirtd has its Xen driver" until_dom0 60 'virsh -c xen:///system list'
ok "vgrantd is connected" until_dom0 30 "grep -q 'libvirt: connected to xen:///system' /var/log/vgrantd.log"
before=$(holds)

ok "a PV guest is defined" define lv-pv $pv pv \
	"<vgrant:blk target='/root/one.img' id='64' serial='one'/>"
ok "and started" launch lv-pv
ok "its disk connects" until_list '^lv-pv virtio/64 blk connected'
is "$(devices)" "lv-pv virtio/64 blk connected" "and nothing that the file of xl's names"
like "$(dom0 vgrant list -v lv-pv)" 'origin +libvirt libvirt.s metadata of lv-pv' "vgrant list says where it is from"
is "$(guest run lv-pv 'cat /sys/block/vda/size')" 8192 "the guest has it"

ok "live metadata plugs a disk" virsh metadata lv-pv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/><blk target='/root/two.img' id='65' serial='two'/></devices>"
ok "which connects" until_list '^lv-pv virtio/65 blk connected'
ok "the configuration for the next start is as it was" dom0 "! virsh -c xen:///system dumpxml --inactive lv-pv | grep -q two.img"

n=$(started)
dom0 'pkill -x libvirtd; while pgrep -x libvirtd >/dev/null; do sleep 0.2; done'
is "$(devices)" "lv-pv virtio/64 blk connected
lv-pv virtio/65 blk connected" "libvirtd ends: the devices stay"
dom0 'libvirtd -d'
ok "it starts again, and vgrantd is connected again" until_dom0 60 \
	"[ \$(grep -c 'libvirt: connected to xen:///system' /var/log/vgrantd.log) -gt $n ]"
is "$(devices)" "lv-pv virtio/64 blk connected
lv-pv virtio/65 blk connected" "the devices stay"
ok "live metadata takes a disk away" virsh metadata lv-pv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/></devices>"
ok "which goes" until_dom0 60 '! vgrant list --brief | grep -q virtio/65'


ok "vgrant attach --live --config" dom0 "vgrant attach lv-pv blk,target=/root/two.img,serial=two --live --config"
ok "connects the disk" until_list '^lv-pv virtio/65 blk connected'
is "$(dom0 'for o in "" --inactive; do virsh -q -c xen:///system dumpxml lv-pv $o | grep -o "<vgrant:blk[^>]*two.img[^>]*>"; done')" \
	"<vgrant:blk target=\"/root/two.img\" serial=\"two\" id=\"65\"/>
<vgrant:blk target=\"/root/two.img\" serial=\"two\" id=\"65\"/>" "and stands in both definitions"
ok "vgrant detach --live --config" dom0 "vgrant detach lv-pv 65 --live --config"
is "$(dom0 'for o in "" --inactive; do virsh -q -c xen:///system dumpxml lv-pv $o; done | grep -c two.img')" 0 "takes it from both"
nok "what is not there is refused" dom0 "vgrant detach lv-pv 65 --live --config"

ok "virsh save" virsh save lv-pv /root/lv.save
ok "its devices are gone" gone
ok "virsh restore" virsh restore /root/lv.save
ok "they connect again" until_list '^lv-pv virtio/64 blk connected'
ok "and the guest reads its disk" guest run lv-pv 'dd if=/dev/vda of=/dev/null bs=64k'
dom0 rm -f /root/lv.save
ok "virsh suspend and resume" dom0 'virsh -q -c xen:///system suspend lv-pv && virsh -q -c xen:///system resume lv-pv'
ok "the guest reads on" guest run lv-pv 'dd if=/dev/vda of=/dev/null bs=64k iflag=direct'
ok "virsh shutdown" virsh shutdown lv-pv
ok "ends it" until_dom0 60 '! xl domid lv-pv'
ok "its devices are gone" gone

# What cannot work is not started, and virsh says why.
define lv-pv $pv pv "<vgrant:blk target='/root/nosuch.img'/>"
out=$(virsh start lv-pv 2>&1)
like "$out" '/root/nosuch.img: No such file' "the hook refuses a guest whose image is not there, with the reason"
define lv-pv $pv pv "<vgrant:turbine/>"
like "$(virsh start lv-pv 2>&1)" 'there is no device "turbine"' "and one with a device that there is not"
nok "it does not run" dom0 xl domid lv-pv
ok "virsh undefine" virsh undefine lv-pv

ok "a PVH guest is defined" define lv-pvh $pvh pvh "<vgrant:blk target='/root/pvh.img'/><vgrant:rng/>"
ok "and started" launch lv-pvh
ok "its disk connects" until_list '^lv-pvh virtio/64 blk connected'
is "$(guest run lv-pvh 'cat /sys/block/vda/size')" 8192 "the guest has it"
ok "virsh destroy" virsh destroy lv-pvh
ok "its devices are gone" gone
ok "virsh undefine" virsh undefine lv-pvh
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd stops" vgrantd_stop
ok "and its client of libvirt with it" until_dom0 10 '! pgrep -x vgrant-libvirt'
dom0 'pkill -x libvirtd; pkill -x virtlogd; rm -rf /etc/libvirt/hooks/libxl.d'
done_testing
