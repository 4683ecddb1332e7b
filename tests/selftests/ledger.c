// SPDX-License-Identifier: GPL-2.0-only
/* The ledger: the same in debugfs and in the region, a copy of one moment, bounded. */
#include <sys/ioctl.h>

#include "fixture.h"
#include "ring.h"

#define REGION_TYPE \
	((__u32)VFIO_REGION_TYPE_PCI_VENDOR_TYPE | MDMA_PCI_VENDOR_ID)
#define LEAF_PAGES	64	/* pages that share memory in the ledger */
#define DATA		128	/* first page of the data, at the start of a leaf */

FIXTURE(ledger) {
	struct rig rig;
	__u64 offset;
	__u64 size;
};

/* Finds the region by its type, as a user must do. */
static void find_region(struct ledger *l)
{
	struct {
		struct vfio_region_info info;
		struct vfio_region_info_cap_type type;
	} arg = { 0 };
	struct vfio_device_info device = { .argsz = sizeof(device) };
	int fd = l->rig.dev.device;

	ASSERT_EQ(0, ioctl(fd, VFIO_DEVICE_GET_INFO, &device));
	for (arg.info.index = VFIO_PCI_NUM_REGIONS;
	     arg.info.index < device.num_regions; arg.info.index++) {
		/* No room: the kernel returns the size that is needed. */
		arg.info.argsz = sizeof(arg.info);
		ASSERT_EQ(0, ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &arg));
		ASSERT_EQ(sizeof(arg), arg.info.argsz);
		ASSERT_EQ(0, arg.info.cap_offset);
		ASSERT_EQ(0, ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &arg));
		ASSERT_EQ(sizeof(arg.info), arg.info.cap_offset);
		EXPECT_EQ(VFIO_REGION_INFO_CAP_TYPE, arg.type.header.id);
		if (arg.type.type != REGION_TYPE ||
		    arg.type.subtype != MDMA_REGION_SUBTYPE_LEDGER)
			continue;
		EXPECT_EQ(VFIO_REGION_INFO_FLAG_READ |
			  VFIO_REGION_INFO_FLAG_CAPS, arg.info.flags);
		l->offset = arg.info.offset;
		l->size = arg.info.size;
		return;
	}
	FAIL("no region for the ledger");
}

FIXTURE_SETUP(ledger)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
	find_region(self);
}

FIXTURE_TEARDOWN(ledger)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static long long stat_of(struct ledger *l, const char *name)
{
	return mdma_get(&l->rig.dev, name);
}

static void read_at(struct ledger *l, __u64 at, void *data, long size)
{
	ASSERT_EQ(size, pread(l->rig.dev.device, data, size, l->offset + at));
}

/* Reads the whole region in pieces of this size: header and records. */
static struct mdma_ledger_header *read_region(struct ledger *l, __u64 piece)
{
	static char data[sizeof(struct mdma_ledger_header) +
			 RIG_PAGES * sizeof(struct mdma_ledger_record)];
	struct mdma_ledger_header *header = (void *)data;
	__u64 done = 0, size = sizeof(data);

	/* The size of the region follows the bound. */
	find_region(l);
	size = l->size < size ? l->size : size;
	while (done < size) {
		read_at(l, done, data + done,
			piece < size - done ? piece : size - done);
		done += piece;
	}
	EXPECT_EQ(MDMA_LEDGER_MAGIC, header->magic);
	EXPECT_EQ(MDMA_LEDGER_VERSION, header->version);
	EXPECT_LE(header->records, (__u64)RIG_PAGES);
	return header;
}

TEST_F(ledger, mdma_ledger_is_the_same_in_both, 20)
{
	struct mdma_ledger_record *records;
	struct mdma_ledger_header *header;
	static const int pieces[] = { 32, 40, 1 << 20 };
	char byte = 0;
	unsigned int i;
	long long n;

	header = read_region(self, 1 << 20);
	EXPECT_EQ(0, header->records);
	EXPECT_EQ(0, header->seq);
	set_workload(&self->rig);
	SET(&self->rig, "step", "300");
	n = mdma_ledger(&self->rig.dev, &records);
	ASSERT_LT(100, n);
	EXPECT_EQ(n, stat_of(self, "ledger/records"));
	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		header = read_region(self, pieces[i]);
		EXPECT_EQ(n, header->records);
		EXPECT_EQ(600, header->seq);
		EXPECT_EQ(0, memcmp(header + 1, records, n * sizeof(*records)));
	}
	read_at(self, self->size - 1, &byte, 1);
	EXPECT_EQ(0, byte);
	EXPECT_EQ(-1, pread(self->rig.dev.device, &byte, 1,
			    self->offset + self->size));
	EXPECT_EQ(-1, pwrite(self->rig.dev.device, &byte, 1, self->offset));
	free(records);
}

