// SPDX-License-Identifier: GPL-2.0-only
/* The device as a guest sees it, a friendly guest and a hostile one. */
#include <sys/ioctl.h>

#include <linux/pci_regs.h>

#include "fixture.h"
#include "irq.h"
#include "ring.h"
#include "stall.h"
#include "stream.h"

#define ENTRIES		16
#define DATA		32	/* first page of the data */

/* A channel with a ring of ENTRIES; a test can set it up again. */
FIXTURE(guest) {
	struct rig rig;
	struct ring ring;
};

FIXTURE_SETUP(guest)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", 256)));
	ring_enable(&self->ring, &self->rig, 0, ENTRIES);
	ASSERT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_STATUS));
}

static __u32 run(struct guest *g, __u32 op, __u64 dst, __u64 src, __u64 len)
{
	struct mdma_desc desc = {
		.op = op, .dst = dst, .src = src, .len = len,
		.data = 0x1122334455667788, .cookie = 0xc00c1e,
	};

	return ring_run(&g->ring, &desc);
}

static void expect_usable(struct guest *g)
{
	unsigned char *page = g->rig.mem + ((DATA + 5) << PAGE_SHIFT);

	memset(page, 0, PAGE_SIZE);
	EXPECT_EQ(MDMA_STATUS_DONE, run(g, MDMA_OP_FILL, at(DATA + 5), 0, 8));
	EXPECT_EQ(0x88, page[0]);
	EXPECT_EQ(0x11, page[7]);
	EXPECT_EQ(0, page[8]);
}

FIXTURE_TEARDOWN(guest)
{
	if (self->rig.mem) {
		ring_enable(&self->ring, &self->rig, 0, ENTRIES);
		expect_usable(self);
	}
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

TEST_F(guest, mdma_registers, 20)
{
	struct mdma *m = &self->rig.dev;

	EXPECT_EQ(MDMA_MAGIC, mdma_read32(m, MDMA_REG_MAGIC));
	EXPECT_EQ(MDMA_VERSION, mdma_read32(m, MDMA_REG_VERSION));
	EXPECT_EQ(4, mdma_read32(m, MDMA_REG_CHANNELS));
	EXPECT_EQ(4, mdma_get(m, "channels"));
	EXPECT_EQ(at(0), mdma_read64(m, MDMA_REG_CHANNEL(0) + MDMA_CHAN_RING));
	mdma_write32(m, MDMA_REG_MAGIC, 0);
	EXPECT_EQ(MDMA_MAGIC, mdma_read32(m, MDMA_REG_MAGIC));
}

/* Odd sizes and places read as ones and are ignored on write. */
TEST_F(guest, mdma_odd_register_accesses, 20)
{
	struct mdma *m = &self->rig.dev;
	__u8 bytes[2] = { 0, 0 };
	__u32 word = 0;

	EXPECT_EQ(1, pread(m->device, bytes, 1, m->bar0 + MDMA_REG_MAGIC));
	EXPECT_EQ(0xff, bytes[0]);
	EXPECT_EQ(2, pread(m->device, bytes, 2, m->bar0 + MDMA_REG_MAGIC + 2));
	EXPECT_EQ(0xff, bytes[1]);
	EXPECT_EQ(4, pread(m->device, &word, 4, m->bar0 + MDMA_REG_MAGIC + 2));
	EXPECT_EQ(~0U, word);
	bytes[0] = 1;
	EXPECT_EQ(1, pwrite(m->device, bytes, 1,
			    m->bar0 + MDMA_REG_CHANNEL(0) + MDMA_CHAN_CTRL));
	EXPECT_EQ(MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ,
		  ring_reg(&self->ring, MDMA_CHAN_CTRL));
	EXPECT_EQ(-1, pread(m->device, &word, 4, m->bar0 + MDMA_BAR0_SIZE));
	EXPECT_EQ(-1, pwrite(m->device, &word, 4, m->bar0 + MDMA_BAR0_SIZE));
}

TEST_F(guest, mdma_operations, 20)
{
	unsigned char *mem = self->rig.mem + (DATA << PAGE_SHIFT);
	struct mdma_desc *desc = self->ring.desc;
	struct mdma_stamp *stamp = (void *)(mem + 8 * PAGE_SIZE);
	__u64 i;

	for (i = 0; i < 3 * PAGE_SIZE; i++)
		mem[i] = i * 31 >> 3;
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_NOP, 0, 0, 0));
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_COPY, at(DATA + 4) + 1,
					at(DATA) + 7, 2 * PAGE_SIZE + 99));
	EXPECT_EQ(0, memcmp(mem + 4 * PAGE_SIZE + 1, mem + 7,
			    2 * PAGE_SIZE + 99));
	EXPECT_EQ(0, mem[4 * PAGE_SIZE]);
	EXPECT_EQ(0, mem[6 * PAGE_SIZE + 100]);
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_STAMP, at(DATA + 8), 0,
					2 * PAGE_SIZE));
	EXPECT_EQ(MDMA_STAMP_MAGIC, stamp->magic);
	EXPECT_EQ(at(DATA + 8), stamp->iova);
	EXPECT_EQ(self->rig.dev.id, stamp->device);
	EXPECT_EQ(0, stamp->channel);
	memcpy(mem, "123456789", 9);
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_READ, 0, at(DATA), 9));
	EXPECT_EQ(0xcbf43926, ~desc[3].result);
	EXPECT_EQ(0xc00c1e, desc[3].cookie);
	EXPECT_EQ(4, ring_reg(&self->ring, MDMA_CHAN_HEAD));
}

