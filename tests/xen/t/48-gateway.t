#!/bin/bash
# A PV and a PVH guest on devices of other programs: qemu-storage-daemon's qcow2, VHDX and NBD, virtiofsd's folder, passt's network, the kernel's vsock, vDPA and SCSI; killed under load.
# limit: 900
# long: 10,000 files in the folder; a guest with such devices is to be saved
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

for program in files vdpanet; do push "$IMAGE/products/$program" /rig/bin/$program; done
# serve, in dom0: start a daemon for the VHDX, and wait until it listens. The others vgrantd starts.
cat >"$T/serve" <<'EOS'
#!/bin/bash
rm -f /run/vhdx.sock
qemu-storage-daemon --blockdev driver=file,node-name=f,filename=/root/second.vhdx --blockdev driver=vhdx,node-name=d,file=f \
	--export type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=/run/vhdx.sock </dev/null >>/root/vhdx.log 2>&1 &
echo $! >/run/vhdx.own
for _ in {1..200}; do
	[[ ! -S /run/vhdx.sock ]] || exit 0
	sleep 0.1
done
cat /root/vhdx.log
exit 1
EOS
chmod +x "$T/serve"
push "$T/serve" /usr/bin/serve
dom0_script <<'EOS'
cd /root
rm -rf /srv/share
mkdir -p /srv/share/dir
seq 20000 >/srv/share/numbers
echo below >/srv/share/dir/below
head -c 4M /dev/urandom >base.img && truncate -s 64M base.img
md5sum <base.img >base.md5
qemu-img create -q -f qcow2 -F raw -b /root/base.img top.qcow2
qemu-img create -q -f vhdx second.vhdx 32M
truncate -s 16M far.img
cat >/usr/bin/nbd <<'EON'
#!/bin/bash
qemu-storage-daemon --blockdev driver=file,node-name=f,filename=/root/far.img --nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=10809 \
	--export nbd,id=e,node-name=f,name=far,writable=on </dev/null >>/root/far.log 2>&1 &
echo $! >/run/nbd.own
EON
chmod +x /usr/bin/nbd
modprobe vhost_vsock
modprobe tun
modprobe vduse
modprobe vhost_vdpa
truncate -s 16M vdpa.img
qemu-storage-daemon --blockdev driver=file,node-name=f,filename=/root/vdpa.img --export vduse-blk,id=e,name=vd0,node-name=f,writable=on,queue-size=512 </dev/null >>/root/vdpa.log 2>&1 &
echo $! >/run/vduse.own
for _ in {1..100}; do
	[[ ! -e /dev/vduse/vd0 ]] || break
	sleep 0.1
done
vdpa dev add name vd0 mgmtdev vduse
vdpanet vn0 vnet0 </dev/null >>/root/vdpanet.log 2>&1 &
echo $! >/run/vdpanet.own
for _ in {1..100}; do
	[[ ! -e /dev/vduse/vn0 ]] || break
	sleep 0.1
done
vdpa dev add name vn0 mgmtdev vduse
# A SCSI target, as targetcli makes one.
cat >/usr/bin/target <<'EOT'
#!/bin/bash
t=/sys/kernel/config/target w=naa.5001405aaaaaaaaa
p=$t/vhost/$w/tpgt_1
set -e
if [[ $1 == up ]]; then
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
	modprobe target_core_file
	modprobe vhost_scsi
	truncate -s 16M /root/scsi.img
	mkdir -p $t/core/fileio_0/disk
	echo fd_dev_name=/root/scsi.img,fd_dev_size=16777216 >$t/core/fileio_0/disk/control
	echo 1 >$t/core/fileio_0/disk/enable
	mkdir -p $p/lun/lun_0
	echo naa.5001405bbbbbbbbb >$p/nexus
	ln -s $t/core/fileio_0/disk $p/lun/lun_0/disk