/*
 * A copy of one moment, read while the device writes: no record is newer than the
 * copy. The workload visits all pages in turn, round and round, so the numbers in the
 * copy are those of the last rounds, without a gap.
 */
TEST_F(ledger, mdma_ledger_while_the_workload_runs, 40)
{
	const struct mdma_ledger_record *rec;
	struct mdma_ledger_header *header;
	__u64 i, lowest, highest, last = 0;
	int round;

	set_window(&self->rig, 0, 512);
	SET(&self->rig, "batch", "8");
	SET(&self->rig, "run", "1");
	while (stat_of(self, "stats/pages_written") < 512)
		usleep(1000);
	for (round = 0; round < 40 || last <= 1024; round++) {
		header = read_region(self, 4096);
		rec = (void *)(header + 1);
		ASSERT_EQ(512, header->records);
		lowest = ~0ULL;
		highest = 0;
		for (i = 0; i < 512; i++) {
			lowest = rec[i].seq < lowest ? rec[i].seq : lowest;
			highest = rec[i].seq > highest ? rec[i].seq : highest;
			EXPECT_EQ(at(i), rec[i].iova);
			EXPECT_EQ((rec[i].seq - 1) % 512, i);
		}
		EXPECT_EQ(511, highest - lowest);
		EXPECT_LE(highest, header->seq);
		EXPECT_LE(last, highest);
		last = highest;
		usleep(5000);
	}
	SET(&self->rig, "run", "0");
}

/* Makes a ledger of this many leaves, with a page in each, in memory of its own. */
static void fill_leaves(struct ledger *l, __u64 iova, __u64 leaves)
{
	__u64 size = (leaves * LEAF_PAGES) << PAGE_SHIFT;
	struct rig *r = &l->rig;

	ASSERT_STR("0", error(dma_map(r->container,
				      memory(size, PROT_READ | PROT_WRITE),
				      iova, size, MAP_RW)));
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/window", "%llx-%llx",
				       iova, iova + size - 1)));
	SET(r, "pattern", "stride");
	SET(r, "stride", "64");
	SET(r, "batch", "1");
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/step", "%llu",
				       leaves)));
	ASSERT_EQ(leaves, stat_of(l, "ledger/records"));
}

/*
 * The device writes the first page of a long ledger and the last one in turn, so their
 * numbers differ by one at any moment, and would not if one was copied later than the
 * other. The number of the header is read after the copy: it tells whether the device
 * wrote meanwhile. Only such copies count.
 */
TEST_F(ledger, mdma_ledger_copy_is_of_one_moment, 40)
{
	const __u64 leaves = 8192, iova = at(RIG_PAGES);
	const __u64 last = iova + (((leaves - 1) * LEAF_PAGES) << PAGE_SHIFT);
	struct {
		struct mdma_ledger_header header;
		struct mdma_ledger_record first;
	} copy;
	struct mdma_ledger_record end;
	int meanwhile = 0;
	long long apart;

	fill_leaves(self, iova, leaves);
	ASSERT_STR("0", error(mdma_set(&self->rig.dev, "workload/window",
				       "%llx-%llx,%llx-%llx", iova, iova + 0xfff,
				       last, last + 0xfff)));
	SET(&self->rig, "pattern", "sequential");
	SET(&self->rig, "run", "1");
	wait_for_writes(&self->rig, 2);
	while (meanwhile < 10) {
		read_at(self, 0, &copy, sizeof(copy));
		ASSERT_EQ(leaves, copy.header.records);
		read_at(self, sizeof(copy.header) + (leaves - 1) * sizeof(end),
			&end, sizeof(end));
		ASSERT_EQ(iova, copy.first.iova);
		ASSERT_EQ(last, end.iova);
		apart = end.seq - copy.first.seq;
		EXPECT_EQ(1, apart * apart);
		meanwhile += copy.header.seq > copy.first.seq + 8;
	}
	SET(&self->rig, "run", "0");
}

/* Sets the bound to this many leaves. */
static void set_leaves(struct ledger *l, int leaves)
{
	long long leaf;

	SET(&l->rig, "step", "1");
	leaf = stat_of(l, "ledger/bytes");
	ASSERT_LT(0, leaf);
	ASSERT_STR("0", error(mdma_set(&l->rig.dev, "ledger/bytes_max", "%lld",
				       leaf * leaves)));
}