TEST_F(guest, mdma_every_channel, 20)
{
	struct mdma_desc desc = { .op = MDMA_OP_STAMP, .len = PAGE_SIZE };
	struct mdma_stamp *stamp;
	struct ring ring;
	__u32 n;

	for (n = 1; n < 4; n++) {
		ring_enable(&ring, &self->rig, n, ENTRIES);
		desc.dst = at(DATA + n);
		EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
		stamp = (void *)(self->rig.mem + ((DATA + n) << PAGE_SHIFT));
		EXPECT_EQ(n, stamp->channel);
	}
}

TEST_F(guest, mdma_bad_descriptors, 30)
{
	struct mdma_desc flags = { .op = MDMA_OP_NOP, .flags = ~0U };
	const __u64 max = MDMA_DESC_MAX_LEN, d = at(DATA), end = at(256);

	EXPECT_EQ(MDMA_STATUS_BAD_OP, run(self, 5, d, d, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_OP, run(self, ~0U, d, d, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_OP, ring_run(&self->ring, &flags));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH, run(self, MDMA_OP_FILL, d, 0, 0));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH, run(self, MDMA_OP_READ, 0, d, 0));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH,
		  run(self, MDMA_OP_FILL, d, 0, max + 1));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH, run(self, MDMA_OP_FILL, d, 0, ~0ULL));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH,
		  run(self, MDMA_OP_FILL, -8ULL, 0, 9));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH,
		  run(self, MDMA_OP_COPY, d, -8ULL, 9));
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH,
		  run(self, MDMA_OP_STAMP, d, 0, PAGE_SIZE + 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS,
		  run(self, MDMA_OP_STAMP, d + 8, 0, PAGE_SIZE));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_FILL, 0, 0, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS,
		  run(self, MDMA_OP_FILL, -8ULL, 0, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS,
		  run(self, MDMA_OP_FILL, end - 8, 0, 9));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_READ, 0, end, 1));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_COPY, d, end, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_COPY, end, d, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS,
		  run(self, MDMA_OP_COPY, d, d + 4, 8));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_COPY, d, d, 1));
	/* None of them halts the ring. */
	EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(19, ring_reg(&self->ring, MDMA_CHAN_HEAD));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
	expect_usable(self);
}

