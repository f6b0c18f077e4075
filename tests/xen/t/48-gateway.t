#!/bin/bash
# A PV and a PVH guest on devices of other programs: qemu-storage-daemon's qcow2, VHDX and NBD, virtiofsd's folder, the kernel's vsock and vDPA; killed under load.
# limit: 500
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

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
EOS
# stop [SIGNAL]: the one of the VHDX, and wait until it is gone
stop() { dom0 "p=\$(cat /run/vhdx.own); kill -${1:-TERM} \$p; while kill -0 \$p 2>/dev/null; do sleep 0.1; done"; }

before=$(holds)
vgrantd_start
ok "a daemon for the VHDX" dom0 serve
dom0 'ip link set lo up; nbd'
guest make pv --type pv --vgrant yes --file /rig/bin/hammer:rig/bin/hammer \
	--config "vgrant = [ 'blk,target=/root/top.qcow2', 'gateway,type=blk,socket=/run/vhdx.sock' ]"
guest make pvh --type pvh --vgrant yes --config "vgrant = [ 'fs,dir=/srv/share,tag=share', 'blk,target=nbd://127.0.0.1/far', 'vsock,cid=7', 'blk,target=vdpa:/dev/vhost-vdpa-0' ]" \
	--file /rig/bin/hammer:rig/bin/hammer --file /rig/bin/rr:rig/bin/rr --module vmw_vsock_virtio_transport
for g in pv pvh; do guest start $g; done
for g in pv pvh; do guest wait $g "$BOOT" 'waiting for commands' >/dev/null; done
ok "the qcow2 is connected" until_list '^pv virtio/64 blk connected'
ok "the VHDX is connected" until_list '^pv virtio/65 gateway connected'
ok "the folder is connected" until_list '^pvh .*fs connected'
ok "the disk of an NBD server, vsock, and a vDPA device, too" until_dom0 60 '[ $(vgrant list --brief pvh | grep -c connected) = 4 ]'
is "$(dom0 'ps -o user:20= -C qemu-storage-daemon | sort | uniq -c | grep -c root')" 1 "what vgrantd has started is not root"
is "$(json '[d[k]["virtio_id"] for k in sorted(d)]')" "[2, 2, 26, 2, 19, 2]" "lists say what the daemons serve"

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
ok "load on the qcow2" at disk
ok "and on the VHDX" at vhdx
stop KILL
ok "the VHDX's daemon is killed under load, and the list says so" until_dom0 60 'vgrant list -v pv | grep "no daemon can be reached at /run/vhdx.sock"'
ok "the other disk goes on meanwhile" at disk
ok "another daemon" dom0 serve
ok "the guest goes on" at vhdx
dom0 'pkill -9 -f "filename=.*[t]op.qcow2"'
ok "the qcow2's daemon is killed, and replaced: the guest goes on" at disk
dom0 "kill -9 $(json 'd["pv/virtio/64"]["worker"]["pid"]')"
ok "the worker is killed: the guest goes on" at disk
guest run pv 'touch /run/hammer.stop'
ok "all that was written was read back" guest run pv 'for i in $(seq 300); do
	grep FAILED /run/*.log && break; [ $(cat /run/*.log | grep -c done) -lt 2 ] || exit 0; usleep 200000; done; tail -n 3 /run/*.log; exit 1'
sum=$(guest run pv "sed -n 's/.*done.*sum //p' /run/disk.log")
vsum=$(guest run pv "sed -n 's/.*done.*sum //p' /run/vhdx.log")
is "$(json '[d[k]["counters"]["faults"] for k in sorted(d)]')" "[0, 0, 0, 0, 0, 0]" "nobody broke a rule"

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
dom0 'rr vserve 77 </dev/null >/root/rr.log 2>&1 & echo $! >/run/rr.own'
like "$(guest run -t 100 pvh 'rr echo cid:2 77 3000000')" 'echoed 3000000' "over vsock, dom0 gives back what the guest sends"
guest run pvh 'rr vserve 78 </dev/null >/run/rr.log 2>&1 &'
like "$(dom0 rr echo cid:7 78 3000000)" 'echoed 3000000' "and the guest what dom0 does"
dom0 'pkill -9 -f "[v]host vsock 7"'
ok "what serves vsock is killed, and another begins: the guest connects again" until_dom0 60 'rr echo cid:7 78 1000 | grep echoed'
dom0 "kill -9 $(json '[x for x in d.values() if x["virtio_id"] == 19][0]["worker"]["pid"]')"
ok "its worker is, and another begins" until_dom0 60 'rr echo cid:7 78 1000 | grep echoed'

# ---- a folder --------------------------------------------------------------------

ok "the guest mounts the folder" guest run pvh 'mount -t virtiofs share /mnt && mkdir /mnt/guest'
is "$(guest run pvh 'cd /mnt && md5sum numbers dir/below')" "$(dom0 'cd /srv/share && md5sum numbers dir/below')" "its files are the host's"
ok "files are made, renamed, removed, linked" guest run pvh 'cd /mnt/guest && for i in $(seq 300); do echo $i >$i || exit; done &&
	for i in $(seq 1 2 300); do mv $i renamed.$i || exit; done && rm 2 && ln -s ../numbers link && ln 4 four && mkdir sub &&
	dd if=/dev/urandom of=sub/large bs=64k count=64 2>/dev/null && sync'
list='find . | sort | md5sum; find . -type f | sort | xargs md5sum | md5sum; readlink guest/link'
is "$(guest run pvh "cd /mnt && $list")" "$(dom0 "cd /srv/share && $list")" "both sides have the same tree"
dom0 'echo from the host >/srv/share/note'
is "$(guest run pvh 'cat /mnt/note')" "from the host" "and what the host makes the guest sees"
old=$(dom0 pgrep -o virtiofsd)
dom0 'pkill -9 virtiofsd'
ok "its daemon is killed, and another begins" until_dom0 60 "pgrep -o virtiofsd | grep -vx $old && vgrant list --brief | grep pvh.*connected && ! vgrant list -v pvh | grep daemon=lost"
ok "what the guest had open fails, and does not hang" guest run -t 60 pvh 'ls /mnt/dir >/dev/null 2>&1; true'
ok "mounted anew, all is there" guest run -t 100 pvh 'cd / && umount -l /mnt && mount -t virtiofs share /mnt && grep -q below /mnt/dir/below'

# ---- the end ---------------------------------------------------------------------

for g in pv pvh; do
	is "$(complaints $g)" "" "$g: its kernel does not complain"
done
guest destroy pv pvh
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
dom0 'kill $(cat /run/nbd.own /run/rr.own)'
is "$(dom0 hammer --sum /root/vdpa.img 8)" "$psum" "dom0 finds what went through vDPA"
dom0 'vdpa dev del vd0; kill $(cat /run/vduse.own)'
is "$(dom0 'pgrep -f "[t]op.qcow2|driver=[n]bd|[v]irtiofsd|[v]host vsock" | wc -l; ls /run/vgrant | grep -c daemon')" "0
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
