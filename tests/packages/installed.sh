#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# installed.sh OLD NEW: a system that has booted with the packages of version OLD. /results/debs has
# those of version NEW, /results/compiled what dkms has compiled of them. Leaves
# /results/installed.ktap.

old=$1
new=$2
debs=/results/debs
devices=/sys/bus/mdev/devices
uuid=$(</proc/sys/kernel/random/uuid)
number=0
vmm=

exec 3>/results/installed.ktap
# The plan comes first: a script that ends half way has not kept it.
printf 'KTAP version 1\n1..%d\n' "$(grep -c '^result "' "$0")" >&3

# One result. What the command prints is the reason of a failure.
result() {
	local name=$1 said
	shift
	number=$((number + 1))
	echo "$name"
	if said=$("$@" 2>&1); then
		echo "ok $number $name" >&3
	else
		echo "$said"
		tail -n 20 <<<"$said" | sed 's/^/# /' >&3
		echo "not ok $number $name" >&3
	fi
}

# A make for dkms that only puts the modules to where they are compiled.
without_compiler() {
	cat >/usr/local/bin/make <<-'END'
		#!/bin/bash
		set -e
		for word; do [[ $word != M=* ]] || cd "${word#M=}"; done
		xz -dc /results/compiled/mdma.ko.xz >samples/vfio-mdev/mdma/mdma.ko
		test -e drivers/vfio/vfio_iommu_type1_hooked.c
		xz -dc /results/compiled/vfio_iommu_type1.ko.xz >drivers/vfio/vfio_iommu_type1.ko
	END
	chmod +x /usr/local/bin/make
}

loaded_is_ours() {
	[[ $(modinfo -F backend vfio_iommu_type1) == mdma:* ]] || modinfo vfio_iommu_type1
	[[ $(modinfo -n vfio_iommu_type1) == */updates/dkms/* ]] &&
		grep O /sys/module/vfio_iommu_type1/taint
}

# The device writes 1000 pages more.
writes() {
	local before after tries
	before=$(<"$devices/$uuid/stats/pages_written")
	echo 1000 >"$devices/$uuid/workload/step" || return 1
	for ((tries = 0; tries < 600; tries++)); do
		after=$(<"$devices/$uuid/stats/pages_written")
		((after - before != 1000)) || return 0
		sleep 0.1
	done
	echo "$((after - before)) pages"
	return 1
}

create_device() {
	echo "$uuid" >/sys/class/mdev_bus/mdma/mdev_supported_types/mdma-1/create &&
		echo 0x0-0x3ffffff >"$devices/$uuid/workload/window" &&
		echo 1 >"$devices/$uuid/workload/batch"
}

open_device() {
	mdma-open "$uuid" 64 >/tmp/open 2>&1 &
	vmm=$!
	until [[ -s /tmp/open ]]; do sleep 0.1; done
}

close_device() {
	kill "$vmm"
	wait "$vmm"
	echo 1 >"$devices/$uuid/remove"
}

only_new() {
	dkms status
	dkms status | grep -q "^mdma/$new,.*: installed" &&
		! ls -d "/usr/src/mdma-$old" "/var/lib/dkms/mdma/$old" 2>/dev/null
}

build_id() {
	xz -dc "$(modinfo -n mdma)" >/tmp/mdma.ko
	objcopy -O binary --only-section=.note.gnu.build-id /tmp/mdma.ko /tmp/id
	cmp /sys/module/mdma/notes/.note.gnu.build-id /tmp/id
}

old_runs() {
	! build_id
}

still_works() {
	kill -0 "$vmm" && writes
}

new_is_loaded() {
	modprobe vfio && modprobe mdma && loaded_is_ours && build_id
}

stock_is_back() {
	[[ -z $(modinfo -F backend vfio_iommu_type1) ]] || return 1
	rmmod mdma vfio_iommu_type1 && modprobe vfio && modprobe vfio_iommu_type1 || return 1
	[[ $(</sys/module/vfio_iommu_type1/taint) != *O* ]] || return 1
	! modprobe mdma
}

result "after the boot, the loaded backend is ours" loaded_is_ours
result "the device is made" create_device
open_device
without_compiler
result "the open device writes" writes
result "an upgrade while the device is open" dpkg -i "$debs"/mdma-dkms_*.deb "$debs"/mdma-tools_*.deb
result "of the module, only the new version is left" only_new
result "the old module runs until it is unloaded" old_runs
result "the device works after the upgrade" still_works
close_device
result "it is unloaded then" rmmod mdma vfio_iommu_type1
result "mdma-run, Ctrl-C in pre-copy: the host is as before" python3 /results/here.py interrupted
result "mdma-run, a QEMU dies: the host is as before" python3 /results/here.py killed
result "mdma-run, the proof: the host is as before" python3 /results/here.py whole
result "mdma-run, modules loaded before: the host is as before" python3 /results/here.py loaded
result "mdma-run, experiment and driver: the host is as before" python3 /results/here.py others
result "mdma-run, an ordinary user: rights are named, and are enough" python3 /results/here.py user
result "the new version is loaded" new_is_loaded
result "the packages are removed" dpkg -r mdma-dkms mdma-guest-dkms
result "the kernel's own type1 is back, and no device" stock_is_back
