#!/bin/bash
# A stock Debian boots with its root file system on a vgrant disk, and is seen and touched: modetest on two
# heads, weston, a finger, kmscube through virgl.
# needs: debian system
# limit: 900
# long: the same of a PVH guest
# Text in single quotes is expanded in dom0, and in the guest.
# shellcheck disable=SC2016
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

dom0 'modprobe vhost_vsock; mkdir -p -m 700 /root/.ssh; [ -f /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519'
ok "vgrantd starts" vgrantd_start
type=pv
[[ ! ${LONG-} ]] || type=pvh
guest make debian --type $type --memory 768 \
	--image /rig/debian/kernel --initrd /rig/debian/initrd.img \
	--append "$(dom0 cat /rig/debian/cmdline)" \
	--config "vgrant = [ 'blk,target=/rig/debian/root,serial=ROOT', 'gpu,heads=2,mode=640x480+800x600,render=virgl',
		'input,kind=keyboard', 'input,kind=touch', 'vsock,cid=60' ]"
ok "the guest is created" guest start debian
like "$(guest wait debian 600 'guest: .* is up')" 'root on /dev/vda' "Debian is up, its root on /dev/vda"
is "$(guest run debian 'cat /sys/block/vda/serial')" ROOT "which is our disk"
is "$(guest run debian 'readlink -f /dev/disk/by-path/xen-virtio-64-platform-grant-virtio-64')" /dev/vda "and has a name by path"
like "$(guest run debian 'cat /proc/cmdline; findmnt -no OPTIONS /')" 'rw' "it is mounted writable"
like "$(guest run debian 'modinfo -n virtio_grant')" 'updates/dkms/virtio_grant.ko' "by the module that DKMS installed"
ok "files written there are read back" guest run debian \
	'cd /root && dd if=/dev/urandom of=f bs=1M count=8 conv=fsync 2>/dev/null && a=$(md5sum <f) && echo 3 >/proc/sys/vm/drop_caches && test "$(md5sum <f)" = "$a"'
ok "and systemd is content" guest run debian 'systemctl is-system-running --wait | grep -qx running || { systemctl --failed; false; }'

# ---- ssh over vsock --------------------------------------------------------------

# Debian's ssh goes there by itself (systemd-ssh-proxy). So does its sshd, where the driver is there when systemd
# begins, or is asked once more (systemd-ssh-generator).
ok "sshd listens on vsock" guest run debian "mkdir -p -m 700 /root/.ssh && echo '$(dom0 cat /root/.ssh/id_ed25519.pub)' >/root/.ssh/authorized_keys
	systemctl daemon-reload && systemctl start sshd-vsock.socket || { ls -l /dev/vsock /run/systemd/generator; dmesg | grep ssh-gen; false; }"
is "$(dom0 ssh -o BatchMode=yes -o LogLevel=ERROR vsock/60 cat /sys/block/vda/serial)" ROOT "ssh reaches the guest over vsock: it has no network"
ok "and carries 8 MB there and back" dom0 'head -c 8M /dev/urandom >/tmp/8m && ssh -o BatchMode=yes -o LogLevel=ERROR vsock/60 cat </tmp/8m | cmp - /tmp/8m'

# ---- a desktop ----------------------------------------------------------------

