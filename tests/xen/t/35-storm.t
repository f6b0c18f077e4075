#!/bin/bash
# SIGKILLs at random instants for vgrantd's children under verified load: no error, no write lost.
# limit: 600
# long: for a minute, and a minute of fio's own verification
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

ROUNDS=2 SECONDS_EACH=8 PER_DISK=1
[[ ! ${LONG-} ]] || ROUNDS=5 SECONDS_EACH=12 PER_DISK=5
seed=${SEED:-$RANDOM}

dom0 'cd /root && truncate -s 4M packed.img split.img'
# hammer verifies each block that it wrote, whenever it reads it again and all at the end: a write that
# was lost, done twice out of order or done elsewhere shows; the guest's virtio_blk complains of, and
# breaks the device for, a request that is completed twice.
cat >"$T/storm.main" <<'EOS'
packed=$(disk packed) split=$(disk split)
hammer_both $packed $split
check "nothing was completed twice, and no request failed" sh -c '! dmesg | grep -E "virtio|vd[a-z]|I/O error" | grep -Ei "error|bogus|not a head|broken|reset"'
EOS
quick storm --type pv --script "$T/storm.main" \
	--config "vgrant = [ 'blk,target=/root/packed.img,serial=packed', 'blk,target=/root/split.img,serial=split,packed=0' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)
guest start storm
ok "load on a packed and a split disk" await storm '^hammer: at [1-9]'
is "$(json '[[q["packed"] for q in d["storm/virtio/%d" % i]["queues"]] for i in (64, 65)]')" "[[True], [False]]" "one ring is packed, one split"

# Each kill hits a child of vgrantd's that runs, a worker or vgrant-libvirt, 0 to 1 s after the last one. vgrantd waits longer before each restart of a
# worker that did not live long; a new vgrantd begins anew, which makes room for more kills.
restart() { vgrantd_stop && vgrantd_start; }
# storm SEED: prints a line for each kill
storm() {
	dom0_script <<EOS
RANDOM=$1
vgrantd=\$(pgrep -ox vgrantd)
end=\$((SECONDS + $SECONDS_EACH))
while ((SECONDS < end)); do
	sleep \$(printf '0.%03d' \$((RANDOM % 1000)))
	workers=(\$(pgrep -r R,S,D -P \$vgrantd))
	((\${#workers[@]})) || continue
	kill -9 \${workers[RANDOM % \${#workers[@]}]} && echo \${#workers[@]}
done
EOS
}
: >"$T/kills"
for ((round = 1; round <= ROUNDS; round++)); do
	((round == 1)) || ok "vgrantd itself is restarted" restart
	storm $((seed + round)) >>"$T/kills"
	ok "round $round: both disks are back" until_list 'storm virtio/64 blk connected'
	until_list 'storm virtio/65 blk connected'
done
kills=$(wc -l <"$T/kills")
diag "seed $seed (SEED=$seed repeats it)"
ok "$kills processes were killed in $((ROUNDS * SECONDS_EACH)) s" test "$kills" -ge $((ROUNDS * SECONDS_EACH / 3))
is "$(dom0 'grep -cE "killed by signal 9|vgrant-libvirt has ended" /var/log/vgrantd.log')" "$kills" "each was missed, and replaced"
for id in 64 65; do
	n=$(dom0 "grep -c 'virtio/$id.*killed by signal 9' /var/log/vgrantd.log")
	ok "$n of them were of disk $id" test "$n" -ge "$PER_DISK"
done
ok "the load goes on" pulse storm
is "$(json '[(d[k]["counters"]["errors"], d[k]["counters"]["faults"]) for k in d]')" "[(0, 0), (0, 0)]" "no request failed, and nobody broke a rule"
guest run storm 'touch /run/hammer.stop'
harvest storm
sums=$(dom0 "guest console storm | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r' | sort | tr '\n' ' ')
is "$(dom0 'hammer --sum /root/packed.img 4; hammer --sum /root/split.img 4' | sort | tr '\n' ' ')" "$sums" "dom0 finds on the disks what was written"
dom0 xl destroy storm
until_dom0 30 '! vgrant list --brief | grep -q .'
# vgrant-libvirt, too, waits the longer the more often it died.
until_dom0 60 'pgrep -f vgrant-libvirt'
is "$(holds)" "$before" "dom0 holds no more than before"

# fio checks in its own way: it knows a block by its checksum, place and time of writing.
if [[ ${LONG-} ]]; then
	cat >"$T/fio" <<'EOS'
#!/bin/sh
fio --name=v --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=4k-64k --size=16m --loops=1000 \
	--runtime=60 --verify=crc32c --verify_backlog=64 --verify_fatal=1 --randrepeat=0 && echo fio: verified
EOS
	push "$T/fio" /root/fio.main
	dom0 'chmod 755 /root/fio.main; truncate -s 16M /root/fio.img'
	guest make fio --type pv --memory 512 --vgrant yes --bin fio --main /root/fio.main --config "vgrant = [ 'blk,target=/root/fio.img' ]"
	ok "vgrantd itself is restarted" restart
	guest start fio
	ok "a guest runs fio" await fio 'Starting 1 process'
	for round in 1 2 3; do
		storm $((seed + ROUNDS + round)) >"$T/kills"
		ok "$(wc -l <"$T/kills") processes were killed meanwhile" test -s "$T/kills"
		ok "the disk is back" until_list 'fio virtio/64 blk connected'
		ok "vgrantd itself is restarted" restart
	done
	ok "fio has found all that it wrote" await fio '^fio: verified'
	guest destroy fio
fi
done_testing
