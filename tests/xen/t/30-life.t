#!/bin/bash
# Workers, vgrantd, the guest's module and the guest itself end and come back, under verified load.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

dom0_script <<'EOS'
cd /root
truncate -s 4M packed.img split.img
truncate -s 16M keep.img && mkfs.ext4 -q -F keep.img
EOS
# First boot: load until the test ends it, the module goes and comes, reboot.
# Second boot: what the first one left is there; then load again, until xl destroy.
cat >"$T/life.main" <<'EOS'
keep=$(disk keep) packed=$(disk packed) split=$(disk split)
check "the file system mounts" mount -t ext4 $keep /mnt
if [ -e /mnt/numbers ]; then
	check "second boot: the file of the first is there" [ "$(md5sum </mnt/numbers)" = "$(seq 50000 | md5sum)" ]
	umount /mnt
	say second boot
	hammer $packed 4 10000
fi
hammer_both $packed $split
seq 50000 >/mnt/numbers
umount /mnt
# A xenbus driver's module is in use while a device is bound to it.
check "the devices can be unbound, and the module unloaded" sh -c 'cd /sys/bus/xen/drivers/virtio_grant &&
	for d in virtio-*; do echo $d >unbind || exit; done; cd / && rmmod virtio_grant'
check "no disk is left" [ -z "$(ls /sys/block | grep vd)" ]
check "it loads again" modprobe virtio_grant
packed=$(disk packed) split=$(disk split) keep=$(disk keep)
check "the same disks are there" [ -b "$packed" -a -b "$split" -a -b "$keep" ]
check "with what was written" [ "$(hammer --sum $packed 4)" = "$(sed -n 's/.*done.*sum //p' /tmp/packed)" ]
check "on both" [ "$(hammer --sum $split 4)" = "$(sed -n 's/.*done.*sum //p' /tmp/split)" ]
check "the file system mounts again" mount -t ext4 $keep /mnt
check "and has its file" [ "$(md5sum </mnt/numbers)" = "$(seq 50000 | md5sum)" ]
umount /mnt
say first boot done
sleep 1
reboot -f
EOS
quick life --type pv --script "$T/life.main" --config 'on_reboot = "restart"' \
	--config "vgrant = [ 'blk,target=/root/packed.img,serial=packed', 'blk,target=/root/split.img,serial=split,packed=0',
		'blk,target=/root/keep.img,serial=keep' ]"
dom0 'mkdir -p /etc/vgrant; printf "[control]\nmetrics = 9742\n" >/etc/vgrant/vgrantd.conf'
ok "vgrantd starts" vgrantd_start
before=$(holds)
dom0 'setsid vgrant events --json >/tmp/events 2>&1 </dev/null &'
guest start life
ok "load on a packed and a split disk" await life '^hammer: at [1-9]'

# What is done is seen, in three forms.
top=$(dom0 vgrant top --once --json --interval 5)
is "$(python3 -c 'import json,sys
print([x["requests_per_second"] > 0 and x["latency_99_us"] > 0 and x["hypercalls_per_request"] > 0
	for x in json.load(sys.stdin)["devices"] if x["id"] in (64, 65)])' <<<"$top")" "[True, True]" "vgrant top shows it"
like "$(dom0 vgrant show life 64)" 'The driver uses .*VERSION_1.*RING_PACKED.*How long each (read|write) took:.*#' "vgrant show says all of one"
# page FILE: Prometheus' page; the process that serves it is in its sandbox here.
page() { dom0 "exec 3<>/dev/tcp/127.0.0.1/9742; printf 'GET /metrics HTTP/1.1\r\n\r\n' >&3; cat <&3" | tr -d '\r' | sed '1,/^$/d' >"$1"; }
page "$T/page"
ok "Prometheus reads it, and the dashboard's queries have what they name" \
	python3 "$REPO/tests/unit/exposition.py" "$T/page" "$REPO/configs/grafana/vgrant.json"
like "$(grep '^vgrant_request_duration_seconds_count{guest="life",device="virtio/64"' "$T/page")" '[1-9]' "with histograms"
ok "a device is plugged" dom0 vgrant attach life rng,id=70
ok "and unplugged" dom0 vgrant detach life 70
is "$(dom0 "sed -n 's/.*\"event\":\"\([a-z]*\)\".*virtio.70.*/\1/p' /tmp/events | grep plugged | xargs")" "plugged unplugged" "which is told"

