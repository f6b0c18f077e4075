#!/bin/bash
# Dom0 answers, and stock guests of both kinds boot, take commands and go.
set -uo pipefail
# shellcheck source=tests/xen/lib.bash
. "$(dirname "$0")/../lib.bash"

# shellcheck disable=SC2034 # by their names
virt_amd64='pv hvm' virt_arm64='hvm hap' virt=virt_$ARCH
like "$(dom0 xl info)" "virt_caps +: ${!virt}.*xen_version +: 4\\.20" "dom0 talks to Xen 4.20"
nok "the status of a command in dom0 is passed on" dom0 'exit 3'

before=$(counters)
like "$before" 'domains 0' "no guest runs at first"

# shellcheck disable=SC2016 # the guest expands these
printf '#!/bin/sh\necho "main says hello from $(uname -r)"\n' >"${TMPDIR:-/tmp}/main.$$"
push "${TMPDIR:-/tmp}/main.$$" /root/main
rm -f "${TMPDIR:-/tmp}/main.$$"
dom0 chmod +x /root/main

guest make pv --type pv --main /root/main
guest make pvh --type pvh --kernel backports --main /root/main
ok "a PV guest is created" guest start pv
ok "a PVH guest is created" guest start pvh
like "$(guest wait pv "$BOOT" 'main says')" 'hello from 6\.' "the PV guest runs the stock kernel"
like "$(guest run pv 'echo in; exit 0')" '^in$' "it runs a command"
out=$(guest run pv 'seq 2000; printf end; exit 5')
is "$?" 5 "the status of a command in a guest is passed on"
is "$(md5sum <<<"$out")" "$({ seq 2000; echo end; } | md5sum)" "and so is its output, whole"
like "$(guest wait pvh "$BOOT" 'main says')" 'hello from [7-9]\.' "the PVH guest runs the backported kernel"
ok "it runs a command" guest run pvh 'grep -qx xen /sys/hypervisor/type'

ok "both guests are destroyed" guest destroy pv pvh
is "$(counters)" "$before" "dom0 holds no more than before"
done_testing
