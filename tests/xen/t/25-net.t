#!/bin/bash
# A PV and a PVH guest with Linux' own virtio_net, and dom0, on one bridge.
# limit: 900
# long: more is sent each way
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
# shellcheck source=tests/xen/t/net.bash
. "$(dirname "$0")/net.bash"

bytes=1048576
[[ ! ${LONG-} ]] || bytes=$((bytes * 32))
interfaces() { dom0 'ls /sys/class/net | grep -v xen-net | sort | tr "\n" " "'; }

net_dom0
before=$(holds) before_if=$(interfaces)
vgrantd_start
net_guest pv 2 --type pv --vcpus 2 --module 8021q --config "vgrant = [ 'net,queues=2' ]"
net_guest pvh 3 --type pvh --kernel backports --config "vgrant = [ 'net' ]"

# ---- it is there, and carries frames ----------------------------------------

ok "dom0 reaches a PV guest" dom0 net reach 10.9.0.2
ok "and a PVH guest" dom0 net reach 10.9.0.3
mac=$(guest run pv 'cat /sys/class/net/eth0/address' | tr -d '\r')
like "$mac" '^00:16:3e:[0-7]' "its address is one of Xen's"
pv=$(card pv) text=$(detail pv)
like "$text" "vif[0-9]+\\.$pv=up $mac mtu=1500 pairs=2/2" "vgrant list -v tells interface, address and pairs"
vif=$(grep -oE "vif[0-9]+\.$pv" <<<"$text" | head -n 1)
is "$(dom0 "readlink /sys/class/net/$vif/master" | sed 's,.*/,,')" xenbr0 "it is on the default bridge"
like "$(detail pvh)" 'pairs=1/1' "the other guest has one pair"
ok "a guest reaches the other, over IPv6, too" guest run pv 'net reach 10.9.0.3 && net reach fd09::3'
ok "dom0 gets back from the PV guest what it sends" dom0 rr echo 10.9.0.2 7000 "$bytes"
ok "and from the PVH guest" dom0 rr echo 10.9.0.3 7000 "$bytes"
ok "and a guest from the other" guest run -t 250 pv "rr echo 10.9.0.3 7000 $bytes"
ok "with a processor less, and with it again" guest run pv 'cd /sys/devices/system/cpu/cpu1
	echo 0 >online && net reach 10.9.0.1 && echo 1 >online && net reach 10.9.0.1'
dom0 'cd /run && printf "%s\n" "start 10.9.0.100" "end 10.9.0.110" "max_leases 10" "interface xenbr0" \
	"lease_file /run/udhcpd.leases" "pidfile /run/udhcpd.pid" "opt subnet 255.255.255.0" >udhcpd.conf
	: >udhcpd.leases; busybox udhcpd -a 100 /run/udhcpd.conf'
ok "a guest gets an address from dom0 by DHCP" guest run pv 'net lease eth0'
dom0 'kill $(cat /run/udhcpd.pid)'
dom0 "vgrant capture pv $pv >/root/pv.pcap & for i in \$(seq 100); do [ -s /root/pv.pcap ] && break; sleep 0.1; done
	net reach 10.9.0.2; kill \$!; wait"
pull /root/pv.pcap "$T/pv.pcap"
like "$(tcpdump -nr "$T/pv.pcap" 2>&1)" '10\.9\.0\.1 > 10\.9\.0\.2: ICMP echo request.*
.*10\.9\.0\.2 > 10\.9\.0\.1: ICMP echo reply' "tcpdump reads what vgrant captured"
dom0 'modprobe 8021q; ip link add link xenbr0 name vlan5 type vlan id 5; ip addr add 10.5.0.1/24 dev vlan5; ip link set vlan5 up'
guest run pv 'vconfig add eth0 5; ip addr add 10.5.0.2/24 dev eth0.5; ip link set eth0.5 up'
ok "full frames pass through a VLAN" dom0 net reach 10.5.0.2 1472
dom0 'ip link del vlan5'
nok "nothing was refused" dom0 'vgrant list -v | grep -E "tx-(csum|gso|refused|short|long)|rx-(small|failed)"'

# ---- while it runs ----------------------------------------------------------

dom0 "vgrant set pv $pv link=down"
ok "a cable that is pulled is seen in the guest" guest run pv 'net carrier eth0 0'
ok "and by the bridge" dom0 "net carrier $vif 0"
dom0 "vgrant set pv $pv link=up"
ok "frames pass once it is plugged in again" dom0 net reach 10.9.0.2

ok "a second card is attached, with no offloads, on another bridge" dom0 "vgrant attach pvh net,bridge=other,offloads=0,vifname=second,mac=00:16:3e:00:00:09"
ok "and comes up" guest run pvh 'ip addr flush dev eth0; net up eth1 9'
is "$(guest run pvh 'cat /sys/class/net/eth1/mtu' | tr -d '\r')" 9000 "with the bridge's MTU"
dom0 'ip addr flush dev xenbr0; ip addr add 10.9.0.1/24 dev other'
fragments() { dom0 'grep ^Ip: /proc/net/snmp | tail -n 1 | cut -d " " -f 20'; }
before_fragments=$(fragments)
ok "jumbo frames pass" dom0 net reach 10.9.0.9 8900
is "$(fragments)" "$before_fragments" "unfragmented"
ok "it carries without offloads what was sent" dom0 rr echo 10.9.0.9 7000 "$bytes"
ok "it is detached" dom0 "vgrant detach pvh $(card pvh 2)"
ok "and gone from the guest" guest run pvh 'net gone eth1'
ok "and from dom0" dom0 net gone second
like "$(dom0 "vgrant attach pvh net,bridge=nosuch 2>&1; sleep 2; vgrant list pvh")" 'no bridge nosuch' "a bridge that is not there is named"

