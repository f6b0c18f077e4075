#!/bin/bash
# An input device of dom0's, which a guest has for itself; it is pulled out, and comes back.
# limit: 300
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

for program in uinput keys; do push "$IMAGE/products/$program" /rig/bin/$program; done
if ! dom0 'modprobe uinput; modprobe evdev; test -c /dev/uinput' >/dev/null 2>&1; then
	skip "dom0's kernel has no uinput"
	done_testing
	exit
fi
before=$(holds)
# plug_in: the keyboard of the test's
plug_in() {
	dom0 'rm -f /tmp/uinput.log; uinput "vgrant uinput" /dev/input/vgrant-test /tmp/uinput.fifo >/tmp/uinput.log 2>&1 &'
	until_dom0 20 'grep -q ready /tmp/uinput.log'
}
# press EVENT...: events, as "1 30 1", and the report's end
press() { dom0 "for e in $(printf '"%s" ' "$@") '0 0 0'; do echo \$e; done >/tmp/uinput.fifo"; }
heard() {
	guest run pvh "for i in \$(seq 150); do grep -qE '$1' /tmp/keys && exit 0; usleep 100000; done; tail -n 12 /tmp/keys; exit 1"
}

ok "a keyboard is made in dom0" plug_in
vgrantd_start
guest make pvh --type pvh --vgrant yes --module virtio_input --module evdev --file /rig/bin/keys:/rig/bin/keys \
	--config "vgrant = [ 'input,evdev=/dev/input/vgrant-test' ]"
guest start pvh
guest wait pvh "$BOOT" 'waiting for commands' >/dev/null
ok "it is connected" until_list '^pvh .*input connected'
like "$(dom0 'vgrant list -v pvh')" 'evdev there=yes' "vgrant list says that it is there"
guest run pvh 'keys >>/tmp/keys 2>&1 &'
ok "the guest has it, by its name" heard '^keys: 1 devices'
press '1 30 1' '1 30 0'
ok "its keys arrive" heard '^vgrant uinput: 1 30 1 1 30 0'
guest run pvh 'echo 1 >"$(echo /sys/class/leds/input*::capslock/brightness)"'
ok "and its LED is the guest's" until_dom0 20 'grep -qx "said 17 1 1" /tmp/uinput.log'
like "$(dom0 'vgrant attach pvh input,evdev=/dev/input/vgrant-test >/dev/null 2>&1; sleep 3; vgrant list -v pvh')" \
	'is not ours alone' "nobody else gets it"
dom0 'vgrant detach pvh 65' >/dev/null 2>&1

press '1 48 1'
ok "a key is held" heard '^vgrant uinput: 1 48 1'
dom0 'pkill -x uinput'
ok "and let go of when the device is pulled out" heard '^vgrant uinput:.* 1 48 0'
ok "vgrant list says that it is gone" until_dom0 30 'vgrant list pvh | grep -q "cannot be opened"'
ok "it comes back" plug_in
ok "vgrant list knows" until_list '^pvh .*input connected'
until_dom0 30 'vgrant list -v pvh | grep -q "there=yes"'
press '1 46 1' '1 46 0'
ok "and its keys arrive, without a word of the guest's" heard '^vgrant uinput: 1 46 1 1 46 0'

is "$(complaints pvh)" "" "the guest's kernel does not complain"
guest destroy pvh
dom0 'pkill -x uinput'
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
