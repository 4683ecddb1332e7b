// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hold an mdma device open, as a VMM does: memory is mapped at IOVA 0, and then
 * nothing is done with it. So its host-side workload has something to work on.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio.h"

#define MIB_MAX	(1UL << 20)

static int fail(const char *what, int error)
{
	fprintf(stderr, "mdma-open: %s: %s\n", what, strerror(-error));
	return 1;
}

static int open_and_wait(const char *uuid, unsigned long size)
{
	int container, group, device, ret;
	void *memory;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return fail("no memory", -12);
	group = group_open(uuid);
	if (group < 0)
		return fail("no such mdev, or it is in use", group);
	container = container_open();
	if (container < 0)
		return fail("/dev/vfio/vfio", container);
	ret = group_attach(group, container);
	if (!ret)
		ret = container_set_type(container, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = dma_map(container, memory, 0, size, MAP_RW);
	if (ret)
		return fail("container", ret);
	device = group_get_device(group, uuid);
	if (device < 0)
		return fail("device", device);

	printf("%s is open, IOVA 0x0-0x%lx is mapped\n", uuid, size - 1);
	fflush(stdout);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long mib = argc > 2 ? strtoul(argv[2], NULL, 0) : 64;

	if (argc < 2 || argc > 3 || !mib || mib > MIB_MAX) {
		fprintf(stderr, "usage: mdma-open UUID [MIB]\n");
		return 2;
	}
	return open_and_wait(argv[1], mib << 20);
}
