#!/bin/bash
# Two guests with Linux' own virtio_can driver, and dom0, on one CAN bus.
# limit: 900
# long: more frames everywhere
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/lib.bash
. "$(dirname "$0")/../lib.bash"

# How much of it: numbered frames, rounds of canfdtest, frames while a worker is killed, frames of a flood.
sequence=500 rounds=3 killed=400 flood=3000
[[ ! ${LONG-} ]] || sequence=5000 rounds=50 killed=5000 flood=50000

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

# What the guests and dom0 can do, by name: `guest run a 'can WHAT ...'`, `dom0 can WHAT`.
# Nothing in it takes a time for an answer: it looks until it sees.
cat >"$work/can" <<'SCRIPT'
#!/bin/sh
IF=can0
IP=ip
[ ! -x /rig/bin/ip ] || IP=/rig/bin/ip # not busybox's
[ ! -e /sys/class/net/vcan0 ] || IF=vcan0
what=$1
shift
# listeners: grows when a program has bound its CAN socket
listeners() { cat /proc/net/can/rcvlist_* 2>/dev/null | grep -cE ' (raw|isotp|j1939)'; }
# await SECONDS CMD...
await() {
	n=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((n -= 1)) -gt 0 ] || return 1
		sleep 0.1
	done
}
state() { $IP -d link show "$IF" | sed -n 's/.* state \([A-Z-]*\) .*/\1/p' | tail -n 1; }
case $what in
up) $IP link set "$IF" txqueuelen 1000 up ;;
down) $IP link set "$IF" down ;;
state) state ;;
# await-state WORD: prints the state, after 60 s at the latest
await-state)
	is() { [ "$(state)" = "$1" ]; }
	await 60 is "$1"
	state
	;;
# bg NAME CMD...: in the background, until it listens; done NAME: wait for its end: status and output;
# end NAME: the same, but end it
bg)
	name=$1
	shift
	was=$(listeners)
	rm -f "/tmp/$name.rc"
	{
		"$@" >"/tmp/$name.out" 2>&1 &
		echo $! >"/tmp/$name.pid"
		wait $!
		echo $? >"/tmp/$name.rc"
	} </dev/null >/dev/null 2>&1 &
	more() { [ "$(listeners)" -gt "$was" ] || [ -e "/tmp/$name.rc" ]; }
	await 20 more
	;;
done | end)
	[ "$what" = "done" ] || kill "$(cat "/tmp/$1.pid")" 2>/dev/null
	await 100 test -e "/tmp/$1.rc"
	cat "/tmp/$1.out"
	exit "$(cat "/tmp/$1.rc" || echo 99)"
	;;
# record NAME: everything on the bus, until `recorded NAME` has seen the mark, and prints it
record) exec "$0" bg "$1" timeout 300 candump -r 4000000 -L "$IF" ;;
mark) cansend "$IF" 5A5#454E44 ;;
recorded)
	await 90 grep -q '5A5#454E44' "/tmp/$1.out" || echo "the mark did not come"
	"$0" end "$1" | grep -v '5A5#454E44'
	;;
play) canplayer -t -g 1 -I "$1" "$IF=can0" && "$0" mark ;;
errors) dmesg | grep -iE 'virtio_can|can0' | grep -viE 'taints kernel|verification failed|link becomes' ;;
esac
SCRIPT
chmod +x "$work/can"

# both CMD [CMD]: the same, or each its own, in guests a and b at the same time
both() {
	guest run a "$1" &
	guest run b "${2-$1}"
	wait
}
# says REGEX NAME [GUEST]: `vgrant list -v` of guest a comes to say it
says() {
	ok "$2" dom0 "for i in \$(seq 120); do { vgrant list ${3-a}; vgrant list -v ${3-a}; } >/tmp/said; grep -qE '$1' /tmp/said && exit; sleep 0.5; done; cat /tmp/said; exit 1"
}
# count KEY [GUEST]: a counter of the guest's device; 0 where it is not told
count() { dom0 "for i in \$(seq 20); do vgrant list -v ${2-a} >/tmp/said; grep -q 'vcan0=' /tmp/said && break; sleep 0.5; done; cat /tmp/said" | sed -nE "s/.* $1=?([0-9]+).*/\\1/p" | grep . || echo 0; }

