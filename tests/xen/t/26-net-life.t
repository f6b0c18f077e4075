#!/bin/bash
# One TCP connection of a guest's lives through all that happens to its network card.
# limit: 900
# shellcheck disable=SC2016,SC2119 # dom0 and the guest expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
# shellcheck source=tests/xen/t/net.bash
. "$(dirname "$0")/net.bash"

interfaces() { dom0 'ls /sys/class/net | grep -v xen-net | sort | tr "\n" " "'; }
# The guest has had three more answers over its connection than when it was asked.
beats() { guest run -t 150 pv 'net beating /tmp/beat'; }
connected() { until_list "^pv .*net connected"; }

net_dom0
before=$(holds) before_if=$(interfaces)
dom0 '(rr serve 7000 </dev/null >/dev/null 2>&1 &)'
vgrantd_start
# What the guest's kernel runs when xl wants it to boot again; it has no init for that.
dom0 'printf "#!/bin/sh\nexec busybox reboot -f\n" >/root/reboot && chmod +x /root/reboot'
net_guest pv 2 --type pv --memory 128 --file /root/reboot:/bin/reboot --config 'on_reboot = "restart"' \
	--config "vgrant = [ 'net,queues=2' ]"
ok "dom0 reaches the guest" dom0 net reach 10.9.0.2
guest run pv '(rr beat 10.9.0.1 7000 3600 </dev/null >/tmp/beat 2>&1 &)'
ok "a connection carries something" beats
pv=$(card pv) text=$(detail pv) vif=$(detail pv | grep -oE "vif[0-9]+\.$pv" | head -n 1)
state=$(grep -oE "=up [0-9a-f:]{17} mtu=[0-9]+ pairs=[0-9/]+" <<<"$text" | head -n 1)

old=$(worker_of pv)
dom0 "kill -9 $old"
ok "it goes on when the worker is killed" beats
nok "another worker runs" test "$(worker_of pv)" = "$old"
like "$(detail pv)" "$vif$state" "and knows what the guest had set"

ok "vgrantd is stopped" vgrantd_stop
ok "and started" vgrantd_start
ok "the card is connected" connected
ok "it goes on with the next vgrantd's worker" beats

guest run pv "echo virtio-$pv >/sys/bus/xen/drivers/virtio_grant/unbind"
ok "the driver is unbound" guest run pv 'net gone eth0'
guest run pv "echo virtio-$pv >/sys/bus/xen/drivers/virtio_grant/bind"
ok "and bound" guest run pv 'net up eth0 2'
ok "it goes on with the driver's new queues" beats

index=$(dom0 "cat /sys/class/net/$vif/ifindex")
dom0 "ip link del $vif"
ok "another interface is made for one that was removed" until_dom0 60 "[ \$(cat /sys/class/net/$vif/ifindex) != $index ]"
ok "and it goes on there" beats

address=$(dom0 'cat /sys/class/net/xenbr0/address')
dom0 'ip link del xenbr0'
ok "a bridge that was removed is missed" until_dom0 60 'grep -q "goes nowhere until it is back" /var/log/vgrantd.log'
dom0 "ip link add xenbr0 address $address type bridge; ip addr add 10.9.0.1/24 dev xenbr0; ip link set xenbr0 up"
ok "and found when it is back" until_dom0 60 "[ -e /sys/class/net/$vif/master ]"
ok "it goes on over that" beats

if [[ $ARCH == arm64 ]]; then
	skip "Xen on arm64 has no save and restore" 6
else
	like "$(dom0 'timeout 120 xl save pv /root/pv.chk 2>&1; echo status $?')" 'status 0$' "the guest is saved"
	ok "and has no card any more" until_dom0 30 '! vgrant list --brief | grep -q .'
	like "$(dom0 'timeout 120 xl restore /etc/xen/pv.cfg /root/pv.chk 2>&1; echo status $?; rm /root/pv.chk')" 'status 0$' "restored"
	ok "its card is connected" connected
	ok "it goes on" beats
	like "$(detail pv)" "$state" "with the same address"
fi

nok "the connection was one" guest run pv 'grep -v "^beat " /tmp/beat'
is "$(complaints pv)" "" "the guest's kernel has nothing to say"

domid=$(dom0 xl domid pv) log=/var/log/xen/console/guest-pv.log
dom0 rm -f $log
ok "xl reboot" dom0 xl reboot pv
ok "ends the domain" until_dom0 60 "! xl domname $domid"
ok "its next one is connected" connected
ok "and reached" dom0 net reach 10.9.0.2
like "$(detail pv)" "$state" "at the same address"
is "$(dom0 "ls /sys/class/net/xenbr0/brif | wc -l")" 1 "by the only interface that there is"
dom0 'pkill -x rr'
guest destroy pv
until_dom0 30 '! vgrant list --brief | grep -q .'
vgrantd_stop
is "$(interfaces)" "$before_if" "no interface is left"
is "$(holds)" "$before" "dom0 holds no more than before"
dom0 'ip link del xenbr0; ip link del other'
done_testing
