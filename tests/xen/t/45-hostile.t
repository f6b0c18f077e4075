#!/bin/bash
# A guest writes nonsense to xenstore: its devices fail with a sentence; another guest's load goes on.
# limit: 900
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

specs=''
dom0_script <<'EOS'
cd /root
truncate -s 4M calm.img
for i in $(seq 12); do truncate -s 1M rogue$i.img; done
EOS
for i in $(seq 12); do specs+="'blk,target=/root/rogue$i.img',"; done
echo 'hammer $(disk calm) 4 10000 | tee /tmp/out; check "all it wrote, it read back" grep -q done /tmp/out' >"$T/calm.main"
quick calm --type pv --script "$T/calm.main" --config "vgrant = [ 'blk,target=/root/calm.img,serial=calm' ]"
# It has no virtio_grant.ko: what is written into its directory in dom0 is what it wrote.
guest make rogue --type pv --config "vgrant = [ $specs ]"

ok "vgrantd starts" vgrantd_start
like "$(vgrantd_log)" "grants: this kernel cannot keep a worker" "and says that Debian's kernel cannot restrict workers"
before=$(holds)
guest start calm
guest start rogue
ok "load in another guest" await calm '^hammer: at [1-9]'
ok "twelve devices wait" until_dom0 60 '[ $(vgrant list --brief rogue | grep -c waiting) = 12 ]'

dom0_script >"$T/out" 2>&1 <<'EOS'
id=$(xl domid rogue)
F=/local/domain/$id/device/virtio
put() { xenstore-write -- "$@"; }
keys() { put $F/$1/virtio-grant-version "$2" $F/$1/control-ref "$3" $F/$1/event-channel "$4" $F/$1/state 3; }
put $F/64/state 3					# no keys at all
keys 65 one two three					# no numbers
keys 66 1 99999999999999999999 5			# too large
keys 67 1 '8 or so' 5					# trailing rubbish
keys 68 1 1000000 5					# no such reference
keys 69 1 8 7						# not granted
keys 70 1 1 1						# xenstore's own page and channel
keys 71 7 8 9						# a version that is none
keys 72 1 -1 -1						# negative
keys 73 1 0 4000000					# no such channel
# States in any order, and what is no state.
for s in 6 1 5 3 4 2 9 x '' 99999999999 5 3 6 1 3 6 4 4 1; do put $F/74/state "$s"; done
# Nodes that go: one of the directories, then the other.
put $F/75/state 3
xenstore-rm $F/75
# Enough time to be seen.
sleep 3
# A flood.
stat() { awk '{ print $14 + $15 }' /proc/$(pgrep -ox vgrantd)/stat; }
from=$(stat)
for i in $(seq 60); do
	put $(for j in $(seq 50); do echo $F/64/state $((j % 7)) ; done)
done
sleep 1
echo "cpu $(($(stat) - from))"
echo "rss $(awk '/VmRSS/ { print $2 }' /proc/$(pgrep -ox vgrantd)/status)"
EOS
diag "$(<"$T/out")"
ok "the load goes on" pulse calm
is "$(json '(d["calm/virtio/64"]["state"],d["calm/virtio/64"]["worker"]["restarts"],d["calm/virtio/64"]["counters"]["errors"])')" \
	"('connected', 0, 0)" "as if nothing had been"
list=$(dom0 vgrant list rogue)
diag "$list"
for i in 65 66 67 68 69 70 71 72 73; do
	like "$(grep -A1 "^rogue  *$i " <<<"$list")" "failed.*(published no usable|cannot be mapped|wrong magic|cannot be bound)" \
		"device $i failed, with a sentence"
done
is "$(dom0 'xenstore-read /local/domain/0/backend/virtio/$(xl domid rogue)/68/state')" 6 "its backend is Closed"
like "$(dom0 'xenstore-read /local/domain/0/backend/virtio/$(xl domid rogue)/68/virtio-grant-error')" . "and says why where the guest can read it"
is "$(devices rogue | grep -c virtio/75)" 0 "a device whose directory went is gone"
cpu=$(sed -n 's/^cpu //p' "$T/out") rss=$(sed -n 's/^rss //p' "$T/out")
ok "3000 writes of a state cost less than 10 s of CPU in emulation" test "${cpu:-9999}" -lt 1000
ok "and no memory to speak of" test "${rss:-999999}" -lt 40000
# A device that failed can be used by a driver that behaves.
dom0_script <<'EOS'
F=/local/domain/$(xl domid rogue)/device/virtio/68
xenstore-rm $F/control-ref; xenstore-write $F/state 1
EOS
ok "a frontend that starts again is welcome" until_list 'rogue virtio/68 blk waiting'
# Things change under a connection.
dom0_script <<'EOS'
F=/local/domain/$(xl domid calm)/device/virtio/64
xenstore-write $F/control-ref 1 $F/event-channel 1 $F/virtio-grant-version 9 $F/state 3 $F/state 4
EOS
ok "keys that change once connected change nothing" pulse calm
dom0 xenstore-rm '/local/domain/0/backend/virtio/$(xl domid rogue)'
ok "nor does it that the backend's nodes of a guest go" pulse calm
is "$(dom0 xl destroy rogue 2>&1)" "" "xl destroy of the rogue has no complaint"
guest run calm 'touch /run/hammer.stop'
harvest calm
dom0 xl destroy calm
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
ok "vgrantd is still the one that was started" dom0 '[ $(grep -c "^-- started" /var/log/vgrantd.log) = 1 ] && vgrant list'
done_testing
