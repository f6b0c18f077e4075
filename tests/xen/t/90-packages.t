#!/bin/bash
# Debian packages in a dom0 with systemd: installed, upgraded under verified load, removed, purged.
# limit: 900
# It takes a machine of its own, whose dom0 has Debian's own init.
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
# shellcheck source=tests/deb.bash
. "$REPO/tests/deb.bash"
other=$RIG-systemd deb=$BUILD/image/deb
[[ $ARCH == amd64 ]] || deb+=-$ARCH
trap '"$XEN_DIR/rig" down --name "$other" >/dev/null 2>&1; rm -rf "$T"; [[ $_done ]] || diag "the test ended before done_testing"' EXIT

# ---- packages for dom0's Debian, and a machine ---------------------------------------

"$XEN_DIR/packages" >"$T/packages" 2>&1 &
builder=$!
ok "a machine starts whose dom0 has systemd" env RIG_DOM0_ARGS=rig.systemd "$XEN_DIR/rig" up --name "$other" --mem 2048 --owner $$
wait "$builder"
verdicts <"$T/packages"
if ! "$XEN_DIR/rig" sh --name "$other" true || ! grep -q '^@ok packages are built' "$T/packages"; then
	fail "there are packages, and a machine to put them on"
	diag "$(tail -n 30 "$T/packages")"
	done_testing
	exit
fi
RIG=$other
for program in hammer leaf agent guest-run; do push "$IMAGE/products/$program" /rig/bin/; done
push "$IMAGE/products/ko" /rig/
version=$(sed -n 's/^Version: //p' "$deb"/*.changes)
# This dom0 has no GL, and not what builds modules.
names=(vgrant vgrant-display vgrant-libvirt vgrant-vhost-user)
mkdir -p "$T/deb/old" "$T/deb/new"
for name in "${names[@]}"; do
	cp "$deb/${name}_$version"_*.deb "$T/deb/old/$name.deb"
	newer_deb "$T/deb/old/$name.deb" "$T/deb/new/$name.deb" "$version" "$version+newer"
done
push "$T/deb" /root/

# ---- what the test does there --------------------------------------------------------

# What dom0 has on its disk, but what dpkg, the journal and the test keep there, and accounts.
files() {
	dom0 "find / -xdev \\( -path /root -o -path /rig -o -path /var/lib/dpkg -o -path /var/log -o -path /var/lib/systemd -o -path /var/cache \\
		-o -path /tmp -o -path /var/tmp \\) -prune -o ! -type d -print | grep -vE '^/etc/((passwd|group|g?shadow|sub[ug]id)-?|ld.so.cache|.pwd.lock)$' | LC_ALL=C sort"
}
pid() { dom0 systemctl show -P MainPID vgrantd; }
serves() { until_dom0 60 'systemctl is-active -q vgrantd && vgrant list' && until_list '^life virtio/64 blk connected' && until_list '^life virtio/65 blk connected'; }
errors() { json '[d["life/virtio/%d" % i]["counters"][k] for i in (64, 65) for k in ("errors", "faults")]'; }

dom0_script <<'EOS'
cd /root
truncate -s 4M packed.img split.img
modprobe -a tun bridge vcan
ip link add xenbr0 type bridge && ip link set xenbr0 up
ip link add vcan0 type vcan && ip link set vcan0 up
EOS
cat >"$T/life.main" <<'EOS'
hammer_both $(disk packed) $(disk split)
EOS
quick life --type pv --script "$T/life.main" \
	--config "vgrant = [ 'blk,target=/root/packed.img,serial=packed', 'blk,target=/root/split.img,serial=split,packed=0',
		'rng', 'net,script=vgrant-bridge,bridge=xenbr0', 'can,interface=vcan0', 'console', 'input,kind=keyboard', 'gpu,mode=640x480' ]"
files >"$T/before"

# ---- a life of the packages ------------------------------------------------------------

ok "the packages are installed" dom0 dpkg -i /root/deb/old/*.deb
ok "the service runs" until_dom0 60 'systemctl is-active -q vgrantd && vgrant list'
ok "it is ready once it is started, and a reload at once leaves it" dom0 'systemctl restart vgrantd && vgrant list && a=$(systemctl show -P MainPID vgrantd) &&
	systemctl reload vgrantd && vgrant list && systemctl is-active vgrantd && [ "$a" = "$(systemctl show -P MainPID vgrantd)" ]'
is "$(dom0 'systemctl is-enabled vgrantd; vgrantd --version')" "enabled
vgrantd $version" "it will at each boot, and is the package's"
ok "a guest is created" guest start life
ok "load on a packed and a split disk" await life '^hammer: at [1-9]'

# In their sandboxes: a guest's driver has not come to all of them.
ok "there is a device of each kind" until_dom0 60 '[ $(vgrant list --brief life | grep -Ec "waiting|connected") = 8 ]'
# A worker's name is that of a link, its first word is not.
ours='^(/usr/sbin/)?vgrant'
labels() {
	dom0 "for p in \$(pgrep -f '$ours'); do
		echo \$(tr '\\0' '\\n' </proc/\$p/cmdline | head -n 1 | sed 's,.*/,,') \$(tr -d '\\0' </proc/\$p/attr/current)
	done | sort | uniq -c | sed 's/^ *//'"
}
profiles="1 vgrant-display vgrantd//&vgrantd//worker (enforce)
1 vgrant-libvirt vgrantd (enforce)
1 vgrantd vgrantd (enforce)
8 vgrantd vgrantd//&vgrantd//worker (enforce)"
is "$(labels)" "$profiles" "AppArmor has the daemon in its profile, and workers in theirs as well"
is "$(dom0 'ip -o link show master xenbr0 | wc -l')" 1 "a script has put the network card on its bridge"
# tries PROFILE CMD: what it says in that profile
tries() { dom0 "aa-exec -p $1 -- sh -c '$2' 2>&1 || echo status \$?"; }
like "$(tries vgrantd 'head -c 0 /etc/xen/life.cfg; : >>/etc/shadow')" '/etc/shadow: Permission denied' "the one cannot write passwords"
like "$(tries vgrantd//worker true)" 'status [1-9]' "the other cannot run a program"
dom0 dmesg -c >/dev/null

