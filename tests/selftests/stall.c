// SPDX-License-Identifier: GPL-2.0-only
/*
 * R16, R3: while a GET waits for the user's memory, pins continue. Whatever else
 * happens to the container meanwhile, no page is lost and no freed memory is used.
 */
#include <poll.h>

#include "fixture.h"
#include "stall.h"

#define BIG_PAGES	65536ULL	/* a bitmap of two pages */

/* Pages in the first and in the second page of the bitmap. */
#define LOW		100
#define HIGH		40000

FIXTURE(stalled) {
	struct rig rig;
	struct stall stall;
	struct job get;
};

static int call_get(void *arg)
{
	struct stalled *s = arg;

	return dirty_get(s->rig.container, RIG_IOVA, BIG_PAGES << PAGE_SHIFT,
			 s->stall.mem);
}

/* A GET of everything that stalls; LOW and HIGH are retained before. */
FIXTURE_SETUP(stalled)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", BIG_PAGES)));
	ASSERT_STR("0", error(stall_open(&self->stall, 2 * PAGE_SIZE)));
	START(r);
	TOUCH(r, LOW, 1);
	TOUCH(r, HIGH, 1);
	job_start(&self->get, call_get, self);
	ASSERT_LE(0, stall_wait(&self->stall, 10000));
}

FIXTURE_TEARDOWN(stalled)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static int call_touch(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;
	int pages[] = { LOW, LOW + 1, HIGH, HIGH + 1 };
	int i, ret = 0;

	for (i = 0; !ret && i < 4; i++) {
		ret = mdma_pin(&r->dev, at(pages[i]), 1, 'w');
		if (!ret)
			ret = mdma_unpin(&r->dev, at(pages[i]), 1);
	}
	return ret;
}

TEST_F(stalled, R16_stalled_report_stalls_no_pin, 60)
{
	struct job touch;
	int done;

	job_start(&touch, call_touch, self);
	done = job_ends_but_on_stock(&touch);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&touch));
	EXPECT_EQ(1, done);
}

/* Maps memory, pins in it, and unmaps it. */
static int call_map(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;
	__u64 size = 64 << PAGE_SHIFT;
	int ret;

	ret = dma_map(r->container, memory(size, PROT_READ | PROT_WRITE),
		      at(BIG_PAGES), size, MAP_RW);
	if (!ret)
		ret = mdma_pin(&r->dev, at(BIG_PAGES), 64, 'w');
	if (!ret)
		ret = mdma_unpin(&r->dev, at(BIG_PAGES), 32);
	if (!ret)
		ret = dma_unmap(r->container, at(BIG_PAGES), size, NULL);
	return ret;
}

TEST_F(stalled, R16_stalled_report_stalls_no_map, 60)
{
	struct job map;
	int done;

	job_start(&map, call_map, self);
	done = job_ends_but_on_stock(&map);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_STR("0", error(job_join(&map)));
	EXPECT_EQ(1, done);
}

/*
 * A page written before the snapshot of its chunk belongs to this report, a page
 * written after it to the next. A neighbour that was clean before shows which.
 */
static void expect_reported(struct stalled *s, const void *second, int page)
{
	const void *first = s->stall.mem;

	if (!bitmap_bit(first, page + 1)) {
		EXPECT_EQ(1, bitmap_bit(second, page + 1));
		EXPECT_EQ(1, bitmap_bit(second, page));
	}
	EXPECT_EQ(1, bitmap_bit(first, page));
}

TEST_F(stalled, R3_record_made_during_a_report_is_kept, 60)
{
	void *second = calloc(1, bitmap_bytes(BIG_PAGES));
	struct job touch;

	job_start(&touch, call_touch, self);
	job_settle(&touch);
	stall_release_page(&self->stall, 0);
	stall_release_page(&self->stall, 1);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&touch));
	ASSERT_EQ(0, dirty_get(self->rig.container, RIG_IOVA,
			       BIG_PAGES << PAGE_SHIFT, second));
	expect_reported(self, second, LOW);
	expect_reported(self, second, HIGH);
	EXPECT_STR("none", dirty_all(&self->rig));
}

