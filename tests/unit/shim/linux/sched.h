/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_LINUX_SCHED_H
#define _SHIM_LINUX_SCHED_H

#include <stdbool.h>

#define current			((void *)0)
#define cond_resched()		((void)0)
#define fatal_signal_pending(t)	((void)(t), shim_killed)

/* A fatal signal is pending. */
extern bool shim_killed;

#endif
