// SPDX-License-Identifier: GPL-2.0-only
/*
 * R3, R5, R11, R14: each allocation and each copy of user memory that a call
 * makes fails, one after the other. The call then does all of its work or nothing,
 * and returns which; no record is lost, and nothing is left behind.
 *
 * Failures are injected by /proc/thread-self/fail-nth, which the debug kernel has
 * (testing.rst). The scan of kmemleak at the end finds memory that an error path
 * has leaked. Work that other threads do for a call (vfio_dma_rw(), the engine)
 * does not fail.
 */
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"

#define NTH_MAX		500	/* no call allocates this often */
#define STREAM_MAX	0x10000

struct failing {
	struct rig rig;
	struct rig target;
	int fd;				/* fail-nth of this thread */
	__u64 first, n;			/* what to pin */
	unsigned char bitmap[RIG_PAGES / 8];
	__u64 unmapped;
	int ret;			/* of the call */
	bool late;			/* the call returned an error, but was done */
	char *stream;
	long long stream_size;
	const char *wanted;		/* report of all pages */
};

/* Lets every allocation fail but those of user pages, which would start the OOM killer. */
static void set_up_faults(const char *name)
{
	static const struct { const char *name, *value; } knob[] = {
		{ "verbose", "0" }, { "ignore-gfp-wait", "N" },
		{ "min-order", "0" },
	};
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(knob); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", name,
			 knob[i].name);
		if (!access(path, F_OK))
			ASSERT_EQ(0, file_write(path, knob[i].value));
	}
}

FIXTURE_SETUP(failing)
{
	self->rig.container = -1;
	self->target.container = -1;
	self->fd = open("/proc/thread-self/fail-nth", O_RDWR);
	if (self->fd < 0 || access("/sys/kernel/debug/failslab", F_OK))
		SKIP("a kernel with fault injection");
	set_up_faults("failslab");
	set_up_faults("fail_page_alloc");
	set_up_faults("fail_usercopy");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	memset(self->rig.mem, 1, RIG_PAGES << PAGE_SHIFT);
}

