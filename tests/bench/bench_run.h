/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the groups of the benchmark share: memory, a container with the benchmark's
 * device, and what the device is told to do.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <linux/types.h>

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

void die(const char *fmt, ...);

/* Returns @ret if it is not negative. An error ends the program. */
long long check(const char *what, long long ret);
void say(const char *key, double value);
double now_ns(void);
/* Memory that the kernel allocated for itself, in bytes. */
long long kernel_bytes(void);
void *anonymous(__u64 size, int advice);
void *populated(__u64 size, int advice);
/* Small pages whose frames are in no order; @size is a power of two. */
void *scattered(__u64 size);
/* A container with the device, and nothing mapped. */
void bench_open_empty(struct bench *b, unsigned char *mem, __u64 size);
void bench_open(struct bench *b, unsigned char *mem, __u64 size);
void bench_close(struct bench *b);
struct mdma_bench_run run(struct bench *b, struct mdma_bench_run todo);
/* Nanoseconds for @count calls, @stride bytes apart. */
double pins(struct bench *b, __u32 op, __u32 batch, __u64 stride, __u64 count);
/* Pins or unpins all pages of the first @size bytes, in batches. */
double pin_all(struct bench *b, __u32 op, __u64 size);
void keep_least(double *least, double value);
double timed_start(struct bench *b);
void expect(struct bench *b, __u64 want);
double timed_get(struct bench *b);
/* Pin and unpin @count pages, as far from each other as can be, from @offset on. */
double scatter_at(struct bench *b, __u64 offset, __u64 count);
double scatter(struct bench *b, __u64 count);
double timed_unmap(struct bench *b);
double timed_stop(struct bench *b);

/* bench_wait.c, bench_growth.c */
void group_wait(void);
void group_growth(void);

#endif
