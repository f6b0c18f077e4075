# shellcheck shell=bash
# What the tests of vgrant itself share, on top of lib.bash (sourced, not run).
#
# Guests. All have busybox, virtio_blk, virtio_grant.ko, hammer and leaf, in an initramfs
# that is made once a rig; `quick` adds a script to it, which is thus ready in
# a fraction of the time of `guest make`.
#
#   quick NAME [--script FILE] OPTION...   as `guest make`; FILE, on this side, runs
#                               as the guest's main, with the functions of
#                               guest_kit, beside the agent, and ends with "@end"
#   await NAME REGEX [SECONDS]  as `guest wait`, without the cost of looking again and again
#   harvest NAME [SECONDS|now]  wait for "@end" on its console, and turn its checks
#                               into ours
#   verdicts                    the same with what is on stdin
#   pulse NAME                  its hammer still gets on: waits for the next line
#   complaints [NAME [REGEX]]   lines of its kernel, or dom0's, that no kernel should print (and those that
#                               match REGEX); a machine that stood still for a while is not the kernel's fault
#
# Dom0
#   holds                       what it holds on behalf of guests: compare before and
#                               after. Counters, nodes of guests, records
#   another SUFFIX ARG...       boot a machine beside the rig's, with all that was built, which
#                               dom0 and all else mean from then on; it goes with the test.
#                               ARG: as for `rig up`
#
# The daemon
#   devices [GUEST]             `vgrant list --brief` without tabs, sorted
#   json PYTHON                 an expression over d, the devices of `vgrant list
#                               --json` by "guest/name"
#   hotplug GUEST ENTRY         a device is plugged into a guest that runs, its driver connects, it is unplugged and gone
#   until_list REGEX [SECONDS]  until a line of devices matches
#   until_dom0 SECONDS CMD      until CMD succeeds in dom0

# shellcheck source=tests/xen/lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/../lib.bash"

# shellcheck disable=SC2034 # for tests
REPO=$(cd "$XEN_DIR/../.." && pwd)
T=$(mktemp -d "${TMPDIR:-/tmp}/vgrant-t.XXXXXX")
trap 'rm -rf "$T"; [[ $_done ]] || diag "the test ended before done_testing"' EXIT

another() {
	local file other=$RIG-$1
	shift
	# shellcheck disable=SC2064 # that name
	trap "'$XEN_DIR/rig' down --name '$other' >/dev/null 2>&1; rm -rf '$T'; [[ \$_done ]] || diag 'the test ended before done_testing'" EXIT
	"$XEN_DIR/rig" --arch "$ARCH" up --name "$other" --owner $$ "$@" || return
	RIG=$other
	rm -f "$T"/base-*
	for file in "$IMAGE"/products/*; do
		case ${file##*/} in
		ko) push "$file" /rig/ ;;
		*) push "$file" /rig/bin/ ;;
		esac
	done
}

# Functions for a guest's main. Kernel lines may come between, never within.
guest_kit() {
	cat <<'KIT'
#!/bin/sh
dmesg -n 1
say() { echo "$*"; }
# check NAME CMD...
check() {
	what=$1
	shift
	if out=$("$@" 2>&1); then echo "@ok $what"; else
		echo "@no $what (status $?)"
		echo "$out" | tail -n 5 | sed 's/^/@# /'
	fi
}
# complaints [REGEX]: lines that no kernel should print, and those that match REGEX
complaints() { dmesg | grep -E "BUG|WARNING|Oops|still in use|blocked for${1:+|$1}" | grep -vE '(soft|workqueue) lockup'; }
calm() { ! complaints; }
# disk SERIAL: the disk of that serial number, once it is there
disk() {
	for try in $(seq 300); do
		for d in /sys/block/vd*; do
			[ -r "$d/serial" ] && [ "$(cat "$d/serial")" = "$1" ] && echo "/dev/${d##*/}" && return
		done
		usleep 100000
	done
	return 1
}
# hammer_both PACKED SPLIT: load on two disks, until the test ends it, and a check of each
hammer_both() {
	hammer $1 4 10000 2 1 >/tmp/packed &
	hammer $2 4 10000 2 2 | tee /tmp/split
	wait
	cat /tmp/packed
	check "packed: every write read back" grep -q done /tmp/packed
	check "split: every write read back" grep -q done /tmp/split
}
KIT
}

# base KERNEL: the initramfs that quick adds to.
base() {
	guest_kit >"$T/kit"
	push "$T/kit" /rig/kit
	dom0 "set -e; f=/rig/base-$1; ko=/rig/ko/$1/virtio_grant.ko
		[ \$f -nt \$ko ] && [ \$f -nt /rig/bin/hammer ] && [ \$f -nt /rig/bin/leaf ] && [ \$f -nt /rig/bin/agent ] && exit 0
		guest make base --kernel $1 --vgrant yes --file /rig/bin/hammer:rig/bin/hammer --file /rig/bin/leaf:rig/bin/leaf >&2
		mv /rig/guests/base/initramfs \$f; guest remove base"
}

