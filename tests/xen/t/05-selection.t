#!/bin/bash
# On one boot: data by every path, both rings, root, CAN and its firewall, network, pictures, keys, a folder, attacks, restarts, resets.
# only: arm64
# limit: 900
# What `make check` runs of an architecture whose other tests it leaves to `make check-xen ARCH=...`: a
# little of each, in guests that live to the end.
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# ---- a guest with disks --------------------------------------------------------

# Without a pool, to copy; what is 64 KiB and more is mapped where the disk says so; and then all goes by the pool, which grows.
cat >"$T/data.main" <<'EOS'
count() { cat "/sys/block/${1#/dev/}/device/../$2"; }
packed=$(disk packed) split=$(disk split)
check "copied: every word of 512 bytes to 64 KiB is where it was written" aio $packed verify 512-65536 16 2
check "mapped: of 64 KiB to 1 MiB" aio $split verify 65536-1048576 8 4
check "nothing was in a pool" [ $(count $packed pooled) = 0 ]
echo 512 >/sys/module/virtio_grant/parameters/pool_pages
for d in /sys/bus/xen/drivers/virtio_grant/virtio-*; do
	echo ${d##*/} >/sys/bus/xen/drivers/virtio_grant/unbind
	echo ${d##*/} >/sys/bus/xen/drivers/virtio_grant/bind
done
packed=$(disk packed) split=$(disk split)
check "devices that were reset are there again" [ -b "$packed" -a -b "$split" ]
check "by the pool: of 512 bytes to 64 KiB" aio $packed verify 512-65536 32 2
check "which was used" [ $(count $packed pooled) -gt 200 ]
check "and has grown" [ $(count $packed pool_pages) -gt 64 ]
hammer_both $packed $split
check "the module is unloaded and loaded again" sh -c 'cd /sys/bus/xen/drivers/virtio_grant &&
	for d in virtio-*; do echo $d >unbind || exit; done; cd / && rmmod virtio_grant && modprobe virtio_grant'
packed=$(disk packed)
check "and finds what was written" [ "$(hammer --sum $packed 4)" = "$(sed -n 's/.*done.*sum //p' /tmp/packed)" ]
check "its kernel has nothing to say" calm
EOS
{ guest_kit && echo 'main() {' && cat "$T/data.main" && echo 'echo @end; }; main </dev/null &'; } >"$T/main"
push "$T/main" /rig/data.main
dom0 'chmod 755 /rig/data.main; cd /root; truncate -s 4M packed.img split.img rogue{1,2,3,4}.img
	guest make data --type pv --memory 256 --vgrant yes --file /rig/bin/aio:rig/bin/aio --file /rig/bin/hammer:rig/bin/hammer \
		--append virtio_grant.pool_pages=0 --main /rig/data.main --config "vgrant = [ '"'blk,target=/root/packed.img,serial=packed'"', '"'blk,target=/root/split.img,serial=split,packed=0,map-from=64K'"' ]"'

# ---- one that misbehaves -------------------------------------------------------

guest make rogue --type pv --module xen-gntalloc --module xen-evtchn --file /rig/bin/hostile:rig/bin/hostile \
	--config "vgrant = [ 'blk,target=/root/rogue1.img,queues=4,queue-size=4096', 'blk,target=/root/rogue2.img',
		'blk,target=/root/rogue3.img', 'blk,target=/root/rogue4.img' ]"

# ---- one with CAN, whose system lies on a vgrant disk ------------------------------

cat >"$T/car.main" <<'EOS'
#!/bin/sh
# Puts its system, and one file more, on the disk, and goes there; the pages that it has of it in memory are dropped.
for try in $(seq 300); do
	d=$(grep -lx root /sys/block/vd*/serial 2>/dev/null | cut -d/ -f4)
	[ "$d" ] && break
	usleep 100000
done
mount -t ext4 "/dev/$d" /mnt || exit
for f in /*; do
	case $f in /dev | /proc | /sys | /run | /tmp | /mnt | /root) mkdir /mnt$f ;; *) cp -a $f /mnt/ ;; esac
done
echo yes >/mnt/on-a-disk
sync
echo 3 >/proc/sys/vm/drop_caches
for d in proc sys dev tmp; do mount --move /$d /mnt/$d; done
exec chroot /mnt /rig/agent
EOS
module=$("$XEN_DIR/cache" virtio_can)
push "$T/car.main" /rig/car.main
push "$module/virtio_can.ko" /root/virtio_can.ko
dom0_script <<'EOS'
chmod 755 /rig/car.main
modprobe vcan
ip link show vcan0 >/dev/null 2>&1 || ip link add vcan0 type vcan
ip link set vcan0 mtu 72 up
cd /root
guest make car --type pv --kernel backports --memory 256 --vgrant yes --module can-raw --module can-dev --module virtio-rng --ko /root/virtio_can.ko \
	--bin candump --bin cansend --bin ip --main /rig/car.main \
	--config "vgrant = [ 'blk,target=/root/root.img,serial=root', 'can,interface=vcan0,id=70', 'rng' ]"
rm -f root.img && truncate -s 128M root.img && mkfs.ext4 -q -F root.img
EOS

# ---- one with all else ---------------------------------------------------------------

for program in draw keys; do push "$IMAGE/products/$program" /rig/bin/$program; done
dom0 'modprobe tun && modprobe bridge; ip link add xenbr0 type bridge; ip addr add 10.9.0.1/24 dev xenbr0; ip link set xenbr0 up
	guest make seat --type pv --vgrant yes --module virtio_net --module virtio-gpu --module virtio_input --module evdev \
		--file /rig/bin/draw:/rig/bin/draw --file /rig/bin/keys:/rig/bin/keys \
		--config "vgrant = [ '"'net', 'gpu,mode=640x480', 'input,kind=keyboard', 'console', 'fs,dir=/srv/share,tag=share'"' ]"
	mkdir -p /srv/share; echo from dom0 >/srv/share/note'

ok "vgrantd starts" vgrantd_start
before=$(holds)
for g in data car rogue seat; do ok "a guest is created: $g" guest start $g; done

ok "the rogue's disks wait" until_dom0 "$BOOT" '[ $(vgrant list --brief rogue | grep -c waiting) = 4 ]'
ok "load, after all paths were tried" await data '^hammer: at [1-9]'
is "$(json '[[(q["packed"], q["running"]) for q in d["data/virtio/%d" % i]["queues"]] for i in (64, 65)]')" \
	"[[(True, True)], [(False, True)]]" "one ring is packed, one split"
is "$(json "(lambda x: [x[\"maps\"] > 20, x[\"copied_bytes\"] > 4000])(d[\"data/virtio/65\"][\"xen\"])")" "[True, True]" \
	"large requests were mapped, others copied"

# ---- what this Xen cannot do ------------------------------------------------------

dom0_script <<'EOS'
printf '%s\n' 'name = "check"' "vgrant = [ 'rng', 'rng,backend=storage' ]" \
	'virtio = [ "type=virtio,device4,transport=mmio,grant_usage=1" ]' >/tmp/check.cfg
EOS
checked=$(dom0 vgrant check /tmp/check.cfg)
like "$checked" "check.cfg:3:13: warning: .*this machine's Xen has no IOREQ server" "vgrant check knows that Debian's Xen has no IOREQ server"
like "$checked" "check.cfg:2:20: warning: .*this machine's Xen runs with XSM's SILO" "and that SILO is on"

# ---- CAN ------------------------------------------------------------------------

like "$(guest run car 'cat /on-a-disk; grep " / " /proc/mounts | tail -n 1; uname -r')" 'yes.*/dev/vda / ext4.*7\.' \
	"a guest of the newer kernel has its system on a vgrant disk"
guest run car 'ip link set can0 up'
ok "it has a CAN controller, which it starts" until_dom0 60 'vgrant list -v car | grep -q "vcan0=up active started"'
like "$(guest run car 'head -c 16 /dev/hwrng | wc -c')" 16 "and random numbers"
# bus CMD: what is on it, without the flags of FD frames that virtio-can does not carry, until the mark, as dom0 hears it, when CMD ran in the guest
bus() {
	dom0 'candump -L vcan0 >/tmp/bus 2>/dev/null </dev/null & echo $! >/tmp/bus.pid
		for i in $(seq 100); do grep -q vcan0 /proc/net/can/rcvlist_all && break; sleep 0.1; done'
	guest run car "$1; cansend can0 5A5#454E44"
	dom0 'for i in $(seq 600); do grep -q 5A5#454E44 /tmp/bus && break; sleep 0.1; done; kill $(cat /tmp/bus.pid)
		cut -d" " -f3 /tmp/bus | grep -v 5A5# | sed "s/##./##/" | tr "\n" " "'
}
is "$(bus 'cansend can0 123#0102; cansend can0 18DAF110#0304; cansend can0 124##1112233')" "123#0102 18DAF110#0304 124##112233 " \
	"frames of each kind reach dom0's bus"
ok "the firewall is changed while it runs" dom0 vgrant set car 70 tx-allow=100:7f0+5A5
is "$(bus 'for f in 105#01 205#02 00000105#03 10F#04; do cansend can0 $f; done')" "105#01 10F#04 " "and lets only what is allowed pass"
guest run car 'candump -L -n 1 can0 >/tmp/heard 2>/dev/null </dev/null & for i in $(seq 100); do grep -q can0 /proc/net/can/rcvlist_all && exit; usleep 100000; done'
dom0 cansend vcan0 321#55AA
like "$(guest run car 'for i in $(seq 600); do [ -s /tmp/heard ] && break; usleep 100000; done; cat /tmp/heard')" ' 321#55AA' "a frame of dom0's reaches the guest"

# ---- network, picture, keys, console, a folder -------------------------------------

for kind in net gpu input console fs; do ok "connected: $kind" until_list "^seat .*$kind connected"; done
guest run seat 'ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0'
# reach N: with packets of N bytes
reach() { dom0 "for i in \$(seq 30); do busybox ping -c 1 -W 2 10.9.0.2 >/dev/null && break; done; busybox ping -c 3 -W 5 -s $1 10.9.0.2"; }
ok "dom0 reaches the guest" reach 56
ok "with packets in many pieces, too" reach 20000
port=$(dom0 'xenstore-read /local/domain/$(xl domid seat)/console/vnc-port')
guest run seat 'draw 1 >/tmp/draw 2>&1 & for i in $(seq 100); do grep -q heads /tmp/draw && break; sleep 0.1; done'
is "$(dom0 "view $port pattern 1")" 640x480 "a viewer sees what the guest draws, each pixel"
guest run seat 'keys >/tmp/keys 2>&1 & for i in $(seq 100); do grep -q devices /tmp/keys && break; sleep 0.1; done'
dom0 "view $port type a"
ok "what a viewer types arrives" guest run seat 'for i in $(seq 150); do grep -q "keyboard: 1 30 0" /tmp/keys && exit; usleep 100000; done; exit 1'
guest run seat 'for i in $(seq 100); do test -c /dev/hvc1 && break; usleep 100000; done; echo from the guest >/dev/hvc1'
like "$(dom0 'timeout 20 head -n 1 $(xenstore-ls -f /local/domain/$(xl domid seat)/device/console | sed -n "s|.*/tty = .\(/dev/pts/[0-9]*\).*|\1|p")')" \
	'^from the guest' "and dom0 reads its console"

is "$(guest run seat 'mount -t virtiofs share /mnt && cat /mnt/note && echo from the guest >/mnt/answer')" "from dom0" "and a folder of dom0's, by another program"
is "$(dom0 cat /srv/share/answer)" "from the guest" "which it writes to"

# ---- restarts --------------------------------------------------------------------

dom0 'pkill -9 -P $(pgrep -ox vgrantd)'
for device in 'data virtio/64 blk' 'data virtio/65 blk' 'car virtio/70 can' 'seat virtio/64 net' 'seat virtio/65 gpu'; do
	ok "its worker is killed, another one takes over: $device" until_list "^$device connected"
done
ok "the guest is reached" reach 56
is "$(dom0 "view $port pattern 1")" 640x480 "its picture is the same"
ok "the load goes on" pulse data
dom0 daemon kill
ok "vgrantd is killed with all its workers, and started again" vgrantd_start
ok "the load goes on" pulse data
is "$(bus 'for f in 105#01 205#02; do cansend can0 $f; done')" "105#01 " "CAN goes on, and so does its firewall"
is "$(json '[(d[k]["counters"]["errors"], d[k]["counters"]["faults"]) for k in ("data/virtio/64", "data/virtio/65")]')" \
	"[(0, 0), (0, 0)]" "no request failed, and nobody broke a rule"

# ---- attacks ---------------------------------------------------------------------

# Those that race with the backend, and one of each other kind; all of them: 46-attacks.t.
guest run rogue 'echo 8192 >/sys/module/xen_gntalloc/parameters/limit'
dom0 xl sched-credit -d rogue -w 4096
for pair in "64 grant-foreign" "64 grant-race" "65 flip-split" "65 flip-packed" "66 control-revoked" "66 control-index" "67 reconnect"; do
	guest run -t 600 rogue "hostile $pair 300" >"$T/out" 2>"$T/err"
	verdicts <"$T/out"
	grep -q '^@' "$T/out" || fail "hostile $pair says something: $(tail -n 3 "$T/out" "$T/err")"
done
ok "the load goes on" pulse data
is "$(json '[d[k]["worker"]["restarts"] for k in sorted(d) if k.startswith("rogue")]')" "[0, 0, 0, 0]" "no worker died of an attack"

# ---- the end ---------------------------------------------------------------------

guest run data 'touch /run/hammer.stop'
harvest data
sums=$(dom0 "guest console data | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r' | sort | tr '\n' ' ')
is "$(dom0 'hammer --sum /root/packed.img 4; hammer --sum /root/split.img 4' | sort | tr '\n' ' ')" "$sums" "dom0 finds on the disks what was written"
is "$(complaints car)" "" "the other guest's kernel has nothing to say either"
is "$(dom0 'for g in data car rogue seat; do xl destroy $g 2>&1; done')" "" "xl destroy has nothing to complain about"
until_dom0 60 '! vgrant list --brief | grep -q . && ! xl list | grep -qE "data|car|rogue|seat|null"'
is "$(holds)" "$before" "dom0 holds no more than before"
is "$(complaints)" "" "dom0's kernel has nothing to say"
ok "vgrantd stops" vgrantd_stop
dom0 "ip link del vcan0; ip link del xenbr0"
done_testing
