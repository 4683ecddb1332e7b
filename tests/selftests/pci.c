// SPDX-License-Identifier: GPL-2.0-only
/* The PCI function: its description by VFIO, config space, and its resets. */
#include <sys/ioctl.h>

#include <linux/pci_regs.h>

#include "fixture.h"
#include "irq.h"
#include "job.h"
#include "ring.h"

#define CONFIG		256
#define MSIX		0x40
#define AF		0x4c
#define DATA		32	/* first page of the data */
#define CHANNELS	4

FIXTURE(function) {
	struct rig rig;
};

FIXTURE_SETUP(function)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
}

FIXTURE_TEARDOWN(function)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static struct vfio_region_info region(struct mdma *m, __u32 index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	ASSERT_EQ(0, ioctl(m->device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info;
}

TEST_F(function, mdma_info_of_device_and_regions, 20)
{
	const __u32 rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct mdma *m = &self->rig.dev;
	struct vfio_region_info seen;
	__u32 i;

	ASSERT_EQ(0, ioctl(m->device, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, info.flags);
	EXPECT_EQ(VFIO_PCI_NUM_REGIONS + 1, info.num_regions);
	EXPECT_EQ(VFIO_PCI_NUM_IRQS, info.num_irqs);
	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		bool there = i == VFIO_PCI_BAR0_REGION_INDEX ||
			     i == VFIO_PCI_CONFIG_REGION_INDEX;

		seen = region(m, i);
		EXPECT_EQ(there ? rw : 0, seen.flags);
		EXPECT_EQ(!there, !seen.size);
		EXPECT_EQ((__u64)i << 40, seen.offset);
	}
	EXPECT_EQ(MDMA_BAR0_SIZE, region(m, VFIO_PCI_BAR0_REGION_INDEX).size);
	EXPECT_EQ(CONFIG, region(m, VFIO_PCI_CONFIG_REGION_INDEX).size);
	seen.index = info.num_regions;
	EXPECT_EQ(-1, ioctl(m->device, VFIO_DEVICE_GET_REGION_INFO, &seen));
	info.argsz = sizeof(info.argsz);
	EXPECT_EQ(-1, ioctl(m->device, VFIO_DEVICE_GET_INFO, &info));
}

TEST_F(function, mdma_info_of_interrupts, 20)
{
	static const struct {
		__u32 flags;
		__u32 count;
	} want[] = {
		[VFIO_PCI_INTX_IRQ_INDEX] = {
			VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
			VFIO_IRQ_INFO_AUTOMASKED, 1
		},
		[VFIO_PCI_MSI_IRQ_INDEX] = { 0, 0 },
		[VFIO_PCI_MSIX_IRQ_INDEX] = { VFIO_IRQ_INFO_EVENTFD, CHANNELS },
		[VFIO_PCI_REQ_IRQ_INDEX] = { VFIO_IRQ_INFO_EVENTFD, 1 },
	};
	struct vfio_irq_info info = { .argsz = sizeof(info) };
	struct mdma *m = &self->rig.dev;

	for (info.index = 0; info.index < ARRAY_SIZE(want); info.index++) {
		int ret = ioctl(m->device, VFIO_DEVICE_GET_IRQ_INFO, &info);

		if (info.index == VFIO_PCI_ERR_IRQ_INDEX) {
			EXPECT_EQ(-1, ret);
			continue;
		}
		EXPECT_EQ(0, ret);
		EXPECT_EQ(want[info.index].flags, info.flags);
		EXPECT_EQ(want[info.index].count, info.count);
	}
	EXPECT_EQ(-1, ioctl(m->device, VFIO_DEVICE_GET_IRQ_INFO, &info));
}

static __u32 config(struct function *f, int offset, int size)
{
	__u32 value = 0;

	ASSERT_EQ(0, mdma_config_read(&f->rig.dev, offset, &value, size));
	return value;
}

TEST_F(function, mdma_config_space_of_a_new_device, 20)
{
	ASSERT_EQ(0, ioctl(self->rig.dev.device, VFIO_DEVICE_RESET));
	EXPECT_EQ(MDMA_PCI_VENDOR_ID, config(self, PCI_VENDOR_ID, 2));
	EXPECT_EQ(MDMA_PCI_DEVICE_ID, config(self, PCI_DEVICE_ID, 2));
	EXPECT_EQ(0, config(self, PCI_COMMAND, 2));
	EXPECT_EQ(PCI_STATUS_CAP_LIST, config(self, PCI_STATUS, 2));
	EXPECT_EQ(MDMA_PCI_REVISION, config(self, PCI_REVISION_ID, 1));
	EXPECT_EQ(PCI_HEADER_TYPE_NORMAL, config(self, PCI_HEADER_TYPE, 1));
	EXPECT_EQ(1, config(self, PCI_INTERRUPT_PIN, 1));
	EXPECT_EQ(MSIX, config(self, PCI_CAPABILITY_LIST, 1));
	EXPECT_EQ(PCI_CAP_ID_MSIX | AF << 8, config(self, MSIX, 2));
	EXPECT_EQ(CHANNELS - 1, config(self, MSIX + PCI_MSIX_FLAGS, 2));
	EXPECT_EQ(MDMA_MSIX_TABLE_OFFSET, config(self, MSIX + PCI_MSIX_TABLE, 4));
	EXPECT_EQ(MDMA_MSIX_PBA_OFFSET, config(self, MSIX + PCI_MSIX_PBA, 4));
	EXPECT_EQ(PCI_CAP_ID_AF, config(self, AF, 2));
	EXPECT_EQ(PCI_CAP_AF_SIZEOF, config(self, AF + PCI_AF_LENGTH, 1));
	EXPECT_EQ(PCI_AF_CAP_TP | PCI_AF_CAP_FLR, config(self, AF + PCI_AF_CAP, 1));
	EXPECT_EQ(0, config(self, AF + PCI_AF_CTRL, 2));
}

/* Like firmware that sizes a BAR. */
TEST_F(function, mdma_bar_sizing, 20)
{
	const __u32 ones = ~0, address = 0xfebd4000;
	struct mdma *m = &self->rig.dev;
	int bar;

	for (bar = PCI_BASE_ADDRESS_0; bar <= PCI_BASE_ADDRESS_5; bar += 4) {
		ASSERT_EQ(0, mdma_config_write(m, bar, &ones, 4));
		EXPECT_EQ(bar == PCI_BASE_ADDRESS_0 ? -MDMA_BAR0_SIZE : 0,
			  (int)config(self, bar, 4));
	}
	ASSERT_EQ(0, mdma_config_write(m, PCI_ROM_ADDRESS, &ones, 4));
	EXPECT_EQ(0, config(self, PCI_ROM_ADDRESS, 4));
	ASSERT_EQ(0, mdma_config_write(m, PCI_BASE_ADDRESS_0, &address, 4));
	EXPECT_EQ(address, config(self, PCI_BASE_ADDRESS_0, 4));
	EXPECT_EQ(MDMA_MAGIC, mdma_read32(m, MDMA_REG_MAGIC));
}

/* Each bit of each byte: the bits of the mask can be changed, no others. */
TEST_F(function, mdma_config_write_masks, 20)
{
	static const __u8 mask[CONFIG] = {
		[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
		[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8,
		[PCI_CACHE_LINE_SIZE] = 0xff,
		[PCI_LATENCY_TIMER] = 0xff,
		[PCI_BASE_ADDRESS_0 + 1] = 0xc0,
		[PCI_BASE_ADDRESS_0 + 2] = 0xff,
		[PCI_BASE_ADDRESS_0 + 3] = 0xff,
		[PCI_INTERRUPT_LINE] = 0xff,
		[MSIX + PCI_MSIX_FLAGS + 1] = 0xc0,
	};
	struct mdma *m = &self->rig.dev;
	__u8 old[CONFIG], seen, write;
	int i;

	ASSERT_EQ(0, mdma_config_read(m, 0, old, CONFIG));
	for (i = 0; i < CONFIG; i++) {
		/* Not Initiate FLR, which does not keep its value. */
		write = i == AF + PCI_AF_CTRL ? 0xfe : 0xff;
		ASSERT_EQ(0, mdma_config_write(m, i, &write, 1));
		ASSERT_EQ(0, mdma_config_read(m, i, &seen, 1));
		if (seen != (old[i] | mask[i]))
			FAIL("byte 0x%x: 0x%x, was 0x%x", i, seen, old[i]);
		write = 0;
		ASSERT_EQ(0, mdma_config_write(m, i, &write, 1));
		ASSERT_EQ(0, mdma_config_read(m, i, &seen, 1));
		if (seen != (old[i] & ~mask[i]))
			FAIL("byte 0x%x: 0x%x, was 0x%x", i, seen, old[i]);
	}
}

/* The two resets. */
static int reset_by_vfio(void *arg)
{
	struct mdma *m = arg;

	return ioctl(m->device, VFIO_DEVICE_RESET) ? -errno : 0;
}

static int reset_by_flr(void *arg)
{
	const __u8 flr = PCI_AF_CTRL_FLR;
	struct mdma *m = arg;

	return mdma_config_write(m, AF + PCI_AF_CTRL, &flr, 1);
}

#define DESCRIPTORS	250

/*
 * Starts a ring, holds a page, gives a window of the guest, sets the BAR and so on. The
 * device waits within its second descriptor.
 */
static void make_busy(struct function *f, struct ring *ring)
{
	const struct mdma_desc desc = {
		.op = MDMA_OP_FILL, .flags = MDMA_DESC_IRQ, .dst = at(DATA),
		.len = 256 * PAGE_SIZE, .data = 1,
	};
	const __u32 address = 0xfebd4000, flags = 0x80;
	struct mdma *m = &f->rig.dev;
	long long seen;
	int i;

	ASSERT_EQ(0, mdma_config_write(m, PCI_BASE_ADDRESS_0, &address, 4));
	ASSERT_EQ(0, mdma_config_write(m, PCI_INTERRUPT_LINE, &flags, 1));
	ASSERT_EQ(0, mdma_config_write(m, MSIX + PCI_MSIX_FLAGS + 1, &flags, 1));
	PIN(&f->rig, 700, 3, 'w');
	ring_enable(ring, &f->rig, 2, 1024 / CHANNELS);
	ASSERT_EQ(MDMA_STATUS_DONE, ring_run(ring, &desc));
	ASSERT_STR("0", error(mdma_set_stall(m, PAGE_SIZE)));
	for (i = 1; i < DESCRIPTORS; i++)
		ring_put(ring, &desc);
	seen = mdma_get(m, "stats/pages_written");
	ring_doorbell(ring);
	/* More than the status of the first descriptor. */
	ASSERT_EQ(true, WAIT_FOR(mdma_get(m, "stats/pages_written") > seen + 1));
}

/*
 * The reset of a device that is within a descriptor. That of VFIO stops it midway, the
 * other one waits for its end.
 */
static void reset_midway(struct mdma *m, int (*reset)(void *arg))
{
	struct job job;

	job_start(&job, reset, m);
	job_sleeps_in(&job, "mdma_regs_reset_device");
	ASSERT_STR("0", error(mdma_set_stall(m, 0)));
	ASSERT_STR("0", error(job_join(&job)));
}

static void after_reset(struct function *f, int (*reset)(void *arg),
			__u8 *space, __u32 *regs)
{
	struct mdma *m = &f->rig.dev;
	const __u8 memory = PCI_COMMAND_MEMORY;
	struct ring ring;
	long long seq;
	int i;

	make_busy(f, &ring);
	reset_midway(m, reset);
	EXPECT_EQ(0, mdma_get(m, "stats/pinned"));
	EXPECT_LOCKED(0);
	seq = mdma_get(m, "stats/seq");
	ASSERT_EQ(0, mdma_config_read(m, 0, space, CONFIG));
	EXPECT_EQ(~0U, mdma_read32(m, MDMA_REG_MAGIC));
	ASSERT_EQ(0, mdma_config_write(m, PCI_COMMAND, &memory, 1));
	for (i = 0; i < MDMA_BAR0_SIZE / 4; i++)
		regs[i] = mdma_read32(m, 4 * i);
	usleep(20000);
	EXPECT_EQ(seq, mdma_get(m, "stats/seq"));
	ASSERT_STR("0", error(mdma_reset(m)));
}

/* Both resets end all DMA, give back all pins, and leave the same state. */
TEST_F(function, mdma_flr_is_a_reset, 40)
{
	static __u32 regs[3][MDMA_BAR0_SIZE / 4];
	static __u8 space[3][CONFIG];
	__u32 i;

	after_reset(self, reset_by_vfio, space[0], regs[0]);
	after_reset(self, reset_by_flr, space[1], regs[1]);
	EXPECT_EQ(0, memcmp(space[0], space[1], CONFIG));
	EXPECT_EQ(0, memcmp(regs[0], regs[1], sizeof(regs[0])));

	/* A new user who opens the device finds that state, too. */
	mdma_close(&self->rig.dev);
	ASSERT_EQ(0, mdma_attach(&self->rig.dev, self->rig.container));
	ASSERT_EQ(0, container_set_type(self->rig.container,
					VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(&self->rig.dev));
	ASSERT_EQ(0, mdma_config_read(&self->rig.dev, 0, space[2], CONFIG));
	space[2][PCI_COMMAND] = 0;
	EXPECT_EQ(0, memcmp(space[1], space[2], CONFIG));
	for (i = 0; i < MDMA_BAR0_SIZE / 4; i++)
		EXPECT_EQ(regs[1][i], mdma_read32(&self->rig.dev, 4 * i));
}

/*
 * A vector without an eventfd is masked: its interrupt is signalled when an eventfd
 * is set again, and is not lost.
 */
TEST_F(function, mdma_masked_vector, 20)
{
	const struct mdma_desc desc = {
		.op = MDMA_OP_NOP, .flags = MDMA_DESC_IRQ,
	};
	const unsigned int set = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER;
	struct mdma *m = &self->rig.dev;
	int fd = irq_set_vector(m, 1);
	struct ring ring;

	ring_enable(&ring, &self->rig, 1, 8);
	ASSERT_STR("0", error(irq_command(m, set, VFIO_PCI_MSIX_IRQ_INDEX, 1,
					  -1)));
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	/* The interrupt comes after HEAD. */
	EXPECT_EQ(1, WAIT_FOR(ring_reg(&ring, MDMA_CHAN_IRQ) == 1));
	EXPECT_EQ(0, irq_count(fd, NOBODY_WAITS));
	ASSERT_STR("0", error(irq_command(m, set, VFIO_PCI_MSIX_IRQ_INDEX, 1,
					  fd)));
	EXPECT_EQ(1, irq_count(fd, 3000));
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	EXPECT_EQ(1, irq_count(fd, 3000));
	/* VFIO can't mask a vector: a user masks it by taking the eventfd away. */
	EXPECT_STR("ENOTTY", error(irq_command(m, VFIO_IRQ_SET_DATA_NONE |
					       VFIO_IRQ_SET_ACTION_MASK,
					       VFIO_PCI_MSIX_IRQ_INDEX, 1, 1)));
	close(fd);
}

TEST_MAIN(mdev_remove_leftovers)
