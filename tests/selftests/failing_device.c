// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user or an administrator does with a device, with each of its allocations and copies of
 * user memory failing in turn: to make and to open it, ioctls, regions, files in sysfs and debugfs.
 */
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "irq.h"
#include "sweep.h"

#define TYPE		"/sys/class/mdev_bus/mdma/mdev_supported_types/mdma-4/"
#define UUID		"0a1b2c3d-0000-4000-8000-5e1f7e57fa11"
#define CHANNELS	4

/* --- made, opened, reset, removed ------------------------------------------- */

static bool exists(const char *directory)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/" UUID, directory);
	return !access(path, F_OK);
}

static bool is_made(void)
{
	return exists("/sys/bus/mdev/devices");
}

static void unmake(struct failing *f)
{
	if (is_made())
		ASSERT_STR("0", error(mdev_remove(UUID)));
	f->target.dev = (struct mdma) {
		.uuid = UUID, .group = -1, .device = -1, .pin = -1, .unpin = -1, .rw = -1,
	};
}

static int call_make(struct failing *f)
{
	(void)f;
	return file_write(TYPE "create", UUID);
}

/*
 * The kernel makes a device also without a node in /dev, or without a directory in debugfs, if
 * there is no memory for that alone.
 */
static void check_make(struct failing *f, bool done)
{
	EXPECT_EQ(done, is_made());
	if (!done || !f->failed)
		EXPECT_EQ(done, exists("/sys/kernel/debug/mdma"));
	if (!done)
		return;
	EXPECT_EQ(CHANNELS, mdma_get(&f->target.dev, "channels"));
	EXPECT_EQ(0, mdma_get(&f->target.dev, "workload3/run"));
}

/*
 * The kernel's mdev counts a device before it has memory for it, and does not take that back: one
 * of its failures costs an instance.
 */
TEST_F(failing, mdma_failing_creation_leaves_nothing, 240)
{
	static const struct sweep s = {
		.of = "mdma_probe",
		.before = unmake, .call = call_make, .check = check_make,
	};
	long long free = file_number(TYPE "available_instances");

	sweep(self, &s);
	unmake(self);
	EXPECT_LE(free - 1, file_number(TYPE "available_instances"));
}

static void make(struct failing *f)
{
	unmake(f);
	ASSERT_STR("0", error(call_make(f)));
}

static int call_unmake(struct failing *f)
{
	(void)f;
	return mdev_remove(UUID);
}

static void check_unmake(struct failing *f, bool done)
{
	EXPECT_EQ(!done, is_made());
	EXPECT_EQ(!done, exists("/sys/kernel/debug/mdma"));
	if (!done)
		EXPECT_EQ(0, mdma_get(&f->target.dev, "workload3/run"));
}

TEST_F(failing, mdma_failing_removal_removes_nothing, 120)
{
	static const struct sweep s = {
		.of = "mdma_remove",
		.before = make, .call = call_unmake, .check = check_unmake,
	};

	sweep(self, &s);
}

/* The target is in a container, and not open. */
static void attach_target(struct failing *f)
{
	struct rig *r = &f->target;

	ASSERT_STR("0", error(mdma_create(&r->dev, "mdma-4")));
	r->container = container_open();
	ASSERT_STR("0", error(mdma_attach(&r->dev, r->container)));
	ASSERT_STR("0", error(container_set_type(r->container, VFIO_TYPE1v2_IOMMU)));
}

static void shut(struct failing *f)
{
	struct mdma *m = &f->target.dev;

	if (m->device >= 0)
		close(m->device);
	m->device = -1;
}

static int call_open(struct failing *f)
{
	struct mdma *m = &f->target.dev;

	m->device = group_get_device(m->group, m->uuid);
	return m->device < 0 ? m->device : 0;
}

static void check_open(struct failing *f, bool done)
{
	struct mdma *m = &f->target.dev;

	if (!done)
		return;
	EXPECT_STR("0", error(mdma_begin(m)));
	EXPECT_EQ(MDMA_MAGIC, mdma_read32(m, MDMA_REG_MAGIC));
}

TEST_F(failing, mdma_failing_open_starts_no_thread, 240)
{
	static const struct sweep s = {
		.of = "device_open",
		.before = shut, .call = call_open, .check = check_open,
	};

	attach_target(self);
	sweep(self, &s);
}

static void fill(struct failing *f)
{
	PIN(&f->rig, 20, 3, 'w');
	set_window(&f->rig, 100, 200);
	SET(&f->rig, "hold_ms", "600000");
	SET(&f->rig, "step", "5");
}

