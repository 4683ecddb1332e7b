// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that writes registers, descriptors and config space at random. Some
 * writes make sense, so that the device gets further. SEED= repeats a run, OPS= is
 * the number of writes.
 */
#include <sys/ioctl.h>

#include <linux/pci_regs.h>

#include "fixture.h"
#include "irq.h"
#include "migration.h"
#include "ring.h"

#define PAGES		512
#define READ_ONLY	1024	/* a mapping that the device must not write */
#define GUARD		64	/* pages that are not mapped, on either side */
#define ENTRIES		64
#define FILLER		0x5a

FIXTURE(fuzz) {
	struct rig rig;
	__u64 config;		/* offset of config space */
	__u64 seed;
	__u64 entries;
	unsigned char *mem;	/* GUARD, PAGES, GUARD */
	unsigned char *read_only;
	unsigned long long regs, descs, configs, others;
};

static __u64 next(struct fuzz *f)
{
	return random_next(&f->seed);
}

static __u64 below(struct fuzz *f, __u64 n)
{
	return next(f) % n;
}

static void set_command(struct fuzz *f, __u16 command)
{
	if (pwrite(f->rig.dev.device, &command, 2, f->config + PCI_COMMAND) != 2)
		FAIL("PCI_COMMAND can't be written");
}

FIXTURE_SETUP(fuzz)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-4", 0)));
	ASSERT_EQ(0, ioctl(r->dev.device, VFIO_DEVICE_GET_REGION_INFO, &info));
	self->config = info.offset;
	self->mem = memory((PAGES + 2 * GUARD) << PAGE_SHIFT,
			   PROT_READ | PROT_WRITE);
	self->read_only = memory(16 << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	memset(self->mem, FILLER, (PAGES + 2 * GUARD) << PAGE_SHIFT);
	memset(self->read_only, FILLER, 16 << PAGE_SHIFT);
	ASSERT_EQ(0, dma_map(r->container, self->mem + (GUARD << PAGE_SHIFT),
			     at(0), PAGES << PAGE_SHIFT, MAP_RW));
	ASSERT_EQ(0, dma_map(r->container, self->read_only, at(READ_ONLY),
			     16 << PAGE_SHIFT, VFIO_DMA_MAP_FLAG_READ));
	/* For ring.h. rig_close() unmaps another copy of it. */
	r->mem = self->mem + (GUARD << PAGE_SHIFT);
	r->pages = PAGES;
}

FIXTURE_TEARDOWN(fuzz)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Mostly the address of something, sometimes any address. */
static __u64 some_iova(struct fuzz *f)
{
	switch (below(f, 16)) {
	case 0:
		return next(f) << below(f, 17);
	case 1:
		return -(next(f) >> below(f, 48));
	case 2:
		return at(READ_ONLY) + below(f, 20 << PAGE_SHIFT);
	case 3:
		return at(PAGES) - below(f, 3 << PAGE_SHIFT);
	case 4:
		return at(below(f, PAGES));
	default:
		return at(0) + below(f, (PAGES + 4) << PAGE_SHIFT);
	}
}

static __u64 some_value(struct fuzz *f)
{
	switch (below(f, 6)) {
	case 0:
		return some_iova(f);
	case 1:
		return f->entries;
	case 2:
		return below(f, 4);
	case 3:
		return below(f, 2 * ENTRIES);
	default:
		return next(f) >> below(f, 48);
	}
}

static __u64 some_length(struct fuzz *f)
{
	if (!below(f, 512))
		return MDMA_DESC_MAX_LEN - below(f, 2);
	if (!below(f, 8))
		return next(f) >> below(f, 48);
	return (1 + below(f, 3)) << (below(f, 2) ? PAGE_SHIFT : below(f, 9));
}

/* A descriptor in one of the four rings, or where one could be. */
static void write_desc(struct fuzz *f)
{
	struct mdma_desc *ring = (void *)(f->rig.mem +
					  (below(f, 5) << PAGE_SHIFT));
	struct mdma_desc desc = {
		.op = below(f, 16) ? below(f, 5) : next(f),
		.flags = below(f, 8) ? below(f, 2) : next(f),
		.dst = some_iova(f), .src = some_iova(f),
		.len = some_length(f), .data = next(f),
	};

	if (!below(f, 16))
		desc.dst = at(below(f, 5)) + below(f, PAGE_SIZE);
	ring[below(f, ENTRIES)] = desc;
	f->descs++;
}

static void write_register(struct fuzz *f)
{
	static const __u32 regs[] = {
		MDMA_CHAN_RING, MDMA_CHAN_RING + 4, MDMA_CHAN_RING_SIZE,
		MDMA_CHAN_CTRL, MDMA_CHAN_TAIL, MDMA_CHAN_TAIL, MDMA_CHAN_IRQ,
		MDMA_CHAN_HEAD, MDMA_CHAN_STATUS,
	};
	__u32 offset = MDMA_REG_CHANNEL(below(f, 5)) +
		       regs[below(f, ARRAY_SIZE(regs))];
	__u64 value = some_value(f);
	unsigned int size = 4;

	if (!below(f, 16))
		offset = MDMA_REG_WINDOW_TABLE + 4 * below(f, 3);
	if (!below(f, 32)) {
		offset = below(f, MDMA_BAR0_SIZE);
		size = 1 + below(f, 8);
	}
	if (pwrite(f->rig.dev.device, &value, size,
		   f->rig.dev.bar0 + offset) < 0)
		FAIL("write of %u bytes at %x: %s", size, offset,
		     strerror(errno));
	f->regs++;
}

