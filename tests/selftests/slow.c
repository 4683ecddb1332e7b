// SPDX-License-Identifier: GPL-2.0-only
/*
 * R16: while a pin, or vfio_dma_rw(), waits for the user's memory, all other calls on
 * the container continue: reports, maps, unmaps, pins, a close.
 */
#include <sys/prctl.h>

#include "fixture.h"
#include "ring.h"
#include "slow_file.h"
#include "stall.h"

#define SLOW_PAGES	16
#define SLOW		RIG_PAGES	/* the first page of the slow mapping */
#define OTHER		(RIG_PAGES + 1024)
#define BYTE		0x5a

/* The rig with a second device and a second mapping, whose memory stalls. */
FIXTURE(slow) {
	struct rig rig;
	struct mdma second;
	struct stall stall;
	struct slow_file file;
	struct job job, others, reader;
	int begun;			/* how many of the jobs may begin */
	const char *at;			/* what the others are doing */
	int page, npages;		/* what the job pins */
	pid_t child;			/* another owner; it has all open as well */
};

FIXTURE_SETUP(slow)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", RIG_PAGES)));
	ASSERT_EQ(0, mdma_create(&self->second, "mdma-1"));
	ASSERT_EQ(0, mdma_attach(&self->second, r->container));
	ASSERT_EQ(0, mdma_open(&self->second));
	self->page = SLOW;
	self->npages = 1;
}

/* Also after a test that failed: what the child has open would keep the devices. */
static void end_child(struct slow *s)
{
	int status;

	if (!s->child)
		return;
	kill(s->child, SIGKILL);
	EXPECT_EQ(s->child, waitpid(s->child, &status, 0));
}

