#!/bin/bash
# Guests that virsh alone manages, with devices in their metadata: every step of a guest's life.
# needs: system
# limit: 1200
# long: ten guests instead of two are started and ended, five times, while libvirtd is restarted
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# shellcheck source=tests/xen/t/libvirt.bash
. "$(dirname "$0")/libvirt.bash"

# Two guests live side by side: while one boots, the other boots, too, or is worked with.
# each WHAT CMD...: of both; their names stand where CMD says @
each() {
	local name words=("${@:2}")
	for name in lv-pv lv-pvh; do ok "$name: $1" "${words[@]//@/$name}"; done
}
# reads NAME: of its disk, in the memory that it had when /kept was made
reads() { guest run "$1" '[ -e /kept ] && dd if=/dev/vda of=/dev/null bs=64k iflag=direct'; }

libvirt_there
pv=11111111-2222-3333-4444-555555555501 pvh=11111111-2222-3333-4444-555555555502
# A file of xl's has the guest's name, too: what libvirt has counts.
quick lv-pv --type pv --config "vgrant = [ 'rng,id=99' ]"
quick lv-pvh --type pvh

# Without libvirtd vgrantd starts and serves; when that comes, it is found.
ok "vgrantd starts before libvirtd" vgrantd_start
ok "and says what it misses" until_dom0 20 "grep -q 'libvirt: not connected' /var/log/vgrantd.log"
dom0 virtlogd -d
ok "libvirtd has its Xen driver" in_dom0 libvirtd_begin
ok "vgrantd is connected" until_dom0 30 "grep -q 'libvirt: connected to xen:///system' /var/log/vgrantd.log"
before=$(holds)
like "$(virsh capabilities)" "<arch name='$(dom0 uname -m)'>" "it knows the architecture"

ok "a PV guest is defined" define lv-pv $pv pv \
	"<vgrant:blk target='/root/one.img' id='64' serial='one'/>"
ok "and started" begin lv-pv
ok "a PVH guest is defined" define lv-pvh $pvh pvh "<vgrant:blk target='/root/pvh.img'/>"
# libvirt's schema knows Xen's guests of x86 alone.
edit=edit
[[ $ARCH == amd64 ]] || edit+=' --skip-validate'
ok "virsh edit adds a device" dom0 "EDITOR=\"sed -i 's|</vgrant:devices>|<vgrant:rng/>&|'\" virsh -q -c xen:///system $edit lv-pvh"
ok "which its definition has" in_dom0 'v dumpxml --inactive lv-pvh | grep -q "<vgrant:rng"'
ok "and it is started" begin lv-pvh
ok "the PV guest is up" up lv-pv
ok "its disk connects" until_list '^lv-pv virtio/64 blk connected'
is "$(devices lv-pv)" "lv-pv virtio/64 blk connected" "and nothing that the file of xl's names"
like "$(dom0 vgrant list -v lv-pv)" 'origin +libvirt libvirt.s metadata of lv-pv' "vgrant list says where it is from"
is "$(dom0 vgrant doctor lv-pv)" "0 findings; looked at this domain, 1 guest and 1 device" "vgrant doctor has nothing to say"
like "$(dom0 vgrant list)" "lv-pv: from libvirt's metadata, which counts" "so does the table"
is "$(guest run lv-pv 'cat /sys/block/vda/size')" 8192 "the guest has it"

ok "live metadata plugs a disk" virsh metadata lv-pv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/><blk target='/root/two.img' id='65' serial='two'/></devices>"
ok "which connects" until_list '^lv-pv virtio/65 blk connected'
ok "the configuration for the next start is as it was" in_dom0 "! v dumpxml --inactive lv-pv | grep -q two.img"

n=$(started)
in_dom0 libvirtd_end
is "$(devices lv-pv)" "lv-pv virtio/64 blk connected
lv-pv virtio/65 blk connected" "libvirtd ends: the devices stay"
# It comes back as virtxend would, whose socket has another name: the same driver in a daemon of its own.
in_dom0 'libvirtd_begin; mv /run/libvirt/libvirt-sock /run/libvirt/virtxend-sock; pkill -x vgrant-libvirt'
ok "it starts again, with the socket of virtxend, and vgrantd is connected again" until_dom0 60 \
	"[ \$(grep -c 'libvirt: connected to xen:///system' /var/log/vgrantd.log) -gt $n ] && ! [ -e /run/libvirt/libvirt-sock ]"
