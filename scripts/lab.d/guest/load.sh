# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash disable=SC2154
# The guest's usual load: its driver for mdma, and dmatest. /driver/check.sh may have other
# functions driver_start and driver_check (Documentation/your-driver.rst). Uses init's
# variables "iterations" and "ring_size".

DRIVER=/sys/bus/pci/drivers/mdma_guest

# The channels of all devices that the driver is bound to.
count_channels() {
	set -- "$DRIVER"/*:*/dma/dma*chan*
	[ -e "$1" ] && echo $#
}

load_drivers() {
	modprobe mdma_guest window_mb="$(option window_mb 0)" ring_size="$ring_size" ||
		die "mdma_guest does not load"
	grep -q 0x6d64 /sys/bus/pci/devices/*/device || die "no device"
	# shellcheck disable=SC2034 # of dmatest.sh
	channels=$(count_channels) ||
		die "device not bound: $(dmesg | grep mdma_guest | tail -n 1)"
	# dmatest must keep no channel of a device that goes while it runs (Documentation/found.rst).
	device=
	[ "$(option plugged 0)" -eq 0 ] || device=$(basename "$DRIVER"/*:*:*.*)
	# A long timeout: a migration may stop the guest in the middle of a transfer.
	modprobe dmatest device="$device" timeout="$(option timeout_ms 30000)" iterations="$iterations" \
		test_buf_size="$(option buf_size 16384)" || die "dmatest does not load"
}

# Prints an error for each window in which the device wrote something wrong.
check_window() {
	for file in /sys/kernel/debug/mdma_guest/*/window_check; do
		[ -e "$file" ] && grep -v ' bad 0$' "$file" | sed 's/^/window: /'
	done
}

driver_start() {
	drivers=$(option drivers 1)
	[ "$drivers" -eq 0 ] || load_drivers
}

# driver_check ROUND; prints an error if something is wrong.
driver_check() {
	[ "$drivers" -ne 0 ] || { sleep 1; return; }
	dmatest_round $(($1 % 2)) $(($1 / 2 % 2))
	check_window
}
