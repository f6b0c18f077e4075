#!/bin/bash
# vgrant-vhost-user --xen: a front-end with a guest's memory, and a worker that reaches no other guest's.
# Text in single quotes is expanded in dom0, and in guests.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# Two guests that are made and never run: their memory is there, and nobody uses it.
dom0_script <<'EOS'
for name in one two; do
	printf 'name = "%s"\ntype = "pvh"\nmemory = 256\nkernel = "/rig/kernels/stock/vmlinux"\n' $name >/root/$name.cfg
	xl create -p /root/$name.cfg >/dev/null
done
truncate -s 4M /root/front.img
setsid vgrant-vhost-user --xen --user nobody --socket-path /run/front.sock -v blk,target=/root/front.img </dev/null >/root/front.log 2>&1 &
for i in $(seq 50); do [ -S /run/front.sock ] && exit 0; sleep 0.2; done
EOS
one=$(dom0 xl domid one) two=$(dom0 xl domid two)
# The worker is its child, which no front-end has told of a guest so far.
dom0 "front /run/front.sock $one $two 'reach foreign \$(pgrep -P \$(pgrep -ox vgrant-vhost-us)) $one $two'" >"$T/out" 2>&1
verdicts <"$T/out"
grep '^domain' "$T/out" >"$T/reach"
diag "$(dom0 cat /root/front.log)"
is "$(cat "$T/reach")" "domain $one: foreign map: done
domain $two: foreign map: Operation not permitted
domain 0: hypercall: Operation not permitted" "its worker's handle reaches its guest's memory, no other's, and no hypercall"
is "$(dom0 "reach foreign own $one $two" | grep -c ': done$')" 3 "a handle that nobody restricted reaches all of that"
dom0 'pkill -x vgrant-vhost-us; xl destroy one; xl destroy two'
is "$(complaints)" "" "dom0's kernel has nothing to say"
done_testing
