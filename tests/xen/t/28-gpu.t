#!/bin/bash
# A PV and a PVH guest with Linux' own virtio-gpu driver, and a viewer of VNC in dom0.
# limit: 600
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

for program in draw keys; do push "$IMAGE/products/$program" /rig/bin/$program; done
common=(--vgrant yes --module virtio-gpu --module virtio_input --module evdev
	--file /rig/bin/draw:/rig/bin/draw --file /rig/bin/keys:/rig/bin/keys)
before=$(holds)
vgrantd_start
guest make pv --type pv "${common[@]}" \
	--config "vgrant = [ 'gpu,heads=2,mode=800x600+640x480', 'input,kind=keyboard', 'input,kind=tablet' ]"
guest start pv
guest make pvh --type pvh --kernel backports "${common[@]}" \
	--config "vgrant = [ 'gpu,mode=640x480', 'input,kind=keyboard', 'input,kind=touch' ]"
guest start pvh
guest wait pv "$BOOT" 'waiting for commands' >/dev/null
guest wait pvh "$BOOT" 'waiting for commands' >/dev/null

# port GUEST: where xl looks
port() { dom0 "xenstore-read /local/domain/\$(xl domid $1)/console/vnc-port"; }
list() { dom0 "vgrant list -v $1" | tr '\n' ' '; }

ok "a PV guest's GPU is connected" until_list "^pv .*gpu connected"
ok "a PVH guest's, too" until_list "^pvh .*gpu connected"
pv=$(port pv) pvh=$(port pvh)
like "$pv" '^59[0-9][0-9]$' "the port stands where xl vncviewer looks"
like "$(list pv)" "vnc=127.0.0.1:$pv viewers=0" "vgrant list tells where the picture is"
ok "the driver has a card" guest run pv 'test -e /dev/dri/card0'

# keep FILE: of dom0's, beside the logs, to be looked at
keep() {
	mkdir -p "$REPO/build/check-xen"
	pull "$1" "$REPO/build/check-xen/28-gpu-${1##*/}"
}

# ---- the console ------------------------------------------------------------

# same GUEST PORT: what is in the guest's frame buffer is what a viewer sees
same() {
	local want got
	for _ in 1 2 3 4 5; do
		want=$(guest run "$1" 'cat /dev/fb0 | md5sum | cut -c 1-32' | tr -d '\r')
		got=$(dom0 "view $2 raw /tmp/raw && md5sum </tmp/raw | cut -c 1-32")
		[[ $want != "$got" ]] || return 0
	done
	echo "frame buffer: $want; viewer: $got; $(dom0 'ls -l /tmp/raw'); $(guest run "$1" 'cat /sys/class/graphics/fb0/virtual_size /sys/class/graphics/fb0/stride')"
	return 1
}
for g in pv pvh; do
	guest run $g 'echo 0 >/sys/class/graphics/fbcon/cursor_blink; for i in 1 2 3 4 5; do echo "line $i of the console of $(hostname)" >/dev/tty1; done'
	ok "$g: a viewer sees the console, pixel by pixel" same $g "$(port $g)"
done
dom0 'vgrant screenshot pv /tmp/console.png'
keep /tmp/console.png
ok "the console is not empty" dom0 "view $pv raw /tmp/raw && tr -d '\\0' </tmp/raw | head -c 1000 | wc -c | grep -qx 1000"

# ---- what is drawn -----------------------------------------------------------

guest run pv 'draw 1 >/tmp/draw 2>&1 & for i in $(seq 100); do grep -q heads /tmp/draw && break; sleep 0.1; done; cat /tmp/draw'
is "$(dom0 "view $pv pattern 1")" 800x600 "the first head shows what was drawn"
is "$(dom0 "view $((pv + 1)) pattern 2")" 640x480 "and the second what was drawn there"
dom0 'vgrant screenshot pv /tmp/pv.png && vgrant screenshot pv /tmp/pv1.png 1'
is "$(dom0 'view /tmp/pv.png png 1')" 800x600 "a screenshot of the first"
is "$(dom0 'view /tmp/pv1.png png 2')" 640x480 "and of the second"
keep /tmp/pv.png
is "$(dom0 'vgrant domdisplay pv')" "vnc://127.0.0.1:$((pv - 5900))
vnc://127.0.0.1:$((pv - 5899))" "vgrant domdisplay has both"
guest run pvh 'draw 5 >/tmp/draw 2>&1 &'
is "$(dom0 "view $pvh pattern 5")" 640x480 "the other guest shows its own"

# ---- keyboard, pointer, touch screen ---------------------------------------------

# heard GUEST REGEX: until keys in the guest has said so
heard() {
	guest run "$1" "for i in \$(seq 150); do grep -qE '$2' /tmp/keys && exit 0; usleep 100000; done; tail -n 12 /tmp/keys; exit 1"
}
# said GUEST: what keyboards said, one report after another
said() { guest run "$1" "sed -n 's/^vgrant keyboard: //p' /tmp/keys" | tr -d '\r' | tr '\n' '|'; }
for g in pv pvh; do
	guest run $g 'keys >>/tmp/keys 2>&1 &'
	ok "$g: its input devices are there" heard $g '^keys: 2 devices'
	dom0 "view $(port $g) type 'Hi\\n'"
	ok "$g: what is typed arrives" heard $g '^vgrant keyboard: 1 28 0'
	is "$(said $g)" '1 42 1|1 35 1|1 35 0|1 42 0|1 23 1|1 23 0|1 28 1|1 28 0|' "$g: each key, down and up, in order"