/* The same at the last moment: the second page of the bitmap stalls. */
TEST_F(stalled, R3_record_made_at_the_end_of_a_report_is_kept, 60)
{
	void *second = calloc(1, bitmap_bytes(BIG_PAGES));
	struct job touch;

	stall_release_page(&self->stall, 0);
	ASSERT_EQ(1, stall_wait(&self->stall, 10000));
	job_start(&touch, call_touch, self);
	job_settle(&touch);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&touch));
	ASSERT_EQ(0, dirty_get(self->rig.container, RIG_IOVA,
			       BIG_PAGES << PAGE_SHIFT, second));
	expect_reported(self, second, LOW);
	expect_reported(self, second, HIGH);
	EXPECT_STR("none", dirty_all(&self->rig));
}

/* The stalled GET fails in the end; its pages are in the next report. */
TEST_F(stalled, R3_report_that_fails_late_loses_nothing, 60)
{
	struct job touch;

	job_start(&touch, call_touch, self);
	job_settle(&touch);
	stall_break(&self->stall);
	EXPECT_STR("EFAULT", error(job_join(&self->get)));
	EXPECT_EQ(0, job_join(&touch));
	EXPECT_STR("100-101,40000-40001", dirty_all(&self->rig));
	EXPECT_STR("none", dirty_all(&self->rig));
}

static int call_get_text(void *arg)
{
	struct stalled *s = arg;
	static char bitmap[BIG_PAGES / 8];
	int ret;

	ret = dirty_get(s->rig.container, RIG_IOVA, BIG_PAGES << PAGE_SHIFT,
			bitmap);
	if (ret)
		return ret;
	return bitmap_bit(bitmap, LOW) | bitmap_bit(bitmap, HIGH) << 1;
}

/* Two GETs at once, the first fails: each page is reported at least once. */
TEST_F(stalled, R3_two_reports_at_once_lose_nothing, 60)
{
	char bitmap[BIG_PAGES / 8] = "";
	struct job other;
	int seen;

	job_start(&other, call_get_text, self);
	job_settle(&other);
	stall_break(&self->stall);
	EXPECT_STR("EFAULT", error(job_join(&self->get)));
	seen = job_join(&other);
	ASSERT_LE(0, seen);
	ASSERT_EQ(0, dirty_get(self->rig.container, RIG_IOVA,
			       BIG_PAGES << PAGE_SHIFT, bitmap));
	EXPECT_EQ(1, (seen & 1) | bitmap_bit(bitmap, LOW));
	EXPECT_EQ(1, (seen >> 1) | bitmap_bit(bitmap, HIGH));
}

static int call_bad_get(void *arg)
{
	struct stalled *s = arg;

	return dirty_get(s->rig.container, RIG_IOVA, BIG_PAGES << PAGE_SHIFT,
			 memory(2 * PAGE_SIZE, PROT_READ));
}

/*
 * One GET fails beside one that succeeds: pages written after the snapshot of the good
 * one are in neither report, and must be reported later.
 */
TEST_F(stalled, R3_failing_report_beside_a_good_one, 60)
{
	struct job touch, bad;
	char bitmap[BIG_PAGES / 8] = "";

	job_start(&touch, call_touch, self);
	job_settle(&touch);
	job_start(&bad, call_bad_get, self);
	job_settle(&bad);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&touch));
	EXPECT_STR("EFAULT", error(job_join(&bad)));
	ASSERT_EQ(0, dirty_get(self->rig.container, RIG_IOVA,
			       BIG_PAGES << PAGE_SHIFT, bitmap));
	expect_reported(self, bitmap, LOW);
	expect_reported(self, bitmap, HIGH);
}

static int call_bad_unmap(void *arg)
{
	struct stalled *s = arg;

	return dma_unmap_get(s->rig.container, RIG_IOVA,
			     BIG_PAGES << PAGE_SHIFT,
			     memory(2 * PAGE_SIZE, PROT_READ), NULL);
}

