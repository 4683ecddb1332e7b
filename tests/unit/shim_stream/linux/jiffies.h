/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_JIFFIES_H
#define _SHIM_JIFFIES_H

/* The test's own clock, in milliseconds. */
extern unsigned long jiffies;

#define msecs_to_jiffies(ms)	((unsigned long)(ms))
#define time_before_eq(a, b)	((long)((a) - (b)) <= 0)

#endif
