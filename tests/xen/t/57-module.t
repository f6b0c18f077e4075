#!/bin/bash
# What the guest's module owes its own kernel: waits that end, pages that stay private, queues that scale.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

ok "vgrantd starts" vgrantd_start
before=$(holds)

# ---- a backend that leaves while a driver waits for it ------------------------

can=''
if module=$("$XEN_DIR/cache" virtio_can); then
	can=1
	push "$module/virtio_can.ko" /root/virtio_can.ko
	dom0 'modprobe vcan; ip link show vcan0 >/dev/null 2>&1 || ip link add vcan0 type vcan; ip link set vcan0 mtu 72 up'
	guest make waits --type pv --kernel backports --vgrant yes --module can-dev --ko /root/virtio_can.ko --bin ip \
		--config "vgrant = [ 'can,interface=vcan0' ]"
	guest start waits
fi

# ---- what is shared ------------------------------------------------------------

dom0 'dd if=/dev/urandom of=/root/alone.img bs=1M count=16 2>/dev/null'
dom0 'truncate -s 16M /root/deep.img'
guest make alone --type pv --vcpus 2 --memory 256 --append virtio_grant.pool_pages=0 --vgrant yes --module virtio_blk --file /rig/bin/aio:rig/bin/aio --config "vgrant = [
	'blk,target=/root/alone.img,serial=alone', 'blk,target=/root/deep.img,serial=deep,queues=2' ]"
guest start alone
ok "a guest with two disks" guest wait alone "$BOOT" 'waiting for commands'
ok "both are connected" until_dom0 60 '[ $(vgrant list --brief alone | grep -c connected) = 2 ]'
cat >"$T/lib" <<'EOS'
d() { grep -lx $1 /sys/block/vd*/serial | cut -d/ -f4; }
n() { cat /sys/block/$(d $1)/device/../$2; }
EOS
in_guest() { guest run "$1" "$(<"$T/lib"); $2"; }

# What fails the requests of a disk that is gone must run without memory: some of it is that disk's to write.
like "$(guest run alone 'cat /proc/[0-9]*/comm')" '(kworker/R-virti|virtio_grant-go)' "its end has a thread of its own when there is no memory for one"

# The disk is taken away and comes back with the key that a toolstack writes.
id=$(dom0 "xl domid alone")
in_guest alone 'echo virtio-64 >/sys/bus/xen/drivers/virtio_grant/unbind'
dom0 "xenstore-write /local/domain/$id/device/virtio/64/trusted 0"
in_guest alone 'echo virtio-64 >/sys/bus/xen/drivers/virtio_grant/bind; for i in $(seq 100); do [ "$(d alone)" ] && break; usleep 100000; done'
# Sectors, and pieces of any length, with O_DIRECT: buffers that do not fill their pages.
read -r granted bounced < <(in_guest alone 'echo $(n alone granted) $(n alone bounced)')
out=$(in_guest alone 'aio /dev/$(d alone) read 512 8 2')
read -r granted2 bounced2 < <(in_guest alone 'echo $(n alone granted) $(n alone bounced)')
requests=$(sed -n 's/^aio: \([0-9]*\) requests.*/\1/p' <<<"$out")
diag "$out: $((bounced2 - bounced)) copies"
is "$granted2" "$granted" "trusted=0: no page of a sector's buffer, of its header or its status is granted"
ok "but copies, of each of the three" test "$((bounced2 - bounced))" -ge "$((3 * ${requests:-999999}))"
like "$(in_guest alone 'aio /dev/$(d alone) verify 512-5120 8 2')" 'verified' "what is written so is read again"
sum=$(in_guest alone 'dd if=/dev/$(d alone) bs=64k 2>/dev/null | md5sum')
is "$sum" "$(dom0 'md5sum </root/alone.img')" "and is what dom0 finds in the image"
is "$(in_guest alone 'n alone bounce_full')" 0 "there was room for all"

# ---- what it lies on --------------------------------------------------------------

is "$(in_guest alone 'basename $(readlink -f /sys/block/$(d alone)/device/../subsystem)')" platform "a device lies on a bus that programs know"
nok "and no driver can be bound there" in_guest alone 'dev=$(basename $(readlink -f /sys/block/$(d alone)/device/..))
	drv=$(ls -d /sys/bus/platform/drivers/*/bind | head -n 1); drv=${drv%/bind}
	echo ${drv##*/} >/sys/bus/platform/devices/$dev/driver_override && echo $dev >$drv/bind'