TEST_F(guest, mdma_write_to_a_read_only_mapping, 20)
{
	char *mem = memory(4 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	__u64 ro = at(512);

	ASSERT_EQ(0, dma_map(self->rig.container, mem, ro, 4 * PAGE_SIZE,
			     VFIO_DMA_MAP_FLAG_READ));
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_FILL, ro, 0, 64));
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_READ, 0, ro, 64));
}

/* An attempt to use the ring ends with this STATUS and does nothing. */
static void expect_ring_status(struct guest *g, __u64 ring, __u32 size,
			       __u32 status)
{
	struct mdma *m = &g->rig.dev;

	ring_set_reg(&g->ring, MDMA_CHAN_CTRL, 0);
	mdma_write64(m, MDMA_REG_CHANNEL(0) + MDMA_CHAN_RING, ring);
	ring_set_reg(&g->ring, MDMA_CHAN_RING_SIZE, size);
	ring_set_reg(&g->ring, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE);
	g->ring.tail = 1;
	ring_doorbell(&g->ring);
	ring_wait(&g->ring);
	EXPECT_EQ(status, ring_reg(&g->ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(0, ring_reg(&g->ring, MDMA_CHAN_HEAD));
	ring_enable(&g->ring, &g->rig, 0, ENTRIES);
	expect_usable(g);
}

TEST_F(guest, mdma_bad_rings, 30)
{
	const __u32 bad = MDMA_STATUS_BAD_RING;

	expect_ring_status(self, at(0), 0, bad);
	expect_ring_status(self, at(0), 1, bad);
	expect_ring_status(self, at(0), 3, bad);
	expect_ring_status(self, at(0), 2048, bad);
	expect_ring_status(self, at(0), ~0U, bad);
	expect_ring_status(self, at(0) + 8, 16, bad);
	expect_ring_status(self, 0, 16, bad);
	expect_ring_status(self, at(256), 16, bad);
	expect_ring_status(self, -64ULL, 2, bad);
	expect_ring_status(self, -64ULL, 1024, bad);
}

TEST_F(guest, mdma_doorbell_too_far, 20)
{
	static const __u32 far[] = { ENTRIES + 1, 1000, 1U << 31, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(far); i++) {
		ring_set_reg(&self->ring, MDMA_CHAN_TAIL, far[i]);
		ring_wait(&self->ring);
		EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL,
			  ring_reg(&self->ring, MDMA_CHAN_STATUS));
		EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_HEAD));
		ring_enable(&self->ring, &self->rig, 0, ENTRIES);
		expect_usable(self);
		ring_enable(&self->ring, &self->rig, 0, ENTRIES);
	}
}

/* A doorbell in the past is one far in the future. */
TEST_F(guest, mdma_doorbell_backwards, 20)
{
	expect_usable(self);
	expect_usable(self);
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 1);
	ring_wait(&self->ring);
	EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL,
		  ring_reg(&self->ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(2, ring_reg(&self->ring, MDMA_CHAN_HEAD));
}

static void set_command(struct guest *g, __u16 command)
{
	ASSERT_EQ(0, mdma_config_write(&g->rig.dev, PCI_COMMAND, &command,
				       sizeof(command)));
}

/* Without bus mastering there is no DMA; the ring waits until it is enabled. */
TEST_F(guest, mdma_no_descriptor_without_bus_master, 20)
{
	struct mdma_desc desc = {
		.op = MDMA_OP_STAMP, .dst = at(DATA), .len = PAGE_SIZE,
	};

	set_command(self, PCI_COMMAND_MEMORY);
	ring_put(&self->ring, &desc);
	ring_doorbell(&self->ring);
	usleep(200000);
	EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_HEAD));
	EXPECT_EQ(MDMA_STATUS_NONE, self->ring.desc[0].status);
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pins"));
	set_command(self, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ASSERT_EQ(self->ring.tail, ring_wait(&self->ring));
	EXPECT_EQ(MDMA_STATUS_DONE, self->ring.desc[0].status);
}