done
dom0 "view $pv point 799 300 1"
ok "a click is where the viewer's pointer is" heard pv '^vgrant tablet: 3 0 32767 3 1 16410 1 272 1'
ok "and the button comes up when the viewer has gone" heard pv '^vgrant tablet: 1 272 0'
dom0 "view $pvh point 639 479 1"
ok "a finger" heard pvh '^vgrant touch:.* 3 53 32767 3 54 32767 .*1 330 1'
ok "is lifted when the viewer has gone" heard pvh '^vgrant touch:.*3 57 -1.*1 330 0|^vgrant touch:.*1 330 0.*3 57 -1'

# ---- resolution ----------------------------------------------------------------

id=$(dom0 "vgrant list -b pv" | sed -n 's/^[^\t]*\t\([^\t]*\)\tgpu\t.*/\1/p')
id=${id##*/}
dom0 "vgrant set pv $id mode=1024x768+640x480"
guest run pv 'sleep 1; killall -USR1 draw'
is "$(dom0 "view $pv pattern 101")" 1024x768 "another resolution is taken while it runs"

# ---- deaths ---------------------------------------------------------------------

process() { dom0 "vgrant list -v pv" | sed -n 's/.*process \([0-9]*\),.*/\1/p' | head -n 1; }
old=$(process)
dom0 "kill -9 $old"
until_dom0 60 "vgrant list -v pv | grep -Eq 'process [0-9]+' && ! vgrant list -v pv | grep -q 'process $old,'"
is "$(dom0 "view $pv pattern 101")" 1024x768 "after the worker was killed the picture is there"
guest run pv 'killall -USR1 draw'
is "$(dom0 "view $pv pattern 201")" 1024x768 "and the guest goes on drawing"
dom0 'pkill -9 -o -f "vgrant-display --display"'
until_list 'gpu connected'
ok "after a display was killed another is looked at" until_dom0 60 "view \$(xenstore-read /local/domain/\$(xl domid pv)/console/vnc-port) pattern 201 5"
guest run pv 'killall -USR1 draw'
is "$(dom0 "view $(port pv) pattern 301")" 1024x768 "and shows what is drawn"
guest run pv ': >/tmp/keys'
dom0 "view $(port pv) type x"
ok "what is typed arrives after both deaths" heard pv '^vgrant keyboard: 1 45 0'
diag "$(list pv)"

# ---- the driver goes, and the guest does ---------------------------------------------

# drawn GUEST SEED: another program draws, once the driver has a card
drawn() {
	guest run -t "$BOOT" "$1" "killall -9 draw 2>/dev/null; draw $2 >/tmp/draw 2>&1 & for i in \$(seq 600); do grep -qE 'heads|FAILED' /tmp/draw && break; usleep 100000; done; cat /tmp/draw"
}
# By the bus of virtio-grant, and by that of virtio: of which only the first ends the device.
guest run pv "echo virtio-$id >/sys/bus/xen/drivers/virtio_grant/unbind"
ok "the driver is unbound while it shows a picture" until_list "^pv .*virtio/$id gpu (waiting|connecting)"
is "$(dom0 "view $(port pv) size")" 640x480 "and a viewer sees a head that is dark"
guest run pv "echo virtio-$id >/sys/bus/xen/drivers/virtio_grant/bind"
ok "and bound" until_list "^pv .*virtio/$id gpu connected"
like "$(drawn pv 7)" 'heads' "a program draws there"
is "$(dom0 "view $(port pv) pattern 7")" 1024x768 "which a viewer sees"
guest run pvh 'cd /sys/bus/virtio/drivers/virtio_gpu && for d in virtio*; do echo $d >unbind; echo $d >bind; done'
like "$(drawn pvh 8)" 'heads' "another guest's driver comes and goes, and a program draws there"
is "$(dom0 "view $(port pvh) pattern 8")" 640x480 "which a viewer sees"

if [[ $ARCH == arm64 ]]; then
	skip "Xen on arm64 has no save and restore" 7
else
	card=$(guest run pv 'ls /dev/dri/card*' | tr -d '\r')
	like "$(dom0 'timeout 200 xl save pv /root/pv.chk 2>&1; echo status $?')" 'status 0$' "the guest is saved while it shows a picture"
	ok "and has no screen any more" until_dom0 60 "! vgrant list --brief | grep -qw ^pv"
	like "$(dom0 'timeout 200 xl restore /etc/xen/pv.cfg /root/pv.chk 2>&1; echo status $?; rm /root/pv.chk')" 'status 0$' "restored"
	ok "its GPU is connected" until_list "^pv .*gpu connected" 120
	# Its driver (6.12) cannot be frozen, and what has the old card has it still: the new one has another number.
	ok "its driver has a new card" guest run -t "$BOOT" pv "for i in \$(seq 600); do c=\$(ls /dev/dri/card* 2>/dev/null) && [ \"\$c\" != $card ] && exit 0; usleep 100000; done; ls /dev/dri; exit 1"
	like "$(drawn pv 9)" 'heads' "a program draws there"
	is "$(dom0 "view $(port pv) pattern 9")" 800x600 "which a viewer sees right after"
fi

hotplug pvh gpu,mode=640x480
hotplug pvh input,kind=tablet
is "$(complaints pv)" "" "no guest's kernel complains"
is "$(complaints pvh)" "" "nor the other's"
guest destroy pv pvh
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
