#!/bin/bash
# A guest that is no dom0 serves a disk to another guest; then it goes, and comes again.
# limit: 900
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
guest make storage --type pv --memory 256 --main /root/main --bin vgrantd --bin vgrant --file /rig/bin/hammer:rig/bin/hammer \
	--module xen-gntdev --module xen-evtchn --config 'driver_domain = 1'
cat >"$T/client.main" <<'EOS'
hammer $(disk far) 4 10000 | tee /tmp/out
check "all it wrote, it read back" grep -q done /tmp/out
EOS
quick client --type pv --script "$T/client.main" \
	--config "vgrant = [ 'blk,target=/disk.img,backend=storage,serial=far' ]"

ok "vgrantd starts" vgrantd_start
before=$(holds)
guest start storage
ok "vgrantd runs in a driver domain" await storage '^serving'
guest start client
ok "a guest writes to a disk that it serves" await client '^hammer: at [1-9]'
ok "and goes on" pulse client
is "$(dom0 vgrant list --brief)" "" "dom0's vgrantd serves nothing"
like "$(guest run storage vgrant list --brief)" '^domain [0-9]+.*virtio/64.*connected$' "the other one does, and may not know the guest's name"
is "$(dom0 'xenstore-read /local/domain/$(xl domid client)/device/virtio/64/backend-id')" "$(dom0 xl domid storage)" \
	"the guest's node names its domain"
guest run storage 'pkill -9 -f worker 2>/dev/null || kill -9 $(pidof vgrantd | tr " " "\n" | sort -n | tail -n 1)'
ok "its worker is killed: the load goes on" pulse client
like "$(dom0 guest console storage)" "killed by signal 9" "which was noticed"
guest run client 'touch /run/hammer.stop'
harvest client
sum=$(dom0 "guest console client | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r')
is "$(guest run storage hammer --sum /disk.img 4)" "$sum" "what it wrote is in the driver domain's image"
is "$(dom0 xl destroy client 2>&1)" "" "xl destroy has nothing to complain about"
ok "its device is gone from the driver domain" \
	guest run storage 'for i in $(seq 30); do [ "$(vgrant list --brief)" ] || exit 0; sleep 1; done; exit 1'
is "$(dom0 'xenstore-ls -f /local/domain/$(xl domid storage)/backend 2>/dev/null | grep -c virtio-grant')" 0 "and its nodes"
is "$(dom0 xl destroy storage 2>&1)" "" "the driver domain can be destroyed"
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
