// SPDX-License-Identifier: GPL-2.0-only
/* R14: pinned pages are counted in locked_vm exactly, and counted down again. */
#include "fixture.h"
#include "memcg.h"

TEST_F(rig, R14_pin_and_unpin_are_counted, 20)
{
	PIN(self, 0, 1, 'w');
	EXPECT_LOCKED(1);
	PIN(self, 1, 512, 'r');
	EXPECT_LOCKED(513);
	UNPIN(self, 0, 512);
	EXPECT_LOCKED(1);
	UNPIN(self, 512, 1);
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
}

TEST_F(rig, R14_second_pin_of_a_page_is_not_counted, 20)
{
	PIN(self, 10, 10, 'w');
	PIN(self, 10, 10, 'r');
	PIN(self, 15, 10, 'w');
	EXPECT_LOCKED(15);
	UNPIN(self, 10, 10);
	EXPECT_LOCKED(15);
	UNPIN(self, 10, 10);
	EXPECT_LOCKED(10);
	UNPIN(self, 15, 10);
	EXPECT_LOCKED(0);
}

TEST_F(rig, R14_many_pins_of_one_page, 30)
{
	int i;

	for (i = 0; i < 1000; i++)
		PIN(self, 77, 1, i % 2 ? 'r' : 'w');
	EXPECT_LOCKED(1);
	for (i = 0; i < 999; i++)
		UNPIN(self, 77, 1);
	EXPECT_LOCKED(1);
	UNPIN(self, 77, 1);
	EXPECT_LOCKED(0);
}

TEST_F(rig, R14_page_of_two_devices_is_counted_once, 20)
{
	struct mdma second;

	ASSERT_EQ(0, mdma_create(&second, "mdma-1"));
	ASSERT_EQ(0, mdma_attach(&second, self->container));
	ASSERT_EQ(0, mdma_open(&second));
	PIN(self, 0, 8, 'w');
	EXPECT_EQ(0, mdma_pin(&second, at(4), 8, 'w'));
	EXPECT_LOCKED(12);
	UNPIN(self, 0, 8);
	EXPECT_LOCKED(8);
	mdma_destroy(&second);
	EXPECT_LOCKED(0);
}

/* The same memory at two IOVAs is pinned twice. */
TEST_F(rig, R14_memory_mapped_twice, 20)
{
	ASSERT_EQ(0, dma_map(self->container, self->mem, at(RIG_PAGES),
			     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	PIN(self, 5, 3, 'w');
	PIN(self, RIG_PAGES + 5, 3, 'w');
	EXPECT_LOCKED(6);
	ASSERT_EQ(0, dma_unmap(self->container, at(RIG_PAGES),
			       RIG_PAGES << PAGE_SHIFT, NULL));
	EXPECT_LOCKED(3);
	UNPIN(self, 5, 3);
}

TEST_F(rig, R14_failed_pin_counts_nothing, 20)
{
	munmap(self->mem + (300 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(0), 512, 'w')));
	EXPECT_LOCKED(0);
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(300), 1, 'w')));
	EXPECT_LOCKED(0);
	EXPECT_STR("EINVAL",
		   error(mdma_pin(&self->dev, at(RIG_PAGES - 99), 100, 'w')));
	EXPECT_LOCKED(0);
	PIN(self, 290, 5, 'w');
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(288), 20, 'w')));
	EXPECT_LOCKED(5);
	UNPIN(self, 290, 5);
}

/* The limit is that of the task that maps, so map the memory anew. */
static void limit_locked(struct rig *r, int pages)
{
	ASSERT_EQ(0, dma_unmap(r->container, at(0), r->pages << PAGE_SHIFT,
			       NULL));
	ASSERT_STR("0", error(limit_locked_pages(pages)));
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(0),
			     r->pages << PAGE_SHIFT, MAP_RW));
}