static int call_reset(struct failing *f)
{
	return ioctl(f->rig.dev.device, VFIO_DEVICE_RESET) ? -errno : 0;
}

static void check_reset(struct failing *f, bool done)
{
	EXPECT_EQ(true, done);
	EXPECT_EQ(0, mdma_get(&f->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(failing, mdma_reset_never_fails, 60)
{
	static const struct sweep s = {
		.of = "VFIO_DEVICE_RESET", .sure = true,
		.before = fill, .call = call_reset, .check = check_reset,
	};

	sweep(self, &s);
}

/* --- ioctls that tell ------------------------------------------------------- */

#define ANSWER		256

/* What is asked, by the begin of the argument. */
struct question {
	const char *of;
	unsigned long cmd;
	__u32 head[3];
};

static const struct question questions[] = {
	{ "VFIO_DEVICE_GET_INFO", VFIO_DEVICE_GET_INFO, { ANSWER } },
	{ "VFIO_DEVICE_GET_IRQ_INFO", VFIO_DEVICE_GET_IRQ_INFO,
	  { ANSWER, 0, VFIO_PCI_MSIX_IRQ_INDEX } },
	{ "VFIO_DEVICE_GET_REGION_INFO region_info", VFIO_DEVICE_GET_REGION_INFO,
	  { ANSWER, 0, VFIO_PCI_BAR0_REGION_INDEX } },
	/* The ledger, with a capability. */
	{ "VFIO_DEVICE_GET_REGION_INFO region_info", VFIO_DEVICE_GET_REGION_INFO,
	  { ANSWER, 0, VFIO_PCI_NUM_REGIONS } },
};

static char answer[ANSWER], good_answer[ANSWER];

static void ask(struct failing *f)
{
	const struct question *q = f->arg;

	memset(answer, 0, sizeof(answer));
	memcpy(answer, q->head, sizeof(q->head));
}

static int call_ask(struct failing *f)
{
	const struct question *q = f->arg;

	return ioctl(f->rig.dev.device, q->cmd, answer) ? -errno : 0;
}

static void check_answer(struct failing *f, bool done)
{
	(void)f;
	if (done)
		EXPECT_EQ(0, memcmp(answer, good_answer, ANSWER));
}

TEST_F(failing, mdma_failing_question_changes_nothing, 60)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(questions); i++) {
		const struct sweep s = {
			.of = questions[i].of,
			.before = ask, .call = call_ask, .check = check_answer,
		};

		self->arg = &questions[i];
		ask(self);
		ASSERT_STR("0", error(call_ask(self)));
		memcpy(good_answer, answer, ANSWER);
		sweep(self, &s);
	}
}

/* --- interrupts ------------------------------------------------------------- */

#define BY_EVENTFD	VFIO_IRQ_SET_DATA_EVENTFD
#define TRIGGER		VFIO_IRQ_SET_ACTION_TRIGGER
#define UNMASK		VFIO_IRQ_SET_ACTION_UNMASK

/* The interrupt has the first to trigger. The second is to do that, or to unmask. */
static int eventfds[2];

static int give_eventfd(struct failing *f, unsigned int action, int fd)
{
	const unsigned int *index = f->arg;

	return irq_command(&f->rig.dev, BY_EVENTFD | action, *index, 0, fd);
}

static void set_trigger(struct failing *f)
{
	ASSERT_STR("0", error(give_eventfd(f, TRIGGER, eventfds[0])));
}

static int call_set_trigger(struct failing *f)
{
	return give_eventfd(f, TRIGGER, eventfds[1]);
}

static void check_trigger(struct failing *f, bool done)
{
	const unsigned int *index = f->arg;

	ASSERT_STR("0", error(irq_command(&f->rig.dev, VFIO_IRQ_SET_DATA_NONE | TRIGGER,
					  *index, 0, 1)));
	EXPECT_EQ(1, irq_count(eventfds[done], 3000));
	EXPECT_EQ(0, irq_count(eventfds[!done], 0));
}

static void make_eventfds(void)
{
	int i;

	for (i = 0; i < 2; i++)
		eventfds[i] = eventfd(0, EFD_NONBLOCK);
	ASSERT_LE(0, eventfds[1]);
}

TEST_F(failing, mdma_failing_eventfd_leaves_the_former_one, 60)
{
	static const unsigned int indexes[] = {
		VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
	};
	static const struct sweep s = {
		.of = "VFIO_DEVICE_SET_IRQS",
		.before = set_trigger, .call = call_set_trigger, .check = check_trigger,
	};
	unsigned int i;

	make_eventfds();
	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		self->arg = &indexes[i];
		sweep(self, &s);
	}
}