is "$(devices lv-pv)" "lv-pv virtio/64 blk connected
lv-pv virtio/65 blk connected" "the devices stay"
ok "live metadata takes a disk away" virsh metadata lv-pv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/></devices>"
ok "which goes" until_dom0 60 '! vgrant list --brief lv-pv | grep -q virtio/65'

ok "vgrant attach --live --config" dom0 "vgrant attach lv-pv blk,target=/root/two.img,serial=two --live --config"
ok "connects the disk" until_list '^lv-pv virtio/65 blk connected'
is "$(in_dom0 'for o in "" --inactive; do v dumpxml lv-pv $o | grep -o "<vgrant:blk[^>]*two.img[^>]*>"; done')" \
	"<vgrant:blk target=\"/root/two.img\" serial=\"two\" id=\"65\"/>
<vgrant:blk target=\"/root/two.img\" serial=\"two\" id=\"65\"/>" "and stands in both definitions"
ok "vgrant detach --live --config" dom0 "vgrant detach lv-pv 65 --live --config"
is "$(in_dom0 'for o in "" --inactive; do v dumpxml lv-pv $o; done | grep -c two.img')" 0 "takes it from both"
nok "what is not there is refused" dom0 "vgrant detach lv-pv 65 --live --config"

# Settings of a device that can change while it runs; a disk has none, a network card has.
live() { virsh metadata lv-pv --live --uri urn:vgrant:devices:1 --key vgrant --set \
	"<devices><blk target='/root/one.img' id='64' serial='one'/><net id='66' $1/></devices>"; }
shown() { until_dom0 30 "vgrant list -v lv-pv | grep -q '$1'"; }
ok "live metadata plugs a network card" live "rate='0'"
ok "which is there" shown 'vif[0-9.]*=up'
like "$(dom0 vgrant domiflist lv-pv)" ' vif[0-9]+\.66 +bridge +xenbr0 +virtio +00:16:3e:' "vgrant domiflist has it"
# header COMMAND: its table's titles, without blanks
header() { in_dom0 "$* lv-pv | head -n 1" | xargs; }
for view in domblklist domiflist; do
	is "$(header vgrant $view)" "$(header virsh -c xen:///system $view)" "vgrant $view has virsh's columns"
done
like "$(dom0 vgrant domblklist lv-pv)" ' virtio/64 +/root/one.img' "and the disk"
is "$(dom0 vgrant domblkinfo lv-pv 64)" "Capacity:       4194304
Allocation:     0
Physical:       4194304" "vgrant domblkinfo has the disk"
ok "vgrant set --live" dom0 vgrant set lv-pv 66 link=down --live
ok "changes it" shown 'vif[0-9.]*=down'
ok "and stands in the live metadata" in_dom0 "v dumpxml lv-pv | grep -q 'vgrant:net.*link=\"down\"'"
like "$(dom0 vgrant set lv-pv 66 queues=2 --live 2>&1)" 'queues cannot be changed while running' "what it cannot change is refused"
nok "and stands nowhere" in_dom0 "v dumpxml lv-pv | grep queues"
like "$(dom0 vgrant set lv-pv 66 link=up --live --config 2>&1)" 'no device 66 in the metadata' "nor is what one of both has not"
ok "the device is as it was" shown 'vif[0-9.]*=down'
ok "virsh changes the same keys" live "link='up' rate='10Mb/s' queues='2'"
ok "and the device follows" shown 'vif[0-9.]*=up'
ok "in all of them" shown 'rate=10Mb/s'
ok "but in what it cannot, which is told" until_dom0 10 "grep -q 'next start: queues: ' /var/log/vgrantd.log"
ok "a key that goes" live "queues='2'"
ok "has its default again" shown 'rate=0'
ok "the card goes" dom0 vgrant detach lv-pv 66 --live

