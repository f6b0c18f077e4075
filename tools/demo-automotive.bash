# shellcheck shell=bash disable=SC2016,SC2154
# The automotive part of make demo (sourced by tools/demo): from power to the cluster's first read, frame and picture.
#
# A machine boots Xen and dom0; dom0 starts vgrantd and creates the two guests of
# configs/automotive side by side, and nothing waits for anything but its own needs. The
# bus is a vcan of dom0's. The times are of real clocks:
#
#   Xen's start    Xen's clock says how long ago that was: NOW= in `xl debug-keys r; xl dmesg`
#   a read         the guest says that it has 4 KiB of its disk, and its console's line is
#                  stamped in dom0 when it comes (bash: $EPOCHREALTIME)
#   a frame        candump's stamp in dom0, and again the line of the guest that heard it
#   a picture      the guest's DRM driver says that it is shown
#
# All that is in emulation: it says what waits for what, not how fast a car is.
#
#   car_make FOLDER   while dom0 of the demo is up: the guests, and a disk "start" for
#                     another dom0 (see tests/xen/dom0/boot)
#   car_start FOLDER  boot that, and print the times

# Text in single quotes is expanded in dom0; $products is the demo's.
CAR=(cluster gateway)

car_make() {
	local work=$1 g module
	module=$(tests/xen/cache virtio_can)
	"$RIG_TOOL" push "$module/virtio_can.ko" /root/virtio_can.ko
	"$RIG_TOOL" push "$products/draw" /root/draw
	mkdir -p "$work/start"/{bin,srv}
	cat >"$work/cluster" <<'MAIN'
#!/bin/sh
{
	until d=$(grep -lx CLUSTER /sys/block/vd*/serial 2>/dev/null | cut -d/ -f4) && [ "$d" ]; do usleep 10000; done
	dd if=/dev/$d of=/dev/null bs=4096 count=1 2>/dev/null && echo "car: reads"
} &
{
	until test -e /dev/dri/card0; do usleep 10000; done
	draw 40 >/tmp/draw &
	until grep -q heads /tmp/draw 2>/dev/null; do usleep 10000; done
	echo "car: shows"
} &
until ip link set can0 up 2>/dev/null; do usleep 10000; done
candump -n 1 can0 >/dev/null && echo "car: hears"
MAIN
	cat >"$work/gateway" <<'MAIN'
#!/bin/sh
until ip link set can0 up 2>/dev/null; do usleep 10000; done
i=0
while :; do
	cansend can0 "101#$(printf %04X $i)" 2>/dev/null
	i=$(((i + 1) % 65536))
	usleep 50000
done
MAIN
	for g in "${CAR[@]}"; do
		chmod +x "$work/$g"
		"$RIG_TOOL" push "$work/$g" "/root/car-$g"
		dom0 "guest make $g --type pv --kernel backports --memory 256 --vgrant yes --module can-raw --module can-dev --module virtio-gpu --module virtio_net \
			--ko /root/virtio_can.ko --bin candump --bin cansend --bin ip --file /root/draw:/rig/bin/draw --main /root/car-$g \
			--config $(printf %q "$(sed -n '/^vgrant/,/]$/p' "configs/automotive/$g.cfg")")"
		"$RIG_TOOL" pull "/rig/guests/$g/initramfs" "$work/start/$g.initramfs"
		"$RIG_TOOL" pull "/etc/xen/$g.cfg" "$work/start/$g.cfg"
		dom0 guest remove "$g"
		sed -i "s|^ramdisk = .*|ramdisk = \"/start/$g.initramfs\"|" "$work/start/$g.cfg"
	done
	for g in cluster gateway maps; do truncate -s 8M "$work/start/srv/$g.img"; done
	cp "$products"/{vgrantd,vgrant,vgrant-display} "$work/start/bin/"
	cat >"$work/start/run" <<'RUN'
#!/bin/bash
# What a car's dom0 does once Xen's own daemons run.
stamp() { printf '%s %s\n' "$EPOCHREALTIME" "$*"; }
cd /start || exit
stamp dom0 >times
ln -sf /start/bin/* /rig/bin/
mkdir -p /srv && ln -s /start/srv /srv/automotive
modprobe -a vcan can-raw bridge tun && ip link add can0 type vcan && ip link set can0 up
ip link add br-car type bridge && ip link set br-car up
candump -L -n 1 can0 >frame &
vgrantd >/var/log/vgrantd.log 2>&1 &
for g in cluster gateway; do
	cp $g.cfg /etc/xen/
	: >/var/log/xen/console/guest-$g.log
	tail -n +1 -F /var/log/xen/console/guest-$g.log 2>/dev/null | while read -r line; do
		case $line in "car: "* | "guest: "*) stamp "$g $line" >>times ;; esac
	done &
	{ stamp "$g create" >>times && xl create /etc/xen/$g.cfg && stamp "$g created" >>times; } &
done
wait
RUN
	chmod +x "$work/start/run"
	truncate -s 400M "$work/start.img"
	mkfs.ext4 -q -L start -d "$work/start" "$work/start.img"
}

# car_line WHAT WHEN: a row, WHEN being a time of dom0's clock
car_line() { [[ ! $2 ]] || awk -v at="$2" -v from="$car_zero" -v what="$1" 'BEGIN { printf "         %8.2f s  %s\n", at - from, what }'; }

car_start() {
	local work=$1 car_zero clock
	"$RIG_TOOL" up --scratch "$work/start.img" 2>&1 | sed 's/^/         /'
	dom0 'for i in $(seq 1200); do [ $(grep -Ec "cluster car: (hears|reads|shows)" /start/times) = 3 ] && exit; sleep 0.5; done; exit 1' || {
		dom0 'cat /start/times /start/run.log /var/log/vgrantd.log; tail -n 20 /var/log/xen/console/*' >"$work/failure.log" 2>&1 || true
		die "the cluster does not read, hear or show: $work/failure.log"
	}
	dom0 'cat /start/times' >"$work/times"
	dom0 'cat /start/frame' >"$work/frame"
	# Xen's clock, and dom0's on both sides of asking for it.
	clock=$(dom0 'a=$EPOCHREALTIME; xl debug-keys r; b=$EPOCHREALTIME; xl dmesg | sed -n "s/.*NOW=\([0-9]*\).*/$a $b \1/p" | tail -n 1')
	car_zero=$(awk '{ printf "%.6f\n", ($1 + $2) / 2 - $3 / 1e9 }' <<<"$clock")
	[[ $car_zero ]] || die "Xen does not say what its clock is."
	# of TEXT: when that was
	of() { sed -n "s/^\([0-9.]*\) $1.*/\1/p" "$work/times" | head -n 1; }
	say "seconds since Xen's start, by its own clock; in emulation, which is no measure of a car:"
	{
		car_line "dom0 and Xen's daemons run" "$(of dom0)"
		car_line "xl create, of both guests at once" "$(of 'cluster create')"
		car_line "the gateway's first frame is on the bus" "$(sed -n 's/^(\([0-9.]*\)).*/\1/p' "$work/frame" | head -n 1)"
		car_line "the cluster runs its first program" "$(of 'cluster guest: ')"
		car_line "the cluster's first read of its disk" "$(of 'cluster car: reads')"
		car_line "the cluster's first frame" "$(of 'cluster car: hears')"
		car_line "the cluster's first picture" "$(of 'cluster car: shows')"
	} | sort -n
	dom0 vgrant list | sed 's/^/         /'
	dom0 vgrant screenshot cluster /root/cluster.png >/dev/null || die "there is no picture of the cluster's screen."
	"$RIG_TOOL" pull /root/cluster.png "$work/cluster.png"
	say "what the cluster shows: $work/cluster.png"
}
