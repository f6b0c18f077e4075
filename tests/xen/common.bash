# shellcheck shell=bash
# Shared by the host-side tools of the rig (sourced, never run): where things
# are, how they speak, and how cache entries are found and held.
#
# Variables set here
#   XEN_DIR   this folder (tests/xen)
#   REPO      the source tree
#   BUILD     build/xen in the source tree: everything that is not cached
#   CACHE     what is worth keeping between clones: images and package trees
#
# and, for the architecture of Xen and of all that runs on it, by set_arch,
#
#   ARCH      amd64 (the default) or arm64, in Debian's words; from the environment
#   IMAGE     what build-in-image leaves: build/xen/image, or image-arm64
#   CROSS     what the names of its compilers begin with: nothing for amd64
#   MADE      where make puts programs, in IMAGE: release, or aarch64-linux-gnu/release

XEN_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$XEN_DIR/../.." && pwd)
BUILD=$REPO/build/xen
CACHE=${VGRANT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vgrant}
export XEN_DIR REPO BUILD CACHE

# shellcheck disable=SC2034 # for those who source this
set_arch() {
	case $1 in
	amd64 | x86 | x86_64) ARCH=amd64 IMAGE=$BUILD/image CROSS='' MADE=release ;;
	arm64 | aarch64)
		ARCH=arm64 IMAGE=$BUILD/image-arm64 CROSS=aarch64-linux-gnu-
		MADE=${CROSS%-}/release
		;;
	*)
		printf '%s\n' "${0##*/}: the rig knows the architectures amd64 and arm64, not '$1'." >&2
		exit 1
		;;
	esac
	export ARCH
}
set_arch "${ARCH:-amd64}"

# Seconds since the script began, as a prefix of every progress line.
say() { printf '[%4d s] %s: %s\n' "$SECONDS" "${0##*/}" "$*" >&2; }

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# The comment at the head of the calling script is its manual.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

need_root() {
	((EUID == 0)) || die "this must run as root: it mounts, changes root and builds images."
}

need_tools() {
	local t missing=()
	for t; do command -v "$t" >/dev/null || missing+=("$t"); done
	((${#missing[@]} == 0)) ||
		die "missing: ${missing[*]}; run 'tools/install-deps rig' first."
}

# hold ENTRY: keep a cache entry from being pruned while this process, or a
# child that inherits the descriptor, lives.  Sets $HELD_FD.
hold() {
	exec {HELD_FD}<"$1"
	flock -s "$HELD_FD"
	touch -c "$1"
}

# entry KIND: build the cache entry of $ARCH if it is not there; sets $ENTRY to its
# path and holds it.
entry() {
	ENTRY=$("$XEN_DIR/cache" "$1") || exit
	hold "$ENTRY"
}