ok "the PVH guest is up" up lv-pvh
ok "its disk connects" until_list '^lv-pvh virtio/64 blk connected'
is "$(guest run lv-pvh 'cat /sys/block/vda/size')" 8192 "the guest has it"
# What has no id= gets its number written down, and is known by that when what stood before it goes.
ids() { in_dom0 "v dumpxml lv-pvh $* | grep -Eo 'vgrant:(rng|blk) [^>]*' | grep -c ' id='"; }
ok "its numbers stand in the live metadata" until_v 30 "[ \$(v dumpxml lv-pvh | grep -c \"vgrant:.* id=.6[45].\") = 2 ]"
is "$(ids --inactive)" 0 "and not in what was defined"
ok "live metadata takes the disk away" virsh metadata lv-pvh --live --uri urn:vgrant:devices:1 --key vgrant --set '<devices><rng/></devices>'
ok "which goes" until_dom0 60 '! vgrant list --brief lv-pvh | grep -q virtio/64'
ok "the other device has its number" until_v 30 "v dumpxml lv-pvh | grep -q \"vgrant:rng id=.65.\""
ok "and is detached by it" dom0 vgrant detach lv-pvh 65 --live
ok "live metadata plugs a console, an input device and a GPU" virsh metadata lv-pvh --live --uri urn:vgrant:devices:1 --key vgrant \
	--set "<devices><console id='70'/><input id='71' kind='keyboard'/><gpu id='72' mode='640x480'/></devices>"
for device in '70 console' '71 input' '72 gpu'; do
	ok "device $device is there" until_list "^lv-pvh virtio/$device (waiting|connected)"
done
like "$(dom0 vgrant domdisplay lv-pvh)" '^vnc://127.0.0.1:[0-9]+$' "vgrant domdisplay has the GPU's picture"
ok "live metadata brings the disk back, and takes these away" virsh metadata lv-pvh --live --uri urn:vgrant:devices:1 --key vgrant \
	--set "<devices><blk target='/root/pvh.img' id='64'/></devices>"
ok "which go" until_dom0 60 '[ "$(vgrant list --brief lv-pvh | cut -f 1,2)" = "lv-pvh	virtio/64" ]'

# What becomes of both, up to their ends.
each "its disk connects" until_list '^@ virtio/64 blk connected'
each "it has what it will not have when it boots" guest run @ ': >/kept'
each "virsh suspend and resume" in_dom0 'v suspend @ && [ "$(v domstate @)" = paused ] && v resume @'
each "it reads on" reads @
if [[ $ARCH == arm64 ]]; then
	each "virsh save is refused" in_dom0 '! v save @ /root/@.save'
	each "it reads on" reads @
	skip "Xen on arm64 has no save and restore: virsh save, restore and managedsave" 18
else
	each "virsh save" virsh save @ /root/@.save
	ok "their devices are gone" gone
	each "virsh restore" virsh restore /root/@.save
	each "its disk connects again" until_list '^@ virtio/64 blk connected'
	each "and it reads" reads @
	dom0 'rm -f /root/*.save'
	each "virsh managedsave" virsh managedsave @
	ok "their devices are gone" gone
	each "virsh start brings it back" virsh start @
	each "with its disk" until_list '^@ virtio/64 blk connected'
	each "which it reads" reads @
fi
# A guest of libvirt's is a guest of xl's, too.
each "xl pause and unpause" dom0 'xl pause @ && xl unpause @'
each "it reads on" reads @
each "virsh reboot" in_dom0 'xl domid @ >/root/@.domid; rm -f /var/log/xen/console/guest-@.log; v reboot @'
each "ends the domain" until_dom0 60 '! xl domname $(cat /root/@.domid)'
each "and starts another" until_dom0 60 'xl domid @'
each "which comes up" up @
each "with its disk" until_list '^@ virtio/64 blk connected'
each "and has booted" guest run @ '[ ! -e /kept ]'
each "virsh shutdown" virsh shutdown @
each "ends it" until_dom0 60 '! xl domid @'
ok "their devices are gone" gone

