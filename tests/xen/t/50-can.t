#!/bin/bash
# Two guests with Linux' own virtio_can driver, and dom0, on one CAN bus.
# limit: 1500
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/lib.bash
. "$(dirname "$0")/../lib.bash"
BUILD=$(cd "$XEN_DIR/../.." && pwd)/build/xen

work=$(mktemp -d "${TMPDIR:-/tmp}/can.XXXXXX")
trap 'rm -rf "$work"' EXIT

# every_frame: a log with every kind of frame that there is: standard, extended,
# RTR, and FD of every length that FD has, in candump's format.
every_frame() {
	local id len t=0
	bytes() { (($1 == 0)) || printf '%02X' $(seq "$((0x$id % 64))" "$((0x$id % 64 + $1 - 1))"); }
	for id in 000 123 7FF 00000000 00000123 1FFFFFFF; do
		for len in 0 1 2 3 4 5 6 7 8; do echo "$id#$(bytes $len)"; done
		for len in '' 1 2 3 4 5 6 7 8; do echo "$id#R$len"; done
		for len in 0 1 2 3 4 5 6 7 8 12 16 20 24 32 48 64; do echo "$id##1$(bytes $len)"; done
	done | while read -r frame; do
		printf '(%d.%06d) can0 %s\n' 1700000000 "$((t++ * 1000))" "$frame"
	done
}

# frames: only the frames of a candump log, without the flags that virtio-can
# does not carry, and without the direction.
frames() { sed -nE 's/^\([0-9.]+\) [a-z0-9]+ ([^ ]+).*/\1/p' | sed -E 's/##./##/'; }

# The same in dom0: dom0_record, and dom0_recorded, which prints it.
dom0_record() { dom0 'candump -l -f /tmp/dom0.log vcan0 >/dev/null 2>&1 & echo $! >/tmp/dom0.pid; sleep 0.5'; }
dom0_recorded() { dom0 'sleep 0.5; p=$(cat /tmp/dom0.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.1; done; cat /tmp/dom0.log; rm /tmp/dom0.log'; }

# What both guests can do, by name: `guest run a 'can WHAT ...'`.
cat >"$work/can" <<'SCRIPT'
#!/bin/sh
what=$1
shift
case $what in
up) /rig/bin/ip link set can0 txqueuelen 1000 up ;;
down) /rig/bin/ip link set can0 down ;;
state) /rig/bin/ip -d link show can0 | sed -n 's/.* state \([A-Z-]*\) .*/\1/p' | tail -n 1 ;;
# record NAME: until `recorded NAME`, which prints it
record) candump -l -f "/tmp/$1.log" can0 >/dev/null 2>&1 & echo $! >"/tmp/$1.pid" ;;
recorded)
	sleep 1
	kill "$(cat "/tmp/$1.pid")"
	while kill -0 "$(cat "/tmp/$1.pid")" 2>/dev/null; do sleep 0.1; done
	cat "/tmp/$1.log"
	;;
play) canplayer -t -g 1 -I "$1" can0=can0 ;;
# bg NAME CMD...: in the background; done NAME: wait for it, its status and output
bg)
	name=$1
	shift
	rm -f "/tmp/$name.rc"
	{ "$@" >"/tmp/$name.out" 2>&1; echo $? >"/tmp/$name.rc"; } </dev/null >/dev/null 2>&1 &
	sleep 1
	;;
done)
	n=0
	until [ -e "/tmp/$1.rc" ] || [ $((n += 1)) -gt 300 ]; do sleep 0.2; done
	cat "/tmp/$1.out"
	exit "$(cat "/tmp/$1.rc" || echo 99)"
	;;
errors) dmesg | grep -iE 'virtio_can|can0' | grep -viE 'taints kernel|verification failed|link becomes' ;;
esac
SCRIPT
chmod +x "$work/can"

if ! module=$("$XEN_DIR/cache" virtio_can); then
	skip "virtio_can cannot be built"
	done_testing
	exit
fi
diag "virtio_can is $(tr '\n' ' ' <"$module/source")"

every_frame >"$work/frames.log"
push "$module/virtio_can.ko" /root/virtio_can.ko
push "$work/can" /root/can
push "$work/frames.log" /root/frames.log
dom0 'modprobe vcan; modprobe can-isotp; modprobe can-j1939; ip link show vcan0 >/dev/null 2>&1 || ip link add vcan0 type vcan; ip link set vcan0 mtu 72 up'

# The device with SocketCAN below it, without a guest: what needs a real vcan.
"$XEN_DIR/build-in-image" make -s build/release/tests/unit/test_can_socket >/dev/null 2>&1
push "$BUILD/image/release/tests/unit/test_can_socket" /root/test_can_socket
ok "the unit tests that need a real vcan" dom0 '/root/test_can_socket >/tmp/test_can.log 2>&1 && ! grep -q SKIPPED /tmp/test_can.log || { cat /tmp/test_can.log; false; }'