out=$(dom0 'vgrantd 2>&1; echo $?')
like "$out" 'already.*1$|runs.*1$' "a second vgrantd says that there is one, and ends"
out=$(dom0 "unshare -m sh -c 'mount -t tmpfs none /run/xenstored; mount -t tmpfs none /dev/xen; mount -t tmpfs none /proc/xen
	vgrantd; echo \$?' 2>&1")
like "$out" 'xenstore cannot be reached.*dom0.*1$' "where there is no xenstore it says so, and ends"

# Nobody looks once a second whether anything has changed: the kernel tells. (The guest's own pool may shrink yet.)
pid=$(json 'd["life/virtio/66"]["worker"]["pid"]')
is "$(dom0 "woken() { awk '/^voluntary/ { print \$2 }' /proc/$pid/status; }
	for i in 1 2 3 4 5 6; do n=\$(woken); sleep 5; n=\$((\$(woken) - n)); [ \$n != 0 ] || break; done; echo \$n")" 0 "the worker of an idle disk is not woken in five seconds"
ok "but when its image has grown" dom0 'truncate -s 17M /root/keep.img'
ok "which it tells the guest" until_dom0 30 'guest run life "[ \$(cat /sys/block/vd?/size | grep -c 34816) = 1 ]"'

dom0 xl rename life other
ok "xl rename: its devices are listed under the other name" until_list '^other virtio/64 blk connected'
ok "by which they are shown" dom0 vgrant show other 64
dom0 xl rename other life
ok "and under the first again" until_list '^life virtio/64 blk connected'

# A worker each, five times; then all at once.
for i in 1 2 3 4 5; do
	dom0 "vgrant list --json | python3 -c 'import json,sys
for x in json.load(sys.stdin)[\"devices\"]: print(x[\"worker\"][\"pid\"] if x[\"id\"] in (64,65) else \"\")' | xargs kill -9"
	until_list 'life virtio/65 blk connected' && until_list 'life virtio/64 blk connected'
done
ok "workers are killed five times: the load goes on" pulse life
is "$(json '[d["life/virtio/%d" % i]["worker"]["restarts"] for i in (64,65,66)]')" "[5, 5, 0]" \
	"each time another took over"
is "$(dom0 "grep -c '\"event\":\"died\"' /tmp/events; grep -c '\"event\":\"resumed\"' /tmp/events" | xargs)" "10 10" "of which each is told"
is "$(json '[d[k]["counters"]["errors"] for k in d]')" "[0, 0, 0]" "no request failed"

ok "vgrantd stops" vgrantd_stop
is "$(dom0 'pgrep -x vgrantd | wc -l')" 0 "with its workers"
like "$(dom0 'tail -n 1 /tmp/events')" 'vgrantd has ended' "who hears of events is told"
ok "vgrantd starts again" vgrantd_start
ok "the load goes on" pulse life
dom0 'kill -9 $(pgrep -ox vgrantd)'
ok "vgrantd is killed alone, and started again" vgrantd_start
ok "the load goes on" pulse life
dom0 daemon kill
ok "vgrantd is killed with its workers, and started again" vgrantd_start
ok "the load goes on" pulse life
is "$(json '[d[k]["counters"]["faults"] for k in d]')" "[0, 0, 0]" "nobody broke a rule"

page "$T/page"
ok "Prometheus is told by the next one" python3 "$REPO/tests/unit/exposition.py" "$T/page"

guest run life 'touch /run/hammer.stop'
ok "the first boot comes to its end" await life '^first boot done'
ok "the guest is rebooted, and its disks are there" await life '^second boot'
ok "and the load goes on" pulse life
harvest life now
is "$(dom0 xl destroy life 2>&1)" "" "it is destroyed in mid-I/O, without complaint"
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
sum=$(dom0 "guest console life | sed -n 's/^hammer: done.*sum //p' | head -n 1" | tr -d '\r')
is "$(dom0 hammer --sum /root/split.img 4)" "$sum" "dom0 finds on the split disk what was written"
ok "the file system is clean" dom0 e2fsck -fn /root/keep.img
dom0 'rm /etc/vgrant/vgrantd.conf /tmp/events'
done_testing
