#!/bin/bash
# Two guests on two monitors of dom0's: vkms, Linux' graphics card without hardware.
# limit: 600
# shellcheck disable=SC2016,SC2119 # dom0 and the guests expand these
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

for program in draw scanout; do push "$IMAGE/products/$program" /rig/bin/$program; done
before=$(holds)
dom0 'modprobe -a drm_kms_helper drm_shmem_helper && insmod /rig/ko/stock/vkms.ko enable_writeback=0
	mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
	until [ -e /dev/dri/card0 ]; do sleep 0.1; done'
diag "vkms: $(dom0 'cat /sys/class/drm/card0-Virtual-1/status; head -n 2 /sys/class/drm/card0-Virtual-1/modes' | tr '\n' ' ')"

list() { dom0 "vgrant list -v $1" | tr '\n' ' '; }
# says GUEST REGEX: until vgrant list says that of its screen
says() { until_dom0 60 "vgrant list -v $1 | tr '\\n' ' ' | grep -Eq -- '$2'"; }
# shows CRTC AREA...: the size of what a monitor shows, or its first pixel that is not that
shows() { dom0 "scanout /dev/dri/card0 areas $1 60 ${*:2}"; }
# draw GUEST SEED
draw() {
	guest run "$1" "killall draw 2>/dev/null; draw $2 >/tmp/draw 2>&1 & for i in \$(seq 100); do grep -q heads /tmp/draw && break; usleep 100000; done; cat /tmp/draw"
}

# ---- a card that somebody has -----------------------------------------------------

dom0 '(scanout /dev/dri/card0 take </dev/null >/tmp/taken 2>&1 &); until grep -q taken /tmp/taken; do sleep 0.1; done'
vgrantd_start
common=(--type pv --vgrant yes --module virtio-gpu --file /rig/bin/draw:/rig/bin/draw)
guest make ivi "${common[@]}" --config "vgrant = [ 'gpu,heads=2,kms=Virtual-1+HDMI-A-7' ]"
guest make cluster "${common[@]}" \
	--config "vgrant = [ 'gpu,heads=2,kms=Virtual-1+Virtual-2,kms-mode=preferred+640x480,kms-area=320x240@640:480+all,kms-layer=10' ]"
guest start ivi
guest start cluster
guest wait ivi "$BOOT" 'waiting for commands' >/dev/null
guest wait cluster "$BOOT" 'waiting for commands' >/dev/null
ok "a guest's GPU is connected though another has the card" until_list "^ivi .*gpu connected"
ok "and the list says so" says ivi 'its monitor: /dev/dri/card0 is in use by another program'
dom0 'pkill -x scanout'
ok "it is taken once it can be" says ivi 'kms=Virtual-1:1024x768@60'
ok "a connector that is not there is told, with those that are" says ivi \
	'kms=Virtual-1:1024x768@60 its monitor: /dev/dri/card0 has no connector HDMI-A-7; it has Virtual-1, Virtual-2'
ok "each monitor has the mode that was asked for" says cluster 'kms=Virtual-1:1024x768@60 kms=Virtual-2:640x480@60'
ok "and the guest's GPU is connected" until_list "^cluster .*gpu connected"

# ---- pictures -----------------------------------------------------------------------

like "$(draw ivi 1)" '1024x768' "a guest is asked for a picture as large as the monitor"
# Whoever boots asks for what its monitors were, and hears of what they are.
guest run cluster 'for i in $(seq 300); do [ "$(head -n 1 /sys/class/drm/card0-Virtual-2/modes)" = 640x480 ] && break; usleep 100000; done'
like "$(draw cluster 40)" '320x240 640x480' "the other one is asked for one as large as its area"
is "$(shows 0 40:320x240@640:480 1:1024x768@0:0)" 1024x768 "the monitor shows both, the other one on top"
is "$(shows 1 41:640x480@0:0)" 640x480 "and has the other monitor for itself"
draw ivi 2 >/dev/null
is "$(shows 0 40:320x240@640:480 2:1024x768@0:0)" 1024x768 "whatever the one below draws"
like "$(dom0 'vgrant screenshot cluster /tmp/c.png && echo taken')" taken "a viewer sees it, too"

# ---- deaths, plugs --------------------------------------------------------------------

dom0 "kill -9 \$(vgrant list -v cluster | sed -n 's/.*process \([0-9]*\),.*/\1/p' | head -n 1)"
draw cluster 41 >/dev/null
is "$(shows 0 41:320x240@640:480 2:1024x768@0:0)" 1024x768 "a guest whose worker was killed goes on there"
dom0 'pkill -9 -o -f "vgrant-display --display"'
draw ivi 3 >/dev/null
draw cluster 42 >/dev/null
is "$(shows 0 42:320x240@640:480 3:1024x768@0:0)" 1024x768 "and both do when a display was killed"
dom0 'pkill -9 -x vgrant-kms'
is "$(shows 0 42:320x240@640:480 3:1024x768@0:0)" 1024x768 "when that which shows them was killed, another does"
draw ivi 4 >/dev/null
is "$(shows 0 42:320x240@640:480 4:1024x768@0:0)" 1024x768 "and goes on"

dom0 'echo off >/sys/class/drm/card0-Virtual-1/status; echo change >/sys/class/drm/card0/uevent'
ok "a monitor is unplugged" says ivi 'kms=Virtual-1:unplugged'
is "$(dom0 'scanout /dev/dri/card0 size 0')" dark "and nothing is sent there"
is "$(shows 1 43:640x480@0:0)" 640x480 "the other one goes on"
like "$(draw ivi 5)" 'heads' "the guest draws all the same"
dom0 'echo on >/sys/class/drm/card0-Virtual-1/status; echo change >/sys/class/drm/card0/uevent'
ok "and plugged in again" says ivi 'kms=Virtual-1:1024x768@60'
is "$(shows 0 42:320x240@640:480 5:1024x768@0:0)" 1024x768 "it shows what there is"

# ---- ends -------------------------------------------------------------------------------

guest destroy cluster
is "$(shows 0 5:1024x768@0:0)" 1024x768 "the area of a guest that has gone is given back"
is "$(complaints ivi)" "" "no guest's kernel complains"
guest destroy ivi
ok "after the last guest nobody has the card" until_dom0 30 '! pgrep -x vgrant-kms'
vgrantd_stop
is "$(holds)" "$before" "dom0 holds no more than before"
is "$(complaints)" "" "dom0's kernel has nothing to say"
dom0 'rmmod vkms'
done_testing
