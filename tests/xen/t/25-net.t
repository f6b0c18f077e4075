#!/bin/bash
# A PV and a PVH guest with Linux' own virtio_net, and dom0, on one bridge.
# limit: 900
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# What the guests and dom0 can do, by name: `guest run pv 'net WHAT ...'`, `dom0 net WHAT`.
cat >"$T/net" <<'SCRIPT'
#!/bin/sh
# dom0 has no ping but busybox's.
command -v ping >/dev/null || ping() { busybox ping "$@"; }
# until_true SECONDS CMD...
until_true() {
	n=$(($1 * 5))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((n -= 1)) -gt 0 ] || return 1
		sleep 0.2
	done
}
carrier_is() { [ "$(cat "/sys/class/net/$1/carrier")" = "$2" ]; }
what=$1
shift
case $what in
# up INTERFACE N: addresses 10.9.0.N and fd09::N, once it is there
up)
	until_true 60 test -e "/sys/class/net/$1" || exit 1
	ip link set "$1" up
	ip addr add "10.9.0.$2/24" dev "$1"
	ip -6 addr add "fd09::$2/64" dev "$1" 2>/dev/null
	until_true 30 carrier_is "$1" 1
	;;
carrier) until_true 30 carrier_is "$1" "$2" ;;
gone) until_true 30 test ! -e "/sys/class/net/$1" ;;
reach) until_true 30 ping -c 1 -W 2 "$1" && ping -c 5 -W 5 "$1" >/tmp/ping && grep -q ' 0% packet loss' /tmp/ping ;;
# listen PORT: what comes goes to /tmp/PORT; listening is what it waits for
listen)
	rm -f "/tmp/$1" "/tmp/$1.done"
	{
		rr take "$1" "/tmp/$1"
		echo >"/tmp/$1.done"
	} </dev/null >/dev/null 2>&1 &
	hex=$(printf ':%04X ' "$1")
	until_true 10 grep -q "$hex" /proc/net/tcp
	;;
# send HOST PORT FILE
send) rr give "$1" "$2" "$3" ;;
# got PORT: the checksum of what came, once the other end has closed
got)
	until_true 200 test -e "/tmp/$1.done"
	md5sum <"/tmp/$1" | cut -c 1-32
	;;
# flowing PORT: something has come
flowing) until_true 30 test -s "/tmp/$1" ;;
file) head -c "$2" /dev/urandom >"$1" ;;
sum) md5sum <"$1" | cut -c 1-32 ;;
esac
SCRIPT
chmod +x "$T/net"
push "$T/net" /root/net
push "$T/net" /rig/bin/net
push "$REPO/build/xen/image/products/rr" /rig/bin/rr
dom0_script <<'EOS'
modprobe tun && modprobe bridge
for b in xenbr0 other; do ip link show $b >/dev/null 2>&1 || ip link add $b type bridge; done
ip addr flush dev xenbr0
ip addr add 10.9.0.1/24 dev xenbr0; ip -6 addr add fd09::1/64 dev xenbr0 nodad
ip link set xenbr0 up; ip link set other mtu 4000 up
EOS
interfaces() { dom0 'ls /sys/class/net | grep -v xen-net | sort | tr "\n" " "'; }
before=$(holds) before_if=$(interfaces)

vgrantd_start
guest make pv --type pv --vcpus 2 --vgrant yes --module virtio_net --file /root/net:/rig/bin/net --file /rig/bin/rr:/rig/bin/rr \
	--config "vgrant = [ 'net,queues=2' ]"
guest start pv
guest make pvh --type pvh --kernel backports --vgrant yes --module virtio_net --file /root/net:/rig/bin/net --file /rig/bin/rr:/rig/bin/rr \
	--config "vgrant = [ 'net' ]"
