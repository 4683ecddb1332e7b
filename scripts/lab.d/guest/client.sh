# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# What the scenario "driver" does with tests/guest-client, and with a driver as none of
# the other scenarios needs it.

# run_client MODULE TEST [PARAMETER...]: runs a test and prints what is wrong. dmatest keeps
# all channels until it is unloaded.
run_client() {
	module=$1
	test=$2
	shift 2
	rmmod dmatest
	modprobe "$module" "$@" || return
	echo "$test" >"/sys/kernel/debug/$module/run" ||
		dmesg | sed -n "s/.*$module: //p" | tail -n 3
	rmmod "$module"
	load_drivers
}

client() {
	run_client mdma_client "$1"
}

load() {
	run_client mdma_load "$1" "transfers=${2:-200}"
}

# The same without an end, in the background, until end_clients.
begin_clients() {
	load "$1" 4000000000 >/run/clients 2>&1 &
	clients=$!
	until [ "$(cat /sys/module/mdma_load/refcnt 2>/dev/null)" = 1 ]; do
		kill -0 "$clients" || return
		sleep 0.1
	done
}

# end_clients N: ends them after N transfers of each, and prints what failed.
end_clients() {
	echo "$1" >/sys/module/mdma_load/parameters/transfers
	wait "$clients"
	cat /run/clients
}

# reload RING_SIZE: the driver anew, with such rings.
reload() {
	rmmod dmatest && rmmod mdma_guest || return
	# shellcheck disable=SC2034 # of load_drivers
	ring_size=$1
	load_drivers
}

# Boots the same kernel by kexec, from the scenario's two disks, and leaves it without
# drivers.
kexec_here() {
	modprobe virtio_blk || return
	until [ -b /dev/vda ] && [ -b /dev/vdb ]; do
		sleep 0.1
	done
	cat /dev/vda >/run/kernel && cat /dev/vdb >/run/initrd || return
	kexec /run/kernel /run/initrd "$(cat /proc/cmdline) mdma.drivers=0"
}
