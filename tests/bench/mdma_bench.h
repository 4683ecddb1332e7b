/* SPDX-License-Identifier: GPL-2.0-only */
/* The interface of the benchmark's module and its program: one ioctl. */
#ifndef MDMA_BENCH_H
#define MDMA_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* One call of vfio_pin_pages() for each batch. */
#define MDMA_BENCH_PIN		0
/* One call of vfio_unpin_pages() for each batch. */
#define MDMA_BENCH_UNPIN	1
/* Both, batch by batch, like a device whose ring has one batch in use. */
#define MDMA_BENCH_RING		2
/* The cost without vfio: pin_user_pages_remote() and unpinning. */
#define MDMA_BENCH_FLOOR	3
/* memset() of @count bytes of kernel memory. */
#define MDMA_BENCH_MEMSET	4

/*
 * Pin a batch, access its pages, unpin it: as the device does for a descriptor. The
 * access is a stamp of 64 bytes in each page; a copy from the batch 2 MiB further on,
 * which is pinned for it; a CRC32.
 */
#define MDMA_BENCH_STAMP	5
#define MDMA_BENCH_COPY		6
#define MDMA_BENCH_READ		7

/**
 * struct mdma_bench_run - the argument of MDMA_BENCH_RUN
 * @op: MDMA_BENCH_PIN to MDMA_BENCH_READ
 * @batch: pages of each call, 1 to 512
 * @start: IOVA of the first batch, a virtual address for MDMA_BENCH_FLOOR
 * @stride: bytes from one batch to the next
 * @span: bytes after which the batches begin anew at @start, a power of two; 0: no
 *	limit
 * @count: number of batches
 * @desc: not 0: IOVA of a page, of which MDMA_BENCH_STAMP to MDMA_BENCH_READ read 64 bytes
 *	before @pieces accesses, and write 8 after them, as of a descriptor: two pins of it
 * @pieces: of a descriptor, at least 1 if there is one
 * @thread: not 0: run in a kernel thread, which has no memory of its own, like a
 *	device's own thread
 * @ns: returned: total time
 * @unpin_ns: returned by MDMA_BENCH_FLOOR, for which @ns is the time of the pins alone
 */
struct mdma_bench_run {
	__u32 op;
	__u32 batch;
	__u64 start;
	__u64 stride;
	__u64 span;
	__u64 count;
	__u64 desc;
	__u64 pieces;
	__u64 thread;
	__u64 ns;
	__u64 unpin_ns;
};

#define MDMA_BENCH_RUN	_IOWR('B', 0, struct mdma_bench_run)

#endif
