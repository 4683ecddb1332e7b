// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kmsg.h"

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
		return -errno;
	return fd;
}

/* A record is "number,...;text". */
static void text_of(char *record)
{
	char *text = strchr(record, ';');

	if (text)
		memmove(record, text + 1, strlen(text));
	record[strcspn(record, "\n")] = 0;
}

bool kmsg_next(int fd, char *text, size_t size)
{
	char record[8192];
	ssize_t n;

	/* Each read() is one record; EPIPE says that older ones are gone. */
	do {
		n = read(fd, record, sizeof(record) - 1);
	} while (n < 0 && errno == EPIPE);
	if (n <= 0)
		return false;
	record[n] = 0;
	text_of(record);
	snprintf(text, size, "%s", record);
	return true;
}

bool kmsg_has(int fd, const char *text)
{
	char line[1024];
	bool found = false;

	while (kmsg_next(fd, line, sizeof(line)))
		found |= !!strstr(line, text);
	return found;
}