# libvirt's Xen driver cannot rename a domain; what is defined anew under another name has the same devices.
for name in lv-pv lv-pvh; do
	like "$(virsh domrename "$name" "$name.b" 2>&1)" 'not supported by the connection driver' "$name: virsh domrename is not libvirt's to do"
	in_dom0 "v dumpxml --inactive $name | sed 's|<name>$name<|<name>$name.b<|' >/root/renamed.xml"
	like "$(virsh define /root/renamed.xml 2>&1)" 'already defined with uuid' "$name: nor is a second name for a uuid"
	ok "$name: what is undefined is defined under another name" in_dom0 \
		"v undefine $name && v define /root/renamed.xml"
done

# Once libvirtd starts as if the machine had.
each "virsh autostart" virsh autostart @.b

# A libvirtd that does not let vgrantd in. The socket of virtxend's name above would be asked first.
conf=/etc/libvirt/libvirtd.conf
dom0 "cp $conf /root/libvirtd.conf; echo 'auth_unix_rw = \"sasl\"' >>$conf"
in_dom0 'libvirtd_end; rm -f /run/libvirt/virtxend-sock; LIBVIRT_DRIVER_DIR=/root/drivers libvirtd -d'
ok "a libvirtd that refuses vgrantd" until_dom0 60 "grep -q 'libvirt: not connected.*authentication failed' /var/log/vgrantd.log"
like "$(dom0 vgrant attach lv-pv.b rng --config 2>&1)" 'libvirt cannot be reached: authentication failed' \
	"is told to whom it keeps from what he wants"
dom0 "cp /root/libvirtd.conf $conf"

dom0 'rm -f /run/libvirt/*/autostarted'
ok "libvirtd starts" libvirtd_again
each "and with it the guest, with its disk" until_list '^@\.b virtio/64 blk'
each "xl destroy" dom0 xl destroy @.b
ok "their devices are gone" gone
each "and libvirt knows" until_v 30 '[ "$(v domstate @.b)" = "shut off" ]'
each "virsh undefine" virsh undefine @.b

# libvirt tells of a transient guest once that runs: it is asked, before the file of the guest's name is taken.
each "virsh create" virsh create /root/@.xml
each "a transient guest has its disk" until_list '^@ virtio/64 blk'
nok "and nothing that the file of xl's names" dom0 'vgrant list --brief | grep rng'
like "$(dom0 'vgrant attach lv-pv rng --config' 2>&1)" 'lv-pv is transient' "and no other configuration to be changed"
each "virsh destroy" virsh destroy @
ok "their devices are gone" gone
each "and so is the guest" in_dom0 '! v domstate @'

# virt-install is this machine's, for Python takes long on an emulated CPU; it reaches libvirtd in dom0 as
# it would through ssh.
if command -v virt-install >/dev/null; then
	printf '#!/bin/sh\nexec %q sh --name %q -i virt-ssh-helper xen:///system\n' "$XEN_DIR/rig" "$RIG" >"$T/to-dom0"
	chmod 755 "$T/to-dom0"
	read -ra words < <(grep '^ *--xml ' "$REPO/README.md")
	ok "virt-install makes a guest by the manual's words" virt-install --connect "xen+ext:///system?command=$T/to-dom0" \
		--name lv-pv --osinfo linux2022 --memory 192 --vcpus 1,cpuset=1 --paravirt --import --disk none "${words[@]//srv\/web/root\/one}" \
		--boot kernel=/rig/kernels/stock/vmlinux,initrd=/rig/lv-pv.initramfs --graphics none --network none --noautoconsole
	ok "which runs, and has its disk" until_list '^lv-pv virtio/64 blk'
	ok "virsh destroy" virsh destroy lv-pv
	ok "its devices are gone" gone
	ok "virsh undefine" virsh undefine lv-pv
else
	skip "virtinst is not installed" 5
fi