# seen HEAD FILE: what a viewer of that head sees, as raw pixels of 32 bits
port=$(dom0 'xenstore-read /local/domain/$(xl domid debian)/console/vnc-port')
seen() { dom0 "view $((port + $1)) raw /tmp/raw" && pull /tmp/raw "$2"; }
# keep: what the first head shows, beside the logs, to be looked at
keep() { dom0 'vgrant screenshot debian /tmp/shot.png' && pull /tmp/shot.png "$REPO/build/check-xen/60-debian-$1.png"; }
# smpte FILE X WIDTH HEIGHT: is each pixel that of modetest's pattern (libdrm, tests/util/pattern.c)? It is one
# for both heads, of which each shows its part.
smpte() {
	python3 - "$@" <<'EOP'
import struct, sys
file, left, width, height = sys.argv[1], *map(int, sys.argv[2:5])
w, h = 640 + 800, 600
def rgb(r, g, b): return r << 16 | g << 8 | b
top = [rgb(*c) for c in ((192,192,192), (192,192,0), (0,192,192), (0,192,0), (192,0,192), (192,0,0), (0,0,192))]
middle = [rgb(*c) for c in ((0,0,192), (19,19,19), (192,0,192), (19,19,19), (0,192,192), (19,19,19), (192,192,192))]
bottom = [rgb(*c) for c in ((0,33,76), (255,255,255), (50,0,106), (19,19,19), (9,9,9), (19,19,19), (29,29,29), (19,19,19))]
def want(x, y):
    if y < h * 6 // 9: return top[x * 7 // w]
    if y < h * 7 // 9: return middle[x * 7 // w]
    if x < w * 5 // 7: return bottom[x * 4 // (w * 5 // 7)]
    if x < w * 6 // 7: return bottom[(x - w * 5 // 7) * 3 // (w // 7) + 4]
    return bottom[7]
got = open(file, "rb").read()
if len(got) != width * height * 4: sys.exit(f"{len(got)} bytes, not {width} x {height} pixels")
for i, (p,) in enumerate(struct.iter_unpack("<I", got)):
    x, y = i % width, i // width
    if p != want(left + x, y): sys.exit(f"at {x},{y} it is {p:06x}, not {want(left + x, y):06x}")
EOP
}
ok "its graphics card is there" guest run debian 'for i in $(seq 100); do [ -e /dev/dri/card0 ] && exit; sleep 0.2; done; exit 1'
# pattern: modetest's, on both heads, until it is killed
pattern() {
	guest run debian 'modetest -M virtio_gpu -c >/tmp/heads; set -- $(awk "/^[0-9]+\t[0-9]+\t/ { print \$1 }" /tmp/heads)
		(sleep 900 | modetest -M virtio_gpu -s $1:640x480 -s $2:800x600) </dev/null >/tmp/modetest 2>&1 &'
}
pattern
# shown HEAD X WIDTH HEIGHT: until a viewer sees the whole pattern
shown() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		seen "$1" "$T/raw" && smpte "$T/raw" "${@:2}" >"$T/why" 2>&1 && return
		sleep 1
	done
	cat "$T/why"
	guest run debian 'cat /tmp/heads /tmp/modetest'
	return 1
}
ok "modetest's pattern is on its first head, pixel by pixel" shown 0 0 640 480
ok "and on its second" shown 1 640 800 600
keep modetest
guest run debian 'pkill modetest'

