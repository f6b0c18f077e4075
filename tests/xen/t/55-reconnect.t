#!/bin/bash
# Many devices of a guest go and come back at once, under a kernel that looks for reset nodes.
# limit: 600
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# More than xenstored lets a guest have transactions (10).
N=16
specs="'rng'$(printf ",'rng'%.0s" $(seq 2 $N))"
ok "vgrantd starts" vgrantd_start
before=$(holds)
quick many --type pv --kernel backports --config "vgrant = [ $specs ]"
guest start many
ok "the guest boots" await many 'waiting for commands'
all="[ \$(vgrant list --brief many | grep -c connected) = $N ]"
ok "$N devices are connected" until_dom0 60 "$all"

# In the guest: all drivers unbound, then bound, at the same time.
guest run many 'cd /sys/bus/xen/drivers/virtio_grant; devices=$(echo virtio-*)
	for d in $devices; do echo $d >unbind & done; wait
	ls | grep -c virtio-; for d in $devices; do echo $d >bind & done; wait' >"$T/unbound"
is "$(<"$T/unbound")" 0 "all can be unbound at once"
ok "and bound at once: all are connected again" until_dom0 60 "$all"
is "$(guest run many 'ls /sys/bus/virtio/devices | wc -l')" $N "and all are there in the guest"
is "$(guest run many 'dmesg | grep -E "starting transaction|state reset|cannot write"')" "" "nobody ran out of transactions, or took its own node for another's"

# Something below the node is written again and again while the device comes back: Linux' xenbus
# looks at the node each time, and must not take its state for a reset.
guest run many 'echo virtio-64 >/sys/bus/xen/drivers/virtio_grant/unbind'
dom0 'id=$(xl domid many); (for i in $(seq 60); do xenstore-write /local/domain/$id/device/virtio/64/look $i; done) >/dev/null 2>&1 &
	guest run many "echo virtio-64 >/sys/bus/xen/drivers/virtio_grant/bind"; wait'
ok "a device comes back while xenbus looks at its node" until_dom0 60 "$all"
is "$(guest run many 'dmesg | grep -c "state reset"')" 0 "which it does not take for a reset"

# A toolstack that replaces a device whose backend died without a word: the node is Initialising again.
dom0 'id=$(xl domid many); for i in 64 65 66; do xenstore-write /local/domain/$id/device/virtio/$i/state 1; done'
until_dom0 60 'guest run many "dmesg | grep -c state.reset" | grep -qx 3'
ok "three nodes that were reset are connected again" until_dom0 60 "$all"
is "$(guest run many 'ls /sys/bus/virtio/devices | wc -l; dmesg | grep -c "state reset"' | tr '\n' ' ')" "$N 3 " "the guest's kernel saw three resets, and has all devices"
is "$(complaints many stays)" "" "no complaint of the kernel's"

is "$(dom0 xl destroy many 2>&1)" "" "the guest is destroyed without complaint"
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd stops" vgrantd_stop
done_testing
