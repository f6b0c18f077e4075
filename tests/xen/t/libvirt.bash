# shellcheck shell=bash
# What tests of libvirt share, on top of suite.bash (sourced, not run).
#
#   virsh WORD...               in dom0; its errors go to standard error
#   in_dom0 CMD                 a command line there, with v (virsh) and libvirtd_begin, libvirtd_end
#   until_v SECONDS CMD         the same, until it succeeds
#   define NAME UUID TYPE DEVICES
#   begin NAME, up NAME, launch NAME   start it; wait until it is up; both
#   libvirt_there               all that libvirtd needs in dom0, our hook included
# Text in single quotes is expanded in dom0.
# shellcheck disable=SC2016

# In dom0: what virsh says, by one that stays, for the emulated CPU takes a second to start one; and
# libvirtd with its Xen driver alone, as virtxend is.
cat >"$T/v" <<'EOS'
# v COMMAND...: an error of virsh's goes to standard error, and is the status
v() {
	local arg line='' out='' rc=0
	for arg; do line+="'${arg//\'/\'\\\'\'}' "; done
	printf '%s\n@@end\n' "$line" 1<>/root/virsh.in
	while IFS= read -r -t 120 line; do
		case $line in
		'virsh # '*) ;; # what it was told
		"error: unknown command: '@@end'")
			[[ ! $out ]] || printf '%s' "$out" # all is read: whoever reads us may have gone
			return $rc
			;;
		error:*) rc=1 && echo "$line" >&2 ;;
		*) out+=$line$'\n' ;;
		esac
	done <>/root/virsh.out
	echo "no answer of virsh" >&2
	return 1
}
# libvirtd_end, libvirtd_begin: and virsh with it
libvirtd_end() {
	pkill -x virsh
	pkill -x libvirtd
	while pgrep -x libvirtd >/dev/null; do sleep 0.1; done
}
libvirtd_begin() {
	LIBVIRT_DRIVER_DIR=/root/drivers libvirtd -d
	for _ in $(seq 300); do [[ -S /run/libvirt/libvirt-sock ]] && break; sleep 0.2; done
	rm -f /root/virsh.in /root/virsh.out
	mkfifo /root/virsh.in /root/virsh.out
	{
		TERM=dumb setsid virsh -q -c xen:///system <&7 >&8 2>&1 &
		v list >/dev/null
	} 7<>/root/virsh.in 8<>/root/virsh.out
}
EOS
push "$T/v" /root/v
# in_dom0 CMD...: with these; until_v as until_dom0
in_dom0() { dom0 ". /root/v; $*"; }
until_v() { until_dom0 "$1" ". /root/v; ${*:2}"; }
virsh() { in_dom0 "v $(printf '%q ' "$@")"; }
# domain NAME UUID TYPE DEVICES: its XML, on the CPU that guests have here. What stands behind a dot
# in NAME tells guests of one initramfs apart.
domain() {
	local initramfs=${1%%.*} os=xenpvh machine=xenpvh arch=x86_64
	# shellcheck disable=SC2153 # of the rig
	[[ $3 == pvh && $ARCH == amd64 ]] || os=linux machine=xenpv
	[[ $ARCH != arm64 ]] || arch=aarch64
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
    <type arch='$arch' machine='$machine'>$os</type>
    <kernel>/rig/kernels/stock/vmlinux</kernel>
    <initrd>/rig/$initramfs.initramfs</initrd>
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
begin() { in_dom0 "rm -f /var/log/xen/console/guest-$1.log; v start $1"; }
# up NAME: what was begun has come up; it is begun again where the emulated CPU lost it before its
# first program
up() {
	local _
	for _ in 1 2; do
		await "$1" '^guest: .* is up' 100 && return
		virsh destroy "$1"
		begin "$1" || return
	done
	await "$1" '^guest: .* is up' 100
}
launch() { begin "$1" && up "$1"; }
libvirtd_again() { in_dom0 'libvirtd_end; rm -f /run/libvirt/virtxend-sock; libvirtd_begin'; }
gone() { until_dom0 60 '! vgrant list --brief | grep -q .'; }
started() { dom0 "grep -c 'libvirt: connected to xen:///system' /var/log/vgrantd.log"; }

libvirt_there() {
	dom0_script <<'EOS'
cd /root
modprobe tun && modprobe bridge
ip link add xenbr0 type bridge && ip link set xenbr0 up
rm -f one.img two.img pvh.img
truncate -s 4M one.img two.img pvh.img
mkdir -p /etc/libvirt/hooks/libxl.d /run/dbus drivers
ln -sf /usr/lib/*/libvirt/connection-driver/libvirt_driver_libxl.so drivers/
# What its package makes, where packages are not configured.
getent group libvirt >/dev/null || echo 'libvirt:x:102:' >>/etc/group
dbus-uuidgen --ensure
pgrep -x dbus-daemon >/dev/null || dbus-daemon --system --fork
EOS
	sed 's|@SBINDIR@|/rig/bin|' "$REPO/configs/libvirt/hook" >"$T/50-vgrant"
	push "$T/50-vgrant" /etc/libvirt/hooks/libxl.d/50-vgrant
	dom0 chmod 755 /etc/libvirt/hooks/libxl.d/50-vgrant
}
