# shellcheck shell=bash
# Shared by the recipes in this folder (sourced, never run): the Debian release
# that the rig runs, and how a tree of it is made with the mirror, the proxies
# and nothing else of this machine's apt configuration.

SUITE=trixie
ARCH=amd64
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

step() { printf '==> %(%T)T %s\n' -1 "$*"; }

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

# Print the address of the Debian archive that this machine uses.  Candidates
# are the sources that carry the main component of a plain suite; the first one
# whose Release file for $SUITE says "Origin: Debian" is it.
# shellcheck disable=SC2016 # apt expands the $(...) of the format
debian_mirror() {
	local uri tmp
	tmp=$(mktemp -d)
	while read -r uri; do
		[[ $uri ]] || continue
		if /usr/lib/apt/apt-helper download-file "${uri%/}/dists/$SUITE/InRelease" \
			"$tmp/InRelease" >/dev/null 2>&1 &&
			grep -qx 'Origin: Debian' "$tmp/InRelease"; then
			rm -rf "$tmp"
			printf '%s\n' "${uri%/}"
			return
		fi
	done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)' |
		awk '$3 == "main" && $4 == "Packages" && $2 !~ /-/ && !seen[$1]++ { print $1 }')
	rm -rf "$tmp"
	fail "no Debian archive with the suite $SUITE can be reached through this machine's apt sources; check the network and /etc/apt."
}

# debian_tree DIR PACKAGES [MMDEBSTRAP-OPTION...]: a minimal Debian tree without
# documentation, recommended packages, or initramfs (INITRD=No is heeded by the
# kernel hook of initramfs-tools).
debian_tree() {
	local dir=$1 packages=$2 mirror opt
	shift 2
	mirror=$(debian_mirror)
	local -a opts=()
	# Proxies and the like: any Acquire setting of this machine that concerns
	# the way to a server.
	while read -r opt; do
		opts+=("--aptopt=$opt")
	done < <(apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries|ForceIPv[46])[:: ]' | grep -v ' "";$')
	for opt in doc info lintian locale man bug doc-base; do
		opts+=("--dpkgopt=path-exclude=/usr/share/$opt/*")
	done
	INITRD=No mmdebstrap --variant=minbase --mode=root --format=directory \
		--architectures="$ARCH" --keyring="$KEYRING" \
		--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
		"${opts[@]}" --include="$packages" "$@" "$SUITE" "$dir" \
		"deb $mirror $SUITE main" "deb $mirror $SUITE-backports main"
}

# over_tree OUT TREE CMD...: what CMD changes in TREE, as OUT/upper, which is to be laid over it. CMD, a function
# of the recipe's, has in_root to run programs there, with the network.
over_tree() {
	local out=$1 tree=$2
	shift 2
	root=$out/root
	mkdir "$out"/{root,upper,work}
	mount -t overlay overlay "$root" -o "lowerdir=$tree,upperdir=$out/upper,workdir=$out/work"
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	cp --remove-destination -L /etc/resolv.conf "$root/etc/resolv.conf"
	"$@"
	rm -rf "$root"/var/{cache/apt,lib/apt}/*
	umount -R -l "$root/dev" "$root/proc"
	umount "$root"
	rm -rf "$out"/{root,work}
}
# Proxies and the like are in the tree's own configuration.
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