make_guest() {
	local bin
	local -a options=()
	for bin in candump canplayer cangen cansend cansequence canfdtest isotpsend isotprecv j1939cat ip; do
		options+=(--bin "$bin")
	done
	guest make "$1" --type pv --kernel backports --memory 256 --vgrant yes \
		--module can-raw --module can-isotp --module can-j1939 --module can-dev \
		--ko /root/virtio_can.ko --file /root/can:/rig/bin/can \
		--file /root/frames.log:/root/frames.log "${options[@]}" \
		--config "vgrant = [ 'can,interface=vcan0' ]"
}
make_guest a
make_guest b
# The folder backend/virtio itself stays once it was made.
held() { counters | grep -v '^xenstore'; }
before=$(held)
vgrantd_start
guest start a
guest start b
guest wait a "$BOOT" 'waiting for commands' >/dev/null
guest wait b "$BOOT" 'waiting for commands' >/dev/null

id=$(dom0 "vgrant list -b a" | sed -n 's/^[^\t]*\t\([^\t]*\)\tcan\t.*/\1/p')
id=${id##*/}
like "$(dom0 vgrant list a)" 'can +connected' "the driver connects"
like "$(dom0 vgrant list -v a)" '0x[0-9a-f]*f of 0x' "all four features are negotiated"
like "$(guest run a 'can up; can state')" 'ERROR-ACTIVE' "the interface comes up"
guest run b 'can up'
like "$(dom0 vgrant list -v a)" 'vcan0=up active started' "vgrant list tells that the controller is started"

# ---- every kind of frame, both ways -----------------------------------------

dom0_record
dom0 "vgrant trace a $id >/tmp/trace.log 2>&1 & echo \$! >/tmp/trace.pid"
guest run b 'can record b'
guest run a 'can record own'
guest run a 'can play /root/frames.log'
frames <"$work/frames.log" >"$work/want"
guest run b 'can recorded b' | frames >"$work/b"
guest run a 'can recorded own' | frames >"$work/own"
dom0_recorded | frames >"$work/dom0"
dom0 'kill $(cat /tmp/trace.pid); cat /tmp/trace.log' >"$work/trace"
same() { diff "$work/want" "$1"; }
ok "dom0 receives every kind of frame from a guest" same "$work/dom0"
ok "so does another guest" same "$work/b"
ok "the sender sees its own frames once, by its own kernel's echo" same "$work/own"
frames <"$work/trace" >"$work/traced"
ok "vgrant trace shows them all, in candump's format" same "$work/traced"
is "$(grep -vcE '^\([0-9]+\.[0-9]{6}\) vcan0 [0-9A-F]+#[^ ]* T$' "$work/trace")" 0 "each with time and direction"

guest run a 'can record a'
guest run b 'can record b'
push "$work/trace" /tmp/trace.replay
ok "canplayer replays the trace" dom0 'canplayer -t -g 1 -I /tmp/trace.replay vcan0=vcan0'
guest run a 'can recorded a' | frames >"$work/a"
guest run b 'can recorded b' | frames >"$work/b"
ok "a guest receives every kind of frame from dom0" same "$work/a"
ok "so does the other" same "$work/b"

# ---- streams and protocols --------------------------------------------------

# received NAME: frames that the device of a guest has received.
received() { dom0 vgrant list -v "$1" | sed -n 's/.* rx=\([0-9]*\).*/\1/p'; }

# The receiver says so when a number is missing or comes twice, and whether its
# own socket dropped frames: a slow reader is not what this is about.
was=$(received b)
guest run b 'can bg seq timeout 40 cansequence -r can0'
ok "cansequence sends 2000 frames" guest run a 'cansequence -p --loop=2000 can0'
out=$(guest run b 'can done seq')
is "$(($(received b) - was)) $(grep 'sequence' <<<"$out" | grep -vc SOCKET)" "2000 0" "and none is missing or doubled at the other guest"

guest run b 'can bg dut timeout 60 canfdtest can0'
ok "canfdtest, classic frames, full duplex" guest run a 'canfdtest -g -l 50 can0'
guest run b 'pkill canfdtest; can done dut' >/dev/null
guest run b 'can bg dut timeout 60 canfdtest -d can0'
ok "canfdtest, FD frames" guest run a 'canfdtest -g -d -l 50 can0'
guest run b 'pkill canfdtest; can done dut' >/dev/null

pdu=$(printf '%02x ' $(seq 0 255) $(seq 255 -1 0) $(seq 0 255) $(seq 1 232))
sum() { tr -d ' \n' | tr A-F a-f | md5sum; }
guest run b 'can bg iso timeout 60 isotprecv -s 321 -d 123 can0'
guest run a "echo '$pdu' | isotpsend -s 123 -d 321 can0"
is "$(guest run b 'can done iso' | sum)" "$(sum <<<"$pdu")" "ISO-TP carries 1000 bytes between guests"
dom0 '(timeout 60 isotprecv -s 321 -d 123 vcan0 >/tmp/iso.out 2>&1 &) ; sleep 1'
guest run a "echo '$pdu' | isotpsend -b -s 123 -d 321 can0"
is "$(dom0 'sleep 1; cat /tmp/iso.out' | sum)" "$(sum <<<"$pdu")" "and to dom0"

# J1939's own timeouts (T1: 750 ms) are short for an emulated machine: five tries.
j1939() {
	local i
	for i in 1 2 3 4 5; do
		guest run b "can bg j sh -c 'timeout 15 j1939cat can0:0x90 -r 2>/dev/null'"
		guest run a 'seq 1 40 >/tmp/j; j1939cat -i /tmp/j can0:0x80 :0x90,0x12300'
		[[ $(guest run b 'can done j') == "$(seq 1 40)"* ]] && return
	done
	return 1
}
ok "J1939 carries a transport session between guests" j1939

# ---- firewall ---------------------------------------------------------------

ok "vgrant set changes the firewall of a running device" dom0 "vgrant set a $id tx-allow=100:7f0"
dom0_record
guest run a 'cansend can0 105#01; cansend can0 205#02; cansend can0 00000105#03; cansend can0 10F#04; sleep 1'
is "$(dom0_recorded | frames | tr '\n' ' ')" "105#01 10F#04 " "only allowed ids pass"
like "$(dom0 vgrant list -v a)" 'tx-refused=id:2/' "what was refused is counted"
nok "a rule that is none is refused" dom0 "vgrant set a $id tx-allow=zzz"

# ---- worker killed ----------------------------------------------------------

worker_of() { dom0 "vgrant list -v $1" | sed -n 's/.*process \([0-9]*\),.*/\1/p'; }
old=$(worker_of a)
dom0 "vgrant set a $id tx-allow=any; vgrant set a $id rx-allow=000:0+00000000:0; vgrant set a $id tx-allow=120:7f0"
dom0_record
guest run a 'can bg gen cangen can0 -I 123 -L 4 -D i -n 1500 -g 4 -p 100'
dom0 "kill -9 $old"
ok "cangen goes on while the worker is killed and replaced" guest run a 'can done gen'
dom0_recorded | frames >"$work/killed"
is "$(sort -u "$work/killed" | wc -l)" 1500 "no frame is lost"
diag "of 1500 frames $(($(wc -l <"$work/killed") - 1500)) were sent twice"
isnt_old=$(worker_of a)
nok "another worker runs" test "$isnt_old" = "$old"
guest run a 'cansend can0 205#02; sleep 1'
like "$(dom0 vgrant list -v a)" 'tx-refused=id:1/' "and keeps the firewall that was set"
dom0 "vgrant set a $id tx-allow=any"
guest run a 'can record a'
dom0 'cansend vcan0 321#55; cansend vcan0 18DAF110#66'
is "$(guest run a 'can recorded a' | frames | tr '\n' ' ')" "321#55 18DAF110#66 " "the guest receives through it"

# ---- bus-off, interface down and gone ---------------------------------------

dom0 'cansend vcan0 20000040#0000000000000000; sleep 1' # an error frame, as a controller's driver makes it
is "$(guest run a 'sleep 1; can state')" BUS-OFF "bus-off reaches the guest"
like "$(dom0 vgrant list -v a)" 'stopped\(bus-off\)' "and vgrant list"
is "$(guest run a '/rig/bin/ip link set can0 type can restart; sleep 1; can state')" ERROR-ACTIVE "the guest restarts its controller"
guest run b '/rig/bin/ip link set can0 type can restart'

dom0 'ip link set vcan0 down; sleep 1'
like "$(dom0 vgrant list -v a)" 'vcan0=down' "an interface that goes down is told"
guest run a 'cansend can0 123#; sleep 1'
like "$(dom0 vgrant list -v a)" 'tx-failed=[1-9]' "frames meanwhile are answered, and counted"
dom0 'ip link del vcan0; sleep 1'
like "$(dom0 vgrant list -v a)" 'vcan0=gone' "one that goes away is told"
ok "the guest's interface can be taken down and up without it" guest run a 'can down && can up'
dom0 'ip link add vcan0 type vcan; ip link set vcan0 mtu 72 up; sleep 2'
like "$(dom0 vgrant list -v a)" 'vcan0=up' "when it comes back it is joined again"
guest run b 'can record b'
guest run a 'cansend can0 456#0102'
is "$(guest run b 'can recorded b' | frames)" "456#0102" "and frames pass between the guests"

# ---- a flood ----------------------------------------------------------------

dom0 'timeout 30 cangen vcan0 -g 0 -n 30000 -I 77 -L 8 -p 100'
guest run b 'can record b' >/dev/null
dom0 'cansend vcan0 456#0304'
like "$(guest run b 'can recorded b' | frames | tail -n 1)" '456#0304' "after a flood of 30000 frames a guest still receives"
diag "$(dom0 'vgrant list -v b | grep -E "device +vcan0"')"

nok "no guest's kernel complains" guest run a 'dmesg | grep -E "BUG|WARNING|Oops"'
is "$(guest run a 'can errors | grep -vE "TX ACK: Result|bus-off|restarted|Link is|j1939" | head -n 3')" "" "the driver has nothing to complain of"
guest destroy a b
vgrantd_stop
is "$(held)" "$before" "dom0 holds no more than before"
dom0 'ip link del vcan0'
done_testing
