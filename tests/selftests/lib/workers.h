/* SPDX-License-Identifier: GPL-2.0-only */
/* The threads of a device in the process that has it open, one for each channel. */
#ifndef SELFTESTS_WORKERS_H
#define SELFTESTS_WORKERS_H

#include <sys/types.h>

#include "mdma.h"

/* Calls @act, which may be NULL, for each of a process's. Returns their number. */
int workers_each(struct mdma *m, pid_t pid, void (*act)(pid_t pid, pid_t tid, void *data),
		 void *data);

/* The first that is found in this process, or -ENOENT. */
pid_t workers_first(struct mdma *m);

#endif