is "$(in_guest alone 'dd if=/dev/$(d alone) bs=64k 2>/dev/null | md5sum')" "$sum" "that would take its memory away"

# ---- many requests ---------------------------------------------------------------

in_guest alone 'aio /dev/$(d deep) read 131072 64 3' >"$T/aio"
read -r was granted < <(in_guest alone 'echo $(n deep refs_missed) $(n deep granted)')
in_guest alone 'for i in 1 2 3; do aio /dev/$(d deep) read 131072 64 2; done' >"$T/aio"
read -r now granted2 < <(in_guest alone 'echo $(n deep refs_missed) $(n deep granted)')
diag "$(tr '\n' ' ' <"$T/aio"), runs asked of the kernel: $was, then $((now - was)) of $((granted2 - granted))"
# Not each of them: a buffer is as many runs as it has pieces, whose lengths differ from one filling to the next.
ok "a deep queue that drains and fills again asks the kernel for the fewest of its references" \
	test "$(((now - was) * 2))" -lt "$((granted2 - granted))"
ok "which go back when the disk is idle" guest run alone "$(<"$T/lib")"'; for i in $(seq 60); do [ $(n deep refs_idle) = 0 ] && exit; sleep 1; done; n deep refs_idle; exit 1'

is "$(in_guest alone 'cat /sys/block/$(d deep)/mq/*/cpu_list' | tr '\n' ' ')" "0 1 " "each queue serves one processor"
is "$(in_guest alone 'dev=$(basename $(readlink -f /sys/block/$(d deep)/device)); for q in 0 1; do
	cat /proc/irq/$(grep "$dev-req.$q" /proc/interrupts | cut -d: -f1 | tr -d " ")/smp_affinity_list; done' | tr '\n' ' ')" "0 1 " \
	"and its interrupt comes back there"
is "$(complaints alone)" "" "the guest's kernel has nothing to say"

# ---- its end ------------------------------------------------------------------------

out=$(guest run alone 'cd /sys/bus/xen/drivers/virtio_grant; for d in virtio-*; do echo $d >unbind; done; cd /; rmmod virtio_grant && ! lsmod | grep virtio_grant && echo gone')
like "$out" 'gone' "the module is unloaded when its devices are unbound"
is "$(complaints alone)" "" "without complaint"

# ---- the wait ----------------------------------------------------------------------

if [[ $can ]]; then
	ok "a guest with a CAN controller" guest wait waits "$BOOT" 'waiting for commands'
	ok "is connected" until_list 'waits virtio/[0-9]+ can connected'
	guest run waits 'ip link set can0 up'
	id=$(dom0 xl domid waits)
	dev=$(dom0 "vgrant list --brief waits" | sed -n 's/^[^\t]*\t\([^\t]*\)\tcan\t.*/\1/p')
	# Nobody answers, and nobody mends the state that is written then.
	dom0 "kill -STOP \$(vgrant list -v waits | sed -n 's/.*process \([0-9]*\),.*/\1/p')"
	guest run waits '(ip link set can0 down; echo $? >/tmp/down) >/dev/null 2>&1 </dev/null & sleep 2; [ ! -e /tmp/down ] && echo waits' >"$T/out"
	is "$(<"$T/out")" waits "a driver waits for its controller to stop, with rtnl held"
	dom0 'pkill -STOP -o vgrantd'
	dom0 "xenstore-write /local/domain/0/backend/${dev%%/*}/$id/${dev##*/}/state 6"
	ok "when the backend leaves, the wait ends" guest run waits 'for i in $(seq 30); do [ -e /tmp/down ] && exit; sleep 1; done; cat /proc/$(pidof ip)/stack; exit 1'
	ok "and networking can be changed" guest run -t 30 waits 'ip link set lo up'
	# The worker, which is stopped, has the rings mapped still: that is what Xen's code says.
	like "$(guest run waits 'dmesg | grep "still in use" | head -n 1')" 'still in use' "pages that the backend has mapped are not the guest's again"
	is "$(complaints waits | grep -v 'still in use')" "" "the guest's kernel has nothing else to say"
	dom0 'pkill -CONT -o vgrantd; pkill -CONT -f "^vgrantd|vgrant-worker"' || true
	dom0 xl destroy waits
	dom0 'ip link del vcan0'
else
	skip "virtio_can cannot be built" 7
fi
dom0 xl destroy alone
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd stops" vgrantd_stop
done_testing
