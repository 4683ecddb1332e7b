// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device's dirty log, with each allocation and copy of user memory failing in turn: it is on or
 * off, and no page is lost.
 */
#include "dma_log.h"
#include "sweep.h"

#define LOGGED		"30-31,700"

typedef struct vfio_device_feature_dma_logging_range range_t;

static const range_t ranges[] = {
	{ .iova = RIG_IOVA, .length = 512 << PAGE_SHIFT },
	{ .iova = RIG_IOVA + (512 << PAGE_SHIFT), .length = 512 << PAGE_SHIFT },
};

static unsigned char bitmap[RIG_PAGES / 8];

/* A device that offers the log, in the place of one that does not. */
static void offer_log(struct failing *f)
{
	int ret;

	rig_close(&f->rig);
	ret = dma_log_rig_open(&f->rig, "mdma-1", RIG_PAGES);
	if (ret == -EOPNOTSUPP)
		SKIP("vfio and mdma are not built with CONFIG_IOMMUFD_DRIVER");
	ASSERT_STR("0", error(ret));
	memset(f->rig.mem, 1, RIG_PAGES << PAGE_SHIFT);
}

static int call_start(struct failing *f)
{
	__u64 size = PAGE_SIZE;

	return dma_log_start(f->rig.dev.device, &size, ranges, ARRAY_SIZE(ranges));
}

static int call_stop(struct failing *f)
{
	return dma_log_stop(f->rig.dev.device);
}

static void write_bytes(struct failing *f)
{
	ASSERT_STR("0", error(mdma_rw_write(&f->rig.dev, at(30), 5000, 1)));
	ASSERT_STR("0", error(mdma_rw_write(&f->rig.dev, at(700), 1, 1)));
}

static void log_off(struct failing *f)
{
	ASSERT_STR("0", error(call_stop(f)));
}

static void log_on(struct failing *f)
{
	log_off(f);
	ASSERT_STR("0", error(call_start(f)));
	write_bytes(f);
	memset(bitmap, 0, sizeof(bitmap));
}

static void check_start(struct failing *f, bool done)
{
	EXPECT_EQ(done ? PAGE_SIZE : 0, mdma_get(&f->rig.dev, "dirty_log/page_size"));
	write_bytes(f);
	EXPECT_STR(done ? LOGGED : "EINVAL", dma_log_text(&f->rig, 0, RIG_PAGES));
}

static void check_stop(struct failing *f, bool done)
{
	EXPECT_EQ(done ? 0 : PAGE_SIZE, mdma_get(&f->rig.dev, "dirty_log/page_size"));
	EXPECT_STR(done ? "EINVAL" : LOGGED, dma_log_text(&f->rig, 0, RIG_PAGES));
	EXPECT_EQ(0, mdma_get(&f->rig.dev, "dirty_log/bytes"));
}

static int call_report(struct failing *f)
{
	return dma_log_report(f->rig.dev.device, at(0), RIG_PAGES << PAGE_SHIFT, PAGE_SIZE,
			      bitmap);
}

static void check_report(struct failing *f, bool done)
{
	if (done)
		EXPECT_STR(LOGGED, bitmap_text(bitmap, RIG_PAGES));
	EXPECT_STR(done ? "none" : LOGGED, dma_log_text(&f->rig, 0, RIG_PAGES));
}

TEST_F(failing, mdma_failing_start_of_the_log, 60)
{
	static const struct sweep s = {
		.of = "log_start",
		.before = log_off, .call = call_start, .check = check_start,
	};

	offer_log(self);
	sweep(self, &s);
}

TEST_F(failing, mdma_failing_stop_of_the_log, 60)
{
	static const struct sweep s = {
		.of = "log_stop",
		.before = log_on, .call = call_stop, .check = check_stop,
	};

	offer_log(self);
	sweep(self, &s);
}

TEST_F(failing, mdma_failing_report_of_the_log, 60)
{
	static const struct sweep s = {
		.of = "log_read_and_clear",
		.before = log_on, .call = call_report, .check = check_report,
	};

	offer_log(self);
	sweep(self, &s);
}

/* --- what is written while the log is on -------------------------------------- */

static void write_nothing(struct failing *f)
{
	log_off(f);
	ASSERT_STR("0", error(call_start(f)));
	ASSERT_EQ(0, mdma_clear_ledger(&f->rig.dev));
	memset(bitmap, 0, sizeof(bitmap));
}

static int call_step(struct failing *f)
{
	return mdma_set(&f->rig.dev, "workload/step", "1");
}

/* Without memory for the page, all of its unit is told. */
static void check_step(struct failing *f, bool done)
{
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&f->rig.dev, &rec), i;

	EXPECT_EQ(done, n);
	ASSERT_STR("0", error(call_report(f)));
	for (i = 0; i < n; i++)
		EXPECT_EQ(1, bitmap_bit(bitmap, (rec[i].iova - RIG_IOVA) >> PAGE_SHIFT));
	free(rec);
	if (!f->failed)
		EXPECT_EQ(0, mdma_get(&f->rig.dev, "dirty_log/overflows"));
}

TEST_F(failing, mdma_failing_record_of_the_log, 60)
{
	static const struct sweep s = {
		.of = "workload/step",
		.before = write_nothing, .call = call_step, .check = check_step,
	};

	offer_log(self);
	set_window(&self->rig, 16, RIG_PAGES);
	sweep(self, &s);
}

TEST_MAIN(mdev_remove_leftovers)
