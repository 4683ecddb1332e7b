// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"
#include "workers.h"

int workers_each(struct mdma *m, pid_t pid, void (*act)(pid_t pid, pid_t tid, void *data),
		 void *data)
{
	char path[64], comm[64], name[16];
	struct dirent *entry;
	int found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	snprintf(name, sizeof(name), "mdma%08x.", m->id);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid,
			 atoi(entry->d_name));
		if (file_read(path, comm, sizeof(comm)) ||
		    strncmp(comm, name, strlen(name)))
			continue;
		found++;
		if (act)
			act(pid, atoi(entry->d_name), data);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void take_first(pid_t pid, pid_t tid, void *data)
{
	pid_t *first = data;

	(void)pid;
	if (*first < 0)
		*first = tid;
}

pid_t workers_first(struct mdma *m)
{
	pid_t first = -ENOENT;

	workers_each(m, getpid(), take_first, &first);
	return first;
}
