// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memcg.h"
#include "procfs.h"
#include "wait.h"

#define ROOT	"/tmp/mdma-selftest-cgroup"
#define OURS	ROOT "/mdma-selftest"

static int move_to(const char *procs)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return file_write(procs, pid);
}

int memcg_enter(void)
{
	int ret;

	mkdir(ROOT, 0700);
	if (access(ROOT "/cgroup.controllers", F_OK) &&
	    mount("none", ROOT, "cgroup2", 0, NULL))
		return -errno;
	ret = file_write(ROOT "/cgroup.subtree_control", "+memory");
	if (ret)
		return ret;
	mkdir(OURS, 0700);
	return move_to(OURS "/cgroup.procs");
}

int memcg_leave(void)
{
	return move_to(ROOT "/cgroup.procs");
}

static long long kernel_bytes(void)
{
	long long bytes = -ENODATA;
	char line[4096];
	FILE *f;

	/* Makes the kernel add up the counts of all CPUs now, not later. */
	file_read_all(OURS "/cpu.stat", line, sizeof(line));
	f = fopen(OURS "/memory.stat", "r");
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
	rmdir(OURS);
	umount(ROOT);
	rmdir(ROOT);
}
