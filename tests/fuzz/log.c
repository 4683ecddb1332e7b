// SPDX-License-Identifier: GPL-2.0-only
/*
 * A report is in the log when the call that caused it has returned, or, if a thread of the
 * device caused it, when the device is closed. So the log is read after the close.
 */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "kmsg.h"
#include "log.h"

#define PATTERNS_MAX	64

static regex_t patterns[PATTERNS_MAX];
static unsigned int nr_patterns;
static int kmsg = -1;

static int add_pattern(char *text)
{
	text[strcspn(text, "\n")] = 0;
	if (!*text)
		return 0;
	if (nr_patterns == PATTERNS_MAX)
		return -ENOSPC;
	if (regcomp(patterns + nr_patterns, text, REG_EXTENDED | REG_NOSUB))
		return -EINVAL;
	nr_patterns++;
	return 0;
}

int log_open(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[512];
	int ret = 0;

	if (!file)
		return -errno;
	while (!ret && fgets(text, sizeof(text), file))
		ret = add_pattern(text);
	fclose(file);
	if (!ret && !nr_patterns)
		ret = -ENODATA;
	if (ret)
		return ret;
	kmsg = kmsg_open();
	return kmsg < 0 ? kmsg : 0;
}

static bool is_defect(const char *line)
{
	unsigned int i;

	for (i = 0; i < nr_patterns; i++)
		if (!regexec(patterns + i, line, 0, NULL, 0))
			return true;
	return false;
}

const char *log_defect(void)
{
	static char line[1024];

	while (kmsg >= 0 && kmsg_next(kmsg, line, sizeof(line)))
		if (is_defect(line))
			return line;
	return NULL;
}
