#!/bin/bash
# A guest moves to another machine and back, with load on a disk that both reach and an open TCP connection; and stays where the other one cannot have it.
# not arm64: Xen has no migration of guests there
# only: long
# limit: 1500
# long: all of it; and an HVM guest, and one of libvirt's, by virsh migrate
# Text in single quotes is expanded in dom0, and in guests. Debian's Xen cannot migrate PV guests: it has no shadow page tables.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# The machines are here (10.8.0.1) and there (10.8.0.2). Each has a bridge, and the cable between them is in both. The
# disk is a file of here's, which an NBD server exports; both are clients of it, here too.
here=$RIG
another peer --link "$here" --mem 1536 2>"$T/err"
is "$?" 0 "a second machine starts, with a cable to the first"
there=$RIG RIG=$here
# on MACHINE CMD...
on() { RIG=$1 "${@:2}"; }
each() { on "$here" "$@" && on "$there" "$@"; }

# What is asked goes by ssh. The guest's memory goes as it is: an emulated CPU encrypts 2 MiB a second.
cat >"$T/shell" <<'EOS'
#!/bin/bash
case $* in
*migrate-receive*)
	exec 3<>"/dev/tcp/$1/8002"
	all=$*
	printf '%s\n' "${all##*migrate-receive}" >&3
	cat <&3 &
	exec cat >&3
	;;
*) exec ssh "$@" ;;
esac
EOS

# The other end; busybox ignores SIGCHLD from its second client on, and xl would inherit that. With /root/fail it dies when it has all of the guest, and is about to say so.
cat >"$T/receive" <<'EOS'
#!/bin/bash
read -r options
[ -e /root/fail ] || exec env --default-signal=CHLD xl migrate-receive $options
env --default-signal=CHLD xl migrate-receive $options | { IFS= read -r ready; printf '%s\n' "$ready"; }
EOS

# machine N OTHER: in dom0
machine() {
	dom0_script <<EOS
hostname host$1
modprobe -a tun bridge nbd
ip link add xenbr0 type bridge && ip link set eth1 master xenbr0
ip link set eth1 up && ip link set xenbr0 up && ip addr add 10.8.0.$1/24 dev xenbr0
mkdir -p -m 700 /root/.ssh && mkdir -p /rig/guests/web /run/vgrant
ln -sf guest-web.log /var/log/xen/console/guest-web--incoming.log # the name that it arrives with
printf 'StrictHostKeyChecking no\nIdentityFile /root/.ssh/other\nLogLevel ERROR\n' >/root/.ssh/config
EOS
	push "$BUILD/rigs/$2/key" /root/.ssh/other
	push "$T/shell" /root/shell
	push "$T/receive" /root/receive
	dom0 'chmod 600 /root/.ssh/other; chmod 755 /root/shell /root/receive
		(busybox nc -ll -p 8002 -e /root/receive </dev/null >/dev/null 2>&1 &)'
}
on "$here" machine 1 "$there"
on "$there" machine 2 "$here"
dom0 'truncate -s 4M /root/web.img
	qemu-nbd -f raw -t -e 4 -p 10809 --fork /root/web.img
	(rr serve 7000 </dev/null >/dev/null 2>&1 &)'
disk() { dom0 'qemu-nbd -f raw -c /dev/nbd0 nbd://10.8.0.1:10809 && [ $(blockdev --getsize64 /dev/nbd0) = 4194304 ]'; }
ok "both reach the disk" each disk
vgrantd_start
before=$(on "$here" holds)

