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

int unmap_trace_begin(void)
{
	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700))
		return -errno;
	return file_write(INSTANCE REPORTS, "1");
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
