// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "answers.h"
#include "vfio.h"

static FILE *log_file;

bool answers_wanted(void)
{
	const char *path = getenv("ANSWERS");

	return path && *path;
}

int answers_open(int number)
{
	char path[256];

	snprintf(path, sizeof(path), "%s.%d", getenv("ANSWERS"), number);
	log_file = fopen(path, "w");
	return log_file ? 0 : -errno;
}

int answers_close(void)
{
	FILE *file = log_file;

	log_file = NULL;
	return file && fclose(file) ? -errno : 0;
}

void answers_say(const char *fmt, ...)
{
	va_list args;

	if (!log_file)
		return;
	va_start(args, fmt);
	vfprintf(log_file, fmt, args);
	va_end(args);
}

void answers_bits(const char *name, const void *bitmap, int nbits)
{
	char before = ' ';
	int n, first;

	for (n = 0; n < nbits; n++) {
		if (!bitmap_bit(bitmap, n))
			continue;
		for (first = n; n + 1 < nbits && bitmap_bit(bitmap, n + 1); n++)
			;
		if (before == ' ')
			answers_say(" %s", name);
		answers_say("%c%d", before, first);
		if (first < n)
			answers_say("-%d", n);
		before = ',';
	}
}

static void say_migration(const struct vfio_iommu_type1_info_cap_migration *cap)
{
	answers_say(" tracking %x pages %llx bitmap %llx", cap->flags,
		    cap->pgsize_bitmap, cap->max_dirty_bitmap_size);
}

void answers_info(int container)
{
	char room[4096] = "";
	struct vfio_iommu_type1_info *info = (void *)room;
	struct vfio_info_cap_header *cap;
	__u32 at;

	info->argsz = sizeof(room);
	if (ioctl(container, VFIO_IOMMU_GET_INFO, info)) {
		answers_say("info %d\n", -errno);
		return;
	}
	answers_say("info flags %x pages %llx", info->flags, info->iova_pgsizes);
	for (at = info->cap_offset; at; at = cap->next) {
		cap = (void *)(room + at);
		if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION)
			say_migration((void *)cap);
		else if (cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
			answers_say(" mappings %u",
				    ((struct vfio_iommu_type1_info_dma_avail *)
				     cap)->avail);
		else
			answers_say(" capability %u", cap->id);
	}
	answers_say("\n");
}