else
	rm $p/lun/lun_0/disk
	echo NULL >$p/nexus
	rmdir $p/lun/lun_0 $p ${p%/*} $t/vhost $t/core/fileio_0/disk $t/core/fileio_0
fi
EOT
chmod +x /usr/bin/target
EOS
# stop [SIGNAL]: the one of the VHDX, and wait until it is gone
stop() { dom0 "p=\$(cat /run/vhdx.own); kill -${1:-TERM} \$p; while kill -0 \$p 2>/dev/null; do sleep 0.1; done"; }

before=$(holds)
vgrantd_start
ok "a daemon for the VHDX" dom0 serve
# passt is whoever its host is to the world: so there has to be one.
dom0 'ip link set lo up; nbd
	ip link add up0 type dummy && ip addr add 10.9.0.5/24 dev up0 && ip link set up0 up && ip route add default via 10.9.0.1
	ip addr add 10.8.0.1/24 dev vnet0 && ip link set vnet0 up
	(rr serve 7009 </dev/null >/dev/null 2>&1 &)'
ok "a SCSI target" dom0 target up
guest make pv --type pv --vgrant yes --file /rig/bin/hammer:rig/bin/hammer \
	--file /rig/bin/rr:rig/bin/rr --module virtio_net --module virtiofs --config "vgrant = [ 'blk,target=/root/top.qcow2', 'gateway,type=blk,socket=/run/vhdx.sock',
		'gateway,type=net,run=passt --vhost-user --foreground,network', 'gateway,type=net,vdpa=/dev/vhost-vdpa-1' ]"
guest make pvh --type pvh --vgrant yes --config "vgrant = [ 'fs,dir=/srv/share,tag=share', 'blk,target=nbd://127.0.0.1/far', 'vsock,cid=7', 'blk,target=vdpa:/dev/vhost-vdpa-0',
		'scsi,target=naa.5001405aaaaaaaaa' ]" --bin hammer --bin rr --bin files \
	--module vmw_vsock_virtio_transport --module virtio_scsi --module sd_mod
for g in pv pvh; do guest start $g; done
for g in pv pvh; do guest wait $g "$BOOT" 'waiting for commands' >/dev/null; done
ok "the qcow2 is connected" until_list '^pv virtio/64 blk connected'
ok "the network is connected" until_list '^pv virtio/66 gateway connected'
ok "and that of a vDPA device" until_list '^pv virtio/67 gateway connected'
ok "the VHDX is connected" until_list '^pv virtio/65 gateway connected'
ok "the folder is connected" until_list '^pvh .*fs connected'
ok "the disk of an NBD server, vsock, a vDPA device and a SCSI target, too" until_dom0 60 '[ $(vgrant list --brief pvh | grep -c connected) = 5 ]'
is "$(dom0 'ps -o user:20= -C qemu-storage-daemon | sort | uniq -c | grep -c root')" 1 "what vgrantd has started is not root"
is "$(json '[d[k]["virtio_id"] for k in sorted(d)]')" "[2, 2, 1, 1, 26, 2, 19, 2, 8]" "lists say what the daemons serve"

# ---- disks -----------------------------------------------------------------------

# dev GUEST NUMBER: the disk that has it; which one is vda depends on whose daemon was there first
dev() { guest run "$1" "basename /sys/bus/xen/devices/virtio-$2/*/virtio*/block/*" | tr -d '\r'; }
qcow2=$(dev pv 64) vhdx=$(dev pv 65) far=$(dev pvh 65) vdpa=$(dev pvh 67)
is "$(guest run pv "dd if=/dev/$qcow2 bs=1M count=64 2>/dev/null | md5sum")" "$(dom0 cat /root/base.md5)" \
	"the guest reads what lies below its qcow2"
guest run pv "hammer /dev/$qcow2 8 10000 2 1 >/run/disk.log 2>&1 & hammer /dev/$vhdx 8 10000 2 2 >/run/vhdx.log 2>&1 &"
# at NAME: wait until the load on it has got on.
at() {
	guest run pv "n=\$(grep -c ' at ' /run/$1.log); for i in \$(seq 300); do ! grep FAILED /run/$1.log || exit 1
		[ \$(grep -c ' at ' /run/$1.log) -le \$((n + 1)) ] || exit 0; usleep 300000; done; tail -n 3 /run/$1.log; exit 1"
}
# uncopied: the qcow2's daemon gets more of the guest's pages than it had
uncopied() {
	local now='vgrant list -v pv | sed -n "s/.* uncopied=\([0-9]*\).*/\1/p"'
	until_dom0 60 "n=\$($now); sleep 1; [ \"\$($now)\" -gt \"\${n:-0}\" ]"
}
ok "load on the qcow2" at disk
ok "its daemon has the guest's pool, and asks nothing of the grant device" dom0 'p=$(pgrep -f "filename=.*[t]op.qcow2" | head -n 1)
	grep xen/gntdev /proc/$p/maps && grep "^Seccomp:.*2" /proc/$p/status && ! ls -l /proc/$p/fd | grep xen/gntdev'