/* The same with an UNMAP that fails; its report is made after the good one. */
TEST_F(stalled, R11_failing_unmap_beside_a_good_report, 60)
{
	struct job touch, bad;
	char bitmap[BIG_PAGES / 8] = "";

	job_start(&touch, call_touch, self);
	job_settle(&touch);
	job_start(&bad, call_bad_unmap, self);
	job_settle(&bad);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&touch));
	EXPECT_STR("EFAULT", error(job_join(&bad)));
	ASSERT_EQ(0, dirty_get(self->rig.container, RIG_IOVA,
			       BIG_PAGES << PAGE_SHIFT, bitmap));
	expect_reported(self, bitmap, LOW);
	expect_reported(self, bitmap, HIGH);
}

static int call_stop(void *arg)
{
	return dirty_stop(((struct stalled *)arg)->rig.container);
}

/* The failing report brings back no record of the old tracking. */
TEST_F(stalled, R7_D4_stop_during_a_report, 60)
{
	struct job stop;

	job_start(&stop, call_stop, self);
	job_settle(&stop);
	stall_break(&self->stall);
	EXPECT_NE(0, job_join(&self->get));
	EXPECT_EQ(0, job_join(&stop));
	EXPECT_STR("EINVAL", dirty_all(&self->rig));
	START(&self->rig);
	EXPECT_STR("none", dirty_all(&self->rig));
}

static int call_restart(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;
	int ret = dirty_stop(r->container);

	if (!ret)
		ret = dirty_start(r->container);
	if (!ret)
		ret = mdma_pin(&r->dev, at(LOW), 1, 'w');
	if (!ret)
		ret = mdma_unpin(&r->dev, at(LOW), 1);
	return ret;
}

/* A report of an earlier tracking drops no record of the new one. */
TEST_F(stalled, R7_D4_restart_during_a_report, 60)
{
	struct job restart;

	job_start(&restart, call_restart, self);
	job_settle(&restart);
	stall_release(&self->stall);
	job_join(&self->get);
	EXPECT_EQ(0, job_join(&restart));
	EXPECT_STR("100", dirty_all(&self->rig));
}

/* So far away that the report needs several chunks. */
#define FAR		(3 * BIG_PAGES + 5)

static int call_far_get(void *arg)
{
	struct stalled *s = arg;

	return dirty_get(s->rig.container, RIG_IOVA,
			 4 * BIG_PAGES << PAGE_SHIFT, s->stall.mem);
}

/* If the report succeeds, it holds all pages that were retained when it began (R3). */
TEST_F(stalled, R7_D4_restart_during_a_long_report, 60)
{
	struct rig *r = &self->rig;
	struct job restart;

	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&self->get));
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(3 * BIG_PAGES),
			     16 << PAGE_SHIFT, MAP_RW));
	TOUCH(r, LOW, 1);
	TOUCH(r, FAR, 1);
	ASSERT_STR("0", error(stall_open(&self->stall, 8 * PAGE_SIZE)));
	job_start(&self->get, call_far_get, self);
	ASSERT_LE(0, stall_wait(&self->stall, 10000));

	job_start(&restart, call_restart, self);
	job_settle(&restart);
	stall_release(&self->stall);
	if (!job_join(&self->get)) {
		EXPECT_EQ(1, bitmap_bit(self->stall.mem, LOW));
		EXPECT_EQ(1, bitmap_bit(self->stall.mem, FAR));
	}
	EXPECT_EQ(0, job_join(&restart));
}

static int call_unmap(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;

	return dma_unmap(r->container, RIG_IOVA, r->pages << PAGE_SHIFT, NULL);
}

static int call_remap(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;
	int ret = call_unmap(arg);

	if (ret)
		return ret;
	return dma_map(r->container, r->mem, RIG_IOVA, r->pages << PAGE_SHIFT,
		       MAP_RW);
}

TEST_F(stalled, R3_unmap_during_a_report, 60)
{
	struct job unmap;

	job_start(&unmap, call_unmap, self);
	job_settle(&unmap);
	stall_release(&self->stall);
	job_join(&self->get);
	EXPECT_STR("0", error(job_join(&unmap)));
	EXPECT_STR("none", dirty_all(&self->rig));
	EXPECT_STR("EINVAL", error(mdma_pin(&self->rig.dev, at(LOW), 1, 'w')));
}