{
	guest_kit
	cat <<'EOS'
talk() {
	until [ -e /sys/class/net/eth0 ]; do usleep 200000; done
	ip link set eth0 up && ip addr add 10.8.0.3/24 dev eth0
	until rr echo 10.8.0.1 7000 10; do sleep 1; done
	exec rr beat 10.8.0.1 7000 3600
}
load() {
	hammer $(disk load) 4 10000 | tee /tmp/out
	check "every write read back" grep -q done /tmp/out
	# Linux' virtio_net (6.12) cancels work that it has not initialised when it is frozen for the second time.
	quiet() { ! complaints | grep -v __flush_work; }
	check "its kernel has nothing else to say" quiet
	echo @end
}
talk </dev/null >/tmp/beat 2>&1 &
load </dev/null &
EOS
} >"$T/main"
chmod +x "$T/main"
push "$T/main" /root/main
guest make web --type pvh --memory 128 --vgrant yes --module virtio_net --file /rig/bin/hammer:rig/bin/hammer \
	--file /rig/bin/rr:rig/bin/rr --main /root/main --config "vgrant = [ 'blk,target=/dev/nbd0,serial=load', 'net' ]"
pull /etc/xen/web.cfg "$T/web.cfg"
guest start web

# What the other machine lacks is found out before anything happens to the guest.
# refused WHAT SENTENCE
refused() {
	out=$(dom0 'vgrant migrate web 10.8.0.2 2>&1; echo status $?')
	like "$out" "$2.*runs on here.*status 1" "refused: $1"
}
ok "load" await web '^hammer: at [1-9]'
refused "no vgrantd there" "vgrantd is not running"
on "$there" vgrantd_start
before_there=$(on "$there" holds)
refused "no configuration" 'no file in .* says name = "web": its devices are not known here; copy its configuration'
{ grep -v ^vgrant "$T/web.cfg" && echo "vgrant = [ 'blk,target=/root/small.img', 'blk,target=/root/nosuch.img,id=70', 'net,bridge=br7,id=71', 'rng,colour=red', 'fs,dir=/nosuch,tag=x' ]"; } >"$T/other.cfg"
on "$there" push "$T/other.cfg" /etc/xen/web.cfg
on "$there" dom0 'truncate -s 1M /root/small.img'
refused "no image" '/root/nosuch.img: No such file'
like "$out" '/root/small.img has 1048576 bytes here, and 4194304 where' "and another image"
like "$out" 'on this machine there is no br7' "and no bridge"
like "$out" 'dir=/nosuch is no folder' "and no folder"
like "$out" 'no key "colour"' "and a key of a later version"
like "$out" 'has a device 65, net, for which there is no vgrant entry' "and a device that it would lose"
entry() { sed "s|'blk,[^']*|&,$1|" "$T/web.cfg" >"$T/other.cfg"; on "$there" push "$T/other.cfg" /etc/xen/web.cfg; }
entry queues=2
refused "another number of queues" "queues is '2' here, and '1' where the guest is"
entry cache=writethrough
refused "a feature that the driver uses" 'driver uses BLK_FLUSH, .*which the device would not offer here'
on "$there" push "$T/web.cfg" /etc/xen/web.cfg
like "$(dom0 'vgrant migrate --ask web 10.8.0.2 2>&1')" '^10.8.0.2 takes web$' "asked alone, it takes the guest"
ok "which is here" dom0 xl domid web
like "$(on "$there" dom0 'echo "{\"format\":2,\"guest\":\"web\",\"devices\":[]}" | vgrant accept 2>&1')" 'with a later version of vgrant' \
	"refused: what a later version asks"
on "$there" dom0 "mv /rig/bin/vgrant /root/vgrant; printf '#!/bin/sh\nexit 2\n' >/rig/bin/vgrant; chmod +x /rig/bin/vgrant"
refused "a vgrant that is too old to be asked" 'install the version of this host there'
on "$there" dom0 'mv /root/vgrant /rig/bin/vgrant'
is "$(on "$there" devices)" "" "nothing was made there"
ok "the load goes on here" pulse web

# beats: it has had three more answers over its connection
beats() { guest run web 'n=$(wc -l </tmp/beat); for i in $(seq 300); do [ $(wc -l </tmp/beat) -gt $((n + 3)) ] && exit; usleep 200000; done; tail -n 3 /tmp/beat; exit 1'; }
ok "a connection carries something" beats

# After the suspend, with all of its memory there, the other machine fails.
on "$there" dom0 'touch /root/fail'
like "$(dom0 'timeout 240 vgrant migrate web 10.8.0.2 -- -s /root/shell 2>&1; echo status $?')" 'resuming at sender.*status [1-9]' \
	"the other machine fails at the last moment"
on "$there" dom0 'rm /root/fail; xl destroy web--incoming'
ok "its devices are connected here" until_dom0 60 '[ $(vgrant list --brief web | grep -c connected) = 2 ]'
ok "the load goes on here" pulse web
ok "and so does the connection" beats
ok "nobody serves it there" on "$there" until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(on "$there" holds)" "$before_there" "there holds no more than before"

out=$(dom0 'timeout 240 vgrant migrate web 10.8.0.2 -- -s /root/shell 2>&1; echo status $?')
like "$out" 'status 0$' "it moves there"
nok "it is not here any more" dom0 xl domid web
ok "nor are its devices" until_dom0 30 '! vgrant list --brief | grep -q .'
ok "its disk is connected there" on "$there" until_list '^web virtio/64 blk connected'
ok "the load goes on" on "$there" pulse web
# Nobody can be asked in a guest there, which the tests did not start: the connection is looked at when it is back.
is "$(on "$here" holds)" "$before" "here holds no more than before"

# Back, and not yet started: what is here serves nobody yet, and the other machine has let go. What is still locked, as on
# storage with locks that both see, is waited for.
dom0 "(flock /dev/nbd0 sh -c 'until vgrant list --brief | grep -q web; do sleep 0.2; done; sleep 2' </dev/null >/dev/null 2>&1 &)"
like "$(on "$there" dom0 'timeout 240 vgrant migrate web 10.8.0.1 -- -s /root/shell -p 2>&1; echo status $?')" 'status 0$' "it moves back, and waits"
ok "its disk waits" until_list '^web virtio/64 blk waiting'
ok "and is nobody's there" on "$there" until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(on "$there" holds)" "$before_there" "there holds no more than before"
dom0 xl unpause web
ok "it goes on, with its disk" until_list '^web virtio/64 blk connected'
ok "the load goes on" pulse web
ok "and so does the connection" beats
nok "which was one" guest run web 'grep -v "^beat " /tmp/beat | grep -v ^echoed'
guest run web 'touch /run/hammer.stop'
harvest web
sum=$(dom0 "guest console web | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r')
is "$(dom0 hammer --sum /root/web.img 4)" "$sum" "what it wrote is on the disk"
guest destroy web
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "nothing is left"

# hvm_moves: an HVM guest with load on the same disk, there
hvm_moves() {
	echo 'hammer $(disk load) 4 10000' >"$T/hvm.main"
	quick hv --type hvm --memory 128 --script "$T/hvm.main" --append 'pci=noearly nokaslr' --config "vgrant = [ 'blk,target=/dev/nbd0,serial=load' ]"
	pull /etc/xen/hv.cfg "$T/hv.cfg"
	on "$there" push "$T/hv.cfg" /etc/xen/hv.cfg
	# QEMU reads these again where it arrives.
	for file in $(dom0 "sed -n 's/^\(kernel\|ramdisk\) *= *\"\(.*\)\"/\2/p' /etc/xen/hv.cfg"); do
		on "$there" dom0 "[ -e $file ]" || { pull "$file" "$T/file" && on "$there" push "$T/file" "$file"; }
	done
	each dom0 'mkdir -p /rig/guests/hv; ln -sf guest-hv.log /var/log/xen/console/guest-hv--incoming.log'
	guest start hv
	ok "an HVM guest has load" await hv '^hammer: at [1-9]' $((BOOT * 2))
	like "$(dom0 'timeout 300 vgrant migrate hv 10.8.0.2 -- -s /root/shell 2>&1; echo status $?')" 'status 0$' "it moves there"
	ok "its disk is connected there" on "$there" until_list '^hv virtio/64 blk connected'
	ok "the load goes on there" on "$there" pulse hv
	ok "its devices are not here any more" until_dom0 30 '! vgrant list --brief | grep -q .'
	each dom0 '! xl domid hv >/dev/null 2>&1 || xl destroy hv'
	on "$there" until_dom0 30 '! vgrant list --brief | grep -q .'
	each dom0 'rm -f /etc/xen/hv.cfg'
	is "$(on "$there" holds)" "$before_there" "and nothing is left there"
}
[[ ! ${LONG-} ]] || hvm_moves

# virsh_moves: the same of a guest of libvirt's, by virsh migrate, there
virsh_moves() {
	# shellcheck source=tests/xen/t/libvirt.bash
	. "$XEN_DIR/t/libvirt.bash"
	on "$there" push "$T/v" /root/v
	each libvirt_there
	on "$there" dom0 "echo 'log_outputs = \"4:file:/var/log/libvirtd.log\"' >>/etc/libvirt/libvirtd.conf"
	dom0 'ln -sf /dev/nbd0 /root/lv.disk'
	echo 'hammer $(disk load) 4 10000' >"$T/lv.main"
	quick lv --type pvh --script "$T/lv.main"
	each dom0 'rm -f /etc/xen/lv.cfg; virtlogd -d'
	ok "libvirtd runs on both" each in_dom0 libvirtd_begin
	ok "and vgrantd is connected to it" each until_dom0 60 "grep -q 'libvirt: connected to xen:///system' /var/log/vgrantd.log"
	define lv 11111111-2222-3333-4444-555555555509 pvh "<vgrant:blk target='/root/lv.disk' id='64' serial='load'/>"
	begin lv
	ok "a guest of libvirt's has load" await lv '^hammer: at [1-9]'
	like "$(dom0 'vgrant migrate lv 10.8.0.2 -- tcp://10.8.0.2 2>&1; echo status $?')" '/root/lv.disk: No such file.*runs on here.*status 1' \
		"vgrant migrate is told that the image is missing"
	# libvirt gives the hook no XML before it has begun, and tells virsh only that it ended.
	like "$(virsh migrate --live lv xen+ssh://10.8.0.2/system tcp://10.8.0.2 2>&1)" '^error:.*Failed to send migration data' "virsh migrate is refused"
	like "$(on "$there" dom0 cat /var/log/libvirtd.log)" 'Hook script execution failed.*/root/lv.disk: No such file' "and the log there says why"
	ok "its load goes on" pulse lv
	is "$(on "$there" devices)" "" "nothing was made there"
	on "$there" dom0 'ln -sf /dev/nbd0 /root/lv.disk'
	like "$(dom0 'timeout 240 vgrant migrate lv 10.8.0.2 -- tcp://10.8.0.2 2>&1; echo status $?')" 'status 0$' "it moves, by virsh migrate"
	ok "its devices are not here any more" until_dom0 30 '! vgrant list --brief | grep -q .'
	ok "its disk is connected there" on "$there" until_list '^lv virtio/64 blk connected'
	ok "the load goes on there" on "$there" pulse lv
	on "$there" virsh destroy lv
	on "$there" until_dom0 30 '! vgrant list --brief | grep -q .'
	is "$(on "$there" holds)" "$before_there" "and nothing is left there"
	in_dom0 'v undefine lv; libvirtd_end; pkill -x virtlogd; rm -rf /etc/libvirt/hooks/libxl.d'
}
[[ ! ${LONG-} ]] || virsh_moves
each dom0 'qemu-nbd -d /dev/nbd0 >/dev/null'
dom0 'pkill -x "rr|qemu-nbd"; pkill -f "nc -ll"; ip link del xenbr0'
done_testing
