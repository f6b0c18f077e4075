# shellcheck shell=bash
# What the tests in t/ are written with (sourced by each of them, on the host).
#
# A test is a bash script that prints TAP and drives dom0 of the rig named in
# $RIG.  `tests/xen/run` starts it with nothing running in dom0 but Xen's own
# daemons, and clears away what it leaves.  Its second line says what it shows;
# a line "# limit: SECONDS" raises its time limit (300). A line "# long: WHAT" says
# that it does more where $LONG is set (`tests/xen/run --long`).
#
# TAP
#   ok NAME CMD...        runs CMD; passes when it succeeds, else shows its output
#   nok NAME CMD...       the reverse
#   is GOT WANT NAME      two strings are equal
#   like GOT REGEX NAME   an extended regular expression matches
#   pass NAME, fail NAME, diag TEXT, skip REASON [N]
#   done_testing          last line of every test: prints the plan
# Dom0
#   dom0 CMD...           run a command line there (see rig sh)
#   dom0_script           the same for a script on stdin
#   push, pull            as in rig
#   counters              what dom0 holds, see dom0/bin/counters
# The daemon
#   vgrantd_start [ARG..] start it there, log in /var/log/vgrantd.log, and wait
#                         until it answers
#   vgrantd_stop          SIGTERM; fails when it is still there after 10 s
#   vgrantd_log           its log
# Guests (see dom0/bin/guest for all options)
#   guest make NAME --type pv|pvh|hvm --kernel stock|backports [--vgrant yes] ...
#   guest start NAME, guest wait NAME SECONDS REGEX, guest run NAME CMD,
#   guest console NAME, guest destroy NAME..., guest shutdown NAME SECONDS
#   Guests boot side by side when all are started before the first is awaited.
#   On arm64 there is one kind: both pv and pvh make it, and where a test says "PV" or
#   "PVH" it prints "arm64".
# The rig's architecture is $ARCH (amd64, arm64), and $IMAGE what was built for it.

XEN_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A guest boots in 5 to 20 s here; a busy machine is granted ten times that.
BOOT=${BOOT:-200}
export RIG=${RIG:-dev}
# shellcheck source=tests/xen/common.bash
. "$XEN_DIR/common.bash"
if [[ -e $BUILD/rigs/$RIG/arch ]]; then set_arch "$(<"$BUILD/rigs/$RIG/arch")"; fi

_n=0 _failed=0 _done=

# named TEXT: sets _name
named() {
	_name=$1
	[[ $ARCH == amd64 ]] || _name=${_name//a PV/an PV} _name=${_name//PVH/$ARCH} _name=${_name//PV/$ARCH}
}
pass() { named "$1" && printf 'ok %d - %s\n' "$((++_n))" "$_name"; }
fail() { named "$1" && printf 'not ok %d - %s\n' "$((++_n))" "$_name"; _failed=$((_failed + 1)); }
diag() { printf '%s\n' "$*" | sed 's/^/# /'; }

ok() {
	local name=$1 out rc=0
	shift
	out=$("$@" 2>&1) || rc=$?
	if ((rc == 0)); then pass "$name"; return; fi
	fail "$name"
	diag "status $rc of: $*"
	[[ ! $out ]] || diag "$out"
	return 0
}

nok() {
	local name=$1 out
	shift
	if ! out=$("$@" 2>&1); then pass "$name"; return; fi
	fail "$name"
	diag "this succeeded: $*"
	[[ ! $out ]] || diag "$out"
	return 0
}

is() {
	if [[ $1 == "$2" ]]; then pass "$3"; return; fi
	fail "$3"
	diag "got:    $1"
	diag "wanted: $2"
}

like() {
	if [[ $1 =~ $2 ]]; then pass "$3"; return; fi
	fail "$3"
	diag "got:      $1"
	diag "no match: $2"
}

skip() {
	local i
	for ((i = 0; i < ${2:-1}; i++)); do printf 'ok %d # SKIP %s\n' "$((++_n))" "$1"; done
}

done_testing() {
	printf '1..%d\n' "$_n"
	_done=1
	((_failed == 0))
}

# A test that stops before done_testing says so; its missing plan fails it.
trap '[[ $_done ]] || diag "the test ended before done_testing"' EXIT

dom0() { "$XEN_DIR/rig" sh -- "$*"; }
dom0_script() { "$XEN_DIR/rig" sh -i -- "bash -s"; }
push() { "$XEN_DIR/rig" push "$@"; }
pull() { "$XEN_DIR/rig" pull "$@"; }
guest() {
	local words
	printf -v words '%q ' "${@:2}"
	# The same as guest run, without a shell between.
	if [[ $1 == run ]]; then dom0 "guest-run $words"; else dom0 "guest $1 $words"; fi
}
counters() { dom0 counters; }

vgrantd_start() { dom0 "daemon start ${*@Q}"; }
vgrantd_stop() { dom0 daemon stop; }
vgrantd_log() { dom0 cat /var/log/vgrantd.log; }