# What a window of a client's is on: each pixel that is not the background.
window() {
	python3 - "$1" <<'EOP'
import struct, sys
w, h = 640, 480
p = [x for (x,) in struct.iter_unpack("<I", open(sys.argv[1], "rb").read())]
at = [(i % w, i // w) for i, x in enumerate(p) if x != 0x204060]
xs, ys = [x for x, _ in at] or [0], [y for _, y in at] or [0]
print(max(xs) - min(xs) + 1, max(ys) - min(ys) + 1, len(at))
EOP
}
guest run debian 'mkdir -p -m 700 /run/w; printf "%s\n" "[shell]" panel-position=none background-color=0xff204060 "[output]" name=Virtual-2 mode=off >/root/weston.ini
	export XDG_RUNTIME_DIR=/run/w LIBSEAT_BACKEND=seatd WAYLAND_DISPLAY=wayland-1
	(seatd -u root </dev/null >/tmp/seatd 2>&1 &)
	(weston --backend=drm --renderer=pixman --config=/root/weston.ini --idle-time=0 </dev/null >/tmp/weston 2>&1 &)
	for i in $(seq 200); do [ -S /run/w/wayland-1 ] && break; sleep 0.2; done
	(weston-simple-shm </dev/null >/tmp/client 2>&1 &)'
desktop() {
	for _ in $(seq 20); do
		seen 0 "$T/raw" && [[ $(window "$T/raw") == "$1" ]] && return
		sleep 1
	done
	window "$T/raw"
	guest run debian 'tail -n 30 /tmp/weston; cat /tmp/client /tmp/seatd'
	return 1
}
ok "weston shows a client's window, of its size, on its background" desktop '250 250 62500'
cp "$T/raw" "$T/before"
keep weston
moved() { for _ in 1 2 3 4 5; do seen 0 "$T/raw" && ! cmp -s "$T/raw" "$T/before" && return; sleep 1; done; return 1; }
ok "which is drawn anew" moved
guest run debian 'e=$(grep -l "vgrant touch" /sys/class/input/event*/device/name | cut -d / -f 5); (timeout 300 evtest /dev/input/$e </dev/null >/tmp/evtest 2>&1 &)
	for i in $(seq 50); do grep -q "Testing" /tmp/evtest && break; sleep 0.2; done'
dom0 "view $port point 320 240 1"
ok "a finger reaches evtest" guest run debian 'for i in $(seq 100); do grep -q "ABS_MT_POSITION_X), value 16" /tmp/evtest && grep -q "BTN_TOUCH), value 0" /tmp/evtest && exit
	sleep 0.2; done; tail -n 20 /tmp/evtest; exit 1'
guest run debian 'pkill weston; pkill evtest; for i in $(seq 50); do pgrep weston >/dev/null || break; sleep 0.2; done'

# cube FILE: kmscube's grey (glClearColor) in the corners, and a cube in the middle?
cube() {
	python3 - "$1" <<'EOP'
import struct, sys
w, h = 640, 480
p = [x for (x,) in struct.iter_unpack("<I", open(sys.argv[1], "rb").read())]
if len(p) != w * h: sys.exit(f"{len(p)} pixels")
grey = (0x7f7f7f, 0x808080)
corners = [p[y * w + x] for x in (0, w - 1) for y in (0, h - 1)]
if any(c not in grey for c in corners): sys.exit("corners " + " ".join(f"{c:06x}" for c in corners))
drawn = sum(p[y * w + x] not in grey for y in range(h // 4, h * 3 // 4) for x in range(w // 4, w * 3 // 4))
if drawn * 4 < w * h // 4: sys.exit(f"{drawn} pixels of a cube")
EOP
}
# It ends when there is anything to read.
guest run debian '(sleep 600 | timeout 600 kmscube -D /dev/dri/card0) </dev/null >/tmp/cube 2>&1 &'
turns() {
	for _ in $(seq 60); do
		seen 0 "$T/raw" && cube "$T/raw" >"$T/why" 2>&1 && return
		guest run debian 'pgrep kmscube >/dev/null' || break
		sleep 2
	done
	cat "$T/why"
	guest run debian 'cat /tmp/cube; dmesg | tail -n 5'
	return 1
}
ok "kmscube's cube is on its first head" turns
keep kmscube
cp "$T/raw" "$T/before"
ok "and turns" moved
ok "drawn by virgl" guest run debian 'cat /tmp/cube; grep -qi "renderer.*virgl" /tmp/cube'
dom0 'pkill -9 vgrant-renderer'
guest run debian 'pkill kmscube; for i in $(seq 50); do pgrep kmscube >/dev/null || break; sleep 0.2; done'
pattern
ok "the renderer is killed in the middle: the guest goes on in two dimensions" shown 0 0 640 480
ok "and another renderer is there" until_dom0 60 'pgrep -x vgrant-renderer'
guest run debian 'pkill modetest'
guest run debian 'pkill seatd'
is "$(complaints debian)" "" "its kernel has nothing to say"

ok "xl shutdown ends it in order" guest shutdown debian 240
ok "its root file system is clean" dom0 'blockdev --flushbufs /rig/debian/root 2>/dev/null; e2fsck -fn /rig/debian/root'
ok "vgrantd stops" vgrantd_stop
done_testing
