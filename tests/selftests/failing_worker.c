// SPDX-License-Identifier: GPL-2.0-only
/*
 * R10, R14: what a device does with the guest's memory, with each allocation and copy of user
 * memory failing in turn: in the thread of its channel, and in one that lets it make a step. No
 * page is written that is not in the ledger, and none is in the ledger that is not reported.
 */
#include <sys/syscall.h>

#include "ring.h"
#include "sweep.h"
#include "workers.h"

#define SRC		100
#define DST		200
#define NPAGES		2
#define BYTES		(NPAGES << PAGE_SHIFT)

static struct ring ring;
static long long skipped;

static unsigned char *page(struct failing *f, __u64 n)
{
	return f->rig.mem + (n << PAGE_SHIFT);
}

/* The device's thread is the one whose allocations fail. */
static void fail_in_worker(struct failing *f)
{
	pid_t tid = workers_first(&f->rig.dev);

	ASSERT_LT(0, tid);
	close(f->fd);
	f->fd = fail_nth_open(tid);
	ASSERT_LE(0, f->fd);
}

/* Nothing is written, recorded or retained. */
static void begin_anew(struct failing *f)
{
	STOP(&f->rig);
	START(&f->rig);
	ASSERT_EQ(0, mdma_clear_ledger(&f->rig.dev));
	memset(page(f, 0), 0, PAGE_SIZE);
	memset(page(f, SRC), 0xa5, BYTES);
	memset(page(f, DST), 1, BYTES);
}

/* What is in the ledger is reported. Returns its pages as bitmap_text() does. */
static const char *written(struct failing *f)
{
	unsigned char in_ledger[RIG_PAGES / 8] = { 0 }, reported[RIG_PAGES / 8] = { 0 };
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&f->rig.dev, &rec), writes = 0, i;

	ASSERT_LE(0, n);
	for (i = 0; i < n; i++) {
		bitmap_assign(in_ledger, (rec[i].iova - RIG_IOVA) >> PAGE_SHIFT, 1);
		writes += rec[i].writes;
	}
	free(rec);
	EXPECT_LE(writes, mdma_get(&f->rig.dev, "stats/seq"));
	ASSERT_EQ(0, dirty_get(f->rig.container, at(0), RIG_PAGES << PAGE_SHIFT, reported));
	for (i = 0; i < RIG_PAGES; i++)
		if (bitmap_bit(in_ledger, i) && !bitmap_bit(reported, i))
			FAIL("page %lld is in the ledger, and not reported", i);
	return bitmap_text(in_ledger, RIG_PAGES);
}

static void expect_nothing_pinned(struct failing *f)
{
	EXPECT_EQ(0, wait_for_value(&f->rig, "stats/pinned", 0));
	EXPECT_LOCKED(0);
}

/* --- the guest's ring ------------------------------------------------------------ */

static void enable_ring(struct failing *f)
{
	ASSERT_STR("0", error(mdma_reset(&f->rig.dev)));
	begin_anew(f);
	ring_enable(&ring, &f->rig, 0, 8);
}

/* What the guest is told: a status of the descriptor, or of the ring, which is halted. */
static int call_ring(struct failing *f)
{
	const struct mdma_desc desc = {
		.op = MDMA_OP_COPY, .flags = MDMA_DESC_IRQ,
		.src = at(SRC), .dst = at(DST), .len = BYTES,
	};
	__u32 status = ring_run(&ring, &desc), halted = ring_reg(&ring, MDMA_CHAN_STATUS);

	(void)f;
	if (halted)
		return halted == MDMA_STATUS_DEVICE_ERROR ? -ENOMEM : -EIO;
	if (status == MDMA_STATUS_DONE)
		return 0;
	return status == MDMA_STATUS_DEVICE_ERROR ? -ENOMEM : -EIO;
}

/* The descriptor is written last, to page 0: if that fails, the data was written. */
static void check_ring(struct failing *f, bool done)
{
	const char *pages = written(f);
	bool copied = strstr(pages, "200-201");

	EXPECT_EQ(copied, !memcmp(page(f, SRC), page(f, DST), BYTES));
	if (done)
		EXPECT_STR("0,200-201", pages);
	else if (copied)
		EXPECT_STR("200-201", pages);
	else if (strcmp(pages, "0"))
		EXPECT_STR("none", pages);
	expect_nothing_pinned(f);
}

TEST_F(failing, mdma_failing_descriptor_is_told, 120)
{
	static const struct sweep s = {
		.of = "mdma_ring_poll", .before = enable_ring,
		.call = call_ring, .check = check_ring,
	};

	fail_in_worker(self);
	sweep(self, &s);
}

