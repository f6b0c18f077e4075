#!/bin/bash
# A car: cluster, infotainment and gateway, as configs/automotive has them, on one bus, one monitor, one bridge
# and shared maps; from power-up to a crash of the one that may crash.
# limit: 600
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

if ! module=$("$XEN_DIR/cache" --arch "$ARCH" virtio_can); then
	skip "virtio_can cannot be built"
	done_testing
	exit
fi
push "$module/virtio_can.ko" /root/virtio_can.ko
for program in draw scanout rr; do push "$IMAGE/products/$program" /rig/bin/$program; done

# What each guest does from its first moment on. All that it waits for is a device of its own.
cat >"$T/car" <<'EOS'
#!/bin/sh
role=$(sed 's/.*role=\([a-z]*\).*/\1/' /proc/cmdline)
until_true() { until "$@" >/dev/null 2>&1; do usleep 20000; done; }
picture() { until_true test -e /dev/dri/card0; (draw $1 </dev/null >/tmp/draw 2>&1 &); until_true grep -q heads /tmp/draw; echo "car: shows"; }
reads() {
	until d=$(grep -lx $1 /sys/block/vd*/serial 2>/dev/null | cut -d/ -f4) && [ "$d" ]; do usleep 20000; done
	dd if=/dev/$d of=/dev/null bs=4096 count=1 2>/dev/null && echo "car: reads $1"
	ln -sf /dev/$d /run/$1
}
{
	case $role in
	cluster)
		(reads CLUSTER && reads MAPS) &
		picture 40 &
		until_true ip link set can0 up
		(candump -r 4000000 -L can0 </dev/null >/tmp/heard 2>&1 &)
		until_true test -s /tmp/heard
		echo "car: hears"
		;;
	infotainment)
		picture 1 &
		(reads INFO && reads MAPS) &
		until_true ip link set eth0 up
		ip addr add 10.8.0.2/24 dev eth0
		;;
	gateway)
		until_true /rig/bin/ip link set can0 txqueuelen 1000 up # busybox' own knows no queue lengths
		(cangen can0 -g 50 -I 101 -L 1 -D i </dev/null >/dev/null 2>&1 &)
		echo "car: sends"
		until_true ip link set eth0 up
		ip addr add 10.8.0.1/24 dev eth0
		rr serve 7000
		;;
	esac
} </dev/null >/dev/console 2>&1 &
EOS
push "$T/car" /root/car
dom0 chmod 755 /root/car
# entries GUEST [SCRIPT]: its lines of the example, edited by sed's SCRIPT
entries() { sed -n '/^vgrant/,/]$/p; /^on_/p' "$REPO/configs/automotive/$1.cfg" | sed "${2-}"; }
made=
# car_guest GUEST [SCRIPT]: one initramfs serves all
car_guest() {
	local with=(--initrd /rig/guests/cluster/initramfs)
	[[ $made ]] || with=(--vgrant yes --module can-raw --module can-dev --module virtio-gpu --module virtio_input --module virtio_net
		--ko /root/virtio_can.ko --bin candump --bin cansend --bin cangen --bin ip --main /root/car
		--file /rig/bin/draw:/rig/bin/draw --file /rig/bin/rr:/rig/bin/rr)
	made=1
	guest make "$1" --type pv --kernel backports --memory 256 --append "role=$1 panic=1" "${with[@]}" --config "$(entries "$1" "${2-}")"
}
dom0 'modprobe -a drm_kms_helper drm_shmem_helper && insmod /rig/ko/stock/vkms.ko enable_writeback=0
	mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
	timeout 30 sh -c "until [ -e /dev/dri/card0 ]; do sleep 0.1; done"'
dom0 'mkdir -p /srv/automotive && cd /srv/automotive && truncate -s 8M cluster.img infotainment.img gateway.img && head -c 8M /dev/urandom >maps.img
	modprobe -a vcan can-raw bridge tun && ip link add can0 type vcan && ip link set can0 up
	ip link add br-car type bridge && echo 1 >/proc/sys/net/ipv4/conf/br-car/rp_filter && echo 1 >/proc/sys/net/ipv6/conf/br-car/disable_ipv6
	ip link set br-car up && ip addr add 10.8.0.9/32 dev lo
	(candump -r 4000000 -L can0 </dev/null >/root/bus 2>&1 &)'
car_guest cluster "s/'gpu,/&kms=Virtual-1,kms-area=320x240@640:480,kms-layer=10,/"
car_guest gateway
car_guest infotainment "s/'gpu,/&kms=Virtual-1,/"
for g in cluster gateway infotainment; do ok "vgrant check: $g" dom0 "vgrant check /etc/xen/$g.cfg"; done
before=$(holds)

# ---- power-up -----------------------------------------------------------------------