TEST_F(rig, R14_limit_of_locked_memory, 20)
{
	struct mdma *m = &self->dev;

	limit_locked(self, 100);
	START(self);
	EXPECT_STR("ENOMEM", error(mdma_pin(m, at(0), 101, 'w')));
	EXPECT_LOCKED(0);
	PIN(self, 0, 100, 'w');
	EXPECT_LOCKED(100);
	EXPECT_STR("ENOMEM", error(mdma_pin(m, at(100), 1, 'w')));
	/* Pages that are already pinned are not counted again. */
	PIN(self, 0, 100, 'r');
	EXPECT_STR("ENOMEM", error(mdma_pin(m, at(50), 51, 'w')));
	EXPECT_LOCKED(100);
	UNPIN(self, 0, 100);
	UNPIN(self, 0, 100);
	EXPECT_LOCKED(0);
	EXPECT_STR("0-99", dirty_all(self));
	/* Records are not locked memory. */
	PIN(self, 200, 100, 'w');
	UNPIN(self, 200, 100);
}

TEST_F(rig, R14_D11_limit_and_retained_pages, 20)
{
	limit_locked(self, 8);
	START(self);
	TOUCH(self, 0, 8);
	TOUCH(self, 8, 8);
	PIN(self, 20, 7, 'w');
	EXPECT_STR("ENOMEM", error(mdma_pin(&self->dev, at(0), 4, 'w')));
	EXPECT_LOCKED(7);
	EXPECT_STR("0-15,20-26", dirty_all(self));
	EXPECT_STR("20-26", dirty_all(self));
	UNPIN(self, 20, 7);
}

/* Pinned memory goes back to the system when it is unmapped. */
static void give_back(struct rig *self, int advice)
{
	__u64 size = 2048 << PAGE_SHIFT;
	long long before = 0;
	int i, page;
	char *mem;

	START(self);
	for (i = 0; i < 20; i++) {
		if (i == 4)
			before = used_kb();
		mem = memory(size, PROT_READ | PROT_WRITE);
		madvise(mem, size, advice);
		ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES), size,
				     MAP_RW));
		for (page = 0; page < 2048; page += 512) {
			PIN(self, RIG_PAGES + page, 512, 'w');
			PIN(self, RIG_PAGES + page + 7, 3, 'r');
			UNPIN(self, RIG_PAGES + page + 7, 3);
			if (page)
				UNPIN(self, RIG_PAGES + page, 512);
		}
		ASSERT_EQ(0, dma_unmap(self->container, at(RIG_PAGES), size,
				       NULL));
		munmap(mem, size);
	}
	printf("# used memory: %+lld kB\n", used_kb() - before);
	EXPECT_LT(used_kb() - before, 16 * 8192 / 4);
	EXPECT_LOCKED(0);
}

TEST_F(rig, R14_pages_are_given_back, 60)
{
	give_back(self, MADV_NOHUGEPAGE);
}

TEST_F(rig, R14_huge_pages_are_given_back, 60)
{
	give_back(self, MADV_HUGEPAGE);
}

/* Huge pages, pinned in parts and out of order. */
TEST_F(rig, R14_huge_pages, 30)
{
	__u64 size = 8 << 20;
	char *mem = memory(2 * size, PROT_READ | PROT_WRITE);

	mem = (char *)(((unsigned long)mem + size - 1) & ~(size - 1));
	madvise(mem, size, MADV_HUGEPAGE);
	memset(mem, 1, size);
	EXPECT_LT(0, proc_kb("/proc/self/smaps_rollup", "AnonHugePages"));
	ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES), size,
			     MAP_RW));
	START(self);
	PIN(self, RIG_PAGES + 100, 512, 'w');
	PIN(self, RIG_PAGES + 1000, 512, 'w');
	PIN(self, RIG_PAGES + 511, 2, 'w');
	EXPECT_LOCKED(1024);
	UNPIN(self, RIG_PAGES + 500, 100);
	UNPIN(self, RIG_PAGES + 100, 400);
	UNPIN(self, RIG_PAGES + 1000, 512);
	EXPECT_LOCKED(14);
	UNPIN(self, RIG_PAGES + 511, 2);
	EXPECT_LOCKED(12);
	ASSERT_EQ(0, dma_unmap(self->container, at(RIG_PAGES), size, NULL));
	EXPECT_LOCKED(0);
}