TEST_F(guest, mdma_full_ring_many_times, 30)
{
	struct mdma_desc desc = {
		.op = MDMA_OP_STAMP, .dst = at(DATA), .len = PAGE_SIZE,
	};
	int round, i;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < ENTRIES; i++)
			ring_put(&self->ring, &desc);
		ring_doorbell(&self->ring);
		ASSERT_EQ(self->ring.tail, ring_wait(&self->ring));
		for (i = 0; i < ENTRIES; i++)
			EXPECT_EQ(MDMA_STATUS_DONE, self->ring.desc[i].status);
	}
	EXPECT_EQ(20 * ENTRIES, self->ring.tail);
}

/* A report holds the device's writes: the data and the ring itself. */
TEST_F(guest, R2_descriptors_are_reported, 20)
{
	START(&self->rig);
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_COPY, at(DATA + 4),
					at(DATA), 2 * PAGE_SIZE));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
	EXPECT_STR("0,36-37", dirty_all(&self->rig));
	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_READ, 0, at(DATA), 8));
	EXPECT_STR("0", dirty_all(&self->rig));
	EXPECT_STR("none", dirty_all(&self->rig));
}

/* A ring that is its own target. */
TEST_F(guest, mdma_ring_that_overwrites_itself, 20)
{
	__u32 status;

	status = run(self, MDMA_OP_FILL, at(0), 0, PAGE_SIZE);
	EXPECT_EQ(MDMA_STATUS_DONE, status);
	status = run(self, MDMA_OP_COPY, at(0), at(DATA), 64 * ENTRIES);
	EXPECT_EQ(MDMA_STATUS_DONE, status);
	EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_STATUS));
}

TEST_F(guest, mdma_ring_is_unmapped, 20)
{
	__u64 size = 256 << PAGE_SHIFT;

	ASSERT_EQ(0, dma_unmap(self->rig.container, at(0), size, NULL));
	EXPECT_EQ(0, run(self, MDMA_OP_NOP, 0, 0, 0));
	EXPECT_EQ(MDMA_STATUS_BAD_RING,
		  ring_reg(&self->ring, MDMA_CHAN_STATUS));
	ASSERT_EQ(0, dma_map(self->rig.container, self->rig.mem, at(0), size,
			     MAP_RW));
}

TEST_F(guest, mdma_window_of_the_guest, 20)
{
	struct mdma *m = &self->rig.dev;
	struct mdma_range *table = (void *)(self->rig.mem + 8 * PAGE_SIZE);
	char text[256];

	table[0] = (struct mdma_range) { at(DATA), 2 * PAGE_SIZE };
	table[1] = (struct mdma_range) { at(DATA + 8), PAGE_SIZE };
	mdma_write64(m, MDMA_REG_WINDOW_TABLE, at(8));
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, 2);
	EXPECT_EQ(MDMA_STATUS_DONE, mdma_read32(m, MDMA_REG_WINDOW_STATUS));
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, 256));
	EXPECT_STR("0x40020000-0x40021fff,0x40028000-0x40028fff", text);
	ASSERT_STR("0", error(mdma_set(m, "workload/step", "3")));
	EXPECT_EQ(3, mdma_get(m, "stats/pages_written"));
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, 0);
	EXPECT_EQ(MDMA_STATUS_DONE, mdma_read32(m, MDMA_REG_WINDOW_STATUS));
	EXPECT_NE(0, mdma_set(m, "workload/step", "1"));
}

static void expect_bad_window(struct mdma *m, __u64 table, __u32 ranges)
{
	mdma_write64(m, MDMA_REG_WINDOW_TABLE, table);
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, ranges);
	EXPECT_EQ(MDMA_STATUS_BAD_WINDOW,
		  mdma_read32(m, MDMA_REG_WINDOW_STATUS));
	EXPECT_NE(0, mdma_set(m, "workload/step", "1"));
}