FIXTURE_TEARDOWN(failing)
{
	free(self->stream);
	rig_close(&self->target);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Lets the nth allocation or copy of this thread fail from now on. 0: none. */
static void arm(struct failing *f, int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	ASSERT_EQ(len, pwrite(f->fd, text, len, 0));
}

/*
 * Ends the injection. Returns whether a failure was injected. If none was, the
 * failure may hit the copy to user space of the remaining count itself.
 */
static bool disarm(struct failing *f)
{
	char text[16] = "";
	bool failed = pread(f->fd, text, sizeof(text) - 1, 0) > 0 &&
		      !atoi(text);

	if (pwrite(f->fd, "0", 1, 0) != 1)
		arm(f, 0);
	return failed;
}

/**
 * struct sweep - a call, and the state that it must leave
 * @before: makes the initial state
 * @call: the call; returns 0 or -errno
 * @check: checks that the call did all of its work (@done), or nothing
 */
struct sweep {
	void (*before)(struct failing *f);
	int (*call)(struct failing *f);
	void (*check)(struct failing *f, bool done);
};

/* Until the call succeeds without an injected failure. */
static void sweep(struct failing *f, const struct sweep *s)
{
	int nth, told = 0;
	bool failed = true;

	for (nth = 1; failed; nth++) {
		ASSERT_LT(nth, NTH_MAX);
		s->before(f);
		arm(f, nth);
		f->ret = s->call(f);
		failed = disarm(f);
		if (f->ret && f->ret != -ENOMEM && f->ret != -EFAULT)
			FAIL("failure %d: %s", nth, error(f->ret));
		if (f->ret && !failed)
			FAIL("%s, but nothing had failed", error(f->ret));
		told += !!f->ret;
		s->check(f, !f->ret);
	}
	printf("# of %d failures %d were told\n", nth - 2, told);
	printf("# figures: points=%d\n", nth - 2);
	EXPECT_LT(0, told);
}

/* --- the backend ---------------------------------------------------------- */

/* All mapped, nothing pinned or retained. */
static void begin_anew(struct failing *f)
{
	struct rig *r = &f->rig;

	STOP(r);
	ASSERT_EQ(0, dma_unmap(r->container, at(0), RIG_PAGES << PAGE_SHIFT,
			       NULL));
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(0),
			     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	START(r);
}

static void expect_pinned(struct failing *f, long long n)
{
	EXPECT_EQ(n, mdma_get(&f->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(n);
}

static int call_pin(struct failing *f)
{
	return mdma_pin(&f->rig.dev, at(f->first), f->n, 'w');
}

static void check_pin(struct failing *f, bool done)
{
	expect_pinned(f, done ? f->n : 0);
	EXPECT_STR(done ? f->wanted : "none", dirty_all(&f->rig));
}

static const struct sweep pin = { begin_anew, call_pin, check_pin };

TEST_F(failing, R14_failing_pin_of_a_page, 60)
{
	self->first = 60;
	self->n = 1;
	self->wanted = "60";
	sweep(self, &pin);
}

TEST_F(failing, R14_failing_pin_of_many_pages, 60)
{
	self->first = 60;
	self->n = 512;
	self->wanted = "60-571";
	sweep(self, &pin);
}

static void retain(struct failing *f)
{
	begin_anew(f);
	TOUCH(&f->rig, 70, 2);
	TOUCH(&f->rig, 130, 1);
}

static void check_pin_of_retained(struct failing *f, bool done)
{
	expect_pinned(f, done ? f->n : 0);
	EXPECT_STR(done ? "60-139" : "70-71,130", dirty_all(&f->rig));
}

TEST_F(failing, R5_failing_pin_keeps_the_records, 60)
{
	static const struct sweep s = {
		retain, call_pin, check_pin_of_retained
	};

	self->first = 60;
	self->n = 80;
	sweep(self, &s);
}

static void pin_one(struct failing *f)
{
	begin_anew(f);
	STOP(&f->rig);
	PIN(&f->rig, 5, 1, 'w');
}

static int call_start(struct failing *f)
{
	return dirty_start(f->rig.container);
}

static void check_start(struct failing *f, bool done)
{
	EXPECT_STR(done ? "5" : "EINVAL", dirty_all(&f->rig));
}

TEST_F(failing, R1_failing_start_starts_nothing, 60)
{
	static const struct sweep s = { pin_one, call_start, check_start };

	sweep(self, &s);
}

static void make_dirty(struct failing *f)
{
	begin_anew(f);
	memset(f->bitmap, 0, sizeof(f->bitmap));
	f->unmapped = 0;
	TOUCH(&f->rig, 3, 1);
	TOUCH(&f->rig, 600, 300);
	PIN(&f->rig, 20, 3, 'w');
}

#define MADE_DIRTY	"3,20-22,600-899"

static int call_get(struct failing *f)
{
	return dirty_get(f->rig.container, at(0), RIG_PAGES << PAGE_SHIFT,
			 f->bitmap);
}

static void check_get(struct failing *f, bool done)
{
	if (done)
		EXPECT_STR(MADE_DIRTY, bitmap_text(f->bitmap, RIG_PAGES));
	EXPECT_STR(done ? "20-22" : MADE_DIRTY, dirty_all(&f->rig));
	expect_pinned(f, 3);
}

TEST_F(failing, R3_failing_report_loses_nothing, 60)
{
	static const struct sweep s = { make_dirty, call_get, check_get };

	sweep(self, &s);
}

static int call_unmap_get(struct failing *f)
{
	return dma_unmap_get(f->rig.container, at(0), RIG_PAGES << PAGE_SHIFT,
			     f->bitmap, &f->unmapped);
}

static void check_unmap_get(struct failing *f, bool done)
{
	if (done) {
		EXPECT_STR(MADE_DIRTY, bitmap_text(f->bitmap, RIG_PAGES));
		EXPECT_EQ(RIG_PAGES << PAGE_SHIFT, f->unmapped);
		expect_pinned(f, 0);
		ASSERT_EQ(0, dma_unmap(f->rig.container, at(0),
				       RIG_PAGES << PAGE_SHIFT, &f->unmapped));
		EXPECT_EQ(0, f->unmapped);
	} else {
		EXPECT_STR(MADE_DIRTY, dirty_all(&f->rig));
	}
}

/*
 * The very last copy is that of the size, which is known only when everything is
 * unmapped. If that copy fails, the call returns EFAULT although it is done
 * (errno.rst). No earlier failure may look like that.
 */
static void check_told_unmap_get(struct failing *f, bool done)
{
	bool late = f->ret == -EFAULT &&
		    mdma_rw_read(&f->rig.dev, at(0), 1) == -EINVAL;

	if (f->late)
		EXPECT_STR("0", error(f->ret));
	f->late |= late;
	check_unmap_get(f, done || late);
}

TEST_F(failing, R11_failing_unmap_changes_nothing, 60)
{
	static const struct sweep s = {
		make_dirty, call_unmap_get, check_told_unmap_get
	};

	sweep(self, &s);
	EXPECT_EQ(true, self->late);
}

static void unmap_everything(struct failing *f)
{
	ASSERT_EQ(0, dma_unmap(f->rig.container, at(0),
			       RIG_PAGES << PAGE_SHIFT, NULL));
}

static int call_map(struct failing *f)
{
	return dma_map(f->rig.container, f->rig.mem, at(0),
		       RIG_PAGES << PAGE_SHIFT, MAP_RW);
}

static void check_map(struct failing *f, bool done)
{
	EXPECT_STR(done ? "0" : "EINVAL",
		   error(mdma_pin(&f->rig.dev, at(9), 1, 'w')));
	EXPECT_STR(done ? "EEXIST" : "0", error(call_map(f)));
}

TEST_F(failing, R13_failing_map_maps_nothing, 60)
{
	static const struct sweep s = {
		unmap_everything, call_map, check_map
	};

	sweep(self, &s);
}

/* --- the device ----------------------------------------------------------- */

#define WRITES	200	/* 100 descriptors of two pages each */

static void run_again(struct failing *f)
{
	ASSERT_STR("0", error(mig_set(f->rig.dev.device, MIG(RUNNING), NULL)));
}

static int call_save(struct failing *f)
{
	long long n = mig_save(f->rig.dev.device, f->stream, STREAM_MAX);

	f->stream_size = n;
	return n < 0 ? n : 0;
}

/* The source can continue, from whatever state it reached. */
static void check_save(struct failing *f, bool done)
{
	if (done)
		EXPECT_EQ(MIG(STOP), mig_get(f->rig.dev.device));
	else
		EXPECT_NE(MIG(ERROR), mig_get(f->rig.dev.device));
	EXPECT_EQ(WRITES, mdma_get(&f->rig.dev, "stats/seq"));
}

static void reset_target(struct failing *f)
{
	ASSERT_EQ(0, ioctl(f->target.dev.device, VFIO_DEVICE_RESET));
	ASSERT_EQ(MIG(RUNNING), mig_get(f->target.dev.device));
}

static int call_load(struct failing *f)
{
	return mig_load(f->target.dev.device, f->stream, f->stream_size, NULL);
}

static void check_load(struct failing *f, bool done)
{
	if (done) {
		EXPECT_EQ(MIG(STOP), mig_get(f->target.dev.device));
		EXPECT_EQ(WRITES, mdma_get(&f->target.dev, "stats/seq"));
	}
}

TEST_F(failing, mdma_failing_migration_can_be_repeated, 120)
{
	static const struct sweep save = { run_again, call_save, check_save };
	static const struct sweep load = {
		reset_target, call_load, check_load
	};

	self->stream = calloc(1, STREAM_MAX);
	memset(self->stream, 1, STREAM_MAX);
	ASSERT_STR("0", error(rig_open(&self->target, "mdma-1", RIG_PAGES)));
	set_workload(&self->rig);
	SET(&self->rig, "step", "100");
	ASSERT_EQ(WRITES, mdma_get(&self->rig.dev, "stats/seq"));
	sweep(self, &save);
	ASSERT_LT(0, self->stream_size);
	sweep(self, &load);
}

TEST_MAIN(mdev_remove_leftovers)