FIXTURE_TEARDOWN(slow)
{
	end_child(self);
	mdma_destroy(&self->second);
	slow_file_close(&self->file);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static void map_slow(struct slow *s, enum stall_kind kind)
{
	__u64 size = kind == STALL_HUGE ? STALL_HUGE_SIZE : SLOW_PAGES << PAGE_SHIFT;

	ASSERT_STR("0", error(stall_open_kind(&s->stall, size, kind)));
	ASSERT_EQ(0, dma_map(s->rig.container, s->stall.mem, at(SLOW), size,
			     MAP_RW));
}

static int call_pin(void *arg)
{
	struct slow *s = arg;

	return mdma_pin(&s->rig.dev, at(s->page), s->npages, 'w');
}

static int call_write(void *arg)
{
	struct slow *s = arg;

	return mdma_rw_write(&s->rig.dev, at(SLOW + 3) - 8, 16, BYTE);
}

static int call_read(void *arg)
{
	struct slow *s = arg;

	return mdma_rw_expect(&s->rig.dev, at(SLOW + 3), 1, 0);
}

/* Begins a call. Returns 0 once the call stalls, -EBUSY if it ends without stalling. */
static int begin_stalled(struct slow *s, int (*call)(void *arg))
{
	job_start(&s->job, call, s);
	while (stall_wait(&s->stall, 10) < 0)
		if (job_done(&s->job, 0))
			return -EBUSY;
	return 0;
}

static void stall(struct slow *s, int (*call)(void *arg))
{
	ASSERT_EQ(0, begin_stalled(s, call));
}

static int go_on(struct slow *s)
{
	struct rig *r = &s->rig;
	char bitmap[RIG_PAGES / 8];
	__u64 size = 4 << PAGE_SHIFT;
	int ret;

	ret = dirty_start(r->container);
	if (ret)
		return ret;
	s->at = "GET";
	ret = dirty_get(r->container, at(0), RIG_PAGES << PAGE_SHIFT, bitmap);
	if (ret)
		return ret;
	s->at = "pin";
	ret = mdma_pin(&r->dev, at(20), 4, 'w');
	if (!ret)
		ret = mdma_pin(&s->second, at(20), 1, 'w');
	if (ret)
		return ret;
	s->at = "write";
	ret = mdma_rw_write(&s->second, at(22), 8, BYTE);
	if (ret)
		return ret;
	s->at = "unpin";
	ret = mdma_unpin(&r->dev, at(20), 4);
	if (!ret)
		ret = mdma_unpin(&s->second, at(20), 1);
	if (ret)
		return ret;
	s->at = "MAP";
	ret = dma_map(r->container, r->mem, at(OTHER), size, MAP_RW);
	if (ret)
		return ret;
	s->at = "UNMAP";
	ret = dma_unmap(r->container, at(OTHER), size, NULL);
	if (ret)
		return ret;
	s->at = "close";
	mdma_close(&s->second);
	s->at = "done";
	return 0;
}

static int call_go_on(void *arg)
{
	return go_on(arg);
}

/* Makes all other calls while the job still stalls. */
static void others_go_on(struct slow *s)
{
	s->at = "START";
	job_start(&s->others, call_go_on, s);
	EXPECT_EQ(false, slow_file_gave_up(&s->file));
	if (job_ends_but_on_stock(&s->others)) {
		EXPECT_STR("0", error(s->others.ret));
		EXPECT_EQ(0, job_done(&s->job, 0));
	}
	EXPECT_STR("done", s->at);
}

static void release(struct slow *s)
{
	stall_release(&s->stall);
	job_join(&s->others);
	EXPECT_STR("0", error(job_join(&s->job)));
}

static void stalled_pin(struct slow *s, enum stall_kind kind)
{
	START(&s->rig);
	map_slow(s, kind);
	s->page = SLOW + 3;
	stall(s, call_pin);
	others_go_on(s);
	release(s);
	EXPECT_STR("20-23,1027", dirty(&s->rig, 0, SLOW + SLOW_PAGES));
	EXPECT_LOCKED(1);
	UNPIN(&s->rig, SLOW + 3, 1);
	EXPECT_LOCKED(0);
	EXPECT_STR("1027", dirty(&s->rig, 0, SLOW + SLOW_PAGES));
}

TEST_F(slow, R16_stalled_pin_stalls_nobody, 60)
{
	stalled_pin(self, STALL_ANONYMOUS);
}

TEST_F(slow, R16_stalled_pin_of_shared_memory, 60)
{
	stalled_pin(self, STALL_SHMEM);
}

TEST_F(slow, R16_stalled_pin_of_protected_memory, 60)
{
	stalled_pin(self, STALL_WRITE);
}

TEST_F(slow, R16_stalled_pin_of_a_huge_page, 60)
{
	stalled_pin(self, STALL_HUGE);
}

static void stalled_rw(struct slow *s, int (*call)(void *arg),
		       enum stall_kind kind, const char *report)
{
	START(&s->rig);
	map_slow(s, kind);
	stall_release_page(&s->stall, 2);
	stall(s, call);
	others_go_on(s);
	release(s);
	EXPECT_STR(report, dirty(&s->rig, 0, SLOW + SLOW_PAGES));
	EXPECT_STR("none", dirty(&s->rig, 0, SLOW + SLOW_PAGES));
	EXPECT_LOCKED(0);
}

static void expect_written(struct slow *s)
{
	unsigned char *page = s->stall.mem + (3 << PAGE_SHIFT);

	EXPECT_EQ(0, page[-9]);
	EXPECT_EQ(BYTE, page[-8]);
	EXPECT_EQ(BYTE, page[7]);
	EXPECT_EQ(0, page[8]);
}

TEST_F(slow, R16_W19_stalled_write_stalls_nobody, 60)
{
	stalled_rw(self, call_write, STALL_ANONYMOUS, "20-23,1026-1027");
	expect_written(self);
}

TEST_F(slow, R16_stalled_write_of_shared_memory, 60)
{
	stalled_rw(self, call_write, STALL_SHMEM, "20-23,1026-1027");
	expect_written(self);
}

TEST_F(slow, R16_stalled_write_of_protected_memory, 60)
{
	stalled_rw(self, call_write, STALL_WRITE, "20-23,1026-1027");
	expect_written(self);
}

TEST_F(slow, R16_stalled_read_stalls_nobody, 60)
{
	stalled_rw(self, call_read, STALL_ANONYMOUS, "20-23");
}

/* One call for pages that are pinned, pages that are present, and pages that stall. */
TEST_F(slow, R16_stalled_batch, 60)
{
	struct rig *r = &self->rig;

	map_slow(self, STALL_ANONYMOUS);
	stall_release_page(&self->stall, 0);
	stall_release_page(&self->stall, 1);
	stall_release_page(&self->stall, 3);
	PIN(r, SLOW, 1, 'r');
	PIN(r, SLOW + 3, 1, 'r');
	START(r);
	self->page = SLOW - 4;
	self->npages = 10;
	stall(self, call_pin);
	/* One of the pinned pages is unpinned meanwhile, others are pinned. */
	UNPIN(r, SLOW + 3, 1);
	PIN(r, SLOW + 1, 1, 'r');
	EXPECT_STR("none", dirty(r, 0, SLOW + SLOW_PAGES));
	others_go_on(self);
	release(self);
	EXPECT_LOCKED(10);
	EXPECT_STR("20-23,1020-1029", dirty(r, 0, SLOW + SLOW_PAGES));
	UNPIN(r, SLOW - 4, 10);
	EXPECT_LOCKED(2);
	UNPIN(r, SLOW, 2);
	EXPECT_STR("1020-1029", dirty(r, 0, SLOW + SLOW_PAGES));
	EXPECT_STR("none", dirty(r, 0, SLOW + SLOW_PAGES));
}

/* The page that stalls is taken away in the end: nothing of the call is left. */
TEST_F(slow, R14_stalled_pin_that_fails, 60)
{
	struct rig *r = &self->rig;

	map_slow(self, STALL_ANONYMOUS);
	stall_release_page(&self->stall, 0);
	PIN(r, SLOW, 1, 'r');
	START(r);
	self->page = SLOW - 4;
	self->npages = 10;
	stall(self, call_pin);
	others_go_on(self);
	stall_break(&self->stall);
	job_join(&self->others);
	EXPECT_STR("EFAULT", error(job_join(&self->job)));
	EXPECT_LOCKED(1);
	EXPECT_STR("20-23", dirty(r, 0, SLOW + SLOW_PAGES));
	UNPIN(r, SLOW, 1);
}

static int call_unmap(void *arg)
{
	struct slow *s = arg;

	return dma_unmap(s->rig.container, at(SLOW), SLOW_PAGES << PAGE_SHIFT,
			 NULL);
}

static int call_unmap_get(void *arg)
{
	static char bitmap[8];
	struct slow *s = arg;
	int ret;

	ret = dma_unmap_get(s->rig.container, at(SLOW),
			    SLOW_PAGES << PAGE_SHIFT, bitmap, NULL);
	return ret ? ret : bitmap[0] | bitmap[1];
}

/*
 * The mapping is removed while a pin waits for a page of it, and another mapping is
 * made in its place: the pin must not pin in the new one. Unlike mdma, the driver does
 * not wait for its pin when it is asked to give it back. Returns what the pin
 * returned.
 */
static int unmap_while_stalled(struct slow *s, int (*unmap)(void *arg),
			       int page, int npages)
{
	struct rig *r = &s->rig;
	int ret;

	START(r);
	map_slow(s, STALL_ANONYMOUS);
	mdma_set_leak(&r->dev, 1);
	s->page = page;
	s->npages = npages;
	stall(s, call_pin);
	job_start(&s->others, unmap, s);
	EXPECT_EQ(1, job_ends(&s->others));
	if (s->others.done) {
		EXPECT_STR("0", error(s->others.ret));
		EXPECT_EQ(0, s->others.ret);
		ASSERT_EQ(0, dma_map(r->container, r->mem, at(SLOW),
				     SLOW_PAGES << PAGE_SHIFT, MAP_RW));
	}
	stall_release(&s->stall);
	job_join(&s->others);
	ret = job_join(&s->job);
	mdma_set_leak(&r->dev, 0);
	EXPECT_LOCKED(0);
	EXPECT_STR("none", dirty(r, 0, SLOW + SLOW_PAGES));
	TOUCH(r, SLOW + 1, 1);
	EXPECT_STR("1025", dirty(r, 0, SLOW + SLOW_PAGES));
	return ret;
}

TEST_F(slow, R16_stalled_pin_and_unmap_of_its_mapping, 60)
{
	EXPECT_STR("EINVAL", error(unmap_while_stalled(self, call_unmap,
						       SLOW - 4, 8)));
}

TEST_F(slow, R11_stalled_pin_and_unmap_with_bitmap, 60)
{
	EXPECT_STR("EINVAL", error(unmap_while_stalled(self, call_unmap_get,
						       SLOW + 3, 1)));
}

/* A driver that waits for its pin when asked: both calls end well, in either order. */
TEST_F(slow, R15_unmap_while_a_pin_stalls, 60)
{
	struct rig *r = &self->rig;
	int ret;

	START(r);
	map_slow(self, STALL_ANONYMOUS);
	PIN(r, SLOW - 1, 1, 'w');
	stall(self, call_pin);
	job_start(&self->others, call_unmap, self);
	job_settle(&self->others);
	EXPECT_STR("1023", dirty_all(r));
	stall_release(&self->stall);
	ret = job_join(&self->job);
	if (ret)
		EXPECT_STR("EINVAL", error(ret));
	EXPECT_STR("0", error(job_join(&self->others)));
	EXPECT_EQ(1, mdma_get(&r->dev, "stats/pinned"));
	EXPECT_LOCKED(1);
	UNPIN(r, SLOW - 1, 1);
}

/*
 * The driver is asked, as another page of the mapping is pinned. It gives that back,
 * and does not wait for user memory.
 */
static void unmap_of_a_stalled_pin(struct slow *s, int (*unmap)(void *arg),
				   int want)
{
	struct rig *r = &s->rig;

	START(r);
	map_slow(s, STALL_ANONYMOUS);
	stall_release_page(&s->stall, 1);
	PIN(r, SLOW + 1, 1, 'w');
	s->page = SLOW + 3;
	stall(s, call_pin);
	job_start(&s->others, unmap, s);
	EXPECT_EQ(1, job_ends(&s->others));
	EXPECT_EQ(0, job_done(&s->job, 0));
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
	stall_release(&s->stall);
	EXPECT_EQ(want, job_join(&s->others));
	EXPECT_STR("EINVAL", error(job_join(&s->job)));
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(slow, R16_stalled_pin_stalls_no_unmap, 60)
{
	unmap_of_a_stalled_pin(self, call_unmap, 0);
}

TEST_F(slow, R16_stalled_pin_stalls_no_unmap_with_bitmap, 60)
{
	unmap_of_a_stalled_pin(self, call_unmap_get, 1 << 1);
}

/* Pages whose pin began before START are tracked, even if the pin took long. */
TEST_F(slow, R1_start_while_a_pin_stalls, 60)
{
	map_slow(self, STALL_ANONYMOUS);
	stall(self, call_pin);
	others_go_on(self);
	release(self);
	EXPECT_STR("20-23,1024", dirty(&self->rig, 0, SLOW + SLOW_PAGES));
}

/*
 * The device's own thread does not wait for the page: it can't be killed, and the
 * close of the device waits for it.
 */
TEST_F(slow, R16_device_does_not_stall_its_close, 60)
{
	struct rig *r = &self->rig;

	map_slow(self, STALL_ANONYMOUS);
	set_window(r, SLOW, SLOW + SLOW_PAGES);
	SET(r, "batch", "4");
	SET(r, "run", "1");
	while (!mdma_get(&r->dev, "stats/pin_errors"))
		usleep(1000);
	START(r);
	EXPECT_STR("none", dirty_all(r));
	SET(r, "run", "0");
	mdma_close(&r->dev);
	EXPECT_STR("none", dirty_all(r));
	mdma_destroy(&r->dev);
}

/* --- memory of a file that is slow to be read ------------------------------ */

static void map_file(struct slow *s)
{
	__u64 size = SLOW_PAGES << PAGE_SHIFT;

	ASSERT_STR("0", error(slow_file_open(&s->file, size)));
	ASSERT_EQ(0, dma_map(s->rig.container, s->file.mem, at(SLOW), size,
			     MAP_RW));
}

static void release_file(struct slow *s)
{
	slow_file_release(&s->file);
	job_join(&s->others);
	EXPECT_STR("0", error(job_join(&s->job)));
}

static void slow_file(struct slow *s, int (*call)(void *arg))
{
	START(&s->rig);
	map_file(s);
	job_start(&s->job, call, s);
	ASSERT_EQ(0, slow_file_wait(&s->file));
	others_go_on(s);
	release_file(s);
}

TEST_F(slow, R16_W19_pin_of_a_slow_file, 60)
{
	slow_file(self, call_pin);
	EXPECT_STR("20-23,1024", dirty(&self->rig, 0, SLOW + SLOW_PAGES));
	EXPECT_LOCKED(1);
	UNPIN(&self->rig, SLOW, 1);
}

TEST_F(slow, R16_write_of_a_slow_file, 60)
{
	slow_file(self, call_write);
	EXPECT_STR("20-23,1026-1027", dirty(&self->rig, 0, SLOW + SLOW_PAGES));
	EXPECT_EQ(BYTE, self->file.mem[(3 << PAGE_SHIFT) + 7]);
}

static void wait_for_turn(struct slow *s, int turn)
{
	while (__atomic_load_n(&s->begun, __ATOMIC_ACQUIRE) < turn)
		usleep(1000);
}

static void begin(struct slow *s, int turn)
{
	__atomic_store_n(&s->begun, turn, __ATOMIC_RELEASE);
}

static int call_unmap_other(void *arg)
{
	struct slow *s = arg;

	wait_for_turn(s, 1);
	return dma_unmap(s->rig.container, at(OTHER), 4 << PAGE_SHIFT, NULL);
}

/*
 * A copy whose source is slow has its destination pinned. The UNMAP of that fails
 * at last, and the copy gives it back when it can.
 */
TEST_F(slow, R15_R16_unmap_while_a_copy_reads_a_slow_file, 60)
{
	const struct mdma_desc copy = {
		.op = MDMA_OP_COPY, .dst = at(OTHER), .src = at(SLOW),
		.len = 8,
	};
	struct rig *r = &self->rig;
	struct mdma_desc *done;
	struct ring ring;

	ring_enable(&ring, r, 0, 2);
	ASSERT_EQ(0, dma_map(r->container, r->mem + (8 << PAGE_SHIFT),
			     at(OTHER), 4 << PAGE_SHIFT, MAP_RW));
	memset(r->mem + (8 << PAGE_SHIFT), BYTE, 16);
	map_file(self);
	job_start(&self->others, call_unmap_other, self);
	done = ring_put(&ring, &copy);
	ring_doorbell(&ring);
	ASSERT_EQ(0, slow_file_wait(&self->file));
	begin(self, 1);
	EXPECT_EQ(1, job_ends_but_on_stock(&self->others));
	slow_file_release(&self->file);
	EXPECT_STR("EBUSY", error(job_join(&self->others)));
	EXPECT_EQ(1, ring_wait(&ring));
	EXPECT_EQ(MDMA_STATUS_DONE, done->status);
	EXPECT_EQ(0, r->mem[(8 << PAGE_SHIFT) + 7]);
	EXPECT_EQ(BYTE, r->mem[(8 << PAGE_SHIFT) + 8]);
	EXPECT_EQ(0, dma_unmap(r->container, at(OTHER), 4 << PAGE_SHIFT, NULL));
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
}

/* Holds this process's mmap_lock as long as the file stalls. */
static int call_hold_mmap_lock(void *arg)
{
	int fd = open("/proc/self/mem", O_RDONLY);
	struct slow *s = arg;
	char byte;

	wait_for_turn(s, 1);
	return pread(fd, &byte, 1, (unsigned long)s->file.mem) == 1 ? 0 : -EIO;
}

static int call_pin_in_turn(void *arg)
{
	wait_for_turn(arg, 2);
	return call_pin(arg);
}

/* Unpins only: a pin is charged to the owner, and so waits for the lock. */
static int call_unpin_in_turn(void *arg)
{
	struct slow *s = arg;
	struct rig *r = &s->rig;
	static char bitmap[RIG_PAGES / 8];
	int ret;

	memset(bitmap, 0, sizeof(bitmap));
	wait_for_turn(s, 3);
	s->at = "unpin";
	ret = mdma_unpin(&r->dev, at(20), 4);
	if (!ret)
		ret = mdma_unpin(&r->dev, at(30), 1);
	if (ret)
		return ret;
	s->at = "GET";
	ret = dirty_get(r->container, at(0), RIG_PAGES << PAGE_SHIFT, bitmap);
	if (ret)
		return ret;
	s->at = "UNMAP";
	ret = dma_unmap(r->container, at(OTHER), 4 << PAGE_SHIFT, NULL);
	if (ret)
		return ret;
	s->at = "close";
	mdma_close(&s->second);
	s->at = "done";
	return 0;
}

/*
 * locked_pages() for when mmap_lock can't be taken: needs no new memory.
 * @status: /proc/self/status, open
 */
static long long locked_pages_of(int status)
{
	static char text[4096];
	const char *found;

	memset(text, 0, sizeof(text));
	if (pread(status, text, sizeof(text) - 1, 0) < 0)
		return -errno;
	found = strstr(text, "VmLck:");
	if (!found)
		return -ENOENT;
	return strtoll(found + 6, NULL, 10) * 1024 / (long long)PAGE_SIZE;
}

/*
 * The owner's mmap_lock can't be taken. An unpin does not need it, and a pin waits for
 * it without blocking others. The test creates no thread meanwhile, because that would
 * wait for the lock, too.
 */
TEST_F(slow, R16_W19_unpin_needs_no_lock_of_the_owner, 60)
{
	int status = open("/proc/self/status", O_RDONLY);
	struct rig *r = &self->rig;

	map_file(self);
	EXPECT_EQ(0, locked_pages_of(status));
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(OTHER), 4 << PAGE_SHIFT,
			     MAP_RW));
	START(r);
	PIN(r, 20, 4, 'w');
	PIN(r, 30, 1, 'w');
	self->page = 40;
	job_start(&self->reader, call_hold_mmap_lock, self);
	job_start(&self->job, call_pin_in_turn, self);
	job_start(&self->others, call_unpin_in_turn, self);
	begin(self, 1);
	ASSERT_EQ(0, slow_file_wait(&self->file));
	begin(self, 2);
	job_settle(&self->job);
	EXPECT_EQ(0, job_done(&self->job, 0));
	begin(self, 3);
	EXPECT_EQ(1, job_ends_but_on_stock(&self->others));
	EXPECT_STR("done", self->at);
	EXPECT_EQ(5, locked_pages_of(status));
	release_file(self);
	EXPECT_STR("0", error(self->others.ret));
	EXPECT_STR("0", error(job_join(&self->reader)));
	EXPECT_LOCKED(1);
	UNPIN(r, 40, 1);
}

