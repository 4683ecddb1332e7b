// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration, with each allocation and copy of user memory failing in turn: the stream from the
 * begin to the end, each arc of the state machine by itself, and what the user asks.
 *
 * The user learns a new state, and its file, by the last copy. If that fails, the device is in the
 * new state all the same, and the file is gone: the user has to ask for the state (linux/vfio.h).
 */
#include <sys/ioctl.h>

#include "migration.h"
#include "sweep.h"

#define STREAM_MAX	0x10000
#define WRITES		200	/* 100 descriptors of two pages each */
#define HELD		16	/* pages of 8 descriptors */

static char *stream;
static long long stream_size;
static int data_fd = -1;

/* --- the whole stream -------------------------------------------------------- */

static void run_again(struct failing *f)
{
	ASSERT_STR("0", error(mig_set(f->rig.dev.device, MIG(RUNNING), NULL)));
}

static int call_save(struct failing *f)
{
	long long n = mig_save(f->rig.dev.device, stream, STREAM_MAX);

	stream_size = n;
	return n < 0 ? n : 0;
}

/* It may have come half way, and goes on from there. */
static bool is_saved(struct failing *f)
{
	return mig_get(f->rig.dev.device) != MIG(RUNNING);
}

static void check_save(struct failing *f, bool done)
{
	(void)done;
	if (!f->ret)
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
	return mig_load(f->target.dev.device, stream, stream_size, NULL);
}

/* It may have come half way, and has its file until it is reset. */
static bool is_loading(struct failing *f)
{
	return mig_get(f->target.dev.device) == MIG(RESUMING);
}

static void check_load(struct failing *f, bool done)
{
	(void)done;
	if (!f->ret) {
		EXPECT_EQ(MIG(STOP), mig_get(f->target.dev.device));
		EXPECT_EQ(WRITES, mdma_get(&f->target.dev, "stats/seq"));
	}
}

TEST_F(failing, mdma_failing_migration_can_be_repeated, 120)
{
	static const struct sweep save = {
		.of = "set_state save_read",
		.before = run_again, .call = call_save, .done = is_saved,
		.check = check_save,
	};
	static const struct sweep load = {
		.of = "set_state resume_write",
		.before = reset_target, .call = call_load, .done = is_loading,
		.check = check_load,
	};

	stream = calloc(1, STREAM_MAX);
	memset(stream, 1, STREAM_MAX);
	ASSERT_STR("0", error(rig_open(&self->target, "mdma-1", RIG_PAGES)));
	set_workload(&self->rig);
	SET(&self->rig, "step", "100");
	ASSERT_EQ(WRITES, mdma_get(&self->rig.dev, "stats/seq"));
	sweep(self, &save);
	ASSERT_LT(0, stream_size);
	sweep(self, &load);
}

/* --- arc by arc -------------------------------------------------------------- */

struct arc {
	int from, to;
};

/* All that the kernel has for a device with these features: others go over several arcs. */
static const struct arc arcs[] = {
	{ MIG(RUNNING), MIG(RUNNING_P2P) },
	{ MIG(RUNNING), MIG(PRE_COPY) },
	{ MIG(RUNNING_P2P), MIG(RUNNING) },
	{ MIG(RUNNING_P2P), MIG(STOP) },
	{ MIG(RUNNING_P2P), MIG(PRE_COPY_P2P) },
	{ MIG(PRE_COPY), MIG(RUNNING) },
	{ MIG(PRE_COPY), MIG(PRE_COPY_P2P) },
	{ MIG(PRE_COPY_P2P), MIG(PRE_COPY) },
	{ MIG(PRE_COPY_P2P), MIG(RUNNING_P2P) },
	{ MIG(PRE_COPY_P2P), MIG(STOP_COPY) },
	{ MIG(STOP), MIG(RUNNING_P2P) },
	{ MIG(STOP), MIG(STOP_COPY) },
	{ MIG(STOP), MIG(RESUMING) },
	{ MIG(STOP_COPY), MIG(STOP) },
	{ MIG(RESUMING), MIG(STOP) },
};

static bool is_stopped(int state)
{
	return state == MIG(STOP) || state == MIG(STOP_COPY) || state == MIG(RESUMING);
}

static bool runs(int state)
{
	return state == MIG(RUNNING) || state == MIG(PRE_COPY);
}

static void close_data(void)
{
	if (data_fd >= 0)
		close(data_fd);
	data_fd = -1;
}

/* A device that holds pages, in the state where the arc begins. */
static void go_to_begin(struct failing *f)
{
	const struct arc *a = f->arg;
	int fd = f->rig.dev.device;

	close_data();
	ASSERT_STR("0", error(mdma_reset(&f->rig.dev)));
	SET(&f->rig, "step", "8");
	ASSERT_EQ(HELD, mdma_get(&f->rig.dev, "stats/pinned"));
	ASSERT_STR("0", error(mig_set(fd, a->from, &data_fd)));
	if (a->from == MIG(RESUMING))
		ASSERT_EQ(stream_size, write(data_fd, stream, stream_size));
}

