#!/bin/bash
# A guest that Xen itself starts, before there is a dom0, has a vgrant disk and random numbers.
# only: arm64
# limit: 600
# It takes a machine of its own, whose device tree has the guest in it; what the guest boots is made
# in this rig's dom0.
# Text in single quotes is expanded in dom0, and in the guest.
# shellcheck disable=SC2016
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
other=$RIG-dom0less
trap '"$XEN_DIR/rig" down --name "$other" >/dev/null 2>&1; rm -rf "$T"; [[ $_done ]] || diag "the test ended before done_testing"' EXIT

cat >"$T/data.main" <<'EOS'
# It is there long before dom0 is.
for i in 1 2 3 4 5 6 7 8 9 10; do d=$(disk early) && break; done
echo "it has: $(cat /sys/block/${d#/dev/}/size) sectors"
check "a disk" [ -b "$d" ]
check "that it reads" sh -c "dd if=$d bs=512 count=1 2>/dev/null | grep -q written.by.dom0"
check "load" sh -c "hammer $d 4 3 2 1 | grep -q done"
check "and writes" sh -c "echo written by a guest of Xen | dd of=$d bs=512 seek=7 conv=sync,fsync 2>/dev/null"
check "random numbers" sh -c '[ $(head -c 16 /dev/hwrng | wc -c) = 16 ]'
EOS
{ guest_kit && cat "$T/data.main" && echo 'echo @end'; } >"$T/main"
push "$T/main" /rig/early.main
dom0 'chmod 755 /rig/early.main; guest make early --type pv --vgrant yes --module virtio-rng --file /rig/bin/hammer:rig/bin/hammer \
	--main /rig/early.main'
mkdir "$T/domu"
pull /rig/guests/early/initramfs "$T/domu/initramfs"
pull "$(dom0 readlink -f /rig/kernels/stock/vmlinux)" "$T/domu/kernel"
echo 'console=ttyAMA0 guest=early' >"$T/domu/cmdline"
for program in vgrantd vgrant hammer; do pull "/rig/bin/$program" "$T/$program"; done
dom0 guest remove early

export RIG_DOMU=$T/domu
ok "a machine starts, and Xen two guests" "$XEN_DIR/rig" --arch arm64 up --name "$other" --mem 2560 --owner $$
unset RIG_DOMU
if ((_failed)); then
	done_testing
	exit
fi
RIG=$other
for program in vgrantd vgrant hammer; do push "$T/$program" /rig/bin/; done
dom0_script <<'EOS'
truncate -s 4M /root/early.img
echo written by dom0 | dd of=/root/early.img conv=notrunc 2>/dev/null
printf 'name = "dom0less-1"\nvgrant = [ "blk,target=/root/early.img,serial=early", "rng" ]\n' >/etc/xen/dom0less-1.cfg
EOS
ok "vgrantd starts" vgrantd_start
like "$(dom0 '/usr/lib/xen-4.20/bin/init-dom0less; xl list')" 'dom0less-1' "dom0 gives the other guest its xenstore"
ok "and vgrantd its devices" until_list '^dom0less-1 virtio/64 blk connected' 120
# What it says comes out on Xen's console.
said() { "$XEN_DIR/rig" log | tr -d '\r' | sed -n 's/^.*DOM1: //p'; }
for ((i = 0; i < 300; i++)); do
	said | grep -q '^@end' && break
	sleep 0.5
done
said >"$T/out"
verdicts <"$T/out"
like "$(dom0 'dd if=/root/early.img bs=512 skip=7 count=1 2>/dev/null | tr -d "\0"')" "written by a guest of Xen" "dom0 finds what it wrote"
done_testing