quick() {
	local name=$1 kernel=stock script='' args=() i
	shift
	while (($#)); do
		case $1 in
		--script) script=$2 ;;
		*)
			[[ $1 != --kernel ]] || kernel=$2
			args+=("$1" "$2")
			;;
		esac
		shift 2
	done
	if [[ ! -e $T/base-$kernel ]]; then base "$kernel" && : >"$T/base-$kernel"; fi
	mkdir -p "$T/own/rig"
	rm -f "$T/own/rig/main"
	if [[ $script ]]; then
		{ guest_kit && echo 'main() {' && cat "$script" && echo 'echo @end; }; main </dev/null &'; } >"$T/own/rig/main"
		chmod 755 "$T/own/rig" "$T/own/rig/main"
	fi
	# A guest has no init that powers it off or reboots it when the toolstack wants that.
	mkdir -p "$T/own/bin"
	for i in poweroff reboot; do
		printf '#!/bin/sh\nexec busybox %s -f\n' $i >"$T/own/bin/$i"
	done
	chmod 755 "$T/own/bin" "$T/own/bin"/*
	(cd "$T/own" && find . | cpio -o -H newc --quiet -R 0:0) >"$T/$name.cpio"
	push "$T/$name.cpio" "/rig/$name.cpio"
	printf -v i '%q ' "${args[@]}"
	dom0 "cat /rig/base-$kernel /rig/$name.cpio >/rig/$name.initramfs; rm /rig/$name.cpio
		guest make $name --initrd /rig/$name.initramfs $i"
}

await() {
	dom0 "f=/var/log/xen/console/guest-$1.log
		timeout ${3:-$BOOT} sh -c 'tail -n +1 -F \$1 2>/dev/null | grep -aEm1 -- \"\$2\"; kill \$\$' sh \$f '$2' | tr -d '\\r' | grep . || {
			echo 'the console of $1 did not say \"$2\"; its last lines:'; tail -n 15 \$f; exit 1; } >&2"
}

verdicts() {
	local line
	while read -r line; do
		case $line in
		'@ok '*) pass "${1-}${line#@ok }" ;;
		'@no '*) fail "${1-}${line#@no }" ;;
		'@# '*) diag "${line#@# }" ;;
		esac
	done
}

harvest() {
	if [[ ${2-} != now ]] && ! await "$1" '^@end' "${2:-$BOOT}" >/dev/null 2>"$T/err"; then
		fail "$1: ran to its end"
		diag "$(<"$T/err")"
	fi
	verdicts "$1: " < <(dom0 "guest console $1 | grep -a ^@" | tr -d '\r')
}

holds() {
	counters | grep -vE '^(domains|xenstore)'
	dom0 "xenstore-ls -f /local/domain/0/backend 2>/dev/null | grep -E 'virtio(_disk)?/[0-9]'
		find /run/vgrant -name '*.record'"
}

devices() { dom0 "vgrant list --brief ${1-}" | tr '\t' ' ' | LC_ALL=C sort; }

# Evaluated here: Python takes a second to start on the emulated CPU.
json() {
	dom0 vgrant list --json | python3 -c 'import json,sys
d={x["guest"]+"/"+x["name"]:x for x in json.load(sys.stdin)["devices"]}
print('"$1"')'
}

until_dom0() {
	local limit=$1
	shift
	dom0 "for i in \$(seq $((limit * 2))); do { $*; } >/dev/null 2>&1 && exit 0; sleep 0.5; done
		printf 'not within %s s: %s\n' $limit $(printf %q "$*") >&2; exit 1"
}

until_list() { until_dom0 "${2:-60}" "vgrant list --brief | tr '\\t' ' ' | grep -Eq '$1'"; }

hotplug() {
	ok "$1: $2 is plugged" dom0 vgrant attach "$1" "$2,id=90"
	ok "$1: its driver connects" until_list "^$1 virtio/90 ${2%%,*} connected"
	ok "$1: it is unplugged" dom0 vgrant detach "$1" 90
	ok "$1: and gone" guest run "$1" "for i in \$(seq 100); do [ -e /sys/bus/xen/devices/virtio-90 ] || exit 0; usleep 100000; done; exit 1"
}

complaints() {
	local said look="dmesg | grep -E 'gntdev|BUG|WARNING|Oops|still in use|blocked for${2:+|$2}' | grep -vE '(soft|workqueue) lockup|taint(s|ing) kernel'; echo looked"
	if [[ ${1-} ]]; then said=$(guest run "$1" "$look" 2>&1); else said=$(dom0 "$look" 2>&1); fi
	[[ $said == *looked ]] || said="$said, and it could not be asked: looked"
	printf %s "${said%looked}"
}

pulse() {
	dom0 "f=/var/log/xen/console/guest-$1.log; n=\$(grep -ac '^hammer: at' \$f)
		for i in \$(seq 100); do
			! grep -a 'hammer: FAILED' \$f || exit 1
			[ \$(grep -ac '^hammer: at' \$f) -le \$n ] || exit 0
			sleep 1
		done; echo 'no progress of hammer'; tail -n 3 \$f; exit 1"
}
