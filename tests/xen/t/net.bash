# shellcheck shell=bash
# What the tests of networks share, on top of suite.bash (sourced, not run).
#
#   net_dom0                    in dom0: bridges xenbr0 (10.9.0.1, fd09::1) and other (MTU 9000), new,
#                               and the programs `net` and `rr`
#   net_guest NAME N OPTION...  make and start a guest, as `guest make`; its first card gets 10.9.0.N
#                               and fd09::N, and `rr serve 7000` answers there
#   card NAME [WHICH]           the number of its card, the first one if nothing is said
#   detail NAME                 what `vgrant list -v` says of it, in one line
#   worker_of NAME              the process of its first device

net_dom0() {
	cat >"$T/net" <<'SCRIPT'
#!/bin/sh
# What guests and dom0 can do, by name: `guest run pv 'net WHAT ...'`, `dom0 net WHAT`.
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
	ip -6 addr add "fd09::$2/64" dev "$1" nodad 2>/dev/null || ip -6 addr add "fd09::$2/64" dev "$1" 2>/dev/null
	until_true 30 carrier_is "$1" 1
	;;
carrier) until_true 30 carrier_is "$1" "$2" ;;
gone) until_true 30 test ! -e "/sys/class/net/$1" ;;
# reach HOST [SIZE]
reach) until_true 60 ping -c 1 -W 2 "$1" && ping -c 3 -W 5 -s "${2:-56}" "$1" >/tmp/ping && grep -q ' 0% packet loss' /tmp/ping ;;
# lease INTERFACE: an address by DHCP, which is not used
lease) busybox udhcpc -i "$1" -f -n -q -t 10 -T 2 -s /rig/bin/net 2>&1 | grep 'lease of 10\.9\.0\.1[0-9][0-9] obtained' ;;
# beating FILE: `rr beat` says more there
beating)
	had=$(wc -l <"$1")
	until_true 100 eval '[ $(wc -l <"'"$1"'") -gt $((had + 3)) ]'
	;;
esac
SCRIPT
	# shellcheck disable=SC2016 # the guest's shell expands it
	printf '#!/bin/sh\n(rr serve 7000 </dev/null >/dev/null 2>&1 &)\nn=$(sed "s/.*net=\\([0-9]*\\).*/\\1/" /proc/cmdline)\n(net up eth0 $n </dev/null >/dev/null 2>&1 &)\n' >"$T/net-main"
	chmod +x "$T/net" "$T/net-main"
	push "$T/net" /rig/bin/net
	push "$T/net-main" /root/net-main
	push "$IMAGE/products/rr" /rig/bin/rr
	dom0_script <<'EOS'
modprobe tun && modprobe bridge
for b in xenbr0 other; do ip link del $b 2>/dev/null; ip link add $b type bridge; done
ip addr add 10.9.0.1/24 dev xenbr0; ip -6 addr add fd09::1/64 dev xenbr0 nodad
ip link set xenbr0 up; ip link set other mtu 9000 up
EOS
}

net_guest() {
	local name=$1 n=$2 words
	shift 2
	printf -v words '%q ' "$@"
	dom0 "guest make $name --vgrant yes --module virtio_net --append net=$n --main /root/net-main \
		--file /rig/bin/net:/rig/bin/net --file /rig/bin/rr:/rig/bin/rr $words && guest start $name"
}

card() { dom0 "vgrant list -b $1" | awk -F '\t' '$3 == "net" { sub(".*/", "", $2); print $2 }' | sed -n "${2:-1}p"; }
detail() { dom0 "vgrant list -v $1" | tr '\n' ' '; }
worker_of() { dom0 "vgrant list -v $1" | sed -n 's/.*process \([0-9]*\),.*/\1/p' | head -n 1; }
