// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fail_nth.h"
#include "procfs.h"

static const char * const kinds[] = {
	"failslab", "fail_page_alloc", "fail_usercopy", NULL
};

static const struct {
	const char *name, *value;
} knobs[] = {
	{ "verbose", "0" },
	{ "ignore-gfp-wait", "N" },
	{ "min-order", "0" },
	{ NULL, NULL }
};

/* Not every kind has each knob. */
static int set_up(const char *kind)
{
	char path[128];
	int i, ret = 0;

	for (i = 0; knobs[i].name && !ret; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", kind,
			 knobs[i].name);
		if (!access(path, F_OK))
			ret = file_write(path, knobs[i].value);
	}
	return ret;
}

int fail_nth_open(int tid)
{
	char path[64];
	int fd, i, ret = 0;

	if (access("/sys/kernel/debug/failslab", F_OK))
		return -ENOENT;
	for (i = 0; kinds[i] && !ret; i++)
		ret = set_up(kinds[i]);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", tid);
	fd = open(path, O_RDWR);
	return fd < 0 ? -errno : fd;
}

int fail_nth_arm(int fd, int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	return pwrite(fd, text, len, 0) == len ? 0 : -errno;
}

/*
 * If no failure was injected, it may hit what ends the injection: the copy to user space of the
 * remaining count, or the file's own work to take a new one.
 */
bool fail_nth_disarm(int fd)
{
	char text[16] = "";
	bool failed = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	if (fail_nth_arm(fd, 0))
		fail_nth_arm(fd, 0);
	return failed;
}
