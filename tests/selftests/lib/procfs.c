// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "procfs.h"

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int file_read_all(const char *path, char *text, int size)
{
	int fd = open(path, O_RDONLY);
	int len, ret;

	text[0] = 0;
	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	ret = len < 0 ? -errno : len;
	close(fd);
	text[len < 0 ? 0 : len] = 0;
	return ret;
}

int file_read(const char *path, char *text, int size)
{
	int ret = file_read_all(path, text, size);

	text[strcspn(text, "\n")] = 0;
	return ret < 0 ? ret : 0;
}

long long file_number(const char *path)
{
	char text[64];
	int ret = file_read(path, text, sizeof(text));

	return ret ? ret : strtoll(text, NULL, 0);
}

/* Without stdio, because some tests call this hundreds of times a second. */
long long proc_kb(const char *path, const char *key)
{
	char text[8192], *line = text;
	size_t len = strlen(key);
	int ret = file_read_all(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	while (strncmp(line, key, len) || line[len] != ':') {
		line = strchr(line, '\n');
		if (!line++)
			return -ENOENT;
	}
	return strtoll(line + len + 1, NULL, 10);
}

long long locked_pages(void)
{
	long long kb = proc_kb("/proc/self/status", "VmLck");

	return kb < 0 ? kb : kb * 1024 / sysconf(_SC_PAGESIZE);
}

long long thread_sleeps(int tid, const char *states)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char path[64], text[4096], *state, *number;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	file_read_all(path, text, sizeof(text));
	state = strstr(text, "\nState:\t");
	number = strstr(text, key);
	if (!state || !number || !strchr(states, state[8]))
		return -1;
	return strtoll(number + strlen(key), NULL, 10);
}

static long long vm_counter(const char *key)
{
	long long n = -ENOENT;
	char name[64];
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fscanf(f, "%63s %lld", name, &n) == 2 && strcmp(name, key))
		n = -ENOENT;
	if (f)
		fclose(f);
	return n;
}

long long pinned_pages(void)
{
	/* Otherwise the per-CPU counts are missing. */
	file_write("/proc/sys/vm/stat_refresh", "1");
	return vm_counter("nr_foll_pin_acquired") -
	       vm_counter("nr_foll_pin_released");
}

/* Free pages in the lists of CPUs, which "MemFree" does not have: dozens of MiB. */
static long long listed_kb(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	long long count, pages = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %lld", &count) == 1)
			pages += count;
	if (f)
		fclose(f);
	return pages * sysconf(_SC_PAGESIZE) / 1024;
}

long long used_kb(void)
{
	static const char path[] = "/proc/meminfo";

	return proc_kb(path, "MemTotal") - proc_kb(path, "MemFree") -
	       proc_kb(path, "Cached") - proc_kb(path, "Buffers") - listed_kb();
}

long long module_refcount(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	return file_number(path);
}

int limit_locked_pages(int pages)
{
	rlim_t bytes = (rlim_t)pages * sysconf(_SC_PAGESIZE);
	struct rlimit limit = { bytes, bytes };
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &head, data) ||
	    setrlimit(RLIMIT_MEMLOCK, &limit))
		return -errno;
	return 0;
}

/* Only ours has tracepoints. */
int backend_is_stock(void)
{
	return access("/sys/kernel/tracing/events/vfio_type1", F_OK);
}

int stock_is_spared(void)
{
	return backend_is_stock() && !getenv("DEADLY");
}

double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