# ---- other places -----------------------------------------------------------

dom0 'ip link add low0 type veth peer name low1; ip link set low0 up; ip addr add 10.8.0.1/24 dev low1; ip link set low1 up'
ok "Xen's own vif-bridge puts a card on a bridge" dom0 'vgrant attach pvh net,script=vif-bridge,bridge=other,vifname=scripted,mac=00:16:3e:00:00:09'
ok "another is a macvtap" dom0 'vgrant attach pvh net,macvtap=low0,vifname=direct0,mac=00:16:3e:00:00:0a,queues=2'
ok "both come up" guest run pvh 'net up eth1 9 && net up eth2 8 && ip addr flush dev eth2 && ip addr add 10.8.0.8/24 dev eth2'
like "$(dom0 vgrant domiflist pvh)" ' scripted +bridge +other .*
 direct0 +direct +low0 +virtio +00:16:3e:00:00:0a' "domiflist has both as virsh would"
ok "the one carries what was sent" dom0 rr echo 10.9.0.9 7000 "$bytes"
ok "the other, too" dom0 rr echo 10.8.0.8 7000 "$bytes"
old=$(dom0 'cat /sys/class/net/direct0/ifindex')
dom0 daemon kill
like "$(dom0 'ls /run/vgrant/*.tidy')" 'direct0.*
.*scripted' "what is to be undone outlives vgrantd"
ok "the next vgrantd starts" vgrantd_start
ok "it has made the macvtap anew" until_dom0 60 "[ \$(cat /sys/class/net/direct0/ifindex) != $old ]"
ok "and called the script" until_dom0 60 '[ -e /sys/class/net/scripted/master ]'
ok "both go on" until_dom0 60 'rr echo 10.9.0.9 7000 4096 && rr echo 10.8.0.8 7000 4096'
ok "both are detached" dom0 "vgrant detach pvh $(card pvh 4) && vgrant detach pvh $(card pvh 3)"
ok "and gone from dom0" dom0 'net gone scripted && net gone direct0'
ok "with nothing left to undo" until_dom0 30 '! ls /run/vgrant/*.tidy'
dom0 'ip link del low0'

# ---- Open vSwitch -----------------------------------------------------------

push "$REPO/configs/xen/scripts/vgrant-openvswitch" /etc/xen/scripts/vgrant-openvswitch
dom0_script <<'EOS'
chmod 755 /etc/xen/scripts/vgrant-openvswitch
modprobe openvswitch && mkdir -p /run/openvswitch && cd /run
ovsdb-tool create ovs.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /run/ovs.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --log-file=/run/ovsdb.log
ovs-vsctl --no-wait init
PATH=$PATH:/usr/lib/openvswitch-switch # where its package is not configured
ovs-vswitchd --pidfile --detach --log-file=/run/ovs.log
ovs-vsctl --timeout=30 add-br ovs0 -- add-port ovs0 in5 tag=5 -- set interface in5 type=internal
ip addr flush dev other; ip link set in5 up; ip addr add 10.9.0.1/24 dev in5
EOS
ok "a card is attached in a VLAN of an Open vSwitch" dom0 'vgrant attach pvh net,script=vgrant-openvswitch,bridge=ovs0.5,vifname=switched,mac=00:16:3e:00:00:09'
ok "and comes up" guest run pvh 'net up eth1 9'
ok "it carries what was sent" dom0 rr echo 10.9.0.9 7000 "$bytes"
dom0 'ovs-vsctl --timeout=30 set port in5 tag=6'
nok "but not from another VLAN" dom0 'busybox ping -c 2 -W 1 10.9.0.9'
dom0 'ovs-vsctl --timeout=30 set port in5 tag=5'
dom0 "kill -9 \$(vgrant list -v pvh | sed -n 's/.*process \([0-9]*\),.*/\1/p' | tail -n 1)"
ok "another worker's interface is on the switch, too" until_dom0 60 'rr echo 10.9.0.9 7000 4096'
is "$(dom0 'ovs-vsctl get port switched tag')" 5 "and in the VLAN"
ok "it is detached" dom0 "vgrant detach pvh $(card pvh 3)"
ok "and gone from the switch" until_dom0 30 '! ovs-vsctl list-ports ovs0 | grep -qx switched && ! ls /run/vgrant/*.tidy'
dom0 'ovs-vsctl --timeout=30 del-br ovs0; ovs-appctl -t ovs-vswitchd exit --cleanup; ovs-appctl -t ovsdb-server exit'

# ---- the end ----------------------------------------------------------------

is "$(complaints pv)" "" "no guest's kernel complains"
is "$(complaints pvh)" "" "nor the other's"
guest destroy pv pvh
until_dom0 30 '! vgrant list --brief | grep -q .'
vgrantd_stop
is "$(interfaces)" "$before_if" "no interface is left"
is "$(holds)" "$before" "dom0 holds no more than before"
dom0 'ip link del xenbr0; ip link del other'
done_testing