/* --- pages of two owners ------------------------------------------------------ */

/* Pages that a child has mapped, in front of those that stall. */
#define OF_CHILD	4

static void child_maps(struct slow *s, int to_parent)
{
	__u64 size = OF_CHILD << PAGE_SHIFT;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ret = dma_map(s->rig.container, memory(size, PROT_READ | PROT_WRITE),
		      at(OTHER), size, MAP_RW);
	if (write(to_parent, &ret, sizeof(ret)) == sizeof(ret))
		pause();
	_exit(1);
}

/* A child that maps memory of its own in the container, and then does nothing. */
static void start_child(struct slow *s)
{
	int ready[2], ret = -EPIPE;

	ASSERT_EQ(0, pipe(ready));
	fflush(stdout);
	s->child = fork();
	if (!s->child)
		child_maps(s, ready[1]);
	close(ready[1]);
	EXPECT_EQ((long)sizeof(ret), read(ready[0], &ret, sizeof(ret)));
	close(ready[0]);
	ASSERT_STR("0", error(ret));
}

/* A pin of the child's pages and of those behind them, which stalls. */
static void stall_beside_child(struct slow *s)
{
	__u64 size = SLOW_PAGES << PAGE_SHIFT;

	start_child(s);
	START(&s->rig);
	ASSERT_STR("0", error(stall_open(&s->stall, size)));
	ASSERT_EQ(0, dma_map(s->rig.container, s->stall.mem,
			     at(OTHER + OF_CHILD), size, MAP_RW));
	s->page = OTHER;
	s->npages = OF_CHILD + 2;
	stall(s, call_pin);
}

