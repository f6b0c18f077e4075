#!/bin/bash
# A malicious guest attacks its live connections, row by row; another guest's load does not notice. And a worker that was taken over.
# limit: 900
# long: storms and races last longer
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# One disk for each group of attacks: who connects too often is slowed down.
grants=64 rings=65 control=66 life=67
# How long races last, and storms, in milliseconds.
races=1000 storms=1500
[[ ! ${LONG-} ]] || races=3000 storms=10000

dom0_script <<'EOS'
cd /root
truncate -s 4M victim.img
for i in 1 2 3 4; do truncate -s 4M rogue$i.img; done
EOS
echo 'hammer $(disk victim) 4 10000 | tee /tmp/out; check "all it wrote, it read back" grep -q done /tmp/out' >"$T/victim.main"
quick victim --type pv --script "$T/victim.main" --config "vgrant = [ 'blk,target=/root/victim.img,serial=victim' ]"
# Without virtio_grant.ko: the program `hostile` is its driver.
guest make rogue --type pv --module xen-gntalloc --module xen-evtchn --file /rig/bin/hostile:rig/bin/hostile \
	--config "vgrant = [ 'blk,target=/root/rogue1.img,queues=4,queue-size=4096', 'blk,target=/root/rogue2.img',
		'blk,target=/root/rogue3.img', 'blk,target=/root/rogue4.img' ]"

# Workers are kept to their guests: the kernel's own device is what other tests have.
ok "a grant device that restricts is loaded" dom0 gntdev restricting
ok "vgrantd starts" vgrantd_start
like "$(vgrantd_log)" "grants: each worker is kept to those of its own guest" "and says that it restricts workers"
before=$(holds)
guest start victim
guest start rogue
ok "load in another guest" await victim '^hammer: at [1-9]'
ok "the rogue's disks wait" until_dom0 60 '[ $(vgrant list --brief rogue | grep -c waiting) = 4 ]'
# They share a processor; the rogue gets most of it.
dom0 xl sched-credit -d rogue -w 4096
guest run rogue 'echo 8192 >/sys/module/xen_gntalloc/parameters/limit'

# Who has taken the rogue's worker over has its handle, and no other guest by it.
rogue=$(dom0 xl domid rogue) victim=$(dom0 xl domid victim)
reach=$(dom0 reach "$(json "d['rogue/virtio/$grants']['worker']['pid']")" "$rogue" "$victim")
diag "$reach"
is "$(grep -E '^domain .*: (map|copy|restrict)' <<<"$reach")" "domain $rogue: map: done
domain $rogue: copy from: done
domain $rogue: copy to: done
domain $victim: map: Permission denied
domain $victim: copy from: Permission denied
domain $victim: copy to: Permission denied
domain $victim: restrict to: Permission denied" "the rogue's worker reaches the rogue's grants and no other guest's"
is "$(dom0 "reach own $rogue $victim" | grep -c ": done$")" 7 "a handle that nobody restricted reaches both guests', and can be"

# hostile DISK WHAT...: the rogue's program; its checks become ours
hostile() {
	local rc=0
	guest run -t 600 rogue "hostile $*" >"$T/out" 2>"$T/err" || rc=$?
	verdicts <"$T/out"
	if ! grep -q '^@' "$T/out"; then
		fail "hostile $* says something"
		diag "status $rc: $(cat "$T/out" "$T/err")"
	fi
}

for pair in "$grants grants" "$rings rings" "$control control" "$life life"; do
	group=${pair#* }
	hostile "${pair% *}" "$group" "$races"
	ok "$group: the victim's load goes on" pulse victim
done
is "$(json '[d[k]["worker"]["restarts"] for k in sorted(d)]')" "[0, 0, 0, 0, 0]" "no worker died"

# A storm costs its own worker some time, and nothing once it is over.
pid=$(json "d['rogue/virtio/$control']['worker']['pid']")
dom0_script >"$T/storms" 2>&1 <<EOS
cpu() { awk '{ print \$14 + \$15 }' /proc/$pid/stat; }
for what in storm-queue storm-control control-flood; do
	from=\$(cpu)
	guest run -t 600 rogue "hostile $control \$what $storms"
	used=\$((\$(cpu) - from))
	sleep 1
	echo "\$what: used \$used rest \$((\$(cpu) - from - used))"
done
EOS
verdicts <"$T/storms"
for what in storm-queue storm-control control-flood; do
	took=$(sed -n "s/^@# $what on disk .* took \([0-9]*\) ms.*/\1/p" "$T/storms")
	read -r used rest < <(sed -n "s/^$what: used \(.*\) rest \(.*\)/\1 \2/p" "$T/storms")
	diag "$what for $took ms: ${used:-?} hundredths of a second of CPU, then ${rest:-?} in 1 s"
	ok "$what: its worker used less than the storm lasted" test "$((${used:-99999} * 10))" -lt "${took:-0}"
	ok "$what: and rests afterwards" test "${rest:-99}" -lt 20
done
ok "after the storms the victim's load goes on" pulse victim

# A process that dies with ports, grants and requests; another takes its place.
guest run rogue "hostile $grants vanish" >"$T/out" 2>&1
is "$?" 137 "a frontend is killed with requests in flight"
hostile $grants works

# What dom0 sees of a device that was stopped, and of one that broke its connection.
guest run rogue "hostile $rings park-ring && hostile $control park-control" >"$T/out" 2>&1
list=$(dom0 vgrant list rogue)
diag "$list"
like "$(grep -A1 "^rogue  *$rings " <<<"$list")" "connected.*broke the rules" "a device that needs a reset says so"
like "$(grep -A1 "^rogue  *$control " <<<"$list")" "failed.*index" "a broken control page is a failure, with a sentence"
like "$(vgrantd_log)" "rogue.*blk.*broke the rules.*head" "the log has the reason"
hostile $rings works
hostile $control works

# Destroyed in the middle of an attack.
faults() { json "d[\"rogue/virtio/$1\"][\"counters\"][\"faults\"]"; }
from=$(faults $rings)
dom0 "guest run -t 300 rogue 'hostile $rings siege' >/dev/null 2>&1 &"
for ((i = 0; i < 60 && $(faults $rings) < from + 3; i++)); do sleep 1; done
ok "a guest attacks without end" test "$i" -lt 60
is "$(dom0 xl destroy rogue 2>&1)" "" "it is destroyed meanwhile, without complaint"
ok "and the victim's load goes on" pulse victim
is "$(json '(d["victim/virtio/64"]["state"], d["victim/virtio/64"]["worker"]["restarts"], d["victim/virtio/64"]["counters"]["errors"],
	d["victim/virtio/64"]["counters"]["faults"], len(d))')" "('connected', 0, 0, 0, 1)" "the victim saw nothing of all this"
guest run victim 'touch /run/hammer.stop'
harvest victim
dom0 xl destroy victim
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before: grants, event channels, processes, files, nodes"
nok "no worker died" dom0 'grep -E "was killed|resumes|ended with status" /var/log/vgrantd.log'
is "$(complaints)" "" "dom0's kernel has nothing to say"
like "$(dom0 'grep VmRSS /proc/$(pgrep -ox vgrantd)/status')" ' [0-9]{1,5} kB' "vgrantd is small still"
ok "and is still the one that was started" dom0 '[ $(grep -c "^-- started" /var/log/vgrantd.log) = 1 ] && vgrant list'
done_testing