# What cannot work is not started, and virsh says why.
# refused METADATA SENTENCE WHAT
refused() {
	like "$(in_dom0 "sed \"s|^ *<vgrant:devices.*|$1|\" /root/lv-pv.xml >/root/bad.xml
		v define /root/bad.xml && v start lv-pv" 2>&1)" "$2" "the hook refuses $3, with the reason"
}
# ours DEVICES: our element
ours() { echo "<v:devices xmlns:v='urn:vgrant:devices:1'>$1</v:devices>"; }
refused "$(ours "<v:blk target='/root/nosuch.img'/>")" '/root/nosuch.img: No such file' "a guest whose image is not there"
refused "$(ours "<v:turbine/>")" 'there is no device "turbine"' "a device that there is not"
refused "$(ours "<v:rng colour='red'/>")" 'no key "colour"' "an attribute that there is not"
refused "$(ours "<v:rng id='7'/><v:rng id='7'/>")" 'id=7 is taken by' "an id twice"
refused "$(ours "<v:rng/>words")" 'there is text among the devices' "what is malformed"
refused "$(ours "<v:rng/>")<w:devices xmlns:w='urn:vgrant:devices:2'/>" 'urn:vgrant:devices:2 is of another version' \
	"a second namespace of ours"
nok "it does not run" dom0 xl domid lv-pv
ok "virsh undefine" virsh undefine lv-pv