first=$(pid)
ok "the packages are upgraded" dom0 dpkg -i /root/deb/new/*.deb
ok "the service serves the guest" serves
is "$(dom0 'dpkg-query -Wf "\${Version}" vgrant')" "$version+newer" "it is the newer package"
nok "the daemon is another" [ "$first" = "$(pid)" ]
ok "the load goes on" pulse life
is "$(errors)" "[0, 0, 0, 0]" "no request failed, and nobody broke a rule"

dom0 'mkdir /srv/any && sed "s/^name.*/name = \"any\"/; /^vgrant/,\$ d" /etc/xen/life.cfg >/srv/any/any.cfg && echo "vgrant = [ \"rng\" ]" >>/srv/any/any.cfg'
ok "a guest is created from a file elsewhere" dom0 'cd /srv/any && xl create -q -p any.cfg'
ok "and has its device" until_list '^any virtio/64 rng'
dom0 'xl destroy any; rm -r /srv/any'

ok "vgrantd is killed, and its workers with it" dom0 "kill -9 $(pid)"
ok "systemd starts it again" serves
ok "the load goes on" pulse life

ok "the packages are removed while the guest runs" dom0 "dpkg -r ${names[*]}"
is "$(dom0 "pgrep -cf '$ours'; systemctl is-active vgrantd")" "0
inactive" "nothing of them runs"
ok "they are installed again" dom0 dpkg -i /root/deb/new/*.deb
ok "the service serves the guest" serves
ok "which had a pause" pulse life
is "$(errors)" "[0, 0, 0, 0]" "no request failed, and nobody broke a rule"

is "$(labels)" "$profiles" "all are in their profiles"
is "$(dom0 'dmesg | grep DENIED')" "" "which denied them nothing"

guest run life 'touch /run/hammer.stop'
harvest life
sums=$(dom0 "guest console life | sed -n 's/^hammer: done.*sum //p'" | tr -d '\r' | sort | tr '\n' ' ')
is "$(dom0 'hammer --sum /root/packed.img 4; hammer --sum /root/split.img 4' | sort | tr '\n' ' ')" "$sums" "dom0 finds on the disks what was written"
is "$(dom0 xl destroy life 2>&1)" "" "the guest is destroyed, without complaint"

dom0 'ip link del xenbr0; ip link del vcan0'
ok "the packages are purged" dom0 "dpkg -P ${names[*]}"
files >"$T/after"
is "$(diff "$T/before" "$T/after")" "" "no file is left"
is "$(dom0 "pgrep -lf '$ours'"; dom0 'ls -d /run/vgrant 2>/dev/null; systemctl list-unit-files --no-legend "vgrant*"; grep vgrant /sys/kernel/security/apparmor/profiles; xenstore-ls -f | grep -E "virtio/[0-9]"')" "" \
	"nothing in /run, no process, no unit, no profile, no node"
is "$(dom0 'systemctl --failed --no-legend --plain')" "" "and systemd is content"
done_testing
