# shellcheck shell=bash
# Counts tests over several runners (sourced).  Sets passed, failed, skipped.
passed=0 failed=0 skipped=0 tests_of_log=0

# count_cmocka LOG STATUS: a cmocka program's own lines; one that ended without
# them, or with a status that they do not explain, is a failure of its own.
count_cmocka() {
	local ok bad skip
	ok=$(grep -c '^\[       OK \]' "$1" || true)
	bad=$(grep -c '^\[  FAILED  \] [^0-9]' "$1" || true)
	skip=$(grep -c '^\[  SKIPPED \] [^0-9]' "$1" || true)
	# cmocka names failed and skipped tests twice: as they happen, and in its closing list.
	bad=$(((bad + 1) / 2)) skip=$(((skip + 1) / 2))
	if (($2 && !bad)) || ((!ok && !skip && !bad)); then
		bad=$((bad + 1))
	fi
	tests_of_log=$((ok + skip + bad))
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

# count_line LINE: add a runner's own closing line "N passed, N failed, N skipped".
count_line() {
	if [[ $1 =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		return 0
	fi
	return 1
}

# summary: the closing line; the status says whether all is well.
summary() {
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0 && passed > 0))
}
