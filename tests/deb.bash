# shellcheck shell=bash
# What tests do with Debian packages (sourced).

# newer_deb FROM TO VERSION NEWER: the package FROM of VERSION as one of NEWER, with the same in it.
newer_deb() {
	local tree
	tree=$(mktemp -d "${TMPDIR:-/tmp}/vgrant-deb.XXXXXX")
	dpkg-deb -R "$1" "$tree"
	sed -i "s/$3/$4/" "$tree/DEBIAN/control"
	dpkg-deb -Znone -b "$tree" "$2" >/dev/null
	rm -rf "$tree"
}