TEST_F(guest, mdma_bad_windows, 20)
{
	struct mdma *m = &self->rig.dev;
	struct mdma_range *table = (void *)(self->rig.mem + 8 * PAGE_SIZE);
	static const struct mdma_range bad[] = {
		{ 0, 0 }, { 1, PAGE_SIZE }, { 0, PAGE_SIZE - 1 },
		{ -PAGE_SIZE, 2 * PAGE_SIZE }, { 2 * PAGE_SIZE, -PAGE_SIZE },
		{ ~0ULL, ~0ULL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		table[0] = bad[i];
		expect_bad_window(m, at(8), 1);
	}
	table[0] = (struct mdma_range) { at(DATA), PAGE_SIZE };
	expect_bad_window(m, at(8), MDMA_MAX_RANGES + 1);
	expect_bad_window(m, at(8), ~0U);
	expect_bad_window(m, at(256), 1);
	expect_bad_window(m, -16ULL, 2);
	expect_bad_window(m, 0, 1);
}

TEST_F(guest, mdma_interrupt, 20)
{
	struct mdma_desc desc = { .op = MDMA_OP_NOP, .flags = MDMA_DESC_IRQ };
	int fd = irq_set_vector(&self->rig.dev, 0);

	EXPECT_EQ(MDMA_STATUS_DONE, run(self, MDMA_OP_NOP, 0, 0, 0));
	EXPECT_EQ(0, irq_count(fd, NOBODY_WAITS));
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&self->ring, &desc));
	EXPECT_EQ(1, irq_count(fd, 3000));
	EXPECT_EQ(1, ring_reg(&self->ring, MDMA_CHAN_IRQ));
	ring_set_reg(&self->ring, MDMA_CHAN_IRQ, 1);
	EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_IRQ));
}

/* Every failure raises the vector, even without MDMA_DESC_IRQ. */
static void expect_vector(struct guest *g, int fd)
{
	EXPECT_LT(0, irq_count(fd, 5000));
	EXPECT_EQ(1, ring_reg(&g->ring, MDMA_CHAN_IRQ));
	ring_set_reg(&g->ring, MDMA_CHAN_IRQ, 1);
}

TEST_F(guest, mdma_errors_raise_an_interrupt, 20)
{
	int fd = irq_set_vector(&self->rig.dev, 0);
	const __u64 d = at(DATA), end = at(256);

	EXPECT_EQ(MDMA_STATUS_BAD_OP, run(self, 77, d, d, 8));
	expect_vector(self, fd);
	EXPECT_EQ(MDMA_STATUS_BAD_LENGTH, run(self, MDMA_OP_FILL, d, 0, ~0ULL));
	expect_vector(self, fd);
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, run(self, MDMA_OP_READ, 0, end, 8));
	expect_vector(self, fd);
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 1 << 20);
	EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL,
		  ring_reg(&self->ring, MDMA_CHAN_STATUS));
	expect_vector(self, fd);
}

/* Descriptors that overwrite their own ring: only the queued ones are executed. */
TEST_F(guest, mdma_ring_that_rewrites_itself, 30)
{
	const __u64 half = ENTRIES / 2 * sizeof(struct mdma_desc);
	struct mdma_desc desc = {
		.op = MDMA_OP_COPY, .dst = at(0) + half, .src = at(0),
		.len = half,
	};
	int i;

	for (i = 0; i < ENTRIES; i++)
		ring_put(&self->ring, &desc);
	ring_doorbell(&self->ring);
	EXPECT_EQ(ENTRIES, ring_wait(&self->ring));
	EXPECT_EQ(0, ring_reg(&self->ring, MDMA_CHAN_STATUS));
}

#define RANDOM_ROUNDS	10000