static int call_arc(struct failing *f)
{
	const struct arc *a = f->arg;

	return mig_set(f->rig.dev.device, a->to, NULL);
}

static bool is_there(struct failing *f)
{
	const struct arc *a = f->arg;

	return mig_get(f->rig.dev.device) == a->to;
}

/* What was held and can't be pinned again is forgotten, which is logged, and no error. */
static void check_held(struct failing *f)
{
	long long pinned = mdma_get(&f->rig.dev, "stats/pinned");
	int state = mig_get(f->rig.dev.device);

	EXPECT_LE(pinned, HELD);
	EXPECT_LOCKED(pinned);
	if (is_stopped(state) || state == MIG(ERROR))
		EXPECT_EQ(0, pinned);
	else if (runs(state) && !f->failed)
		EXPECT_EQ(HELD, pinned);
}

static void check_arc(struct failing *f, bool done)
{
	const struct arc *a = f->arg;
	int state = mig_get(f->rig.dev.device);

	check_held(f);
	if (done) {
		EXPECT_EQ(a->to, state);
		return;
	}
	/* A stream that was not loaded leaves a device that nobody knows. */
	if (a->from == MIG(RESUMING) && state == MIG(ERROR))
		return;
	EXPECT_EQ(a->from, state);
	EXPECT_STR("0", error(call_arc(f)));
	EXPECT_EQ(a->to, mig_get(f->rig.dev.device));
	check_held(f);
}

/* A device with a stream of its own, which has what it held. */
static void hold_and_save(struct failing *f)
{
	set_window(&f->rig, 16, RIG_PAGES);
	SET(&f->rig, "batch", "2");
	SET(&f->rig, "hold_ms", "600000");
	SET(&f->rig, "step", "8");
	stream = calloc(1, STREAM_MAX);
	ASSERT_EQ(0, call_save(f));
	ASSERT_LT(0, stream_size);
}

TEST_F(failing, mdma_failing_arc_leads_nowhere, 240)
{
	unsigned int i;

	hold_and_save(self);
	for (i = 0; i < ARRAY_SIZE(arcs); i++) {
		const struct sweep s = {
			.of = "set_state", .before = go_to_begin,
			.call = call_arc, .done = is_there,
			.check = check_arc, .fewer = true,
		};

		printf("# from state %d to %d\n", arcs[i].from, arcs[i].to);
		self->arg = &arcs[i];
		sweep(self, &s);
	}
	close_data();
}

/* --- what the user asks -------------------------------------------------------- */

struct question {
	const char *of;
	long long (*ask)(struct failing *f);
};

static long long ask_flags(struct failing *f)
{
	return mig_flags(f->rig.dev.device);
}

static long long ask_state(struct failing *f)
{
	return mig_get(f->rig.dev.device);
}

static long long ask_size(struct failing *f)
{
	return mig_data_size(f->rig.dev.device);
}

static long long ask_precopy(struct failing *f)
{
	struct vfio_precopy_info info;
	int ret = mig_precopy_info(data_fd, &info);

	(void)f;
	return ret ? ret : (long long)info.initial_bytes;
}

static const struct question questions[] = {
	{ "VFIO_DEVICE_FEATURE_MIGRATION", ask_flags },
	{ "get_state", ask_state },
	{ "get_data_size", ask_size },
	{ "save_ioctl VFIO_MIG_GET_PRECOPY_INFO", ask_precopy },
};

static long long said, good;

static void say_nothing(struct failing *f)
{
	(void)f;
	said = 0;
}

static int call_ask(struct failing *f)
{
	const struct question *q = f->arg;

	said = q->ask(f);
	return said < 0 ? said : 0;
}

static void check_answer(struct failing *f, bool done)
{
	if (done)
		EXPECT_EQ(good, said);
	EXPECT_EQ(MIG(PRE_COPY), mig_get(f->rig.dev.device));
}

TEST_F(failing, mdma_failing_question_about_migration, 60)
{
	unsigned int i;

	ASSERT_STR("0", error(mig_set(self->rig.dev.device, MIG(PRE_COPY), &data_fd)));
	for (i = 0; i < ARRAY_SIZE(questions); i++) {
		const struct sweep s = {
			.of = questions[i].of,
			.before = say_nothing, .call = call_ask, .check = check_answer,
		};

		self->arg = &questions[i];
		good = questions[i].ask(self);
		ASSERT_LE(0, good);
		sweep(self, &s);
	}
	close_data();
}

TEST_MAIN(mdev_remove_leftovers)