static void set_no_unmask(struct failing *f)
{
	ASSERT_STR("0", error(give_eventfd(f, UNMASK, -1)));
}

static int call_set_unmask(struct failing *f)
{
	return give_eventfd(f, UNMASK, eventfds[1]);
}

static void check_unmask(struct failing *f, bool done)
{
	EXPECT_STR(done ? "EBUSY" : "0", error(call_set_unmask(f)));
}

TEST_F(failing, mdma_failing_eventfd_unmasks_nothing, 60)
{
	static const unsigned int index = VFIO_PCI_INTX_IRQ_INDEX;
	static const struct sweep s = {
		.of = "VFIO_DEVICE_SET_IRQS",
		.before = set_no_unmask, .call = call_set_unmask, .check = check_unmask,
	};

	make_eventfds();
	self->arg = &index;
	set_trigger(self);
	sweep(self, &s);
}

/* --- regions, and the ledger ------------------------------------------------ */

#define SIZE_REG	(MDMA_REG_CHANNEL(0) + MDMA_CHAN_RING_SIZE)

static void write_register(struct failing *f)
{
	ASSERT_EQ(0, mdma_write32(&f->rig.dev, SIZE_REG, 8));
}

static int call_write_register(struct failing *f)
{
	return mdma_write32(&f->rig.dev, SIZE_REG, 16);
}

static void check_write_register(struct failing *f, bool done)
{
	EXPECT_EQ(done ? 16 : 8, mdma_read32(&f->rig.dev, SIZE_REG));
}

static __u32 value;

static int call_read_register(struct failing *f)
{
	struct mdma *m = &f->rig.dev;

	return pread(m->device, &value, 4, m->bar0 + SIZE_REG) == 4 ? 0 : -errno;
}

static void check_read_register(struct failing *f, bool done)
{
	(void)f;
	if (done)
		EXPECT_EQ(8, value);
}

TEST_F(failing, mdma_failing_access_changes_nothing, 60)
{
	static const struct sweep writes = {
		.of = "device_write", .before = write_register,
		.call = call_write_register, .check = check_write_register,
	};
	static const struct sweep reads = {
		.of = "device_read", .before = write_register,
		.call = call_read_register, .check = check_read_register,
	};

	sweep(self, &writes);
	sweep(self, &reads);
}

#define TABLE		10	/* page with the table of the guest's window */

static void take_window_back(struct failing *f)
{
	struct mdma_range *table = (void *)(f->rig.mem + (TABLE << PAGE_SHIFT));
	struct mdma *m = &f->rig.dev;

	*table = (struct mdma_range) { .iova = at(100), .size = PAGE_SIZE };
	ASSERT_EQ(0, mdma_write32(m, MDMA_REG_WINDOW_RANGES, 0));
	ASSERT_EQ(0, mdma_write64(m, MDMA_REG_WINDOW_TABLE, at(TABLE)));
}

static int call_give_window(struct failing *f)
{
	return mdma_write32(&f->rig.dev, MDMA_REG_WINDOW_RANGES, 1);
}

