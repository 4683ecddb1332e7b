// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "procfs.h"
#include "unmap_trace.h"

/* A trace buffer of its own. */
#define INSTANCE	"/sys/kernel/tracing/instances/unmap-selftest"
#define REPORTS		"/events/vfio_type1/vfio_dirty_report/enable"
#define ANSWERS		"/events/mdma/mdma_dma_unmap/enable"

static int begin(const char *events)
{
	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700))
		return -errno;
	return file_write(events, "1");
}

int unmap_trace_begin(void)
{
	return begin(INSTANCE REPORTS);
}

int unmap_trace_begin_answers(void)
{
	return begin(INSTANCE ANSWERS);
}

int unmap_trace_answers(void)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	char line[512];
	int nr = 0;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		nr += line[0] != '#' && strstr(line, " mdma_dma_unmap:");
	fclose(file);
	return rmdir(INSTANCE) ? -errno : nr;
}

int unmap_trace_end(int *delivered, int *thrown_away)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	char line[512];

	if (!file)
		return -errno;
	*delivered = 0;
	*thrown_away = 0;
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "op=unmap"))
			continue;
		if (strstr(line, "ret=0"))
			++*delivered;
		else
			++*thrown_away;
	}
	fclose(file);
	return rmdir(INSTANCE) ? -errno : 0;
}