/* The new mapping at the old place inherits nothing from a failing report. */
TEST_F(stalled, R3_remap_during_a_failing_report, 60)
{
	struct rig *r = &self->rig;
	struct job remap;

	job_start(&remap, call_remap, self);
	job_settle(&remap);
	stall_break(&self->stall);
	job_join(&self->get);
	EXPECT_STR("0", error(job_join(&remap)));
	EXPECT_STR("none", dirty_all(r));
	TOUCH(r, LOW + 5, 1);
	EXPECT_STR("105", dirty_all(r));
}

static int call_unmap_get(void *arg)
{
	struct stalled *s = arg;

	return dma_unmap_get(s->rig.container, RIG_IOVA,
			     BIG_PAGES << PAGE_SHIFT, s->stall.mem, NULL);
}

/* The same start, but an UNMAP with a bitmap stalls. */
static void stall_unmap(struct stalled *s)
{
	stall_break(&s->stall);
	job_join(&s->get);
	ASSERT_STR("0", error(stall_open(&s->stall, 2 * PAGE_SIZE)));
	job_start(&s->get, call_unmap_get, s);
	ASSERT_LE(0, stall_wait(&s->stall, 10000));
}

/* The report of an UNMAP holds what the device writes while the report waits. */
TEST_F(stalled, R11_page_written_during_an_unmap, 60)
{
	struct job touch;
	int ret, touched;

	stall_unmap(self);
	job_start(&touch, call_touch, self);
	job_settle(&touch);
	stall_release(&self->stall);
	ret = job_join(&self->get);
	/* -EINVAL: the touch came when everything was unmapped. */
	touched = job_join(&touch);
	EXPECT_STR("0", error(ret));
	EXPECT_STR(touched ? "100,40000" : "100-101,40000-40001",
		   bitmap_text(self->stall.mem, BIG_PAGES));
	EXPECT_LOCKED(0);
}

static int call_hold(void *arg)
{
	struct rig *r = &((struct stalled *)arg)->rig;

	return mdma_pin(&r->dev, at(LOW + 1), 2, 'w');
}

