#!/bin/bash
# Guests come and are destroyed, at any moment of their lives; dom0 holds no more than before.
# limit: 600
# long: four times as many
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

rounds=${LONG:+4}
rounds=${rounds:-1}
ok "vgrantd starts" vgrantd_start
cat >"$T/leak.main" <<'EOS'
hammer $(disk a) 4 10000
EOS
quick leak1 --type pv --memory 128 --script "$T/leak.main" \
	--config "vgrant = [ 'blk,target=/root/leak1.img,serial=a', 'blk,target=/root/leak1-b.img,packed=0' ]"
dom0_script <<'EOS'
cd /root && truncate -s 4M leak{1,2,3,4}{,-b}.img
for i in 2 3 4; do
	guest make leak$i --type pv --memory 128 --initrd /rig/leak1.initramfs \
		--config "vgrant = [ 'blk,target=/root/leak$i.img,serial=a', 'blk,target=/root/leak$i-b.img,packed=0' ]"
done
EOS
before=$(holds)
diag "before: $(tr '\n' ' ' <<<"$before")"

# In each round: destroyed at once, when the disk is there, and two in mid-I/O.
{ echo "rounds=$rounds" && cat; } <<'EOS' | dom0_script >"$T/out" 2>&1
log=/var/log/xen/console
at() { timeout 200 sh -c 'tail -n +1 -F $1 2>/dev/null | grep -am1 "$2"; kill $$' sh "$log/guest-$1.log" "$2" | grep -q .; }
for round in $(seq $rounds); do
	for i in 1 2 3 4; do guest start leak$i; done
	xl destroy leak1
	at leak2 '^guest: leak2 is up'
	xl destroy leak2
	for i in 3 4; do
		at leak$i '^hammer: at [1-9]' && echo "round $round: leak$i was in mid-I/O"
		grep -a FAILED $log/guest-leak$i.log
		xl destroy leak$i
	done
done
EOS
is "$(grep -c 'in mid-I/O' "$T/out")" $((2 * rounds)) "$((2 * rounds)) of $((4 * rounds)) guests were destroyed in mid-I/O"
is "$(grep -v 'in mid-I/O' "$T/out")" "" "none saw an error, and xl had no complaint"
until_dom0 60 '! vgrant list --brief | grep -q . && ! xl list | grep -q leak'
after=$(holds)
is "$after" "$before" "dom0 holds no more than before: processes, files, grants, event channels, nodes, records"
nok "no worker died" dom0 'grep -E "killed|resumes" /var/log/vgrantd.log'
is "$(complaints)" "" "dom0's kernel has nothing to say"
like "$(dom0 'grep -E "VmRSS" /proc/$(pgrep -ox vgrantd)/status')" ' [0-9]{1,5} kB' "vgrantd is small still"
done_testing
