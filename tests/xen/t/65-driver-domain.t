#!/bin/bash
# A driver domain that is PVH serves an HVM guest; dom0 serves one that sees Hyper-V's enlightenments.
# limit: 900
# arm64 has neither HVM guests nor Hyper-V's leaves; and SILO, on which Debian's Xen there is, lets no driver
# domain serve: that is looked at first, and then a machine is taken whose Xen was started with xsm=dummy.
# long: driver domains that are PV and HVM, too
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

cat >"$T/main" <<'EOS'
#!/bin/sh
dmesg -n 1
mkdir -p /etc/vgrant /var/log
echo "nobody:x:65534:65534::/:/bin/false" >/etc/passwd
echo "nogroup:x:65534:" >/etc/group
truncate -s 4M /disk.img
vgrantd >/dev/console 2>&1 &
for i in $(seq 50); do vgrant list >/dev/null 2>&1 && break; usleep 200000; done
echo "serving"
EOS
chmod +x "$T/main"
push "$T/main" /root/main
dom0 'truncate -s 4M /root/near.img'
cat >"$T/client.main" <<'EOS'
echo "sees $(leaf | tr '\n' ' ')"
until [ -e /run/go ]; do sleep 1; done
hammer $(disk DISK) 4 10000 | tee /tmp/out
check "all it wrote, it read back" grep -q done /tmp/out
check "its kernel has nothing to say" calm
EOS
sed 's/DISK/near/' "$T/client.main" >"$T/near.main"
sed -i 's/DISK/far/' "$T/client.main"

# Without pci=noearly Linux looks for AGP bridges in an HVM guest, by ports that QEMU emulates: 10 s of nothing.
driver_domain() {
	guest make storage --type "$1" --memory 256 --append 'pci=noearly nokaslr' --main /root/main --bin vgrantd --bin vgrant \
		--file /rig/bin/hammer:rig/bin/hammer --module xen-gntdev --module xen-evtchn --config 'driver_domain = 1'
}

# written GUEST: what its hammer says is on its disk, at last
written() { dom0 "guest console $1 | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r'; }

# domains TYPE CLIENT-TYPE: a driver domain of a type serves a guest of another
domains() {
	driver_domain "$1"
	quick client --type "$2" --script "$T/client.main" --append 'pci=noearly nokaslr' \
		--config "vgrant = [ 'blk,target=/disk.img,backend=storage,serial=far' ]"
	guest start storage
	ok "$1: vgrantd runs in a driver domain" await storage '^serving' $((BOOT * 2))
	guest start client
	guest run -t $((BOOT * 2)) client 'touch /run/go'
	ok "$1: a guest, $2, writes to a disk that it serves" await client '^hammer: at [1-9]'
	ok "$1: and goes on" pulse client
	is "$(devices | grep -v '^near')" "" "$1: dom0's vgrantd does not serve it"
	like "$(guest run storage vgrant list --brief)" '^domain [0-9]+.*virtio/64.*connected$' \
		"$1: the other one does, and may not know the guest's name"
	is "$(dom0 'xenstore-read /local/domain/$(xl domid client)/device/virtio/64/backend-id')" "$(dom0 xl domid storage)" \
		"$1: the guest's node names its domain"
	guest run storage 'pkill -9 -f worker 2>/dev/null || kill -9 $(pidof vgrantd | tr " " "\n" | sort -n | tail -n 1)'
	ok "$1: its worker is killed: the load goes on" pulse client
	like "$(dom0 guest console storage)" "killed by signal 9" "$1: which was noticed"
	guest run client 'touch /run/hammer.stop'
	harvest client
	is "$(guest run storage hammer --sum /disk.img 4)" "$(written client)" "$1: what it wrote is in the driver domain's image"
	is "$(dom0 xl destroy client 2>&1)" "" "$1: xl destroy has nothing to complain about"
	ok "$1: its device is gone from the driver domain" \
		guest run storage 'for i in $(seq 30); do [ "$(vgrant list --brief)" ] || exit 0; sleep 1; done; exit 1'
	is "$(dom0 'xenstore-ls -f /local/domain/$(xl domid storage)/backend 2>/dev/null | grep -c virtio-grant')" 0 "$1: and its nodes"
	is "$(dom0 xl destroy storage 2>&1)" "" "$1: the driver domain can be destroyed"
}

if [[ $ARCH == arm64 ]]; then
	driver_domain pv
	quick client --type pv --config "vgrant = [ 'rng,backend=storage' ]"
	like "$(dom0 vgrant check /etc/xen/client.cfg)" "this machine's Xen runs with XSM's SILO" "vgrant check knows that this Xen lets none serve"
	ok "vgrantd starts" vgrantd_start
	guest start storage
	ok "vgrantd runs in a driver domain" await storage '^serving'
	guest start client
	ok "its device does not come up there" until_dom0 "$BOOT" \
		'guest-run storage vgrant list --brief | grep -q virtio/64 && ! guest-run storage vgrant list --brief | grep connected'
	like "$(dom0 vgrant doctor client)" "configuration|runs with XSM's SILO.*add xsm=dummy to Xen's command line" "and vgrant doctor says why"
	guest destroy client storage
	ok "vgrantd stops" vgrantd_stop
	export RIG_XEN_ARGS=xsm=dummy
	another driver --mem 2560 2>"$T/err"
	is "$?" 0 "a machine starts whose Xen has xsm=dummy"
	push "$T/main" /root/main
	ok "vgrantd starts" vgrantd_start
	before=$(holds)
	domains pv pv
	until_dom0 30 '! vgrant list --brief | grep -q .'
	is "$(holds)" "$before" "dom0 holds no more than before"
	done_testing
	exit
fi

quick near --type hvm --script "$T/near.main" --append 'pci=noearly nokaslr' --config 'viridian = 1' \
	--config "vgrant = [ 'blk,target=/root/near.img,serial=near' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)

# It boots beside the driver domain, and waits then: all guests share one emulated processor. An HVM guest
# takes 45 s to boot there, its QEMU and firmware included.
guest start near
domains pvh hvm

guest run -t $((BOOT * 2)) near 'touch /run/go'
ok "HVM, with viridian=1: load" await near '^hammer: at [1-9]'
like "$(dom0 guest console near | grep -a '^sees')" '^sees Microsoft Hv XenVMMXenVMM' "it sees Hyper-V's leaves, then Xen's"
dom0 kill -9 "$(json 'd["near/virtio/64"]["worker"]["pid"]')"
until_list 'near virtio/64 blk connected'
ok "its worker is killed: the load goes on" pulse near
is "$(json '(d["near/virtio/64"]["worker"]["restarts"], d["near/virtio/64"]["counters"]["errors"], len(d))')" "(1, 0, 1)" \
	"another one took over, and no request failed"
guest run near 'touch /run/hammer.stop'
harvest near
ok "xl shutdown ends it" guest shutdown near 60
is "$(dom0 hammer --sum /root/near.img 4)" "$(written near)" "what it wrote is in dom0's image"

if [[ ${LONG-} ]]; then
	domains pv pv
	domains hvm pv
fi
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
