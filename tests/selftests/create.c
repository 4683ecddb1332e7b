// SPDX-License-Identifier: GPL-2.0-only
/* Creation and removal of mdevs by sysfs, many at once and side by side. */
#include <sys/stat.h>

#include "fixture.h"

#define TYPES		"/sys/class/mdev_bus/mdma/mdev_supported_types/"
#define DEVICES		"/sys/bus/mdev/devices/"
#define UUID		"0a1b2c3d-0000-4000-8000-5e1f7e570001"
#define MAX_DEVICES	64

FIXTURE(types) {
	struct mdma m[MAX_DEVICES];
	int nr;
};

FIXTURE_SETUP(types)
{
	self->nr = 0;
}

FIXTURE_TEARDOWN(types)
{
	while (self->nr)
		mdma_destroy(&self->m[--self->nr]);
	EXPECT_EQ(MAX_DEVICES,
		  file_number(TYPES "mdma-1/available_instances"));
}

static int create_mdev(const char *type, const char *uuid)
{
	char path[128];

	snprintf(path, sizeof(path), TYPES "%s/create", type);
	return file_write(path, uuid);
}

static bool exists(const char *path)
{
	struct stat st;

	return !stat(path, &st);
}

/* Without iova_bitmap in vfio, nobody could read the log. */
TEST_F(types, mdma_log_is_offered_where_vfio_has_it, 20)
{
	bool has = !system("grep -q ' iova_bitmap_set' /proc/kallsyms");

	ASSERT_STR("0", error(mdma_create(&self->m[self->nr++], "mdma-1")));
	EXPECT_EQ(0, mdma_get(&self->m[0], "dirty_log/enabled"));
	EXPECT_STR(has ? "0" : "EOPNOTSUPP",
		   error(mdma_set(&self->m[0], "dirty_log/enabled", "1")));
	EXPECT_EQ(has, mdma_get(&self->m[0], "dirty_log/enabled"));
	EXPECT_STR("0", error(mdma_set(&self->m[0], "dirty_log/enabled", "0")));
}

TEST_F(types, mdma_types_describe_themselves, 20)
{
	static const char * const types[] = { "mdma-1", "mdma-4", "mdma-16" };
	static const int channels[] = { 1, 4, 16 };
	char path[128], text[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		snprintf(path, sizeof(path), TYPES "%s/device_api", types[i]);
		EXPECT_EQ(0, file_read(path, text, sizeof(text)));
		EXPECT_STR("vfio-pci", text);
		ASSERT_STR("0", error(mdma_create(&self->m[self->nr++], types[i])));
		EXPECT_EQ(channels[i], mdma_get(&self->m[i], "channels"));
		EXPECT_EQ(MAX_DEVICES - self->nr,
			  file_number(TYPES "mdma-4/available_instances"));
	}
}

TEST_F(types, mdma_create_refuses, 20)
{
	EXPECT_STR("EINVAL", error(create_mdev("mdma-1", "nonsense")));
	EXPECT_STR("EINVAL", error(create_mdev("mdma-1", UUID "00")));
	EXPECT_STR("ENOENT", error(create_mdev("mdma-3", UUID)));
	EXPECT_STR("0", error(create_mdev("mdma-1", UUID)));
	EXPECT_STR("EEXIST", error(create_mdev("mdma-1", UUID)));
	EXPECT_STR("EEXIST", error(create_mdev("mdma-16", UUID)));
	EXPECT_STR("0", error(mdev_remove(UUID)));
	EXPECT_STR("ENOENT", error(mdev_remove(UUID)));
}

/* Removal removes everything that creation made. */
TEST_F(types, mdma_removed_without_a_trace, 20)
{
	static const char * const paths[] = {
		DEVICES UUID, DEVICES UUID "/workload/run",
		DEVICES UUID "/stats/seq", "/sys/kernel/debug/mdma/" UUID,
		"/sys/bus/mdev/drivers/mdma/" UUID,
	};
	unsigned int i, round;

	for (round = 0; round < 20; round++) {
		ASSERT_STR("0", error(create_mdev("mdma-16", UUID)));
		for (i = 0; i < ARRAY_SIZE(paths); i++)
			EXPECT_EQ(true, exists(paths[i]));
		ASSERT_STR("0", error(mdev_remove(UUID)));
		for (i = 0; i < ARRAY_SIZE(paths); i++)
			EXPECT_EQ(false, exists(paths[i]));
	}
}

