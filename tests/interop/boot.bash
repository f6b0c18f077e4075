# shellcheck shell=bash
# A Linux guest for QEMU without Xen: kernel, initramfs and modules of the real-Xen rig (sourced).

# find_boot LOG: sets $boot and $tree, as tests/xen/cache has them; or $why, and fails. Building them
# needs root.
find_boot() {
	local cache=${VGRANT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vgrant}
	if ((EUID == 0)); then
		boot=$(tests/xen/cache boot 2>"$1") && tree=$(tests/xen/cache tree 2>>"$1")
	else
		boot=$(compgen -G "$cache/boot-*/" | tail -n 1)
		tree=$(compgen -G "$cache/tree-*/" | tail -n 1)
	fi
	[[ ${boot-} && ${tree-} ]] && return
	# shellcheck disable=SC2034 # for who calls
	why="there is no kernel in the cache: run tests/xen/cache boot as root"
	return 1
}

# initrd_of FILE INIT MODULE...: the rig's initramfs with that init, and modules in the order in which
# they need each other; and what lies in FILE's folder of the same name without .cpio.
initrd_of() {
	local to=$1 init=$2 box=${1%.cpio} dir m path line order=()
	shift 2
	dir=$(compgen -G "$tree/tree/usr/lib/modules/6.*" | head -n 1)
	mkdir -p "$box/modules"
	cp "$init" "$box/init"
	for m; do
		# Whoever is needed stands to the right of who needs it, the first one last.
		read -ra line < <(sed -n "s|^\(.*/$m\.ko[^:]*\): *|\1 |p" "$dir/modules.dep")
		for path in "${line[@]}"; do order=("$path" "${order[@]}"); done
	done
	: >"$box/modules/order"
	for path in "${order[@]}"; do
		m=${path##*/} m=${m%%.ko*}.ko
		case $path in
		*.xz) xz -dc "$dir/$path" ;;
		*.zst) zstd -dqc "$dir/$path" ;;
		*) cat "$dir/$path" ;;
		esac >"$box/modules/$m"
		grep -qx "$m" "$box/modules/order" || echo "$m" >>"$box/modules/order"
	done
	(cd "$box" && find . | cpio -o -H newc --quiet) | cat "$boot/initrd" - >"$to"
}

# Sets $rig_qemu, the words that start QEMU 10 of the rig's Debian, by that one's own C library: 7.2 has
# vhost-user-gpu on KVM alone.
find_rig_qemu() {
	local lib=$tree/tree/usr/lib/x86_64-linux-gnu
	# shellcheck disable=SC2034 # for who calls
	rig_qemu=(env "QEMU_MODULE_DIR=$lib/qemu" "$lib/ld-linux-x86-64.so.2" --library-path "$lib"
		"$tree/tree/usr/bin/qemu-system-x86_64" -L "$tree/tree/usr/share/qemu" -L "$tree/tree/usr/share/seabios")
}