ok "what lies there is not copied" uncopied
ok "and on the VHDX" at vhdx
stop KILL
ok "the VHDX's daemon is killed under load, and the list says so" until_dom0 60 'vgrant list -v pv | grep "no daemon can be reached at /run/vhdx.sock"'
ok "the other disk goes on meanwhile" at disk
ok "another daemon" dom0 serve
ok "the guest goes on" at vhdx
dom0 'pkill -9 -f "filename=.*[t]op.qcow2"'
ok "the qcow2's daemon is killed, and replaced: the guest goes on" at disk
ok "the next one, too, has the pool" uncopied
dom0 "kill -9 $(json 'd["pv/virtio/64"]["worker"]["pid"]')"
ok "the worker is killed: the guest goes on" at disk
ok "and the next worker lends it again" uncopied
guest run pv 'touch /run/hammer.stop'
ok "all that was written was read back" guest run pv 'for i in $(seq 300); do
	grep FAILED /run/*.log && break; [ $(cat /run/*.log | grep -c done) -lt 2 ] || exit 0; usleep 200000; done; tail -n 3 /run/*.log; exit 1'
sum=$(guest run pv "sed -n 's/.*done.*sum //p' /run/disk.log")
vsum=$(guest run pv "sed -n 's/.*done.*sum //p' /run/vhdx.log")
is "$(json '[d[k]["counters"]["faults"] for k in sorted(d)]')" "[0, 0, 0, 0, 0, 0, 0, 0, 0]" "nobody broke a rule"

# A server that goes, and comes back: the guest waits.
guest run pvh "hammer /dev/$far 8 10000 2 3 >/run/far.log 2>&1 &"
far() { guest run pvh "n=\$(grep -c ' at ' /run/far.log); for i in \$(seq 300); do ! grep FAILED /run/far.log || exit 1
	[ \$(grep -c ' at ' /run/far.log) -le \$((n + 1)) ] || exit 0; usleep 300000; done; tail -n 3 /run/far.log; exit 1"; }
ok "load on the NBD server's disk" far
dom0 'kill -9 $(cat /run/nbd.own); sleep 2; nbd'
ok "the server is killed, and another begins: the guest goes on" far
ok "all of that was read back, too" guest run pvh 'touch /run/hammer.stop; for i in $(seq 300); do
	grep FAILED /run/far.log && break; ! grep -q done /run/far.log || exit 0; usleep 200000; done; tail -n 3 /run/far.log; exit 1'

# ---- what the kernel serves --------------------------------------------------------

ok "the vDPA device is a disk of its size" guest run pvh "[ \$(cat /sys/block/$vdpa/size) = 32768 ]"
ok "all that is written to it is read back" guest run -t 200 pvh "rm -f /run/hammer.stop; hammer /dev/$vdpa 8 2 2 4 >/run/vdpa.log; grep -q done /run/vdpa.log || { cat /run/vdpa.log; exit 1; }"
psum=$(guest run pvh "sed -n 's/.*done.*sum //p' /run/vdpa.log")
# scsi WHAT: the guest's disk of the target is read and written, and that is read back
scsi() {
	ok "$1" guest run -t 200 pvh 'rm -f /run/hammer.stop; hammer /dev/sda 8 3 2 5 >/run/scsi.log; grep -q done /run/scsi.log || { cat /run/scsi.log; exit 1; }'
}
is "$(guest run pvh 'cat /sys/block/sda/size; cat /sys/block/sda/device/vendor' | tr -d '\r ')" "32768
LIO-ORG" "the SCSI target's disk is the guest's"
scsi "all that is written to it is read back"
dom0 '(sleep 1; pkill -9 -f "[v]host scsi") </dev/null >/dev/null 2>&1 &'
scsi "what serves it is killed meanwhile: the guest tries once more"
dom0 "kill -9 $(json '[x for x in d.values() if x["virtio_id"] == 8][0]["worker"]["pid"]')"
scsi "its worker is killed"
ssum=$(guest run pvh "sed -n 's/.*done.*sum //p' /run/scsi.log")
dom0 'rr vserve 77 </dev/null >/root/rr.log 2>&1 & echo $! >/run/rr.own'
like "$(guest run -t 100 pvh 'rr echo cid:2 77 3000000')" 'echoed 3000000' "over vsock, dom0 gives back what the guest sends"
guest run pvh 'rr vserve 78 </dev/null >/run/rr.log 2>&1 &'
like "$(dom0 rr echo cid:7 78 3000000)" 'echoed 3000000' "and the guest what dom0 does"
dom0 'pkill -9 -f "[v]host vsock 7"'
ok "what serves vsock is killed, and another begins: the guest connects again" until_dom0 60 'rr echo cid:7 78 1000 | grep echoed'
dom0 "kill -9 $(json '[x for x in d.values() if x["virtio_id"] == 19][0]["worker"]["pid"]')"
ok "its worker is, and another begins" until_dom0 60 'rr echo cid:7 78 1000 | grep echoed'

# ---- a network -------------------------------------------------------------------

# Its address is dom0's own, and the router's is dom0.
guest run pv 'cat >/run/dhcp <<"EOD"
#!/bin/sh
[ "$1" != bound ] || { ip addr add $ip/24 dev $interface && ip route add default via $router; }
EOD
chmod +x /run/dhcp'
# card NUMBER: the interface that has it
card() { guest run pv "ls /sys/bus/xen/devices/virtio-$1/*/virtio*/net" | tr -d '\r'; }
passt=$(card 66) vnet=$(card 67)
ok "the guest has an address from passt by DHCP" guest run -t 60 pv "ip link set lo up; ip link set $passt up && udhcpc -i $passt -q -n -t 20 -s /run/dhcp && ip addr show $passt | grep 10.9.0.5"
like "$(guest run -t 100 pv 'rr echo 10.9.0.1 7009 3000000')" 'echoed 3000000' "and reaches dom0 by TCP"
dom0 'pkill -9 passt'
ok "passt is killed, and another begins" guest run -t 100 pv 'for i in $(seq 30); do ! timeout 10 rr echo 10.9.0.1 7009 1000 | grep echoed || exit 0; sleep 1; done; exit 1'
is "$(guest run pv "cat /sys/class/net/$vnet/address" | tr -d '\r')" 00:16:3e:00:da:01 "the vDPA card has the address that its device says"
like "$(guest run -t 100 pv "ip link set $vnet up && ip addr add 10.8.0.2/24 dev $vnet && rr echo 10.8.0.1 7009 3000000")" 'echoed 3000000' "and carries TCP"
dom0 'pkill -9 -f "[v]host vdpa /dev/vhost-vdpa-1"'
ok "what serves it is killed, and another begins" guest run -t 100 pv 'for i in $(seq 30); do ! timeout 10 rr echo 10.8.0.1 7009 1000 | grep echoed || exit 0; sleep 1; done; exit 1'