/* Until the call has the pages of both owners, nothing of it is to be seen. */
TEST_F(slow, R16_stalled_pin_of_two_owners, 60)
{
	struct rig *r = &self->rig;

	stall_beside_child(self);
	EXPECT_STR("none", dirty(r, OTHER, OF_CHILD));
	stall_release(&self->stall);
	EXPECT_STR("0", error(job_join(&self->job)));
	EXPECT_STR("2048-2053", dirty(r, OTHER, OF_CHILD + SLOW_PAGES));
	/* The child is charged for its pages. */
	EXPECT_LOCKED(2);
	UNPIN(r, OTHER, OF_CHILD + 2);
	EXPECT_LOCKED(0);
}

static int call_unmap_child(void *arg)
{
	struct slow *s = arg;

	return dma_unmap(s->rig.container, at(OTHER), OF_CHILD << PAGE_SHIFT,
			 NULL);
}

/* The first owner's mapping goes meanwhile, though the driver does not give back pages. */
TEST_F(slow, R15_unmap_while_a_pin_of_two_owners_stalls, 60)
{
	struct rig *r = &self->rig;

	stall_beside_child(self);
	mdma_set_leak(&r->dev, 1);
	job_start(&self->others, call_unmap_child, self);
	EXPECT_EQ(1, job_ends(&self->others));
	stall_release(&self->stall);
	EXPECT_STR("0", error(job_join(&self->others)));
	EXPECT_STR("EINVAL", error(job_join(&self->job)));
	mdma_set_leak(&r->dev, 0);
	EXPECT_STR("none", dirty(r, OTHER, OF_CHILD + SLOW_PAGES));
	EXPECT_LOCKED(0);
}

/* --- the end of a process --------------------------------------------------- */

/* A call that stalls until the process is killed. */
static void victim(int to_parent)
{
	__u64 size = SLOW_PAGES << PAGE_SHIFT;
	struct slow *s = calloc(1, sizeof(*s));

	s->page = SLOW;
	s->npages = 4;
	if (rig_open(&s->rig, "mdma-1", RIG_PAGES) ||
	    dirty_start(s->rig.container) || stall_open(&s->stall, size) ||
	    dma_map(s->rig.container, s->stall.mem, at(SLOW), size, MAP_RW) ||
	    begin_stalled(s, call_pin))
		_exit(1);
	if (write(to_parent, s->rig.dev.uuid, 37) != 37)
		_exit(2);
	pause();
}

TEST_F(rig, R7_killed_during_a_pin, 60)
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
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_EQ(0, mdma_get(&m, "stats/pinned"));
	EXPECT_EQ(0, mdev_remove(m.uuid));
}

TEST_MAIN(mdev_remove_leftovers)
