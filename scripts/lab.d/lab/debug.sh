# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What init does on a debug kernel. Its step() is used.

# The debug kernel that runs, by the name of its modules' directory in the payload; or nothing.
debug_kernel() {
	sed -n 's/.*\<lab\.debug=\([a-z]*\).*/\1/p' /proc/cmdline
}

# Looks for memory that nothing points to. kmemleak does not report what is younger than
# 5 s, and a pointer may be on its way during the first scan.
scan_leaks() {
	local file=/sys/kernel/debug/kmemleak
	step "kmemleak"
	sleep 6
	{ echo scan >"$file" && echo scan >"$file"; } || return 1
	cat "$file" >/results/kmemleak.txt || return 1
	[[ ! -s /results/kmemleak.txt ]]
}

# Leaves what KCSAN has done. It must be on to the end, and must have watched something.
ask_kcsan() {
	local file=/results/kcsan.txt
	cat /sys/kernel/debug/kcsan >"$file" || return 1
	grep -qx "enabled: 1" "$file" && grep -q "^setup_watchpoints: [1-9]" "$file"
}

# The tools of a debug kernel that have their own files.
ask_tools() {
	case $(debug_kernel) in
	debug) scan_leaks || echo "lab: kmemleak found something, or is off" ;;
	kcsan) ask_kcsan || echo "lab: KCSAN is off, or has watched nothing" ;;
	esac
}