# ---- a folder --------------------------------------------------------------------

ok "the guest mounts the folder" guest run pvh 'mount -t virtiofs share /mnt && mkdir /mnt/guest'
is "$(guest run pvh 'cd /mnt && md5sum numbers dir/below')" "$(dom0 'cd /srv/share && md5sum numbers dir/below')" "its files are the host's"
files=300
[[ ! ${LONG-} ]] || files=10000
like "$(guest run -t 1200 pvh "files test /mnt/tested $files && ln -s ../numbers /mnt/guest/link")" "files: tested $files" \
	"files are made, renamed, linked, removed; locked, appended to by two, mapped, cut"
list='find . | sort | md5sum; find . -type f | sort | xargs md5sum | md5sum; readlink guest/link'
is "$(guest run pvh "cd /mnt && $list")" "$(dom0 "cd /srv/share && $list")" "both sides have the same tree"
dom0 'echo from the host >/srv/share/note'
is "$(guest run pvh 'cat /mnt/note')" "from the host" "and what the host makes the guest sees"
old=$(dom0 pgrep -o virtiofsd)
dom0 'pkill -9 virtiofsd'
ok "its daemon is killed, and another begins" until_dom0 60 "pgrep -o virtiofsd | grep -vx $old && vgrant list --brief | grep pvh.*connected && ! vgrant list -v pvh | grep daemon=lost"
ok "what the guest had open fails, and does not hang" guest run -t 60 pvh 'ls /mnt/dir >/dev/null 2>&1; true'
ok "mounted anew, all is there" guest run -t 100 pvh 'cd / && umount -l /mnt && mount -t virtiofs share /mnt && grep -q below /mnt/dir/below'

# ---- plugged into a guest that runs -----------------------------------------------------

