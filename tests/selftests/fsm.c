// SPDX-License-Identifier: GPL-2.0-only
/* The states of the migration protocol: every arc, even those that do not exist. */
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"

#define STREAM_MAX	0x10000

static const int states[] = {
	MIG(STOP), MIG(RUNNING), MIG(STOP_COPY), MIG(RESUMING),
	MIG(RUNNING_P2P), MIG(PRE_COPY), MIG(PRE_COPY_P2P),
};

static bool saves(int state)
{
	return state == MIG(STOP_COPY) || state == MIG(PRE_COPY) ||
	       state == MIG(PRE_COPY_P2P);
}

/* <linux/vfio.h>: a stop-copy can't be continued by a pre-copy. */
static bool legal(int from, int to)
{
	return from != MIG(STOP_COPY) ||
	       (to != MIG(PRE_COPY) && to != MIG(PRE_COPY_P2P));
}

/* Whether the arc gives a new file: an arc between two saving states keeps the file. */
static bool gives_file(int from, int to)
{
	if (from == to)
		return false;
	return to == MIG(RESUMING) || (saves(to) && !saves(from));
}

/* Resets the device and brings it to this state; to RESUMING with this stream, or none. */
static void go_to(struct rig *r, int state, const void *stream, long long size)
{
	int fd = -1;

	ASSERT_EQ(0, ioctl(r->dev.device, VFIO_DEVICE_RESET));
	ASSERT_EQ(MIG(RUNNING), mig_get(r->dev.device));
	ASSERT_EQ(0, mig_set(r->dev.device, state, &fd));
	ASSERT_EQ(state, mig_get(r->dev.device));
	if (size)
		ASSERT_EQ(size, write(fd, stream, size));
	if (fd >= 0)
		close(fd);
}

/* One arc, and all that it returns. */
static void expect_arc(struct rig *r, int from, int to)
{
	int fd, ret = mig_set(r->dev.device, to, &fd);
	bool file = fd >= 0;

	if (!legal(from, to)) {
		if (ret != -EINVAL || mig_get(r->dev.device) != from)
			FAIL("%d to %d: %s, then in %d", from, to, error(ret),
			     mig_get(r->dev.device));
		return;
	}
	if (ret || mig_get(r->dev.device) != to)
		FAIL("%d to %d: %s, then in %d", from, to, error(ret),
		     mig_get(r->dev.device));
	if (file != gives_file(from, to))
		FAIL("%d to %d: file %d", from, to, fd);
	if (fd >= 0)
		close(fd);
}

TEST_F(rig, mdma_every_pair_of_states, 60)
{
	char *stream = malloc(STREAM_MAX);
	long long size = mig_save(self->dev.device, stream, STREAM_MAX);
	unsigned int from, to;

	ASSERT_LT(0, size);
	for (from = 0; from < ARRAY_SIZE(states); from++) {
		for (to = 0; to < ARRAY_SIZE(states); to++) {
			go_to(self, states[from], stream,
			      states[from] == MIG(RESUMING) ? size : 0);
			expect_arc(self, states[from], states[to]);
		}
	}
	free(stream);
}

/* All walks of three arcs: what one arc leaves behind does not affect the next. */
TEST_F(rig, mdma_every_walk_of_three_arcs, 120)
{
	const unsigned int n = ARRAY_SIZE(states);
	char *stream = malloc(STREAM_MAX);
	long long size = mig_save(self->dev.device, stream, STREAM_MAX);
	unsigned int walk;
	int first, second, third;

	ASSERT_LT(0, size);
	for (walk = 0; walk < n * n * n; walk++) {
		first = states[walk % n];
		second = states[walk / n % n];
		third = states[walk / n / n];
		/* The stream would have to be written in between. */
		if (second == MIG(RESUMING) || third == MIG(RESUMING) ||
		    !legal(first, second))
			continue;
		go_to(self, first, stream, first == MIG(RESUMING) ? size : 0);
		expect_arc(self, first, second);
		expect_arc(self, second, third);
	}
	free(stream);
}

/* Leaving RESUMING with an unfinished stream leads to ERROR, on any arc. */
TEST_F(rig, mdma_unfinished_stream_leads_to_error, 30)
{
	int device = self->dev.device;
	unsigned int to;

	for (to = 0; to < ARRAY_SIZE(states); to++) {
		if (states[to] == MIG(RESUMING))
			continue;
		go_to(self, MIG(RESUMING), NULL, 0);
		EXPECT_STR("EINVAL", error(mig_set(device, states[to], NULL)));
		EXPECT_EQ(MIG(ERROR), mig_get(device));
	}
}

TEST_F(rig, mdma_error_is_left_by_reset_only, 30)
{
	int device = self->dev.device;
	unsigned int to;
	char text[32];

	go_to(self, MIG(RESUMING), NULL, 0);
	EXPECT_STR("EINVAL", error(mig_set(device, MIG(STOP), NULL)));
	for (to = 0; to < ARRAY_SIZE(states); to++) {
		EXPECT_STR("EINVAL", error(mig_set(device, states[to], NULL)));
		EXPECT_EQ(MIG(ERROR), mig_get(device));
	}
	ASSERT_EQ(0, mdma_get_text(&self->dev, "migration_state", text, 32));
	EXPECT_STR("error", text);
	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	EXPECT_EQ(MIG(RUNNING), mig_get(device));
}

TEST_F(rig, mdma_states_that_do_not_exist, 30)
{
	static const int odd[] = { MIG(ERROR), MIG(NR), MIG(NR) + 1, 99, -1 };
	int device = self->dev.device;
	unsigned int from, to;

	for (from = 0; from < ARRAY_SIZE(states); from++) {
		go_to(self, states[from], NULL, 0);
		for (to = 0; to < ARRAY_SIZE(odd); to++) {
			EXPECT_STR("EINVAL",
				   error(mig_set(device, odd[to], NULL)));
			EXPECT_EQ(states[from], mig_get(device));
		}
	}
}

TEST_MAIN(mdev_remove_leftovers)