# A guest of the QEMU driver is confined, where AppArmor runs, by a profile that libvirt makes; this
# kernel enforces it. What goes to our sockets with that profile is a program, for a QEMU would boot for
# minutes on an emulated CPU. Linux 6.12 asks AppArmor when a path is opened, and other kernels do when
# a socket is connected to: the rule is the same. And with that profile libvirt starts the program of a
# <video>, as root without capabilities, with one end of a pair of sockets.
cat >"$T/apparmor" <<'EOS'
set -e
uuid=libvirt-11111111-2222-3333-4444-555555555503
mountpoint -q /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
sed "s|<name>web</name>|&<uuid>${uuid#libvirt-}</uuid>|; s|type='kvm'|type='qemu'|" /root/qemu.xml >/root/qemu-uuid.xml
[ "$(uname -m)" = x86_64 ] || sed -i "s|arch='x86_64' machine='q35'|arch='$(uname -m)' machine='virt'|" /root/qemu-uuid.xml
mkdir -p /etc/vgrant
printf '[vhost-user]\nweb = rng\nweb-net = rng\n' >/etc/vgrant/vgrantd.conf
pkill -HUP -x vgrantd
for _ in $(seq 100); do [ -S /run/vgrant/web.sock ] && [ -S /run/vgrant/web-net.sock ] && break; sleep 0.1; done
cat >/root/confined <<'EOP'
use Socket;
use Fcntl;
open my $attr, '>', '/proc/self/attr/current' or die "attr: $!";
syswrite $attr, "changeprofile $ARGV[0]" or die "changeprofile: $!";
shift;
for (@ARGV) {
	my $path = "/run/vgrant/$_.sock";
	# No socket can be opened; but that is found out by whoever may.
	if (sysopen(my $f, $path, O_RDWR) || !$!{ENXIO}) { print "$_ $!\n"; next; }
	socket my $s, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
	print "$_ ", (connect($s, pack_sockaddr_un($path)) ? "connected" : $!), "\n";
}
# What it has to say goes to a pipe: of a file it would be asked whether it may.
my $gpu = '/usr/bin/vgrant-vhost-user-gpu';
socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
pipe my $said, my $says or die "pipe: $!";
if (!fork) {
	fcntl $theirs, F_SETFD, 0;
	open STDERR, '>&', $says;
	exec { $gpu } $gpu, '--fd', fileno $theirs or print STDERR "$!\n";
	exit 1;
}
close $_ for $theirs, $says;
$SIG{PIPE} = 'IGNORE';
syswrite $ours, pack 'L3', 1, 1, 0; # GET_FEATURES
print 'gpu ', (sysread($ours, my $answer, 20) // 0) == 20 ? "answers\n" : <$said>;
close $ours;
wait;
EOP
confined() { setpriv --inh-caps=-all --bounding-set=-all perl /root/confined "$@"; }
profile() { /usr/lib/libvirt/virt-aa-helper "$1" -u $uuid </root/qemu-uuid.xml 2>/root/aa.log || { cat /root/aa.log; exit 1; }; }
install -m 755 "$(command -v vgrant-vhost-user)" /usr/bin/vgrant-vhost-user-gpu
profile -c
confined $uuid web web-net
mkdir -p /etc/apparmor.d/abstractions/libvirt-qemu.d
cp /root/libvirt-qemu /etc/apparmor.d/abstractions/libvirt-qemu.d/vgrant
profile -r
echo "with our rules:"
confined $uuid web web-net
profile -D
rm /usr/bin/vgrant-vhost-user-gpu
rm /etc/vgrant/vgrantd.conf
pkill -HUP -x vgrantd
EOS
push "$T/apparmor" /root/apparmor
push "$REPO/configs/apparmor/libvirt-qemu" /root/libvirt-qemu
push "$REPO/configs/libvirt/qemu.xml" /root/qemu.xml
is "$(dom0 'bash /root/apparmor 2>&1')" "web Permission denied
web-net connected
gpu Permission denied
with our rules:
web connected
web-net connected
gpu answers" "AppArmor lets a guest of QEMU's reach a disk's socket, and have a screen, where our rules are"

# Guests come and go while libvirtd does: what a libvirtd that ended has left half built, xl takes away.
cat >"$T/loop" <<'EOS'
v() { timeout 60 virsh -q -c xen:///system "$@" >/dev/null 2>>/root/loop.log; }
state() { timeout 60 virsh -q -c xen:///system domstate lv-pv.$1 2>/dev/null; }
try() {
	local i
	for i in $(seq 60); do "$@" && return; sleep 1; done
	echo "no success: $*"
	exit 1
}
run() {
	[ "$(state $1)" = running ] && return
	! xl domid lv-pv.$1 >/dev/null 2>&1 || [ "$(state $1)" != "shut off" ] || xl destroy lv-pv.$1
	v start lv-pv.$1
}
served() { vgrant list --brief | grep -q "^lv-pv\.$1	virtio/64"; }
end() { v destroy lv-pv.$1; ! xl domid lv-pv.$1 >/dev/null 2>&1; }
rm -f /root/loop.end /root/loop.log
# Two to six seconds after it has come up, in the middle of something.
for restart in $(seq $3); do
	sleep $((RANDOM % 5 + 2))
	[ ! -e /root/loop.end ] || break
	pkill -x libvirtd
	while pgrep -x libvirtd >/dev/null; do sleep 0.2; done
	LIBVIRT_DRIVER_DIR=/root/drivers libvirtd -d
	echo restarted >>/root/loop.log
	while [ ! -e /root/loop.end ] && ! v list; do sleep 0.5; done
done &
for round in $(seq $2); do
	for what in "v define /root/lv-pv" run served end "v undefine lv-pv"; do
		for i in $(seq $1); do
			case $what in
			"v define"*) try $what.$i.xml ;;
			"v "*) try $what.$i ;;
			*) try $what $i ;;
			esac
		done
	done
done
: >/root/loop.end
wait
grep -q restarted /root/loop.log
EOS
push "$T/loop" /root/loop
n=2 rounds=1 restarts=1
[[ ! ${LONG-} ]] || n=10 rounds=5 restarts=1000
for i in $(seq $n); do
	domain "lv-pv.$i" "$(printf '11111111-2222-3333-4444-5555555556%02d' "$i")" pv "<vgrant:rng/>" >"$T/one.xml"
	push "$T/one.xml" "/root/lv-pv.$i.xml"
done
ok "$n guests are defined, started, served and destroyed while libvirtd is restarted" dom0 "bash /root/loop $n $rounds $restarts"
ok "their devices are gone" gone
ok "libvirtd runs" until_dom0 60 'virsh -c xen:///system list'
is "$(dom0 'virsh -q -c xen:///system list --all --name' | grep -vx Domain-0)" "" "and has none of them"
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd stops" vgrantd_stop
ok "and its client of libvirt with it" until_dom0 10 '! pgrep -x vgrant-libvirt'
in_dom0 'libvirtd_end; pkill -x virtlogd; rm -rf /etc/libvirt/hooks/libxl.d'
done_testing
