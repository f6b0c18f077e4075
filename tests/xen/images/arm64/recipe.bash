# shellcheck shell=bash
# Shared by the recipes in this folder (sourced, never run): what ../recipe.bash
# has, for trees of another architecture than this machine's, whose programs
# cannot run here.  So packages are unpacked and none is configured: no emulator
# of user programs and no binfmt_misc is needed.  Where they have to be configured
# that is done in an emulated machine, which takes minutes (configured.bash).

# shellcheck source=tests/xen/images/recipe.bash
. "$(dirname "${BASH_SOURCE[0]}")/../recipe.bash"
FOREIGN=arm64

# What dom0 has but for its kernels.
# shellcheck disable=SC2034 # for recipes
DOM0=(
	base-files base-passwd bash dash coreutils util-linux mount libc-bin sed grep
	gawk tar gzip xz-utils zstd findutils debianutils passwd init-system-helpers
	# dom0
	xen-hypervisor-4.20-arm64 xen-utils-4.20 xenstore-utils
	busybox-static kmod udev iproute2 e2fsprogs procps openssh-server cpio
	device-tree-compiler
	# what tests run there
	fio can-utils iperf3 strace dmsetup openvswitch-switch
	qemu-system-common qemu-utils virtiofsd passt
	libvirt-daemon-system libvirt-daemon-driver-xen libvirt-clients dbus
	# what the daemon and its command are linked with
	libxenmisc4.20 liburing2 libseccomp2 libcap-ng0 libjson-c5 libnl-route-3-200
	libxml2 libvirt0 libvncserver1 libpng16-16t64 libxkbcommon0 libdrm2
)

# foreign_tree DIR ARCHITECTURES PACKAGES [MMDEBSTRAP-OPTION...]: unpack these
# packages, and all that they depend on, without documentation.
foreign_tree() {
	local dir=$1 architectures=$2 packages=$3 mirror opt
	shift 3
	mirror=$(debian_mirror)
	local -a opts=()
	# As in debian_tree: the way to a server is this machine's.
	while read -r opt; do
		opts+=("--aptopt=$opt")
	done < <(apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries|ForceIPv[46])[:: ]' | grep -v ' "";$')
	mmdebstrap --variant=extract --mode=root --format=directory \
		--architectures="$architectures" --keyring="$KEYRING" \
		--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
		"${opts[@]}" --include="$packages" "$@" "$SUITE" "$dir" \
		"deb $mirror $SUITE main" "deb $mirror $SUITE-backports main"
	rm -rf "$dir"/usr/share/{doc,info,lintian,locale,man,bug,doc-base}
}

# backports_of META: the package that a metapackage of the backports depends on
# (linux-image-7.3.4+deb13-arm64); in a hook of mmdebstrap's, where apt has lists.
backports_of() {
	local meta=$1/$SUITE-backports name
	name=$(apt-cache depends "$meta" | sed -n "s/^ *Depends: \(${1%-arm64*}-[0-9].*-arm64\)\(:.*\)\?\$/\1/p")
	[[ $name ]] || fail "$SUITE-backports has no kernel: 'apt-cache depends $meta' names none."
	printf '%s\n' "$name"
}

# parts_of PACKAGE: of what it depends on, the packages of a kernel's own release but for
# the image; those of arm64 by that name, all others in this machine's build.
parts_of() {
	apt-cache depends "$1" |
		sed -nE 's/^ *Depends: <?(linux-(headers|kbuild|base|binary|modules)-[0-9][^:>]*)(:[^>]*)?>?$/\1/p' |
		sed "s/-$FOREIGN\$/&:$FOREIGN/"
}

# unpack_here ROOT PACKAGE...: download and unpack without what they depend on.
unpack_here() {
	local root=$1 tmp deb
	shift
	tmp=$(mktemp -d "$root/packages.XXXX")
	(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "$@")
	for deb in "$tmp"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -xkf - --keep-directory-symlink -C "$root"
	done
	rm -r "$tmp"
}
