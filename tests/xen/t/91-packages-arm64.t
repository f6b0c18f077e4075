#!/bin/bash
# Debian packages for arm64, built on a machine of another architecture: what is in them serves a guest there.
# only: arm64
# limit: 900
# dom0's tree is unpacked, not configured: dpkg cannot install there, and what is in the packages is laid over it.
# Text in single quotes is expanded in dom0.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"
deb=$BUILD/image/deb-arm64
read -ra about < <("$REPO/tools/deb" --version)

# The compilers' tree is this machine's, with the libraries of both.
ok "packages are built" env -u ARCH "$XEN_DIR/cache" crosspackager
ok "by make deb's own tool" "$XEN_DIR/build-in-image" --arch amd64 --with crosspackager env "${about[@]}" tools/deb --arch arm64 build/deb-arm64
version=$(sed -n 's/^Version: //p' "$deb"/*.changes)
mapfile -t packages < <(find "$deb" -maxdepth 1 -name '*.deb' ! -name '*-dbgsym_*' | LC_ALL=C sort)
is "$(printf '%s\n' "${packages[@]##*/}" | sed "s/_${version}_/ /; s/.deb$//" | LC_ALL=C sort)" "vgrant arm64
vgrant-display arm64
vgrant-gl arm64
vgrant-libvirt arm64
vgrant-vhost-user arm64
virtio-grant-dkms all" "they are those that there are"
needs=$(dpkg-deb -f "$deb/vgrant_${version}_arm64.deb" Depends)
for library in libc6 libcap-ng0 libjson-c5 libseccomp2 liburing2 libxenmisc4.20 libxenstore4 libxml2; do
	like "$needs" "(^| )$library( |,|$)" "vgrant needs $library"
done
for package in "${packages[@]}"; do dpkg-deb -x "$package" "$T/root"; done
is "$(cd "$T/root" && find usr -type f -path '*bin/*' -exec sh -c 'od -An -t x2 -j 18 -N 2 "$1" | grep -qx " 00b7" || echo "$1"' sh {} \;)" "" \
	"each program is arm64's" # e_machine, EM_AARCH64
ok "the schema that its vgrant prints is in it" grep -q 'element name="vgrant"\|<grammar' "$T/root/usr/share/vgrant/vgrant.rng"

tar -C "$T/root" -cf "$T/root.tar" usr etc
push "$T/root.tar" /root/packages.tar
dom0 'tar -C / --keep-directory-symlink -xf /root/packages.tar && mkdir -p /rig/away && mv /rig/bin/vgrant* /rig/away/ && truncate -s 4M /root/packed.img /root/split.img'
is "$(dom0 'command -v vgrantd vgrant; vgrantd --version')" "/usr/sbin/vgrantd
/usr/sbin/vgrant
vgrantd $version" "dom0 has the packages' programs"
cat >"$T/main" <<'EOS'
hammer_both $(disk packed) $(disk split)
EOS
quick guest --type pv --script "$T/main" \
	--config "vgrant = [ 'blk,target=/root/packed.img,serial=packed', 'blk,target=/root/split.img,serial=split,packed=0', 'gpu,mode=640x480', 'rng' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)
guest start guest
ok "a guest writes and reads two disks" await guest '^hammer: at [1-9]'
ok "it has a screen, by vgrant-display" until_list '^guest .*gpu (connected|waiting)'
guest run guest 'touch /run/hammer.stop'
harvest guest
guest destroy guest
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
vgrantd_stop
# The next test has the build of the tree again.
dom0 'mv /rig/away/* /rig/bin/; cd / && tar -tf /root/packages.tar | grep -v "/$" | xargs rm -f; rm /root/packages.tar'
done_testing
