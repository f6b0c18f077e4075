# shellcheck shell=bash
# Shared by the recipes of arm64 whose packages are configured (sourced after recipe.bash, never
# run): what dpkg does, as far as it can be done here, and its scripts in an emulated machine
# (../../emulate), which needs nothing of this one but QEMU.  multistrap does the same in two
# steps, of which the second is the machine's own first boot.

# What a Debian that is to be configured cannot be without ("Essential: yes").
# shellcheck disable=SC2034 # for recipes
ESSENTIAL=(
	base-files base-passwd bash bsdutils coreutils dash debianutils diffutils dpkg findutils
	grep gzip hostname init-system-helpers libc-bin libpam-runtime login.defs mount ncurses-base ncurses-bin
	passwd perl-base sed sysvinit-utils tar util-linux
)

# unpacked ROOT: write down for dpkg that what foreign_tree has put there is unpacked, which dpkg
# itself could not do: it would run scripts of arm64.  In an extract hook of mmdebstrap's, where
# the packages are still there.
unpacked() {
	local root=$1 db=$1/var/lib/dpkg tmp deb name arch multi file
	tmp=$(mktemp -d)
	mkdir -p "$db/info" "$db/updates"
	echo 1 >"$db/info/format"
	for deb in "$root"/var/cache/apt/archives/*.deb; do
		rm -rf "$tmp/control"
		dpkg-deb -e "$deb" "$tmp/control"
		# shellcheck disable=SC2016 # of dpkg-deb's
		read -r name arch multi < <(dpkg-deb -W --showformat '${Package} ${Architecture} ${Multi-Arch}\n' "$deb")
		[[ $multi != same ]] || name+=:$arch
		dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's,^\./,/,; s,\(.\)/$,\1,; s,^/$,/.,' >"$db/info/$name.list"
		sed '/^Package:/a Status: install ok unpacked' "$tmp/control/control"
		echo
		rm "$tmp/control/control"
		for file in "$tmp"/control/*; do
			[[ ! -e $file ]] || mv "$file" "$db/info/$name.${file##*/}"
		done
	done >"$db/status"
	rm -r "$tmp"
}

# configure BOOT ROOT: run the scripts of what is unpacked there, in an emulated machine.  BOOT: the
# entry "boot".  No service is started.
configure() {
	local boot=$1 root=$2
	# Before base-passwd and gawk are configured others need theirs.
	cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
	cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
	[[ -e $root/usr/bin/awk || ! -e $root/usr/bin/gawk ]] || ln -s gawk "$root/usr/bin/awk"
	[[ -e $root/usr/bin/awk || ! -e $root/usr/bin/mawk ]] || ln -s mawk "$root/usr/bin/awk"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	# All of Python's library would be compiled, for minutes, to start programs sooner that nobody starts.
	sed -i 's,^[[:blank:]]*/usr/bin/python.*/py_compile.py,: &,' "$root"/var/lib/dpkg/info/python*.postinst
	cat >"$root/root/configure" <<'EOS'
for script in /var/lib/dpkg/info/*.preinst; do
	name=${script##*/} name=${name%.preinst}
	DPKG_MAINTSCRIPT_PACKAGE=${name%:*} DPKG_MAINTSCRIPT_NAME=preinst DPKG_RUNNING_VERSION=1.22 \
		"$script" install || echo "the preinst of $name ended with status $?"
done
dpkg --force-unsafe-io --force-confold --configure -a || exit
dpkg --audit
EOS
	"$(dirname "${BASH_SOURCE[0]}")/../../emulate" "$boot" "$root" bash /root/configure
	rm "$root/usr/sbin/policy-rc.d" "$root/root/configure"
}
