# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2154
# What init does with the kernel's dmatest. Sets and uses init's variables "channels" and
# "iterations".

DMATEST=/sys/module/dmatest/parameters

# Reads the kernel's log and prints dmatest's errors: nothing if all is well, "running" if
# it has not ended. A load without an end has "iterations" 0.
dmatest_verdict() {
	dmesg | awk -f /lib/dmatest.awk -v threads="$channels" -v want="$iterations"
}

# Clears the kernel's log, and prints what must not be in it: the list is that of
# the lab host's log, scripts/lab.d/judge/dmesg.py.
check_log() {
	dmesg -c | grep -E -f /lib/dmesg.patterns
}

# With slub_debug=FZPU: makes the slab check each object of the caches of dmatest's
# buffers. A write to a freed one shows in the log.
check_freed() {
	for file in /sys/kernel/slab/kmalloc-*/validate; do
		echo 1 >"$file"
	done
}

# Waits until dmatest has ended, and sets "verdict". "wait" does not wait for
# threads that have not started, so ask again.
wait_for_dmatest() {
	tries=0
	# Also if there is nothing to wait for.
	verdict=running
	while cat $DMATEST/wait >/dev/null; do
		verdict=$(dmatest_verdict)
		[ "$verdict" = running ] || break
		tries=$((tries + 1))
		[ $tries -lt 50 ] || break
		sleep 0.2
	done
}

# dmatest_round TYPE POLLED; TYPE is 0 for memcpy, 1 for memset. Prints errors.
dmatest_round() {
	check_log
	echo "$1" >$DMATEST/dmatest
	echo "$2" >$DMATEST/polled
	echo 1 >$DMATEST/run
	wait_for_dmatest
	[ -z "$verdict" ] || echo "dmatest type $1 polled $2: $verdict"
}

# Transfers on all channels until end_load: memcpy, by interrupt.
begin_load() {
	check_log
	channels=$(count_channels)
	iterations=0
	echo 0 >$DMATEST/iterations
	echo 0 >$DMATEST/dmatest
	echo 0 >$DMATEST/polled
	echo 1 >$DMATEST/run
}

# end_load [N]: ends the load, each thread after N transfers, but not before the transfer
# that it waits for, and prints what failed.
# Not by run=0, with which dmatest frees buffers that the device still writes to
# (Documentation/found.rst). Instead, dmatest reads its parameters when "channel" is
# written, and its threads check the new "iterations" after each transfer.
end_load() {
	echo "${1:-1}" >$DMATEST/iterations
	echo >$DMATEST/channel
	wait_for_dmatest
	[ -z "$verdict" ] || echo "dmatest under load: $verdict"
	echo 0 >$DMATEST/run
}