guest start pvh
guest wait pv "$BOOT" 'waiting for commands' >/dev/null
guest wait pvh "$BOOT" 'waiting for commands' >/dev/null
id=$(dom0 "vgrant list -b pv" | sed -n 's/^[^\t]*\t\([^\t]*\)\tnet\t.*/\1/p')
id=${id##*/}

# ---- it is there ------------------------------------------------------------

ok "a PV guest's interface comes up" guest run pv 'net up eth0 2'
ok "a PVH guest's, too" guest run pvh 'net up eth0 3'
ok "vgrant list shows it connected" until_list "^pv .*net connected"
mac=$(guest run pv 'cat /sys/class/net/eth0/address' | tr -d '\r')
like "$mac" '^00:16:3e:[0-7]' "its address is one of Xen's"
detail() { dom0 "vgrant list -v $1" | tr '\n' ' '; }
like "$(detail pv)" "vif[0-9]+\\.$id=up $mac mtu=1500 pairs=2/2" "vgrant list -v tells interface, address and pairs"
vif=$(detail pv | grep -oE "vif[0-9]+\.$id" | head -n 1)
is "$(dom0 "readlink /sys/class/net/$vif/master" | sed 's,.*/,,')" xenbr0 "it is on the default bridge"
like "$(dom0 "vgrant list -v pvh")" 'pairs=1/1' "the other guest has one pair"

# ---- frames -----------------------------------------------------------------

ok "dom0 reaches the PV guest" dom0 net reach 10.9.0.2
ok "dom0 reaches the PVH guest" dom0 net reach 10.9.0.3
ok "a guest reaches the other" guest run pv 'net reach 10.9.0.3'
ok "over IPv6, too" guest run pvh 'net reach fd09::2'

dom0 net file /root/2m 2097152
# carries NAME FROM TO HOST: FROM and TO are "dom0" or a guest; what FROM has comes whole to TO
on() { if [[ $1 == dom0 ]]; then dom0 "$2"; else guest run -t 250 "$1" "$2"; fi; }
port=5000
carries() {
	local got want file=/tmp/2m
	port=$((port + 1))
	[[ $2 != dom0 ]] || file=/root/2m
	[[ $2 == dom0 ]] || on "$2" "[ -e $file ] || net file $file 2097152"
	want=$(on "$2" "net sum $file" | tr -d '\r')
	on "$3" "net listen $port"
	on "$2" "net send $4 $port $file"
	got=$(on "$3" "net got $port; rm -f /tmp/$port" | tr -d '\r')
	is "$got" "$want" "$1"
}
carries "2 MiB reach the PV guest as they were" dom0 pv 10.9.0.2
carries "2 MiB reach dom0" pv dom0 10.9.0.1
carries "2 MiB reach the PVH guest" dom0 pvh 10.9.0.3
carries "2 MiB reach dom0 from there" pvh dom0 10.9.0.1
carries "2 MiB pass between guests" pv pvh 10.9.0.3
nok "nothing was refused" dom0 'vgrant list -v | grep -E "tx-(csum|gso|refused|short|long)|rx-(small|failed)"'

# ---- while it runs ----------------------------------------------------------

dom0 "vgrant set pv $id link=down"
ok "a cable that is pulled is seen in the guest" guest run pv 'net carrier eth0 0'
ok "and by the bridge" dom0 "net carrier $vif 0"
dom0 "vgrant set pv $id link=up"
ok "and plugged in again" guest run pv 'net carrier eth0 1'
ok "frames pass again" dom0 net reach 10.9.0.2

worker_of() { dom0 "vgrant list -v $1" | sed -n 's/.*process \([0-9]*\),.*/\1/p' | head -n 1; }
old=$(worker_of pv)
guest run pv 'net file /tmp/8m 8388608'
want=$(guest run pv 'net sum /tmp/8m' | tr -d '\r')
dom0 net listen 6000
guest run pv 'net send 10.9.0.1 6000 /tmp/8m >/dev/null 2>&1 &'
dom0 "net flowing 6000; kill -9 $old"
is "$(dom0 net got 6000)" "$want" "a TCP connection goes on when the worker is killed"
nok "another worker runs" test "$(worker_of pv)" = "$old"
like "$(detail pv)" "vif[0-9]+\\.$id=up $mac mtu=1500 pairs=2/2" "and knows what the guest had set"

vgrantd_stop
vgrantd_start
ok "vgrantd is stopped and started" until_list "^pv .*net connected"
ok "frames pass through the next one's workers" dom0 net reach 10.9.0.2

ok "a second card is attached, with no offloads, on another bridge" dom0 "vgrant attach pvh net,bridge=other,offloads=0,vifname=second,mac=00:16:3e:00:00:09"
ok "and comes up" guest run pvh 'ip addr flush dev eth0; net up eth1 9'
is "$(guest run pvh 'cat /sys/class/net/eth1/mtu' | tr -d '\r')" 4000 "with the bridge's MTU"
dom0 'ip addr flush dev xenbr0; ip addr add 10.9.0.1/24 dev other'
ok "large packets pass unfragmented" dom0 'net reach 10.9.0.9 && busybox ping -c 2 -s 3900 10.9.0.9'
carries "2 MiB reach dom0 without offloads" pvh dom0 10.9.0.1
carries "and the other way" dom0 pvh 10.9.0.9
second=$(dom0 "vgrant list -b pvh" | sed -n 's/^[^\t]*\t\([^\t]*\)\tnet\t.*/\1/p' | tail -n 1)
ok "it is detached" dom0 "vgrant detach pvh ${second##*/}"
ok "and gone from the guest" guest run pvh 'net gone eth1'
ok "and from dom0" dom0 net gone second

like "$(dom0 "vgrant attach pvh net,bridge=nosuch; sleep 2; vgrant list pvh")" 'no bridge nosuch' "a bridge that is not there is named"

# ---- the end ----------------------------------------------------------------

nok "no guest's kernel complains" guest run pv 'dmesg | grep -E "BUG|WARNING|Oops"'
nok "nor the other's" guest run pvh 'dmesg | grep -E "BUG|WARNING|Oops"'
guest destroy pv pvh
until_dom0 30 '! vgrant list --brief | grep -q .'
vgrantd_stop
dom0 'ip addr flush dev other'
is "$(interfaces)" "$before_if" "no interface is left"
is "$(holds)" "$before" "dom0 holds no more than before"
dom0 'ip link del xenbr0; ip link del other'
done_testing