static void write_config(struct fuzz *f)
{
	__u32 offset = below(f, 256), size = 1 + below(f, 4);
	__u32 value = some_value(f);

	if (!below(f, 4))
		offset = PCI_COMMAND + below(f, 2);
	if (pwrite(f->rig.dev.device, &value, size, f->config + offset) < 0)
		FAIL("config write at %x: %s", offset, strerror(errno));
	f->configs++;
}

/* Without this, most writes would meet a device that can do nothing. */
static void make_sense(struct fuzz *f)
{
	struct ring ring;

	set_command(f, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ring_enable(&ring, &f->rig, below(f, 4), ENTRIES);
	ring.tail = 1 + below(f, ENTRIES);
	ring_doorbell(&ring);
	f->regs += 6;
}

/* The VMM's part meanwhile. */
static void disturb(struct fuzz *f)
{
	static const int states[] = {
		MIG(STOP), MIG(RUNNING), MIG(PRE_COPY), MIG(RUNNING_P2P),
		MIG(STOP_COPY),
	};
	int device = f->rig.dev.device;

	if (!below(f, 8))
		ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	else
		mig_set(device, states[below(f, ARRAY_SIZE(states))], NULL);
	if (below(f, 2) && mig_get(device) != MIG(RUNNING))
		ASSERT_EQ(0, mig_set(device, MIG(RUNNING), NULL));
	f->others++;
}

static void one_write(struct fuzz *f)
{
	switch (below(f, 10)) {
	case 0:
	case 1:
		return write_config(f);
	case 2:
	case 3:
	case 4:
		return write_desc(f);
	default:
		return write_register(f);
	}
}

/* Memory that the device must not write is unchanged. */
static void expect_memory(struct fuzz *f)
{
	__u64 i, size = GUARD << PAGE_SHIFT;

	for (i = 0; i < size; i++)
		if (f->mem[i] != FILLER ||
		    f->mem[i + size + (PAGES << PAGE_SHIFT)] != FILLER)
			FAIL("byte %llu of a guard", i);
	for (i = 0; i < 16 << PAGE_SHIFT; i++)
		if (f->read_only[i] != FILLER)
			FAIL("byte %llu of read-only memory", i);
}

static void expect_ledger(struct fuzz *f)
{
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&f->rig.dev, &rec), i;

	ASSERT_LT(0, n);
	for (i = 0; i < n; i++)
		if (rec[i].iova < at(0) || rec[i].iova >= at(PAGES))
			FAIL("the ledger has 0x%llx", (long long)rec[i].iova);
	free(rec);
}

/* After a reset the device is like new: it works, reports errors, and interrupts. */
static void expect_usable(struct fuzz *f)
{
	struct mdma_desc desc = {
		.op = MDMA_OP_STAMP, .flags = MDMA_DESC_IRQ,
		.dst = at(100), .len = PAGE_SIZE,
	};
	int fd = irq_set_vector(&f->rig.dev, 1);
	struct ring ring;

	ASSERT_EQ(0, mdma_reset(&f->rig.dev));
	EXPECT_EQ(0, mdma_get(&f->rig.dev, "stats/pinned"));
	ring_enable(&ring, &f->rig, 1, 8);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	EXPECT_LT(0, irq_count(fd, 5000));
	desc.dst = at(PAGES);
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, ring_run(&ring, &desc));
	close(fd);
}

TEST_F(fuzz, mdma_a_million_hostile_writes, 240)
{
	const char *text = getenv("OPS");
	__u64 ops = text ? strtoull(text, NULL, 0) : 0, i;
	double begin = now_ms();

	ops = ops ? ops : 1000000;
	self->entries = ENTRIES;
	self->seed = random_seed();
	while (self->regs + self->descs < ops) {
		make_sense(self);
		for (i = 0; i < 50; i++)
			one_write(self);
		if (!below(self, 100))
			disturb(self);
		if (!below(self, 4000))
			expect_usable(self);
	}
	printf("# writes: %llu register, %llu descriptor, %llu config space\n",
	       self->regs, self->descs, self->configs);
	printf("# resets and states: %llu\n", self->others);
	printf("# in %.0f s\n", (now_ms() - begin) / 1000);
	printf("# %lld descriptors executed, %lld pages written, %lld pins failed\n",
	       mdma_get(&self->rig.dev, "stats/descriptors"),
	       mdma_get(&self->rig.dev, "stats/pages_written"),
	       mdma_get(&self->rig.dev, "stats/pin_errors"));
	/* Enough of the writes led to descriptors. */
	EXPECT_LT(ops / 1000, mdma_get(&self->rig.dev, "stats/descriptors"));
	EXPECT_LT(ops / 2000, mdma_get(&self->rig.dev, "stats/pages_written"));
	expect_usable(self);
	expect_memory(self);
	expect_ledger(self);
}

TEST_MAIN(mdev_remove_leftovers)
