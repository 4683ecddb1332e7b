/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that share a CPU. With full preemption, one that wakes up can stop another one
 * at any place in the kernel.
 */
#ifndef SELFTESTS_PREEMPT_H
#define SELFTESTS_PREEMPT_H

#define PREEMPT_NAME	20	/* room for the name of a model of preemption */

/*
 * Full preemption from now on; @model gets what there was, for preempt_restore(). A
 * kernel that can't change it stays as it is.
 */
void preempt_full(char model[PREEMPT_NAME]);
void preempt_restore(const char *model);

/* All threads that call it are on one CPU; @policy says which of them get it. */
void preempt_on_cpu_0(int policy);

#endif
