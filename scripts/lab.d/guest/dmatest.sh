# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2154
# What init does with the kernel's dmatest; sets none of init's variables but uses
# "channels" and "iterations".

DMATEST=/sys/module/dmatest/parameters

# Reads the kernel's log: what dmatest complains of, nothing if all is well,
# "running" if it has not ended.
dmatest_verdict() {
	dmesg | awk -f /lib/dmatest.awk -v threads="$channels" -v want="$iterations"
}

# Clears the kernel's log, and prints what must not be in it: the list is that of
# the lab host's log, scripts/lab.d/dmesg.py.
check_log() {
	dmesg -c | grep -E -f /lib/dmesg.patterns
}

# dmatest_round TYPE POLLED; TYPE is 0 for memcpy, 1 for memset. Prints errors.
dmatest_round() {
	check_log
	echo "$1" >$DMATEST/dmatest
	echo "$2" >$DMATEST/polled
	echo 1 >$DMATEST/run
	# "wait" does not wait for threads that have not begun, so ask again.
	tries=0
	while cat $DMATEST/wait >/dev/null; do
		verdict=$(dmatest_verdict)
		[ "$verdict" = running ] || break
		tries=$((tries + 1))
		[ $tries -lt 50 ] || break
		sleep 0.2
	done
	[ -z "$verdict" ] || echo "dmatest type $1 polled $2: $verdict"
}