since=$(dom0 'cut -d " " -f 1 /proc/uptime')
# when GUEST REGEX: seconds from the start to that line of its console; await before that
when() { dom0 "echo \$(cut -d ' ' -f 1 /proc/uptime) $since" | awk -v what="$1: $2" '{ printf "%6.1f s  %s\n", $1 - $2, what }'; }
ok "vgrantd starts" vgrantd_start
for g in gateway cluster infotainment; do dom0 "guest start $g" >"$T/start-$g" 2>&1 & done
wait
ok "the gateway sends" await gateway '^car: sends'
ok "the cluster hears the bus" await cluster '^car: hears'
diag "$(when cluster 'hears the bus')"
ok "has its disk" await cluster '^car: reads CLUSTER'
ok "and maps" await cluster '^car: reads MAPS'
ok "and shows its picture" await cluster '^car: shows'
diag "$(when cluster 'shows its picture')"
ok "the infotainment has the same maps" await infotainment '^car: reads MAPS'
ok "and a picture" await infotainment '^car: shows'
diag "$(when infotainment 'shows its picture')"

# shows CLUSTER INFOTAINMENT: both pictures, by draw.c's seeds, each pixel; on one monitor, the cluster's on top
shows() { [[ $(dom0 "scanout /dev/dri/card0 areas 0 60 $1:320x240@640:480 $2:1024x768@0:0") == 1024x768 ]]; }
ok "both are seen, on one monitor, the cluster on top" shows 40 1
nok "nobody writes the maps" guest run cluster 'dd if=/dev/zero of=/run/MAPS bs=4k count=1 conv=fsync'
sum=$(dom0 'md5sum </srv/automotive/maps.img')
is "$(guest run cluster 'md5sum </run/MAPS' | tr -d '\r')" "$sum" "the cluster reads them"
is "$(guest run infotainment 'md5sum </run/MAPS' | tr -d '\r')" "$sum" "and the infotainment"
ok "the infotainment reaches the gateway" guest run infotainment 'timeout 60 rr echo 10.8.0.1 7000 65536'
is "$(dom0 'bridge link show 2>/dev/null | grep -c "master br-car"')" 2 "on a bridge that only the two are on"
like "$(guest run infotainment 'timeout 10 rr echo 10.8.0.9 7000 1 2>&1; grep "^10.8.0.9 " /proc/net/arp')" ' 0x0 ' "and where dom0 does not answer for an address of its own"

# ---- the firewall of the bus -------------------------------------------------------------

can_id=$(dom0 "vgrant list -b cluster" | awk -F '\t' '$3 == "can" { sub(".*/", "", $2); print $2 }')
guest run cluster 'cansend can0 6F1#01; cansend can0 100#DEAD; cansend can0 6F1#02'
ok "a request of the cluster's is on the bus" until_dom0 60 'grep -q "6F1#02" /root/bus'
nok "a speed that it makes up is not" dom0 'grep "100#DEAD" /root/bus'
like "$(dom0 "vgrant list -v cluster" | tr '\n' ' ')" 'tx-refused=[^ ]*id:1' "and is counted"
guest run gateway 'cangen can0 -g 0 -I 1FF -L 8 -n 3000 -i </dev/null >/dev/null 2>&1'
like "$(dom0 "vgrant list -v gateway" | tr '\n' ' ')" 'tx-refused=[^ ]*(rate|load):[1-9]' "a gateway that floods the bus is held to its share"
ok "limits change while it runs" dom0 "vgrant set cluster $can_id tx-rate=20"

# ---- a crash ------------------------------------------------------------------------------

# While it is away the cluster's picture alone is there; what looks for that begins before.
dom0 'scanout /dev/dri/card0 areas 0 100 40:320x240@640:480' >"$T/alone" &
domid=$(dom0 xl domid infotainment)
guest run infotainment '(usleep 200000; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &'
ok "the infotainment crashes" until_dom0 60 "! xl domname $domid"
wait $!
is "$(<"$T/alone")" 1024x768 "the cluster is seen while it is away"
ok "it comes back by itself" dom0 'timeout 150 sh -c "until [ \$(grep -ac ^car:.shows /var/log/xen/console/guest-infotainment.log) = 2 ]; do sleep 0.5; done"'
ok "and is seen again" shows 40 1
ok "it reaches the gateway" guest run infotainment 'timeout 60 rr echo 10.8.0.1 7000 4096'

# From its first frame on the cluster has heard what dom0 did, but for its own: the last of the bus, up to a mark.
dom0 'cansend can0 5A5#'
frames='sed -nE "/ 6F1#/d; s/^[^ ]+ can0 ([^ ]+).*/\1/p; /^5A5#/q"'
guest run cluster "for i in \$(seq 60); do grep -q ' 5A5#' /tmp/heard && break; sleep 1; done; $frames /tmp/heard >/tmp/frames; wc -l </tmp/frames; md5sum </tmp/frames" | tr -d '\r' >"$T/heard"
{ read -r n && read -r sum; } <"$T/heard"
diag "the cluster heard ${n:-no} frames"
ok "that is more than a moment of the bus" test "${n:-0}" -ge 100
is "${sum-}" "$(dom0 "$frames /root/bus | tail -n ${n:-0} | md5sum")" "the cluster has missed no frame of all these"

for g in cluster gateway infotainment; do is "$(complaints $g)" "" "$g: its kernel has nothing to say"; done
guest destroy cluster gateway infotainment
until_dom0 30 '! vgrant list --brief | grep -q .'
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
is "$(complaints)" "" "dom0's kernel has nothing to say"
dom0 rmmod vkms
dom0 'pkill -x candump; ip link del can0; ip link del br-car; ip addr del 10.8.0.9/32 dev lo; rm -rf /srv/automotive /root/bus'
done_testing
