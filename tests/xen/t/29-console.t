#!/bin/bash
# A PV and a PVH guest with Linux' own virtio_console: a console, a port with a name, clients in dom0.
# limit: 400
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

before=$(holds)
vgrantd_start
for g in pv pvh; do
	guest make $g --type $g --vgrant yes --module virtio-rng --config "vgrant = [ 'console,ports=agent' ]"
	guest start $g
done
for g in pv pvh; do guest wait $g "$BOOT" 'waiting for commands' >/dev/null; done

# tty GUEST: where xl console -t pv -n looks
tty() { dom0 "xenstore-read /local/domain/\$(xl domid $1)/device/console/64/tty"; }
# The device of port "agent" in the guest.
port='p=$(grep -lx agent /sys/class/virtio-ports/*/name) && p=${p%/name} && p=/dev/${p##*/}'

for g in pv pvh; do
	ok "$g: its console is connected" until_list "^$g .*console connected"
	tty=$(tty $g)
	like "$tty" '^/dev/pts/[0-9]+$' "$g: its terminal stands where xl looks"
	ok "$g: the guest has it as hvc1" guest run $g 'for i in $(seq 100); do test -c /dev/hvc1 && exit 0; usleep 100000; done; exit 1'

	guest run $g 'echo before anybody came >/dev/hvc1'
	like "$(dom0 "timeout 20 head -n 1 $tty")" '^before anybody came' "$g: what it said to nobody is there"
	guest run $g 'echo by way of xl >/dev/hvc1'
	like "$(dom0 "timeout 10 xl console -t pv -n 64 $g </dev/null" 2>&1)" 'by way of xl' "$g: xl console -t pv -n shows it"
	# Open all the while: Linux gives a terminal its echo back with the last who closes it, and dom0 would hear itself.
	guest run $g 'exec 3<>/dev/hvc1; stty raw -echo <&3; head -n 1 <&3 >/tmp/line 2>/dev/null &'
	dom0 "echo typed in dom0 >$tty"
	ok "$g: what is typed arrives" guest run $g 'for i in $(seq 100); do grep -qx "typed in dom0" /tmp/line && exit 0; usleep 100000; done; cat /tmp/line; exit 1'

	dom0 "stty -F $tty cols 111 rows 33"
	# Linux before its commit 5326ab737a47 takes one for the other.
	ok "$g: it is told how large the window is" guest run $g 'for i in $(seq 100); do stty -F /dev/hvc1 size | grep -qxE "33 111|111 33" && exit 0; usleep 100000; done; stty -F /dev/hvc1 size; exit 1'

	ok "$g: it has a port with a name" guest run $g "$port && test -c \$p"
	# Until somebody has the other side open, it reads an end.
	guest run $g "{ $port && exec 3<>\$p; until read l <&3; do usleep 100000; done; echo \"got \$l\" >&3; read l <&3; } >/dev/null 2>&1 &"
	like "$(dom0 "(sleep 1; echo ping; sleep 4) | timeout 30 vgrant console $g agent & sleep 8; kill %1 2>/dev/null; wait")" \
		'got ping' "$g: what is asked over it is answered"
done

hotplug pvh console,ports=more
hotplug pv rng

# ---- deaths ---------------------------------------------------------------------

tty=$(tty pv)
worker() { dom0 "vgrant list -v pv" | sed -n 's/.*process \([0-9]*\),.*/\1/p' | head -n 1; }
guest run pv 'echo last words >/dev/hvc1'
old=$(worker)
dom0 "kill -9 $old"
until_dom0 60 "vgrant list -v pv | grep -Eq 'process [0-9]+' && ! vgrant list -v pv | grep -q 'process $old,'"
is "$(tty pv)" "$tty" "after the worker was killed the terminal is the same"
like "$(dom0 "timeout 20 head -n 1 $tty")" '^last words' "and what nobody had read is there"
guest run pv 'echo still here >/dev/hvc1'
like "$(dom0 "timeout 20 head -n 1 $tty")" '^still here' "and the guest goes on"
# A megabyte to nobody: the guest must not wait.
ok "a guest that speaks to nobody goes on" guest run pv 'timeout 60 dd if=/dev/zero of=/dev/hvc1 bs=4096 count=256 2>/dev/null'
like "$(dom0 'vgrant list -v pv')" 'lost=[1-9]' "and what was lost is counted"

for g in pv pvh; do
	is "$(complaints $g)" "" "$g: its kernel does not complain"
done
guest destroy pv pvh
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
