// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "procfs.h"

#define ROOT	"/tmp/mdma-selftest-cgroup"

static int move_to(const char *procs)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return file_write(procs, pid);
}

const char *cgroup_file(const char *name, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/%s", name, file);
	return path;
}

int cgroup_enter(const char *name, const char *controller)
{
	char word[32];
	int ret = 0;

	mkdir(ROOT, 0700);
	if (access(ROOT "/cgroup.controllers", F_OK) &&
	    mount("none", ROOT, "cgroup2", 0, NULL))
		return -errno;
	snprintf(word, sizeof(word), "+%s", controller);
	if (word[1])
		ret = file_write(ROOT "/cgroup.subtree_control", word);
	if (ret)
		return ret;
	mkdir(cgroup_file(name, ""), 0700);
	return move_to(cgroup_file(name, "cgroup.procs"));
}

int cgroup_leave(void)
{
	return move_to(ROOT "/cgroup.procs");
}

void cgroup_remove(const char *name)
{
	rmdir(cgroup_file(name, ""));
	umount(ROOT);
	rmdir(ROOT);
}
