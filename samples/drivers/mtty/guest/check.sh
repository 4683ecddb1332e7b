# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# What the guest does with mtty: it keeps bytes in the queue of the port and a number in its
# scratch register, and reads them back a round later. It uses the registers themselves, so
# that nothing but the port has the state.

QUEUED=4	# bytes that are in the queue between two rounds
TURN=2		# bytes that are read and sent in a round

# Registers of a 16550: its queue, how it is controlled, and one to scribble on.
QUEUE=0 CONTROL=2 SCRATCH=7
ENABLE_AND_CLEAR=7

# put REGISTER VALUE
put() {
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf %03o "$2")" | dd of="$port" bs=1 seek="$1" conv=notrunc 2>/dev/null
}

# get REGISTER
get() {
	dd if="$port" bs=1 skip="$1" count=1 2>/dev/null | od -A n -t u1 | tr -d ' '
}

# The bytes are 1 to 255, so that none looks like one that was lost.
nth_byte() {
	echo $(($1 * 7 % 255 + 1))
}

# send FIRST COUNT
send() {
	for nth in $(seq "$1" $(($1 + $2 - 1))); do
		put $QUEUE "$(nth_byte "$nth")"
	done
}

# receive FIRST COUNT; prints what is wrong.
receive() {
	for nth in $(seq "$1" $(($1 + $2 - 1))); do
		byte=$(get $QUEUE) want=$(nth_byte "$nth")
		[ "$byte" = "$want" ] || echo "mtty: byte $nth is $byte, not $want."
	done
}

driver_start() {
	for device in /sys/bus/pci/devices/*; do
		read -r vendor <"$device/vendor"
		[ "$vendor" != 0x4348 ] || port=$device/resource0
	done
	[ -n "$port" ] || { echo "no mtty"; return 1; }
	device=${port%/*}
	# The kernel has a driver for it, which is not wanted here.
	[ ! -e "$device/driver" ] || echo "${device##*/}" >"$device/driver/unbind"
	echo 1 >"$device/enable"
	put $CONTROL $ENABLE_AND_CLEAR
	send 0 $QUEUED
	put $SCRATCH 1
}

# driver_check ROUND; prints what is wrong. Rounds begin with 0.
driver_check() {
	scratch=$(get $SCRATCH)
	[ "$scratch" = $(($1 % 255 + 1)) ] ||
		echo "mtty: the scratch register is $scratch, not $(($1 % 255 + 1))."
	receive $(($1 * TURN)) $TURN
	send $(($1 * TURN + QUEUED)) $TURN
	put $SCRATCH $((($1 + 1) % 255 + 1))
}