if ! module=$("$XEN_DIR/cache" virtio_can); then
	skip "virtio_can cannot be built"
	done_testing
	exit
fi
diag "virtio_can is $(tr '\n' ' ' <"$module/source")"

every_frame >"$work/frames.log"
push "$module/virtio_can.ko" /root/virtio_can.ko
push "$work/can" /root/can
push "$work/can" /rig/bin/can
push "$work/frames.log" /root/frames.log
dom0 'modprobe vcan; modprobe vxcan; modprobe can-isotp; modprobe can-j1939; ip link show vcan0 >/dev/null 2>&1 || ip link add vcan0 type vcan; ip link set vcan0 mtu 72 up'

# Built while guests are made and boot: see below. Not each dom0 has the library that it is written with.
# shellcheck disable=SC2016 # the image expands it
"$XEN_DIR/build-in-image" bash -ec 'make -s "$1"; cp -L "$(${CROSS}gcc -print-file-name=libcmocka.so.0)" "${1%/*}/"' bash \
	"build/$MADE/tests/unit/devices/test_can_socket" >"$work/build" 2>&1 &
builder=$!

make_guest() {
	local name=$1
	shift
	guest make "$name" --type pv --kernel backports --memory 256 --config "vgrant = [ 'can,interface=vcan0' ]" "$@"
}
options=()
for bin in candump canplayer cangen cansend cansequence canfdtest isotpsend isotprecv j1939cat ip; do
	options+=(--bin "$bin")
done
# The folder backend/virtio itself stays once it was made.
held() { counters | grep -v '^xenstore'; }
before=$(held)
vgrantd_start
make_guest a --vgrant yes --module can-raw --module can-isotp --module can-j1939 --module can-dev \
	--ko /root/virtio_can.ko --file /root/can:/rig/bin/can --file /root/frames.log:/root/frames.log "${options[@]}"
guest start a
make_guest b --initrd /rig/guests/a/initramfs
guest start b

# The device with SocketCAN below it, without a guest: what needs a real vcan.
wait "$builder" || diag "$(tail -n 5 "$work/build")"
for file in test_can_socket libcmocka.so.0; do push "$IMAGE/$MADE/tests/unit/devices/$file" "/root/$file"; done
ok "the unit tests that need a real vcan" dom0 'LD_LIBRARY_PATH=/root /root/test_can_socket >/tmp/test_can.log 2>&1 && ! grep -q SKIPPED /tmp/test_can.log || { cat /tmp/test_can.log; false; }'
guest wait a "$BOOT" 'waiting for commands' >/dev/null
guest wait b "$BOOT" 'waiting for commands' >/dev/null

