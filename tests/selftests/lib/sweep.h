/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sweeps: each allocation and each copy of user memory that an operation makes fails, one after
 * the other. The operation then does all of its work or nothing, and returns which; nothing is
 * left behind. The scan of kmemleak at the end finds memory that an error path has leaked.
 */
#ifndef SELFTESTS_SWEEP_H
#define SELFTESTS_SWEEP_H

#include "fail_nth.h"
#include "fixture.h"
#include "left.h"

#define NTH_MAX		3000	/* no operation has so many */

/**
 * struct failing - a test that sweeps
 * @rig: with all of its memory touched
 * @target: another one, of some tests
 * @fd: fail-nth of the thread that works
 * @arg: what the test sweeps, if it is a row of a table
 * @left: what there was before the operation
 * @failed: a failure was injected
 * @ret: of the operation
 */
struct failing {
	struct rig rig;
	struct rig target;
	int fd;
	const void *arg;
	struct left left;
	bool failed;
	int ret;
};

FIXTURE_SETUP(failing)
{
	self->rig.container = -1;
	self->target.container = -1;
	self->fd = fail_nth_open(gettid());
	if (self->fd == -ENOENT)
		SKIP("a kernel with fault injection");
	ASSERT_LE(0, self->fd);
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	memset(self->rig.mem, 1, RIG_PAGES << PAGE_SHIFT);
}

FIXTURE_TEARDOWN(failing)
{
	if (self->fd >= 0)
		fail_nth_disarm(self->fd);
	rig_close(&self->target);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/**
 * struct sweep - an operation, and the state that it must leave
 * @of: what it is, by its names in the sources (tests/lab/test_sweeps.py)
 * @before: makes the initial state
 * @call: the operation; returns 0 or -errno
 * @done: whether it was done, though it returned an error; NULL: no
 * @check: checks that the operation did all of its work (@done), or nothing
 * @sure: it never fails
 * @fewer: it may give pins back before it fails
 */
struct sweep {
	const char *of;
	void (*before)(struct failing *f);
	int (*call)(struct failing *f);
	bool (*done)(struct failing *f);
	void (*check)(struct failing *f, bool done);
	bool sure;
	bool fewer;
};

static inline bool nothing_left(const struct failing *f, bool fewer)
{
	struct left now;

	if (left_is(&f->left, fewer, &now))
		return true;
	printf("# pins, locked, threads, files, users of mdma, of type1:\n");
	printf("# before %lld %lld %lld %lld %lld %lld\n", f->left.pins, f->left.locked,
	       f->left.threads, f->left.files, f->left.mdma, f->left.type1);
	printf("# now    %lld %lld %lld %lld %lld %lld\n", now.pins, now.locked, now.threads,
	       now.files, now.mdma, now.type1);
	return false;
}

/* One failure. Returns whether the operation was told of it. */
static inline bool sweep_one(struct failing *f, const struct sweep *s, int nth)
{
	int failures = harness_verdict->failures;
	bool done;

	s->before(f);
	left_look(&f->left);
	ASSERT_EQ(0, fail_nth_arm(f->fd, nth));
	f->ret = s->call(f);
	f->failed = fail_nth_disarm(f->fd);
	if (f->ret && f->ret != -ENOMEM && f->ret != -EFAULT)
		FAIL("%s, failure %d: %s", s->of, nth, error(f->ret));
	if (f->ret && !f->failed)
		FAIL("%s: %s, but nothing had failed", s->of, error(f->ret));
	done = !f->ret || (s->done && s->done(f));
	if (!done)
		EXPECT_EQ(true, nothing_left(f, s->fewer));
	s->check(f, done);
	if (failures != harness_verdict->failures)
		FAIL("%s, failure %d: %s", s->of, nth, error(f->ret));
	return f->ret;
}

/* Until the operation succeeds without an injected failure. */
static inline void sweep(struct failing *f, const struct sweep *s)
{
	int nth = 0, told = 0;

	do {
		ASSERT_LT(++nth, NTH_MAX);
		told += sweep_one(f, s, nth);
	} while (f->failed);
	printf("# %s: of %d failures %d were told\n", s->of, nth - 1, told);
	printf("# figures: points=%d\n", nth - 1);
	if (s->sure)
		EXPECT_EQ(0, told);
	else
		EXPECT_LT(0, told);
}

#endif
