// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cgroup.h"
#include "memcg.h"
#include "procfs.h"
#include "wait.h"

#define OURS	"mdma-selftest"

int memcg_enter(void)
{
	return cgroup_enter(OURS, "memory");
}

int memcg_leave(void)
{
	return cgroup_leave();
}

static long long kernel_bytes(void)
{
	long long bytes = -ENODATA;
	char line[4096];
	FILE *f;

	/* Makes the kernel add up the counts of all CPUs now, not later. */
	file_read_all(cgroup_file(OURS, "cpu.stat"), line, sizeof(line));
	f = fopen(cgroup_file(OURS, "memory.stat"), "r");
	if (!f)
		return -errno;
	while (bytes < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "kernel %lld", &bytes);
	fclose(f);
	return bytes;
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
