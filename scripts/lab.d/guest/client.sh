# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# What the scenario "driver" does with tests/guest-client.

# client TEST: runs a test and prints what is wrong. dmatest keeps all channels until it is unloaded.
client() {
	rmmod dmatest
	modprobe mdma_client || return
	echo "$1" >/sys/kernel/debug/mdma_client/run ||
		dmesg | sed -n 's/.*mdma_client: //p' | tail -n 3
	load_drivers
}