/* The guest is told by a register that the device could not read the table. */
static void check_window(struct failing *f, bool done)
{
	__u32 status = mdma_read32(&f->rig.dev, MDMA_REG_WINDOW_STATUS);
	char text[64];

	if (!f->failed)
		EXPECT_EQ(MDMA_STATUS_DONE, status);
	if (done && status != MDMA_STATUS_DONE)
		EXPECT_EQ(MDMA_STATUS_DEVICE_ERROR, status);
	ASSERT_EQ(0, mdma_get_text(&f->rig.dev, "workload/window", text, sizeof(text)));
	EXPECT_STR(done && status == MDMA_STATUS_DONE ? "0x40064000-0x40064fff" : "", text);
	EXPECT_EQ(0, mdma_get(&f->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(failing, mdma_failing_window_is_told, 60)
{
	static const struct sweep s = {
		.of = "device_write", .before = take_window_back,
		.call = call_give_window, .check = check_window,
	};

	sweep(self, &s);
}

#define WRITTEN		300	/* pages in the ledger */
#define WRITTEN_BYTES	(WRITTEN * sizeof(struct mdma_ledger_record))

static struct {
	struct mdma_ledger_header header;
	struct mdma_ledger_record records[WRITTEN + 1];
} copy;
static struct vfio_region_info region;

static void write_pages(struct failing *f)
{
	if (mdma_get(&f->rig.dev, "ledger/records") == WRITTEN)
		return;
	ASSERT_STR("0", error(mdma_clear_ledger(&f->rig.dev)));
	set_window(&f->rig, 100, 100 + WRITTEN);
	SET(&f->rig, "batch", "1");
	SET(&f->rig, "step", "300");
	ASSERT_EQ(WRITTEN, mdma_get(&f->rig.dev, "ledger/records"));
}

static int call_read_region(struct failing *f)
{
	memset(&copy, 0, sizeof(copy));
	return pread(f->rig.dev.device, &copy, sizeof(copy), region.offset) == sizeof(copy) ?
	       0 : -errno;
}

static void expect_records(void)
{
	int i;

	for (i = 0; i < WRITTEN; i++)
		EXPECT_EQ(at(100 + i), copy.records[i].iova);
	EXPECT_EQ(0, copy.records[WRITTEN].seq);
}

static void check_read_region(struct failing *f, bool done)
{
	EXPECT_EQ(WRITTEN, mdma_get(&f->rig.dev, "ledger/records"));
	if (!done)
		return;
	EXPECT_EQ(WRITTEN, copy.header.records);
	expect_records();
}

static void debugfs_path(struct failing *f, const char *name, char *path, int size)
{
	snprintf(path, size, "/sys/kernel/debug/mdma/%s/%s", f->rig.dev.uuid, name);
}

static int call_read_file(struct failing *f)
{
	char path[128];
	int fd, ret;

	memset(&copy, 0, sizeof(copy));
	debugfs_path(f, "ledger", path, sizeof(path));
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	ret = read(fd, copy.records, sizeof(copy.records)) == WRITTEN_BYTES ? 0 : -errno;
	close(fd);
	return ret;
}

static void check_read_file(struct failing *f, bool done)
{
	EXPECT_EQ(WRITTEN, mdma_get(&f->rig.dev, "ledger/records"));
	if (done)
		expect_records();
}

TEST_F(failing, mdma_failing_read_of_the_ledger, 60)
{
	static const struct sweep of_region = {
		.of = "device_read", .before = write_pages,
		.call = call_read_region, .check = check_read_region,
	};
	static const struct sweep of_file = {
		.of = "ledger_open ledger_read", .before = write_pages,
		.call = call_read_file, .check = check_read_file,
	};

	region = (struct vfio_region_info) {
		.argsz = sizeof(region), .index = VFIO_PCI_NUM_REGIONS,
	};
	ASSERT_EQ(0, ioctl(self->rig.dev.device, VFIO_DEVICE_GET_REGION_INFO, &region));
	sweep(self, &of_region);
	sweep(self, &of_file);
}

static int call_clear(struct failing *f)
{
	char path[128];

	debugfs_path(f, "ledger_clear", path, sizeof(path));
	return file_write(path, "1");
}

static void check_clear(struct failing *f, bool done)
{
	EXPECT_EQ(done ? 0 : WRITTEN, mdma_get(&f->rig.dev, "ledger/records"));
}

TEST_F(failing, mdma_failing_clear_clears_nothing, 60)
{
	static const struct sweep s = {
		.of = "ledger_clear_write",
		.before = write_pages, .call = call_clear, .check = check_clear,
	};

	sweep(self, &s);
}

/* --- bytes written by hand --------------------------------------------------- */

#define RW_PAGE		40
#define RW_BYTES	5000	/* of two pages */

static void clean(struct failing *f)
{
	ASSERT_STR("0", error(mdma_clear_ledger(&f->rig.dev)));
	memset(f->rig.mem + (RW_PAGE << PAGE_SHIFT), 1, RW_BYTES);
	STOP(&f->rig);
	START(&f->rig);
}

static int call_rw(struct failing *f)
{
	return mdma_rw_write(&f->rig.dev, at(RW_PAGE), RW_BYTES, 0x5a);
}

static void check_rw(struct failing *f, bool done)
{
	const unsigned char *mem = f->rig.mem + (RW_PAGE << PAGE_SHIFT);
	int i, wrong = 0;

	for (i = 0; i < RW_BYTES; i++)
		wrong += mem[i] != (done ? 0x5a : 1);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(done ? 2 : 0, mdma_get(&f->rig.dev, "ledger/records"));
	EXPECT_STR(done ? "40-41" : "none", dirty_all(&f->rig));
}

TEST_F(failing, mdma_failing_write_by_hand, 60)
{
	static const struct sweep s = {
		.of = "rw_write",
		.before = clean, .call = call_rw, .check = check_rw,
	};

	sweep(self, &s);
}

/* --- files in sysfs ----------------------------------------------------------- */

struct attribute {
	const char *of;
	const char *before, *after;
};

static const struct attribute attributes[] = {
	{ "workload/pattern", "sequential", "zipf" },
	{ "workload/access", "pin", "rw" },
	{ "workload/direction", "write", "read" },
	{ "workload/write_percent", "50", "60" },
	{ "workload/on_error", "skip", "retry" },
	{ "workload/batch", "1", "2" },
	{ "workload/ring", "8", "9" },
	{ "workload/stride", "16", "17" },
	{ "workload/theta", "990", "500" },
	{ "workload/hot", "16", "17" },
	{ "workload/hot_percent", "90", "80" },
	{ "workload/drift", "0", "1" },
	{ "workload/pages", "0", "7" },
	{ "workload/seed", "0", "7" },
	{ "workload/hold_ms", "0", "7" },
	{ "workload/rate", "0", "7" },
	{ "workload/burst", "0", "7" },
	{ "workload/pause_ms", "0", "7" },
	{ "workload/run", "0", "1" },
	{ "workload/window", "0x1000-0x1fff", "0x1000-0x4fff,0x8000-0x8fff" },
	{ "stream_settings", "take", "keep" },
	{ "ledger/bytes_max", "1000000", "2000000" },
	{ "dirty_log/bytes_max", "1000000", "2000000" },
	{ "dirty_log/enabled", "0", "1" },
};

static void store_before(struct failing *f)
{
	const struct attribute *a = f->arg;

	ASSERT_STR("0", error(mdma_set(&f->target.dev, a->of, "%s", a->before)));
}

static int call_store(struct failing *f)
{
	const struct attribute *a = f->arg;

	return mdma_set(&f->target.dev, a->of, "%s", a->after);
}

static void check_store(struct failing *f, bool done)
{
	const struct attribute *a = f->arg;
	char text[256];

	ASSERT_EQ(0, mdma_get_text(&f->target.dev, a->of, text, sizeof(text)));
	EXPECT_STR(done ? a->after : a->before, text);
}

/* Of a device that is not open, as one of them demands. */
TEST_F(failing, mdma_failing_store_changes_nothing, 120)
{
	unsigned int i;

	ASSERT_STR("0", error(mdma_create(&self->target.dev, "mdma-4")));
	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		const struct sweep s = {
			.of = attributes[i].of, .before = store_before,
			.call = call_store, .check = check_store,
		};

		self->arg = &attributes[i];
		sweep(self, &s);
		store_before(self);
	}
}

#define ENTRIES		200	/* more than a page of them, so they come in pieces */

static struct {
	struct mdma_trace_header header;
	struct mdma_trace_entry entry[ENTRIES];
} trace;

/* Writes a trace of so many entries: 0 or -errno. */
static int store_trace(struct failing *f, __u32 entries)
{
	long long n, pos, size = sizeof(trace.header) + entries * sizeof(*trace.entry);
	char path[128];
	int fd, ret = 0;

	trace.header = (struct mdma_trace_header) {
		MDMA_TRACE_MAGIC, MDMA_TRACE_VERSION, entries, 0
	};
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace",
		 f->target.dev.uuid);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	for (pos = 0; pos < size && !ret; pos += n) {
		n = pwrite(fd, (char *)&trace + pos, size - pos, pos);
		ret = n < 0 ? -errno : 0;
	}
	close(fd);
	return ret;
}

static void short_trace(struct failing *f)
{
	ASSERT_STR("0", error(store_trace(f, 1)));
}

static int call_store_trace(struct failing *f)
{
	return store_trace(f, ENTRIES);
}

static void check_store_trace(struct failing *f, bool done)
{
	struct mdma_trace_header header;
	char path[128], text[sizeof(header) + 1];

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace",
		 f->target.dev.uuid);
	ASSERT_EQ(sizeof(header), file_read_all(path, text, sizeof(text)));
	memcpy(&header, text, sizeof(header));
	EXPECT_EQ(done ? ENTRIES : 1, header.entries);
}

TEST_F(failing, mdma_failing_upload_leaves_the_former_trace, 60)
{
	static const struct sweep s = {
		.of = "workload/trace",
		.before = short_trace, .call = call_store_trace,
		.check = check_store_trace,
	};
	int i;

	ASSERT_STR("0", error(mdma_create(&self->target.dev, "mdma-1")));
	for (i = 0; i < ENTRIES; i++)
		trace.entry[i] = (struct mdma_trace_entry) {
			.iova = at(i), .npages = 1, .flags = MDMA_TRACE_WRITE,
		};
	sweep(self, &s);
}

TEST_MAIN(mdev_remove_leftovers)