#define TRACING		"/sys/kernel/tracing/"
#define LOCKING		TRACING "events/mmap_lock/mmap_lock_start_locking/enable"

/*
 * How often a thread asked for an mmap lock, by the trace. @comm: a part of the
 * thread's name, @what: "write=true" or "write=false".
 */
static int thread_locks(const char *comm, const char *what)
{
	char line[512];
	int nr = 0;
	FILE *f = fopen(TRACING "trace", "r");

	while (f && fgets(line, sizeof(line), f))
		nr += strstr(line, comm) && strstr(line, what);
	if (f)
		fclose(f);
	return nr;
}

/* All pages of a call are counted at once, not one by one (W17). */
TEST_F(rig, R14_W17_one_lock_for_a_batch, 20)
{
	char pid[16];
	int locks;

	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, file_write(TRACING "set_event_pid", pid));
	fclose(fopen(TRACING "trace", "w"));
	ASSERT_EQ(0, file_write(LOCKING, "1"));
	PIN(self, 0, 512, 'w');
	UNPIN(self, 0, 512);
	file_write(LOCKING, "0");
	file_write(TRACING "set_event_pid", " ");
	locks = thread_locks("", "write=true");
	printf("# 512 pages pinned and unpinned: %d times\n", locks);
	EXPECT_LT(0, locks);
	EXPECT_LE(locks, 8);
}

/*
 * A device's own thread is one of the owner's process, or a kernel thread where the kernel
 * has no other (worker.c): then it uses the owner's memory to pin it. Either takes mmap_lock
 * only to count locked pages. 100 calls are traced.
 */
TEST_F(rig, R17_kernel_thread_pins_as_the_owner_does, 30)
{
	int reads;

	memset(self->mem, 1, RIG_PAGES << PAGE_SHIFT);
	set_window(self, 0, RIG_PAGES);
	SET(self, "batch", "64");
	SET(self, "rate", "100");
	/* Trace every process. */
	fclose(fopen(TRACING "set_event_pid", "w"));
	fclose(fopen(TRACING "trace", "w"));
	/* The names of threads, which the lab does without (lab.rst). */
	ASSERT_EQ(0, file_write(TRACING "options/record-cmd", "1"));
	ASSERT_EQ(0, file_write(LOCKING, "1"));
	SET(self, "run", "1");
	while (mdma_get(&self->dev, "stats/descriptors") < 100)
		usleep(10000);
	SET(self, "run", "0");
	file_write(LOCKING, "0");
	file_write(TRACING "options/record-cmd", "0");
	reads = thread_locks("mdma", "write=false");
	printf("# for reading: %d times, for writing: %d times\n", reads,
	       thread_locks("mdma", "write=true"));
	EXPECT_LE(50, thread_locks("mdma", "write=true"));
	EXPECT_LE(reads, 10);
}

/*
 * W8. Records of pages far from each other, so that each needs memory of its own.
 * Nothing is pinned in the end, so only the records are charged.
 */
TEST_F(rig, R14_memory_of_the_store_is_charged, 60)
{
	__u64 npages = 1 << 20, stride = 256, page;
	char *mem = memory(npages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	long long before, charged;

	madvise(mem, npages << PAGE_SHIFT, MADV_NOHUGEPAGE);
	for (page = 0; page < npages; page += stride)
		mem[page << PAGE_SHIFT] = 1;
	ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES),
			     npages << PAGE_SHIFT, MAP_RW));
	ENTER_MEMCG();
	START(self);
	before = memcg_kernel_bytes();
	ASSERT_LE(0, before);
	for (page = 0; page < npages; page += stride)
		TOUCH(self, RIG_PAGES + page, 1);
	charged = memcg_kernel_bytes() - before;
	printf("# %llu records: %lld bytes charged\n", npages / stride,
	       charged);
	EXPECT_LE((long long)(npages / stride * 8), charged);
}

