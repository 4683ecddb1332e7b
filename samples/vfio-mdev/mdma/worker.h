/* SPDX-License-Identifier: GPL-2.0-only */
/* A worker: a thread of the process that has the device open. */
#ifndef MDMA_WORKER_H
#define MDMA_WORKER_H

#include <linux/kcov.h>
#include <linux/ktime.h>
#include <linux/types.h>

struct task_struct;
struct vhost_task;

/**
 * struct mdma_worker - a thread, or none
 * @work: does what is to be done now: whether there was anything. If not, @next
 *	becomes the time when there is, or KTIME_MAX
 * @killed: the thread has ended with its process, and may be stopped
 * @data: for both
 * @task: of the user's process, as long as the worker is not stopped
 * @kthread: instead of @task, where the kernel has no such tasks
 * @next: when there is something to do, unless it is woken before
 * @busy: there was something to do; used by the thread only
 * @dead: the thread has been killed
 * @flags: bit 0: there may be work; the thread looks before it sleeps
 * @kcov_handle: to whom KCOV reports the code that the thread runs; 0: nobody. A
 *	number on 6.12, a structure on 7.3
 */
struct mdma_worker {
	bool (*work)(void *data, ktime_t *next);
	void (*killed)(void *data);
	void *data;
	struct vhost_task __rcu *task;
	struct task_struct *kthread;
	ktime_t next;
	bool busy;
	bool dead;
	unsigned long flags;

	typeof(kcov_common_handle()) kcov_handle;
};

int mdma_worker_start(struct mdma_worker *worker, const char *name);
void mdma_worker_stop(struct mdma_worker *worker);
void mdma_worker_wake(struct mdma_worker *worker);
bool mdma_worker_gone(const struct mdma_worker *worker);
bool mdma_worker_interrupted(void);

#endif /* MDMA_WORKER_H */
