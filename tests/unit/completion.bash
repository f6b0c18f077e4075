#!/bin/bash
# What bash and zsh offer at the end of a command line of vgrant's: the same, and what is expected.
#
#   completion.bash        vgrant is what PATH finds; a vgrantd answers it, with a guest web
#
# Lines are given with a blank at the end where a new word begins.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v zsh >/dev/null || {
	echo "completion: zsh is missing: run tools/install-deps check as root." >&2
	exit 1
}

# in_bash LINE, in_zsh LINE: words that are offered, sorted, each once
in_bash() {
	# shellcheck disable=SC2016 # the inner shell's
	bash -c '
		complete() { :; }
		compopt() { :; }
		. configs/bash-completion/vgrant
		read -ra COMP_WORDS <<<"$1"
		[[ $1 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_vgrant
		printf "%s\n" "${COMPREPLY[@]}"' bash "$1" | LC_ALL=C sort -u
}
in_zsh() {
	# shellcheck disable=SC2016 # the inner shell's
	zsh -fc '
		compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -lr -- "$@"; }
		_files() { print FILES; }
		. configs/zsh-completion/_vgrant
		words=(${=1})
		[[ $1 != *" " ]] || words+=("")
		CURRENT=$#words
		_vgrant' zsh "$1" | LC_ALL=C sort -u
}

bad=0
# offers LINE WORD...: both shells offer these words, and the same
offers() {
	local line=$1 word b z
	shift
	b=$(in_bash "$line") z=$(in_zsh "$line")
	if [[ $b != "$z" ]]; then
		printf 'completion: "%s": bash offers\n%s\nand zsh\n%s\n' "$line" "$b" "$z"
		bad=1
	fi
	for word; do
		grep -qxF -e "$word" <<<"$b" || {
			printf 'completion: "%s": no %s in\n%s\n' "$line" "$word" "$b"
			bad=1
		}
	done
}
# only LINE WORD...: these words, and no others
only() {
	offers "$@"
	[[ $(in_bash "$1" | wc -l) == $(($# - 1)) ]] || {
		printf 'completion: "%s": more than is expected\n' "$1"
		bad=1
	}
}

mapfile -t commands < <(vgrant help | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\) .*/\1/p')
((${#commands[@]} > 20))
only 'vgrant ' "${commands[@]}"
for command in list show top metrics doctor domblklist domdisplay domiflist domblkinfo detach set resize trace capture console \
	screenshot; do
	offers "vgrant $command " web
done
for command in show detach set resize trace capture; do
	only "vgrant $command web " virtio/64
done
offers 'vgrant top --sort requests -i 2 ' web
offers 'vgrant events --guest ' web
only 'vgrant top -k ' guest requests bytes latency depth kicks hypercalls errors
only 'vgrant top --' --json --interval --batch --once --sort --socket --help --version
only 'vgrant events --' --json --guest --timeout --socket --help --version
offers 'vgrant --' --json --brief --verbose --interval --batch --once --sort --live --config --guest --timeout --socket
only 'vgrant log-level ' error warning info debug
offers 'vgrant attach web ' blk net rng
offers 'vgrant help ' blk top
exit $bad