/* Opens a device in the container. Its workload then writes the container's memory. */
static void open_in(struct mdma *m, int container, int i)
{
	ASSERT_STR("0", error(mdma_attach(m, container)));
	if (!i)
		ASSERT_STR("0", error(container_set_type(container,
							 VFIO_TYPE1v2_IOMMU)));
	ASSERT_STR("0", error(mdma_open(m)));
	ASSERT_STR("0", error(mdma_set(m, "workload/window", "%llx-%llx",
				       at(8 * i), at(8 * i + 4) - 1)));
}

/* Each works and is accounted for separately; one more is refused. */
TEST_F(types, mdma_64_devices_at_once, 120)
{
	const __u64 pages = 8 * MAX_DEVICES;
	unsigned char *mem = memory(pages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	unsigned char *bitmap = calloc(1, pages / 8);
	int i, container = container_open();
	struct mdma_ledger_record *records;

	for (i = 0; i < MAX_DEVICES; i++) {
		ASSERT_STR("0", error(mdma_create(&self->m[self->nr++], "mdma-1")));
		open_in(&self->m[i], container, i);
	}
	EXPECT_STR("EUSERS", error(create_mdev("mdma-1", UUID)));
	ASSERT_EQ(0, dma_map(container, mem, at(0), pages << PAGE_SHIFT, MAP_RW));
	ASSERT_EQ(0, dirty_start(container));
	for (i = 0; i < MAX_DEVICES; i++)
		ASSERT_STR("0", error(mdma_set(&self->m[i], "workload/run", "1")));
	for (i = 0; i < MAX_DEVICES; i++)
		while (mdma_get(&self->m[i], "stats/pages_written") < 40)
			usleep(1000);
	for (i = 0; i < MAX_DEVICES; i++)
		ASSERT_STR("0", error(mdma_set(&self->m[i], "workload/run", "0")));
	ASSERT_EQ(0, dirty_get(container, at(0), pages << PAGE_SHIFT, bitmap));
	for (i = 0; i < MAX_DEVICES; i++) {
		EXPECT_EQ(0x0f, bitmap[i]);
		EXPECT_EQ(0, mdma_get(&self->m[i], "stats/pinned"));
		EXPECT_EQ(4, mdma_ledger(&self->m[i], &records));
		EXPECT_EQ(at(8 * i), records[0].iova);
		free(records);
		mdma_close(&self->m[i]);
	}
	close(container);
	EXPECT_LOCKED(0);
}

/* Two devices pin one page: it stays pinned until both have given it back. */
TEST_F(types, mdma_two_devices_in_a_container, 40)
{
	struct rig r;
	struct mdma *other = &self->m[self->nr++];

	ASSERT_STR("0", error(rig_open(&r, "mdma-4", 64)));
	ASSERT_STR("0", error(mdma_create(other, "mdma-16")));
	ASSERT_STR("0", error(mdma_attach(other, r.container)));
	ASSERT_STR("0", error(mdma_open(other)));
	START(&r);
	PIN(&r, 3, 2, 'w');
	ASSERT_STR("0", error(mdma_pin(other, at(4), 2, 'w')));
	EXPECT_LOCKED(3);
	EXPECT_STR("3-5", dirty_all(&r));
	UNPIN(&r, 3, 2);
	EXPECT_LOCKED(2);
	EXPECT_STR("3-5", dirty_all(&r));
	EXPECT_STR("4-5", dirty_all(&r));
	EXPECT_EQ(0, mdma_get(&r.dev, "stats/pinned"));
	EXPECT_EQ(2, mdma_get(other, "stats/pinned"));

	/* The reset and the close of one device do not affect the other. */
	ASSERT_STR("0", error(mdma_reset(&r.dev)));
	EXPECT_LOCKED(2);
	mdma_close(other);
	EXPECT_LOCKED(0);
	EXPECT_STR("4-5", dirty_all(&r));
	EXPECT_STR("none", dirty_all(&r));
	TOUCH(&r, 9, 1);
	EXPECT_STR("9", dirty_all(&r));
	rig_close(&r);
	EXPECT_LOCKED(0);
}

TEST_MAIN(mdev_remove_leftovers)