/* --- the workload ---------------------------------------------------------------- */

/* A trace with one entry, which writes one page. */
static void load_trace(struct rig *r)
{
	const struct {
		struct mdma_trace_header header;
		struct mdma_trace_entry entry;
	} trace = {
		.header = { MDMA_TRACE_MAGIC, MDMA_TRACE_VERSION, 1, 0 },
		.entry = { .iova = at(DST), .npages = 1, .flags = MDMA_TRACE_WRITE },
	};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace", r->dev.uuid);
	fd = open(path, O_WRONLY);
	ASSERT_EQ(sizeof(trace), write(fd, &trace, sizeof(trace)));
	close(fd);
	SET(r, "pattern", "trace");
}

static void wait_for_trace(struct failing *f)
{
	begin_anew(f);
	skipped = mdma_get(&f->rig.dev, "stats/skipped");
}

static int call_run(struct failing *f)
{
	SET(&f->rig, "run", "1");
	if (wait_for_value(&f->rig, "workload/run", 0))
		return -ETIMEDOUT;
	return mdma_get(&f->rig.dev, "stats/skipped") == skipped ? 0 : -ENOMEM;
}

static int call_step(struct failing *f)
{
	return mdma_set(&f->rig.dev, "workload/step", "1");
}

static void check_page(struct failing *f, bool done)
{
	EXPECT_STR(done ? "200" : "none", written(f));
	EXPECT_EQ(done, ((struct mdma_stamp *)page(f, DST))->magic == MDMA_STAMP_MAGIC);
	EXPECT_EQ(done, check_stamps(&f->rig));
	expect_nothing_pinned(f);
}

static void sweep_work(struct failing *f, const char *of, int (*call)(struct failing *f))
{
	const struct sweep s = {
		.of = of, .before = wait_for_trace, .call = call, .check = check_page,
	};

	load_trace(&f->rig);
	sweep(f, &s);
}

TEST_F(failing, mdma_failing_workload_skips, 120)
{
	fail_in_worker(self);
	sweep_work(self, "mdma_workload_poll", call_run);
}

/* Where vfio_dma_rw() fails in the device's thread, another thread tries again. */
TEST_F(failing, R10_failing_rw_is_repeated, 120)
{
	fail_in_worker(self);
	SET(&self->rig, "access", "rw");
	sweep_work(self, "vfio_iommu_type1_dma_rw", call_run);
}

TEST_F(failing, mdma_failing_step_writes_nothing, 120)
{
	sweep_work(self, "workload/step", call_step);
}

/* --- a new user ------------------------------------------------------------------- */

static bool has_worker(struct failing *f)
{
	return workers_each(&f->rig.dev, getpid(), NULL, NULL);
}

/* The child has the device open, tells the number of its file, and waits for its end. */
static void open_in_child(struct mdma *m, int to)
{
	int fd = group_get_device(m->group, m->uuid);

	if (write(to, &fd, sizeof(fd)) != sizeof(fd))
		_exit(1);
	for (;;)
		pause();
}

/* The device was opened by a process that is dead, and its thread with it. */
static void inherit(struct failing *f)
{
	struct mdma *m = &f->rig.dev;
	int pidfd, fd = -1, ends[2];
	pid_t pid;

	close(m->device);
	m->device = -1;
	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	if (!pid)
		open_in_child(m, ends[1]);
	ASSERT_EQ(sizeof(fd), read(ends[0], &fd, sizeof(fd)));
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	m->device = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_LE(0, m->device);
	close(pidfd);
	close(ends[0]);
	close(ends[1]);
	/* Ours has ended its work, and may still be on its way out. */
	ASSERT_EQ(true, WAIT_FOR(!has_worker(f)));
}

static int call_use(struct failing *f)
{
	struct mdma *m = &f->rig.dev;
	__u32 value;

	return pread(m->device, &value, 4, m->bar0) == 4 ? 0 : -errno;
}

/* One more use, and there is a thread. */
static void check_use(struct failing *f, bool done)
{
	EXPECT_EQ(done, has_worker(f));
	EXPECT_STR("0", error(call_use(f)));
	EXPECT_EQ(1, workers_each(&f->rig.dev, getpid(), NULL, NULL));
}

TEST_F(failing, mdma_failing_adoption_is_repeated, 240)
{
	static const struct sweep s = {
		.of = "mdma_thread_adopt", .before = inherit,
		.call = call_use, .done = has_worker, .check = check_use,
	};

	sweep(self, &s);
}

TEST_MAIN(mdev_remove_leftovers)
