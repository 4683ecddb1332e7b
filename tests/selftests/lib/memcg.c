// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup.h"
#include "memcg.h"
#include "procfs.h"
#include "wait.h"

#define OURS	"mdma-selftest"

static bool inside;

int memcg_enter(void)
{
	int ret = cgroup_enter(OURS, "memory");

	inside = !ret;
	return ret;
}

int memcg_leave(void)
{
	inside = false;
	return cgroup_leave();
}

int memcg_limit(long long bytes)
{
	char text[32] = "max";

	if (bytes)
		snprintf(text, sizeof(text), "%lld", bytes);
	return file_write(cgroup_file(OURS, "memory.max"), text);
}

static void come_and_go(size_t npages)
{
	size_t size = npages * sysconf(_SC_PAGESIZE);
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mem != MAP_FAILED)
		munmap(mem, size);
}

/*
 * When its counts are read, the kernel adds up those of all CPUs only if more than 64 pages
 * for each CPU came or went since it last did so: let some of our own do.
 */
static void make_counts_be_added_up(void)
{
	bool was_inside = inside;

	if (!was_inside && memcg_enter())
		return;
	come_and_go(128 * sysconf(_SC_NPROCESSORS_ONLN));
	if (!was_inside)
		memcg_leave();
}

/*
 * What objects and vmalloc() have. "kernel" has in addition what each CPU keeps for the next
 * objects: on 7.3, up to 64 pages.
 */
static long long kernel_bytes(void)
{
	long long slab = -ENODATA, vmalloc = 0, bytes;
	char line[256];
	FILE *f;

	make_counts_be_added_up();
	f = fopen(cgroup_file(OURS, "memory.stat"), "r");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "slab %lld", &bytes) == 1)
			slab = bytes;
		if (sscanf(line, "vmalloc %lld", &bytes) == 1)
			vmalloc = bytes;
	}
	fclose(f);
	return slab < 0 ? slab : slab + vmalloc;
}

/* Freed memory is uncharged after an RCU grace period: wait for the last of it. */
long long memcg_kernel_bytes(void)
{
	double end = now_ms() + patience_ms();
	long long bytes = kernel_bytes(), before;

	do {
		before = bytes;
		sleep(1);
		bytes = kernel_bytes();
	} while (bytes >= 0 && bytes != before && now_ms() < end);
	return bytes;
}

void memcg_remove(void)
{
	cgroup_remove(OURS);
}
