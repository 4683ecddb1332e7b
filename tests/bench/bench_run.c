// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the groups of the benchmark share.
 */
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

#include "bench_run.h"

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

long long check(const char *what, long long ret)
{
	if (ret < 0)
		die("%s: %s", what, strerror(-ret));
	return ret;
}

void say(const char *key, double value)
{
	printf("%s %.3f\n", key, value);
	fflush(stdout);
}

double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

long long kernel_bytes(void)
{
	check("stat_refresh", file_write("/proc/sys/vm/stat_refresh", "1"));
	return 1024 * (check("Slab", proc_kb("/proc/meminfo", "Slab")) +
		       check("Vmalloc", proc_kb("/proc/meminfo", "VmallocUsed")));
}

void *anonymous(__u64 size, int advice)
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

void *populated(__u64 size, int advice)
{
	unsigned char *mem = anonymous(size, advice);

	memset(mem, 1, size);
	return mem;
}

void *scattered(__u64 size)
{
	unsigned char *mem = anonymous(size, MADV_NOHUGEPAGE);
	__u64 i;

	for (i = 0; i < size >> PAGE_SHIFT; i++)
		mem[(i * SCRAMBLE) & (size - 1)] = 1;
	return mem;
}

void bench_open_empty(struct bench *b, unsigned char *mem, __u64 size)
{
	b->mem = mem;
	b->size = size;
	b->bitmap = populated(bitmap_bytes(size >> PAGE_SHIFT), MADV_HUGEPAGE);
	/* What a group has left that failed */
	mdev_remove(UUID);
	check("create", file_write(CREATE, UUID));
	b->container = check("container", container_open());
	b->group = check("group", group_open(UUID));
	check("attach", group_attach(b->group, b->container));
	check("type", container_set_type(b->container, VFIO_TYPE1v2_IOMMU));
	b->device = check("device", group_get_device(b->group, UUID));
}

void bench_open(struct bench *b, unsigned char *mem, __u64 size)
{
	bench_open_empty(b, mem, size);
	check("map", dma_map(b->container, mem, IOVA, size, MAP_RW));
}

void bench_close(struct bench *b)
{
	close(b->device);
	close(b->group);
	close(b->container);
	check("remove", mdev_remove(UUID));
	munmap(b->mem, b->size);
	munmap(b->bitmap, bitmap_bytes(b->size >> PAGE_SHIFT));
}

struct mdma_bench_run run(struct bench *b, struct mdma_bench_run todo)
{
	check("run", ioctl(b->device, MDMA_BENCH_RUN, &todo) ? -errno : 0);
	return todo;
}

double pins(struct bench *b, __u32 op, __u32 batch, __u64 stride, __u64 count)
{
	return run(b, (struct mdma_bench_run){
		.op = op, .batch = batch, .start = IOVA, .stride = stride,
		.count = count }).ns;
}

double pin_all(struct bench *b, __u32 op, __u64 size)
{
	return pins(b, op, BATCH, BATCH * PAGE_SIZE, size / BATCH / PAGE_SIZE);
}

void keep_least(double *least, double value)
{
	if (!*least || value < *least)
		*least = value;
}

double timed_start(struct bench *b)
{
	double begin = now_ns();

	check("START", dirty_start(b->container));
	return now_ns() - begin;
}

void expect(struct bench *b, __u64 want)
{
	__u64 i, found = 0;

	for (i = 0; i < bitmap_bytes(b->size >> PAGE_SHIFT) / 8; i++)
		found += __builtin_popcountll(((__u64 *)b->bitmap)[i]);
	if (found != want)
		die("%llu pages reported, not %llu", found, want);
}

double timed_get(struct bench *b)
{
	double begin = now_ns();

	check("GET", dirty_get(b->container, IOVA, b->size, b->bitmap));
	return now_ns() - begin;
}

double scatter_at(struct bench *b, __u64 offset, __u64 count)
{
	struct mdma_bench_run todo = {
		.batch = 1, .start = IOVA + offset,
		.stride = b->size / count & ~(PAGE_SIZE - 1ULL), .count = count,
	};
	double ns;

	todo.op = MDMA_BENCH_PIN;
	ns = run(b, todo).ns;
	todo.op = MDMA_BENCH_UNPIN;
	return ns + run(b, todo).ns;
}

double scatter(struct bench *b, __u64 count)
{
	return scatter_at(b, 0, count);
}

double timed_unmap(struct bench *b)
{
	double begin = now_ns();

	check("UNMAP", dma_unmap_get(b->container, IOVA, b->size, b->bitmap,
				     NULL));
	return now_ns() - begin;
}

double timed_stop(struct bench *b)
{
	double begin = now_ns();

	check("STOP", dirty_stop(b->container));
	return now_ns() - begin;
}