/* Nonsense in the ring and in the registers, while the device works. */
TEST_F(guest, mdma_random_guest_does_no_harm, 60)
{
	static const __u32 regs[] = {
		MDMA_CHAN_RING, MDMA_CHAN_RING + 4, MDMA_CHAN_RING_SIZE,
		MDMA_CHAN_CTRL, MDMA_CHAN_TAIL, MDMA_CHAN_IRQ,
		MDMA_CHAN_CTRL, MDMA_CHAN_TAIL,
	};
	__u64 seed = random_seed(), *ring = (void *)self->ring.desc;
	int round, i;

	for (round = 0; round < RANDOM_ROUNDS; round++) {
		for (i = 0; i < 20; i++)
			ring[random_next(&seed) % 128] =
				random_next(&seed) >> random_next(&seed) % 48;
		for (i = 0; i < 4; i++)
			self->ring.desc[i].dst = at(random_next(&seed) % 300);
		self->ring.channel = random_next(&seed) % 5;
		ring_set_reg(&self->ring, regs[random_next(&seed) % 8],
			     random_next(&seed) >> random_next(&seed) % 48);
		if (!(random_next(&seed) % 16))
			ring_enable(&self->ring, &self->rig, 0, ENTRIES);
		if (!(random_next(&seed) % 64))
			mdma_write32(&self->rig.dev, random_next(&seed) % 0x3ff0,
				     random_next(&seed));
	}
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
}

/* As many rounds as there are in this time, on a slow machine at least a few. */
#define ROUNDS_MS	8000
#define ROUNDS_MIN	100
#define ROUNDS_MAX	100000

static int call_get(void *arg)
{
	struct rig *r = arg;
	int ret = 0;

	while (!ret && !mdma_read32(&r->dev, MDMA_REG_CHANNEL(3) + MDMA_CHAN_TAIL))
		ret = dirty_all(r)[0] == 'E' ? -EIO : 0;
	return ret;
}

/*
 * A guest that sees the status of a descriptor may reuse its slot in the ring at
 * once, whatever HEAD is by then, and however long the container's lock is held for
 * reports.
 */
TEST_F(guest, mdma_full_ring_is_never_refused, 60)
{
	const struct mdma_desc nop = { .op = MDMA_OP_NOP };
	struct ring *ring = &self->ring, reports;
	volatile struct mdma_desc *oldest;
	double begin = now_ms(), end;
	struct job get;
	int i;

	ring_enable(&reports, &self->rig, 3, 2);
	ring_enable(ring, &self->rig, 0, 2);
	START(&self->rig);
	job_start(&get, call_get, &self->rig);
	ring_put(ring, &nop);
	for (i = 0; i < ROUNDS_MIN ||
	     (i < ROUNDS_MAX && now_ms() < begin + ROUNDS_MS); i++) {
		oldest = ring->desc + (ring->tail + 1) % 2;
		ring_put(ring, &nop);
		ring_doorbell(ring);
		end = now_ms() + patience_ms();
		while (!oldest->status)
			if (now_ms() > end)
				FAIL("round %d has no end", i);
		if (ring_reg(ring, MDMA_CHAN_STATUS))
			break;
	}
	printf("# %d rounds\n", i);
	EXPECT_EQ(MDMA_STATUS_NONE, ring_reg(ring, MDMA_CHAN_STATUS));
	ring_set_reg(&reports, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE);
	reports.tail = 1;
	reports.desc[0] = nop;
	ring_doorbell(&reports);
	EXPECT_STR("0", error(job_join(&get)));
}

/* The checksum of a READ covers all its bytes, on however many pages. */
TEST_F(guest, mdma_checksum_over_pages, 20)
{
	unsigned char *mem = self->rig.mem + (DATA << PAGE_SHIFT);
	static const struct { __u64 first, len; } reads[] = {
		{ 0, 3 * PAGE_SIZE }, { 4095, 2 }, { 7, 2 * PAGE_SIZE + 99 },
		{ 4096, 1 }, { 100, 70 * PAGE_SIZE },
	};
	unsigned int i;

	for (i = 0; i < 80 * PAGE_SIZE; i++)
		mem[i] = i * 31 >> 3;
	for (i = 0; i < ARRAY_SIZE(reads); i++) {
		EXPECT_EQ(MDMA_STATUS_DONE,
			  run(self, MDMA_OP_READ, 0, at(DATA) + reads[i].first,
			      reads[i].len));
		EXPECT_EQ(stream_crc32(~0, mem + reads[i].first, reads[i].len),
			  self->ring.desc[i].result);
	}
}

TEST_MAIN(mdev_remove_leftovers)