id=$(dom0 "vgrant list -b a" | sed -n 's/^[^\t]*\t\([^\t]*\)\tcan\t.*/\1/p')
id=${id##*/}
says 'can +connected' "the driver connects"
like "$(dom0 vgrant list -v a)" '0x[0-9a-f]*f of 0x' "all four features are negotiated"
both 'can up; can await-state ERROR-ACTIVE' >"$work/out"
is "$(sort -u "$work/out")" ERROR-ACTIVE "the interfaces come up"
says 'vcan0=up active started' "vgrant list tells that the controller is started"

# ---- every kind of frame, both ways -----------------------------------------

dom0 "can record dom0; vgrant trace a $id >/tmp/trace.log 2>&1 & echo \$! >/tmp/trace.pid"
guest run b 'can record b'
frames <"$work/frames.log" >"$work/want"
guest run a 'can record own; can play /root/frames.log; can recorded own' | frames >"$work/own"
guest run b 'can recorded b' | frames >"$work/b"
dom0 can recorded dom0 >"$work/dom0.log"
frames <"$work/dom0.log" >"$work/dom0"
dom0 'for i in $(seq 600); do grep -q 5A5#454E44 /tmp/trace.log && break; sleep 0.1; done; kill $(cat /tmp/trace.pid); grep -v 5A5# /tmp/trace.log' >"$work/trace"
same() { diff "$work/want" "$1"; }
ok "dom0 receives every kind of frame from a guest" same "$work/dom0"
ok "so does another guest" same "$work/b"
ok "the sender sees its own frames once, by its own kernel's echo" same "$work/own"
frames <"$work/trace" >"$work/traced"
ok "vgrant trace shows them all, in candump's format" same "$work/traced"
is "$(grep -vcE '^\([0-9]{10}\.[0-9]{6}\) vcan0 [0-9A-F]+#[^ ]* T$' "$work/trace")" 0 "each with time and direction"

both 'can record a' 'can record b'
push "$work/trace" /tmp/trace.replay
ok "canplayer replays the trace" dom0 'canplayer -t -g 1 -I /tmp/trace.replay vcan0=vcan0 && can mark'
guest run b 'can recorded b' | frames >"$work/b" &
guest run a 'can recorded a' | frames >"$work/a"
wait
ok "a guest receives every kind of frame from dom0" same "$work/a"
ok "so does the other" same "$work/b"

# ---- streams and protocols --------------------------------------------------

# The receiver says so when a number is missing or comes twice, and whether its
# own socket dropped frames: a slow reader is not what this is about.
was=$(count rx b)
guest run b 'can bg seq timeout 300 cansequence -r can0'
ok "cansequence sends $sequence frames" guest run -t 280 a "cansequence -p --loop=$sequence can0"
says " rx=$((was + sequence))( |\$)" "all of them reach the other guest" b
out=$(guest run b 'can end seq')
is "$(grep 'sequence' <<<"$out" | grep -vc SOCKET)" 0 "and none is missing or doubled there"

guest run b 'can bg dut timeout 300 canfdtest can0'
ok "canfdtest, classic frames, full duplex" guest run -t 280 a "canfdtest -g -l $rounds can0"
guest run b 'can end dut >/dev/null; can bg dut timeout 300 canfdtest -d can0'
ok "canfdtest, FD frames" guest run -t 280 a "canfdtest -g -d -l $rounds can0"
guest run b 'can end dut' >/dev/null

pdu=$(printf '%02x ' $(seq 0 255) $(seq 255 -1 0) $(seq 0 255) $(seq 1 232))
sum() { tr -d ' \n' | tr A-F a-f | md5sum; }
# ISO-TP gives up after a second without an answer: a busy machine gets five tries.
# isotp RECEIVER INTERFACE: RECEIVER is a command that runs its words in b, or in dom0
isotp() {
	local i
	for i in 1 2 3 4 5; do
		"$1" "can bg iso timeout 60 isotprecv -s 321 -d 123 $2"
		guest run a "echo '$pdu' | isotpsend -s 123 -d 321 -b can0"
		[[ $("$1" 'sleep 1; can end iso' | sum) != "$(sum <<<"$pdu")" ]] || return 0
	done
	return 1
}
in_b() { guest run b "$1"; }
ok "ISO-TP carries 1000 bytes between guests" isotp in_b can0
ok "and to dom0" isotp dom0 vcan0

# J1939's own timeouts (T1: 750 ms) are short for an emulated machine: some tries.
j1939() {
	local i want
	want=$(seq 1 40)
	for i in 1 2 3 4 5 6 7 8; do
		"$1" "can bg j timeout 60 j1939cat $2:0x90 -r"
		guest run a 'seq 1 40 >/tmp/j; timeout 20 j1939cat -i /tmp/j can0:0x80 :0x90,0x12300' >/dev/null 2>&1
		[[ $("$1" 'sleep 1; can end j' 2>/dev/null | grep -xE '[0-9]+') != "$want"* ]] || return 0
	done
	return 1
}
ok "J1939 carries a transport session between guests" j1939 in_b can0
ok "and to dom0" j1939 dom0 vcan0

# ---- firewall and limits ----------------------------------------------------

ok "vgrant set changes the firewall of a running device" dom0 "vgrant set a $id tx-allow=100:7f0+5A5 && can record fw"
guest run a 'cansend can0 105#01; cansend can0 205#02; cansend can0 00000105#03; cansend can0 10F#04; can mark'
is "$(dom0 can recorded fw | frames | tr '\n' ' ')" "105#01 10F#04 " "only allowed ids pass"
says 'tx-refused=id:2/' "what was refused is counted"
nok "a rule that is none is refused" dom0 "vgrant set a $id tx-allow=zzz"

# What passed and what was refused are all that was sent; with one frame a second
# allowed, or a hundredth of a bus of 500 kbit/s, most is refused, however slow we are.
dom0 "vgrant set a $id tx-rate=1; can record fw"
guest run a 'for i in $(seq 30); do cansend can0 101#11; done'
dom0 "for i in \$(seq 60); do vgrant list -v a | grep -q 'rate:[1-9]' && break; sleep 0.5; done; vgrant set a $id tx-rate=0"
guest run a 'can mark'
passed=$(dom0 can recorded fw | grep -c 101#11)
rate=$(dom0 vgrant list -v a | sed -nE 's/.*tx-refused=[^ ]*rate:([0-9]+).*/\1/p')
is "$((passed + ${rate:-0}))" 30 "a limit of frames a second, set while running: what did not pass was refused"
ok "and that was some" test "${rate:-0}" -gt 0
dom0 "vgrant set a $id tx-load=1; can record fw"
guest run -t 280 a 'cangen can0 -I 102 -L 8 -D 1122334455667788 -n 200 -g 0 -p 100'
dom0 "for i in \$(seq 60); do vgrant list -v a | grep -q 'load:[1-9]' && break; sleep 0.5; done; vgrant set a $id tx-load=0"
guest run a 'can mark'
passed=$(dom0 can recorded fw | grep -c 102#)
load=$(dom0 vgrant list -v a | sed -nE 's/.*tx-refused=[^ ]*load:([0-9]+).*/\1/p')
is "$((passed + ${load:-0}))" 200 "a limit of bus load, set while running: what did not pass was refused"
ok "and that was some" test "${load:-0}" -gt 0
guest run a 'can record a'
dom0 "vgrant set a $id rx-rate=1; for i in \$(seq 30); do cansend vcan0 103#33; done
	for i in \$(seq 60); do vgrant list -v a | grep -q 'rx-refused=[^ ]*rate:[1-9]' && break; sleep 0.5; done; vgrant set a $id rx-rate=0; can mark"
passed=$(guest run a 'can recorded a' | grep -c 103#33)
rate=$(dom0 vgrant list -v a | sed -nE 's/.*rx-refused=[^ ]*rate:([0-9]+).*/\1/p')
is "$((passed + ${rate:-0}))" 30 "a limit on what the guest hears"
ok "and that was some" test "${rate:-0}" -gt 0

# ---- worker killed ----------------------------------------------------------

worker_of() { dom0 "vgrant list -v $1" | sed -n 's/.*process \([0-9]*\),.*/\1/p'; }
old=$(worker_of a)
dom0 "vgrant set a $id rx-allow=000:0+00000000:0; vgrant set a $id tx-allow=120:7f0+5A5; can record killed"
guest run a "can bg gen cangen can0 -I 123 -L 4 -D i -n $killed -g 4 -p 100"'; until [ "$(cat /sys/class/net/can0/statistics/tx_packets)" -gt 0 ]; do sleep 0.1; done'
dom0 "kill -9 $old"
ok "cangen goes on while the worker is killed and replaced" guest run -t 280 a 'can done gen; rc=$?; can mark; exit $rc'
dom0 can recorded killed | frames >"$work/killed"
is "$(sort -u "$work/killed" | wc -l)" "$killed" "no frame is lost"
diag "of $killed frames $(($(wc -l <"$work/killed") - killed)) were sent twice"
nok "another worker runs" test "$(worker_of a)" = "$old"
guest run a 'cansend can0 205#02'
says 'tx-refused=id:1/' "and keeps the firewall that was set"
vgrantd_stop
vgrantd_start
says 'can +connected' "vgrantd is stopped and started"
guest run a 'cansend can0 205#02'
says 'tx-refused=id:1/' "and keeps it, too"
dom0 "vgrant set a $id tx-allow=any"
guest run a 'can record a'
dom0 'cansend vcan0 321#55; cansend vcan0 18DAF110#66; can mark'
is "$(guest run a 'can recorded a' | frames | tr '\n' ' ')" "321#55 18DAF110#66 " "the guest receives through it"

# ---- bus-off, interface down and gone ---------------------------------------

dom0 'cansend vcan0 20000040#0000000000000000' # an error frame, as a controller's driver makes it
both 'can await-state BUS-OFF' >"$work/out"
is "$(sort -u "$work/out")" BUS-OFF "bus-off reaches the guests"
says 'stopped\(bus-off\)' "and vgrant list"
both '/rig/bin/ip link set can0 type can restart; can await-state ERROR-ACTIVE' >"$work/out"
is "$(sort -u "$work/out")" ERROR-ACTIVE "the guests restart their controllers"

dom0 'ip link set vcan0 down'
says 'vcan0=down' "an interface that goes down is told"
guest run a 'cansend can0 123#'
says 'tx-failed=[1-9]' "frames meanwhile are answered, and counted"
dom0 'ip link del vcan0'
says 'vcan0=gone' "one that goes away is told"
ok "the guest's interface can be taken down and up without it" guest run a 'can down && can up'
dom0 'ip link add vcan0 type vcan; ip link set vcan0 mtu 72 up'
says 'vcan0=up' "when it comes back it is joined again"
says 'vcan0=up' "by the other guest's device, too" b
guest run b 'can record b'
guest run a 'cansend can0 456#0102; can mark'
is "$(guest run b 'can recorded b' | frames)" "456#0102" "and frames pass between the guests"

# ---- vxcan: a second controller, on one end of a pair ------------------------

dom0 'ip link add vx0 type vxcan peer name vx1; ip link set vx0 mtu 72 up; ip link set vx1 mtu 72 up'
ok "a device on a vxcan interface is attached to a running guest" dom0 "vgrant attach a can,interface=vx0"
guest run a 'for i in $(seq 300); do [ -e /sys/class/net/can1 ] && break; sleep 0.1; done; /rig/bin/ip link set can1 up'
says 'vx0=up active started' "and is started"
dom0 'can bg vx timeout 300 candump -L -n 1 vx1'
guest run a 'can bg vx timeout 300 candump -L -n 1 can1,7A:7FF; cansend can1 079##1112233'
is "$(dom0 'can done vx' | frames)" "079##112233" "what the guest sends comes out at the pair's other end"
dom0 'cansend vx1 07A#44'
is "$(guest run a 'can done vx' | frames)" "07A#44" "and the other way"
dom0 'ip link del vx0'
says 'vx0=gone' "a pair that goes away is told"
guest run a '/rig/bin/ip link set can1 down'
dom0 "vgrant list -b a | cut -f 2 | sed 's|.*/||' | grep -vx $id | xargs vgrant detach a"

# ---- a flood ----------------------------------------------------------------

dom0 "cangen vcan0 -g 0 -n $flood -I 77 -L 8 -p 100"
guest run b 'can record b' >/dev/null
dom0 'cansend vcan0 456#0304; can mark'
like "$(guest run b 'can recorded b' | frames | tail -n 1)" '456#0304' "after a flood of $flood frames a guest still receives"
diag "$(dom0 'vgrant list -v b | grep -E "device +vcan0"')"

is "$(complaints a)" "" "no guest's kernel complains"
is "$(guest run a 'can errors | grep -vE "TX ACK: Result|bus-off|restarted|Link is|j1939" | head -n 3')" "" "the driver has nothing to complain of"
guest destroy a b
vgrantd_stop
is "$(held)" "$before" "dom0 holds no more than before"
dom0 'ip link del vcan0'
done_testing
