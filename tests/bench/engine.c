// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device adds to the pins of a descriptor: from the doorbell to the interrupt
 * that says it is done, with many descriptors in the ring. Prints "KEY VALUE" lines, in
 * nanoseconds a descriptor, and beside each the cost of its pins, accesses and unpins
 * alone, by the module mdma_bench ("bare"); and the least that a descriptor can cost which
 * stops midway when the device is quiesced: the same in pieces of 64 pages, and the pins that
 * read the descriptor and write its status ("least").
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_run.h"
#include "irq.h"
#include "ring.h"

#define DESCS	64
#define ROUNDS_ENGINE	5
#define PIECE		64	/* pages, as in the device's job.c */
#define SRC	513			/* pages of the rig: ring, 512, 512 */

/* Nanoseconds a descriptor. */
static double engine(struct ring *ring, int fd, struct mdma_desc desc)
{
	double least = 0;
	int i, round;

	for (round = 0; round < ROUNDS_ENGINE; round++) {
		struct pollfd done = { .fd = fd, .events = POLLIN };
		double begin;
		__u64 value;

		for (i = 0; i < DESCS; i++) {
			desc.flags = i == DESCS - 1 ? MDMA_DESC_IRQ : 0;
			ring_put(ring, &desc);
		}
		begin = now_ns();
		ring_doorbell(ring);
		if (poll(&done, 1, 60000) != 1 || read(fd, &value, 8) != 8)
			die("no interrupt, status %u",
			    ring_reg(ring, MDMA_CHAN_STATUS));
		keep_least(&least, now_ns() - begin);
		if (ring_reg(ring, MDMA_CHAN_HEAD) != ring->tail)
			die("not done");
	}
	return least / DESCS;
}

/*
 * The same accesses in a loop of the module's, by the owner, as the device's thread is. @desc:
 * IOVA of a descriptor, or 0.
 */
static double bare(struct bench *b, __u32 op, __u32 npages, __u64 desc)
{
	__u32 pieces = desc && npages > PIECE ? npages / PIECE : 1;
	__u32 batch = npages / pieces;
	struct mdma_bench_run todo = {
		.op = op, .batch = batch, .start = IOVA,
		.stride = batch * PAGE_SIZE, .span = npages * PAGE_SIZE,
		.count = DESCS * pieces, .desc = desc, .pieces = pieces,
	};
	double least = 0;
	int i;

	for (i = 0; i < ROUNDS_ENGINE; i++)
		keep_least(&least, run(b, todo).ns);
	return least / DESCS;
}

static const struct {
	const char *name;
	__u32 op;
	__u32 bare;
	__u32 npages;
} rows[] = {
	{ "stamp_512", MDMA_OP_STAMP, MDMA_BENCH_STAMP, 512 },
	{ "copy_1", MDMA_OP_COPY, MDMA_BENCH_COPY, 1 },
	{ "copy_512", MDMA_OP_COPY, MDMA_BENCH_COPY, 512 },
	{ "read_512", MDMA_OP_READ, MDMA_BENCH_READ, 512 },
};

#define NR_ROWS	(sizeof(rows) / sizeof(*rows))

static void engines(void)
{
	struct ring ring;
	struct rig rig;
	unsigned int i;
	char key[64];
	int fd;

	check("rig", rig_open(&rig, "mdma-1", 1 + 2 * 512));
	check("madvise", madvise(rig.mem, rig.pages * PAGE_SIZE, MADV_HUGEPAGE) ?
			 -errno : 0);
	memset(rig.mem, 0, rig.pages * PAGE_SIZE);
	fd = check("irq", irq_set_vector(&rig.dev, 0));
	ring_enable(&ring, &rig, 0, DESCS);
	for (i = 0; i < NR_ROWS; i++) {
		snprintf(key, sizeof(key), "engine_%s", rows[i].name);
		say(key, engine(&ring, fd, (struct mdma_desc){
			.op = rows[i].op, .dst = at(1), .src = at(SRC),
			.len = rows[i].npages * PAGE_SIZE }));
	}
	close(fd);
	rig_close(&rig);
}

static void bares(void)
{
	struct bench b;
	unsigned int i;
	char key[64];

	bench_open(&b, populated(4 * HUGE, MADV_HUGEPAGE), 4 * HUGE);
	for (i = 0; i < NR_ROWS; i++) {
		snprintf(key, sizeof(key), "bare_%s", rows[i].name);
		say(key, bare(&b, rows[i].bare, rows[i].npages, 0));
		snprintf(key, sizeof(key), "least_%s", rows[i].name);
		say(key, bare(&b, rows[i].bare, rows[i].npages,
			      IOVA + 2 * HUGE));
	}
	bench_close(&b);
}

int main(void)
{
	bares();
	engines();
	return 0;
}
