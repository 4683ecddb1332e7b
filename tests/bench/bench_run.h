/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the groups of the benchmark share: memory, a container with the benchmark's
 * device, and what the device is told to do.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mdma_bench.h"
#include "procfs.h"
#include "vfio.h"

#define CREATE	"/sys/class/mdev_bus/mdma-bench/mdev_supported_types/" \
		"mdma-bench-1/create"
#define UUID	"6d646d61-0000-4000-8000-00000062656e"

#define MIB	0x100000ULL
#define GIB	(1024 * MIB)
#define TIB	(1024 * GIB)
#define IOVA	(4 * GIB)
#define BATCH	512
#define RING	(512 * PAGE_SIZE)
/* Odd, so that all pages are visited before any page is visited again. */
#define SCRAMBLE	(0x9e3779b1ULL * PAGE_SIZE)
#define HUGE	(2 * MIB)

/* A figure is the best of this many rounds: the first one also fills kernel caches. */
#define ROUNDS	3

struct bench {
	int container;
	int group;
	int device;
	unsigned char *mem;
	__u64 size;
	unsigned char *bitmap;
};

static void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* Returns @ret if it is not negative. An error ends the program. */
static long long check(const char *what, long long ret)
{
	if (ret < 0)
		die("%s: %s", what, strerror(-ret));
	return ret;
}

static void say(const char *key, double value)
{
	printf("%s %.3f\n", key, value);
	fflush(stdout);
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* Memory that the kernel allocated for itself, in bytes. */
static long long kernel_bytes(void)
{
	check("stat_refresh", file_write("/proc/sys/vm/stat_refresh", "1"));
	return 1024 * (check("Slab", proc_kb("/proc/meminfo", "Slab")) +
		       check("Vmalloc", proc_kb("/proc/meminfo", "VmallocUsed")));
}

static void *anonymous(__u64 size, int advice)
{
	__u64 slack = size + HUGE;
	unsigned char *mem = mmap(NULL, slack, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				  -1, 0);

	if (mem == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	/* Aligned as in QEMU, so that huge pages fit; the slack is never touched. */
	mem = (void *)(((__u64)mem + HUGE - 1) & ~(HUGE - 1));
	check("madvise", madvise(mem, size, advice) ? -errno : 0);
	return mem;
}

static void *populated(__u64 size, int advice)
{
	unsigned char *mem = anonymous(size, advice);

	memset(mem, 1, size);
	return mem;
}

/* Small pages whose frames are in no order; @size is a power of two. */
static void *scattered(__u64 size)
{
	unsigned char *mem = anonymous(size, MADV_NOHUGEPAGE);
	__u64 i;

	for (i = 0; i < size >> PAGE_SHIFT; i++)
		mem[(i * SCRAMBLE) & (size - 1)] = 1;
	return mem;
}

static void bench_open(struct bench *b, unsigned char *mem, __u64 size)
{
	b->mem = mem;
	b->size = size;
	b->bitmap = populated(bitmap_bytes(size >> PAGE_SHIFT), MADV_HUGEPAGE);
	check("create", file_write(CREATE, UUID));
	b->container = check("container", container_open());
	b->group = check("group", group_open(UUID));
	check("attach", group_attach(b->group, b->container));
	check("type", container_set_type(b->container, VFIO_TYPE1v2_IOMMU));
	b->device = check("device", group_get_device(b->group, UUID));
	check("map", dma_map(b->container, mem, IOVA, size, MAP_RW));
}

static void bench_close(struct bench *b)
{
	close(b->device);
	close(b->group);
	close(b->container);
	check("remove", mdev_remove(UUID));
	munmap(b->mem, b->size);
	munmap(b->bitmap, bitmap_bytes(b->size >> PAGE_SHIFT));
}

static struct mdma_bench_run run(struct bench *b, struct mdma_bench_run todo)
{
	check("run", ioctl(b->device, MDMA_BENCH_RUN, &todo) ? -errno : 0);
	return todo;
}

/* Nanoseconds for @count calls, @stride bytes apart. */
static double pins(struct bench *b, __u32 op, __u32 batch, __u64 stride,
		   __u64 count)
{
	return run(b, (struct mdma_bench_run){
		.op = op, .batch = batch, .start = IOVA, .stride = stride,
		.count = count }).ns;
}

/* Pins or unpins all pages of the first @size bytes, in batches. */
static double pin_all(struct bench *b, __u32 op, __u64 size)
{
	return pins(b, op, BATCH, BATCH * PAGE_SIZE, size / BATCH / PAGE_SIZE);
}

static void keep_least(double *least, double value)
{
	if (!*least || value < *least)
		*least = value;
}

#endif
