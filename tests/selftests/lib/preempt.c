// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "preempt.h"
#include "procfs.h"

#define MODELS		"/sys/kernel/debug/sched/preempt"

void preempt_full(char model[PREEMPT_NAME])
{
	char text[100] = "", *begin, *end;

	/* The one in use is in brackets: "none voluntary (lazy) full". */
	file_read_all(MODELS, text, sizeof(text));
	begin = strchr(text, '(');
	end = begin ? strchr(begin, ')') : NULL;
	snprintf(model, PREEMPT_NAME, "%.*s", end ? (int)(end - begin - 1) : 0,
		 begin ? begin + 1 : "");
	file_write(MODELS, "full");
}

void preempt_restore(const char *model)
{
	file_write(MODELS, model);
}

void preempt_on_cpu_0(int policy)
{
	struct sched_param param = { 0 };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	sched_setscheduler(0, policy, &param);
}