hotplug pv fs,dir=/srv/share,tag=hot
dom0 'qemu-img create -q -f qcow2 /root/hot.qcow2 16M'
hotplug pvh blk,target=/root/hot.qcow2
vsock=$(json '[k.split("/")[-1] for k in d if d[k]["virtio_id"] == 19][0]')
ok "vsock is unplugged, and plugged again" dom0 "vgrant detach pvh $vsock && vgrant attach pvh vsock,cid=7"
ok "and carries what it did" until_dom0 60 'rr echo cid:7 78 1000 | grep echoed'

# ---- suspend ---------------------------------------------------------------------

# Linux' virtio_fs cannot be suspended: a guest that has a folder refuses, and goes on; one without is saved and
# comes back. Refusing takes xl a minute.
if [[ ${LONG-} ]]; then
	nok "a guest that has a folder is not saved" dom0 'timeout 200 xl save pvh /root/pvh.chk >/root/save.log 2>&1'
	like "$(vgrantd_log)" 'guest pvh.*refuses to be suspended' "vgrantd's log has it"
	like "$(guest run pvh dmesg)" 'virtio-fs: suspend/resume not yet supported' "its kernel says why"
	ok "and goes on with it" guest run -t 60 pvh 'echo after >/mnt/guest/after && echo 3 >/proc/sys/vm/drop_caches && grep after /mnt/guest/after'
	ok "its disks do, too" guest run -t 100 pvh "rm -f /run/hammer.stop; hammer /dev/$far 8 2 1 3 | grep done"
	guest run pv 'rm -f /run/hammer.stop'
	ok "one with disks and a network of other programs is saved" dom0 'timeout 200 xl save pv /root/pv.chk'
	ok "and restored" dom0 'timeout 200 xl restore /etc/xen/pv.cfg /root/pv.chk'
	ok "its devices come back" until_list '^pv virtio/65 gateway connected'
	ok "its qcow2 goes on" until_dom0 60 "guest run pv 'hammer /dev/$qcow2 8 2 1 1' | grep done"
	ok "and its network" until_dom0 60 'guest run pv "timeout 10 rr echo 10.9.0.1 7009 1000" | grep echoed'
	sum=$(guest run pv "hammer /dev/$qcow2 8 2 1 1" | sed -n 's/.*done.*sum //p' | tr -d '\r')
fi

# ---- the end ---------------------------------------------------------------------

for g in pv pvh; do
	is "$(complaints $g)" "" "$g: its kernel does not complain"
done
# A guest goes while its daemon reads and writes its memory.
dom0 vgrant attach pvh blk,target=/root/hot.qcow2,id=90
ok "one more qcow2" until_list '^pvh virtio/90 blk connected'
hot=$(dev pvh 90)
guest run pvh "rm -f /run/hammer.stop; hammer /dev/$hot 8 10000 2 6 >/run/hot.log 2>&1 &"
ok "load on it, in the guest's own memory" until_dom0 60 'vgrant list -v pvh | grep uncopied='
guest destroy pv pvh
ok "all of it is given back" until_dom0 60 '! vgrant list --brief | grep .'
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
dom0 'kill $(cat /run/nbd.own /run/rr.own)'
is "$(dom0 hammer --sum /root/vdpa.img 8)" "$psum" "dom0 finds what went through vDPA"
is "$(dom0 hammer --sum /root/scsi.img 8)" "$ssum" "and what went to the target"
ok "the target can be taken away" dom0 target down
dom0 'vdpa dev del vd0; vdpa dev del vn0; kill $(cat /run/vduse.own /run/vdpanet.own)'
is "$(dom0 'pgrep -f "[t]op.qcow2|driver=[n]bd|[v]irtiofsd|[v]host |[p]asst" | wc -l; ls /run/vgrant | grep -c daemon')" "0
0" "no daemon of vgrantd's is left, and no socket"
stop
ok "the qcow2 is whole" dom0 qemu-img check -q /root/top.qcow2
ok "and the VHDX" dom0 qemu-img check -q /root/second.vhdx
dom0 'cd /root && qemu-img convert -O raw top.qcow2 top.raw && qemu-img convert -O raw second.vhdx second.raw'
ok "what it holds is what lies in it and below" dom0 qemu-img compare -q /root/top.qcow2 /root/top.raw
is "$(dom0 hammer --sum /root/top.raw 8)" "$sum" "dom0 finds there what the guest wrote"
is "$(dom0 hammer --sum /root/second.raw 8)" "$vsum" "and in the VHDX"
is "$(dom0 'md5sum </root/base.img')" "$(dom0 cat /root/base.md5)" "the file below is as it was"
done_testing