/*
 * The same for records that a kernel thread makes: mdma calls vfio_dma_rw() in a
 * kernel thread of the system, which is in no group.
 */
TEST_F(rig, R14_records_of_a_kernel_thread_are_charged, 60)
{
	__u64 npages = 1 << 20, stride = 256, page;
	char *mem = memory(npages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	long long before, charged;

	madvise(mem, npages << PAGE_SHIFT, MADV_NOHUGEPAGE);
	for (page = 0; page < npages; page += stride)
		mem[page << PAGE_SHIFT] = 1;
	ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES),
			     npages << PAGE_SHIFT, MAP_RW));
	/* Make the device's own records, those of the ledger, before the measurement. */
	for (page = 0; page < npages; page += stride)
		ASSERT_STR("0", error(mdma_rw_write(&self->dev,
						    at(RIG_PAGES + page), 1, 1)));
	ENTER_MEMCG();
	START(self);
	before = memcg_kernel_bytes();
	ASSERT_LE(0, before);
	for (page = 0; page < npages; page += stride)
		ASSERT_STR("0", error(mdma_rw_write(&self->dev,
						    at(RIG_PAGES + page), 1, 2)));
	charged = memcg_kernel_bytes() - before;
	printf("# %llu records: %lld bytes charged\n", npages / stride,
	       charged);
	EXPECT_LE((long long)(npages / stride * 8), charged);
}

/* Maps the memory of the rig at this many more places, and makes them the window. */
static void map_many_times(struct rig *r, int times)
{
	int i;

	for (i = 1; i <= times; i++)
		ASSERT_EQ(0, dma_map(r->container, r->mem, at(i * RIG_PAGES),
				     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	set_window(r, RIG_PAGES, (times + 1) * RIG_PAGES);
	SET(r, "batch", "512");
}

/*
 * The ledger is charged to the user who has the device open, whether the device's
 * own thread or a step makes it grow: the thread, to the group where the user is now.
 */
TEST_F(rig, mdma_ledger_is_charged_to_its_user, 60)
{
	long long charged[2], bytes[2], before;

	mdma_close(&self->dev);
	ENTER_MEMCG();
	ASSERT_EQ(0, mdma_attach(&self->dev, self->container));
	ASSERT_EQ(0, container_set_type(self->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(&self->dev));
	ASSERT_STR("0", error(memcg_leave()));
	map_many_times(self, 256);

	before = memcg_kernel_bytes();
	SET(self, "step", "256");
	bytes[0] = mdma_get(&self->dev, "ledger/bytes");
	charged[0] = memcg_kernel_bytes() - before;
	ASSERT_STR("0", error(memcg_enter()));
	SET(self, "run", "1");
	while (mdma_get(&self->dev, "ledger/records") < 256 * RIG_PAGES)
		usleep(10000);
	SET(self, "run", "0");
	ASSERT_STR("0", error(memcg_leave()));
	bytes[1] = mdma_get(&self->dev, "ledger/bytes");
	charged[1] = memcg_kernel_bytes() - before;
	printf("# ledger: %lld, then %lld bytes; charged: %lld, then %lld\n",
	       bytes[0], bytes[1], charged[0], charged[1]);
	EXPECT_LE(1 << 20, bytes[0]);
	EXPECT_LE(bytes[0] + (1 << 20), bytes[1]);
	EXPECT_LE(bytes[0], charged[0]);
	EXPECT_LE(bytes[1], charged[1]);
	/* And nothing else of that size is charged. */
	EXPECT_LE(charged[1], bytes[1] + bytes[1] / 4);

	ASSERT_STR("0", error(mdma_clear_ledger(&self->dev)));
	EXPECT_LE(memcg_kernel_bytes() - before, bytes[1] / 4);
}

static void after(void)
{
	mdev_remove_leftovers();
	memcg_remove();
}

TEST_MAIN(after)