/* The device has to give back what it pins meanwhile. */
TEST_F(stalled, R11_page_pinned_during_an_unmap, 60)
{
	struct job hold;
	int ret, held;

	stall_unmap(self);
	job_start(&hold, call_hold, self);
	job_settle(&hold);
	stall_release(&self->stall);
	ret = job_join(&self->get);
	held = !job_join(&hold);
	EXPECT_STR("0", error(ret));
	EXPECT_STR(held ? "100-102,40000" : "100,40000",
		   bitmap_text(self->stall.mem, BIG_PAGES));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(stalled, R11_unmap_that_fails_late_changes_nothing, 60)
{
	struct job touch;

	stall_unmap(self);
	job_start(&touch, call_touch, self);
	job_settle(&touch);
	stall_break(&self->stall);
	EXPECT_STR("EFAULT", error(job_join(&self->get)));
	EXPECT_EQ(0, job_join(&touch));
	EXPECT_STR("100-101,40000-40001", dirty_all(&self->rig));
}

/* Closes the device and detaches its group, the last one of the container. */
static int call_leave(void *arg)
{
	struct mdma *dev = &((struct stalled *)arg)->rig.dev;

	close(dev->device);
	dev->device = -1;
	return group_detach(dev->group);
}

/* The kernel's own holds its lock for a report, so this test would wait for it. */
static bool keeps_its_lock(struct stalled *s)
{
	if (!backend_is_stock())
		return false;
	stall_release(&s->stall);
	job_join(&s->get);
	return true;
}

/*
 * The container is released while the report waits. The report must not delay the
 * release, and must not use what was freed.
 */
TEST_F(stalled, R7_container_released_during_a_report, 60)
{
	struct job leave;
	int done;

	if (keeps_its_lock(self))
		SKIP("a backend that drops its lock for a report (W9)");
	job_start(&leave, call_leave, self);
	done = job_ends(&leave);
	if (done) {
		EXPECT_LOCKED(0);
		EXPECT_LT(0, module_refcount("vfio_iommu_type1"));
	}
	stall_release(&self->stall);
	EXPECT_STR("0", error(job_join(&leave)));
	EXPECT_EQ(1, done);
	EXPECT_STR("ENODEV", error(job_join(&self->get)));
	EXPECT_EQ(0, module_refcount("vfio_iommu_type1"));
}

/* The same with a report that fails as well: the call returns an error. */
TEST_F(stalled, R7_container_released_during_a_failing_report, 60)
{
	struct job leave;

	if (keeps_its_lock(self))
		SKIP("a backend that drops its lock for a report (W9)");
	job_start(&leave, call_leave, self);
	EXPECT_EQ(1, job_ends(&leave));
	stall_break(&self->stall);
	EXPECT_STR("0", error(job_join(&leave)));
	EXPECT_NE(0, job_join(&self->get));
	EXPECT_EQ(0, module_refcount("vfio_iommu_type1"));
}

static int call_start(void *arg)
{
	return dirty_start(((struct stalled *)arg)->rig.container);
}

static int call_own_unmap(void *arg)
{
	static char bitmap[BIG_PAGES / 8];
	struct rig *r = &((struct stalled *)arg)->rig;

	return dma_unmap_get(r->container, RIG_IOVA, r->pages << PAGE_SHIFT,
			     bitmap, NULL);
}

/* The same for calls that wait for that report, which holds the lock that they need. */
TEST_F(stalled, R7_container_released_while_calls_wait, 60)
{
	static int (*const calls[])(void *arg) = {
		call_get_text, call_start, call_stop, call_own_unmap,
	};
	struct job wait[ARRAY_SIZE(calls)], leave;
	unsigned int i;

	if (keeps_its_lock(self))
		SKIP("a backend that drops its lock for a report (W9)");
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		job_start(&wait[i], calls[i], self);
		EXPECT_EQ(true, job_sleeps_in(&wait[i], "[vfio_iommu_type1]"));
	}
	job_start(&leave, call_leave, self);
	EXPECT_EQ(1, job_ends(&leave));
	stall_release(&self->stall);
	EXPECT_STR("0", error(job_join(&leave)));
	EXPECT_STR("ENODEV", error(job_join(&self->get)));
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		EXPECT_STR("ENODEV", error(job_join(&wait[i])));
	EXPECT_EQ(0, module_refcount("vfio_iommu_type1"));
}

/* An UNMAP unmaps nothing after the container was released. */
TEST_F(stalled, R7_container_released_during_an_unmap, 60)
{
	struct job leave;

	if (keeps_its_lock(self))
		SKIP("a backend that drops its lock for a report (W9)");
	stall_unmap(self);
	job_start(&leave, call_leave, self);
	EXPECT_EQ(1, job_ends(&leave));
	stall_release(&self->stall);
	EXPECT_STR("0", error(job_join(&leave)));
	EXPECT_STR("ENODEV", error(job_join(&self->get)));
	EXPECT_EQ(0, module_refcount("vfio_iommu_type1"));
}

/* Has pins, records and an unfinished report when it is killed. */
static void victim(int to_parent)
{
	struct stalled *s = calloc(1, sizeof(*s));

	if (rig_open(&s->rig, "mdma-1", BIG_PAGES) ||
	    dirty_start(s->rig.container) || call_touch(s) ||
	    mdma_pin(&s->rig.dev, at(0), 64, 'w') ||
	    stall_open(&s->stall, 2 * PAGE_SIZE))
		_exit(1);
	job_start(&s->get, call_get, s);
	if (stall_wait(&s->stall, 10000) < 0 ||
	    write(to_parent, s->rig.dev.uuid, 37) != 37)
		_exit(2);
	pause();
}

TEST_F(rig, R7_killed_during_a_report, 60)
{
	struct mdma m = { 0 };
	int status, ready[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid)
		victim(ready[1]);
	close(ready[1]);
	EXPECT_EQ(37, read(ready[0], m.uuid, 37));
	EXPECT_EQ(64, mdma_get(&m, "stats/pinned"));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_EQ(0, mdma_get(&m, "stats/pinned"));
	EXPECT_EQ(0, mdev_remove(m.uuid));
}

TEST_MAIN(mdev_remove_leftovers)