/* Writes that do not fit are refused and counted; writes that fit continue. */
TEST_F(ledger, mdma_ledger_is_bounded, 20)
{
	struct rig *r = &self->rig;
	struct mdma_ledger_header *header;

	set_window(r, DATA, DATA + 4 * LEAF_PAGES);
	SET(r, "batch", "64");
	set_leaves(self, 2);
	SET(r, "step", "1");
	memset(r->mem, 0x5a, RIG_PAGES << PAGE_SHIFT);
	START(r);
	EXPECT_STR("ENOSPC", error(mdma_set(&r->dev, "workload/step", "2")));
	EXPECT_EQ(2, stat_of(self, "ledger/refused"));
	EXPECT_EQ(128, stat_of(self, "stats/pages_written"));
	EXPECT_EQ(128, stat_of(self, "ledger/records"));
	EXPECT_EQ(stat_of(self, "ledger/bytes"),
		  stat_of(self, "ledger/bytes_max"));
	EXPECT_EQ(0x5a, r->mem[(DATA + 2 * LEAF_PAGES) << PAGE_SHIFT]);
	EXPECT_EQ(0, stat_of(self, "stats/pinned"));
	header = read_region(self, 1 << 20);
	EXPECT_EQ(2, header->refused);
	EXPECT_EQ(128, header->records);

	/* Pages that are already in the ledger. */
	SET(r, "step", "2");
	EXPECT_EQ(256, stat_of(self, "stats/pages_written"));
	/* With more memory, writes succeed again. */
	ASSERT_STR("0", error(mdma_set(&r->dev, "ledger/bytes_max", "1000000")));
	SET(r, "step", "2");
	EXPECT_EQ(256, stat_of(self, "ledger/records"));
	EXPECT_EQ(2, stat_of(self, "ledger/refused"));
	EXPECT_STR("ERANGE", error(mdma_set(&r->dev, "ledger/bytes_max",
					    "1073741825")));
	EXPECT_STR("EINVAL", error(mdma_set(&r->dev, "ledger/bytes_max", "a")));
}

/* The guest gets a status that says it is not at fault. */
TEST_F(ledger, mdma_ledger_bound_and_the_guest, 20)
{
	struct mdma_desc desc = { .op = MDMA_OP_FILL, .len = 8, .data = 1 };
	struct rig *r = &self->rig;
	struct ring ring;

	set_window(r, DATA, DATA + LEAF_PAGES);
	/* One leaf for the window, one for the ring. */
	set_leaves(self, 2);
	ring_enable(&ring, r, 1, 8);
	desc.dst = at(DATA);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	desc.dst = at(DATA + LEAF_PAGES);
	EXPECT_EQ(MDMA_STATUS_DEVICE_ERROR, ring_run(&ring, &desc));
	EXPECT_EQ(0, r->mem[(DATA + LEAF_PAGES) << PAGE_SHIFT]);
	EXPECT_EQ(1, stat_of(self, "ledger/refused"));
	desc.dst = at(DATA + 1);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
}

/* A guest that names unmapped pages causes no memory to be allocated for them. */
TEST_F(ledger, mdma_ledger_of_pages_that_are_not_there, 20)
{
	struct mdma_desc desc = { .op = MDMA_OP_FILL, .len = 8, .data = 1 };
	struct rig *r = &self->rig;
	struct ring ring;
	long long bytes;
	int i;

	ring_enable(&ring, r, 1, 16);
	desc.dst = at(DATA);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	bytes = stat_of(self, "ledger/bytes");
	for (i = 0; i < 100; i++) {
		desc.dst = at(RIG_PAGES) + ((__u64)i << 30);
		EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, ring_run(&ring, &desc));
	}
	EXPECT_EQ(bytes, stat_of(self, "ledger/bytes"));
	EXPECT_EQ(0, stat_of(self, "ledger/refused"));
}

/* A new user finds an empty ledger; its bound is the administrator's. */
TEST_F(ledger, mdma_ledger_of_a_new_user, 20)
{
	struct rig *r = &self->rig;

	EXPECT_EQ(256LL << 20, stat_of(self, "ledger/bytes_max"));
	set_window(r, 0, RIG_PAGES);
	set_leaves(self, 1);
	mdma_set(&r->dev, "workload/batch", "512");
	mdma_set(&r->dev, "workload/step", "2");
	EXPECT_LT(0, stat_of(self, "ledger/refused"));
	mdma_close(&r->dev);
	EXPECT_EQ(1, stat_of(self, "ledger/records"));
	ASSERT_EQ(0, mdma_attach(&r->dev, r->container));
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(&r->dev));
	EXPECT_EQ(0, stat_of(self, "ledger/records"));
	EXPECT_EQ(0, stat_of(self, "ledger/bytes"));
	EXPECT_EQ(0, stat_of(self, "ledger/refused"));
	EXPECT_LT(0, stat_of(self, "ledger/bytes_max"));
}

TEST_MAIN(mdev_remove_leftovers)
