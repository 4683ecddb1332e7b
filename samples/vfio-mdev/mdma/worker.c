// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker: a thread of the process that has the device open, like those of vhost.
 * So the guest's work counts as the VMM's: it is in the VMM's control groups and on
 * its CPUs, it stops and freezes with the VMM, and a signal that kills the VMM ends
 * it, whatever it waits for. kthreads would be in no group but the root's, and
 * cgroup_attach_task_all() does not move them in the default hierarchy.
 *
 * A kernel without CONFIG_VHOST_TASK has no such threads, and no other way for a
 * module to make one. There, a worker is a kthread after all.
 */
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/kcov.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>

#include "worker.h"

#define WOKEN		0	/* bit of mdma_worker.flags */
#define SLACK_NS	(50 * NSEC_PER_USEC)

/*
 * Works once, or sleeps. The caller has set the state in which to sleep, and then
 * found that the thread is not to stop: whoever stops it sets the state back.
 */
static void worker_step(struct mdma_worker *worker)
{
	ktime_t *until = worker->next == KTIME_MAX ? NULL : &worker->next;

	if (!worker->busy && !test_and_clear_bit(WOKEN, &worker->flags)) {
		schedule_hrtimeout_range(until, SLACK_NS, HRTIMER_MODE_ABS);
		worker->busy = true;
		return;
	}
	__set_current_state(TASK_RUNNING);
	worker->next = KTIME_MAX;
	kcov_remote_start_common(worker->kcov_handle);
	worker->busy = worker->work(worker->data, &worker->next);
	kcov_remote_stop();
	cond_resched();
}

/* It never asks for the sleep of vhost's own loop, which has no end. */
static bool task_step(void *data)
{
	worker_step(data);
	return true;
}

static void task_killed(void *data)
{
	struct mdma_worker *worker = data;

	WRITE_ONCE(worker->dead, true);
	worker->killed(worker->data);
}

static int kthread_loop(void *data)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		worker_step(data);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int start_task(struct mdma_worker *worker, const char *name)
{
	struct vhost_task *task;

	task = vhost_task_create(task_step, task_killed, worker, name);
	/* Older kernels return NULL, whatever the reason is. */
	if (IS_ERR_OR_NULL(task))
		return task ? PTR_ERR(task) : -ENOMEM;
	/* Who wakes it finds it before it can sleep. */
	rcu_assign_pointer(worker->task, task);
	vhost_task_start(task);
	return 0;
}

static int start_kthread(struct mdma_worker *worker, const char *name)
{
	struct task_struct *task = kthread_create(kthread_loop, worker, "%s", name);

	if (IS_ERR(task))
		return PTR_ERR(task);
	/* As in start_task(): who wakes the thread must find it. */
	WRITE_ONCE(worker->kthread, task);
	wake_up_process(task);
	return 0;
}

/**
 * mdma_worker_start() - start a thread, in the process of the caller
 * @worker: has none; @work, @killed and @data are set
 * @name: of the thread
 *
 * The thread begins to work at once.
 *
 * Return: 0 or a negative error; -ERESTARTNOINTR if a signal is pending.
 */
int mdma_worker_start(struct mdma_worker *worker, const char *name)
{
	worker->busy = true;
	worker->dead = false;
	worker->kcov_handle = kcov_common_handle();
	return IS_ENABLED(CONFIG_VHOST_TASK) ? start_task(worker, name) :
					       start_kthread(worker, name);
}

/**
 * mdma_worker_stop() - end the thread, if there is one
 * @worker: not started or stopped meanwhile. If the thread is not dead, nobody
 *	wakes it
 */
void mdma_worker_stop(struct mdma_worker *worker)
{
	struct vhost_task *task = rcu_dereference_protected(worker->task, true);

	if (IS_ENABLED(CONFIG_VHOST_TASK) && task) {
		RCU_INIT_POINTER(worker->task, NULL);
		if (READ_ONCE(worker->dead))
			synchronize_rcu();
		vhost_task_stop(task);
	}
	/* Not written if there is none: who wakes a worker that is started anew looks at it */
	if (worker->kthread) {
		kthread_stop(worker->kthread);
		worker->kthread = NULL;
	}
}

/**
 * mdma_worker_wake() - make the thread look for work
 * @worker: started or not
 */
void mdma_worker_wake(struct mdma_worker *worker)
{
	struct task_struct *kthread;
	struct vhost_task *task;

	/*
	 * Fully ordered: once the thread has seen the mark, it sees what it was woken
	 * for; and a thread that is not found below has not looked at the mark yet.
	 */
	test_and_set_bit(WOKEN, &worker->flags);
	kthread = READ_ONCE(worker->kthread);
	if (kthread)
		wake_up_process(kthread);
	if (!IS_ENABLED(CONFIG_VHOST_TASK))
		return;
	rcu_read_lock();
	task = rcu_dereference(worker->task);
	/* Some kernels forget the task when it has been killed, after a grace period. */
	if (task && !READ_ONCE(worker->dead))
		vhost_task_wake(task);
	rcu_read_unlock();
}

/**
 * mdma_worker_gone() - whether there is no thread, or it has been killed
 * @worker: not started or stopped meanwhile
 *
 * Return: true if it is to be stopped, and started anew.
 */
bool mdma_worker_gone(const struct mdma_worker *worker)
{
	return READ_ONCE(worker->dead) ||
	       (!rcu_access_pointer(worker->task) && !worker->kthread);
}

/**
 * mdma_worker_interrupted() - whether a call by the caller may have failed by a signal
 *
 * Return: true if the caller is a worker which was stopped, frozen or killed. What
 * failed is no error of the guest's, and is to be tried again, by whatever thread
 * there will be.
 */
bool mdma_worker_interrupted(void)
{
	return current->flags & PF_USER_WORKER && signal_pending(current);
}
