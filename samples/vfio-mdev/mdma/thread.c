// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread of a channel: executes descriptors of the guest's ring and of the
 * host-side workload in turns, gives back runs that were held long enough, and
 * sleeps until there is something to do. Takes the gate for reading, then
 * mdma_channel.exec.
 */
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>

#include "channel.h"
#include "engine.h"
#include "ring.h"
#include "thread.h"
#include "workload.h"

/* Does what is to be done now: whether there was anything. */
static bool channel_poll(struct mdma_channel *ch, ktime_t *next)
{
	struct mdma_engine *engine = ch->engine;
	ktime_t expire;
	bool busy = false;

	*next = KTIME_MAX;
	down_read(&engine->gate);
	if (engine->running) {
		mutex_lock(&ch->exec);
		busy = mdma_ring_poll(ch);
		if (mdma_workload_poll(ch, next))
			busy = true;
		mutex_unlock(&ch->exec);
	}
	expire = mdma_held_expire(&engine->held, ch->index, ch->workload.hold_ms,
				  mdma_workload_keep(ch));
	up_read(&engine->gate);
	*next = min(*next, expire);
	return busy;
}

static int channel_thread(void *data)
{
	struct mdma_channel *ch = data;
	struct mem_cgroup *old;
	ktime_t next;

	old = set_active_memcg(ch->engine->memcg);
	while (!kthread_should_stop()) {
		if (channel_poll(ch, &next)) {
			cond_resched();
			continue;
		}
		set_current_state(TASK_IDLE);
		if (!mdma_channel_kicked(ch) &&
		    !kthread_should_stop())
			schedule_hrtimeout_range(next == KTIME_MAX ?
						 NULL : &next,
						 50 * NSEC_PER_USEC,
						 HRTIMER_MODE_ABS);
		__set_current_state(TASK_RUNNING);
	}
	set_active_memcg(old);
	return 0;
}

/**
 * mdma_thread_stop() - end the threads
 * @engine: not running, and nobody kicks it
 */
void mdma_thread_stop(struct mdma_engine *engine)
{
	struct mdma_channel *ch;
	u32 i;

	for (i = 0; i < engine->nr_channels; i++) {
		ch = &engine->channels[i];
		if (!ch->task)
			continue;
		kthread_stop(ch->task);
		ch->task = NULL;
	}
}

/**
 * mdma_thread_start() - start the threads, for a device that is being opened
 * @engine: not running; @memcg is set
 *
 * Return: 0 or a negative error.
 */
int mdma_thread_start(struct mdma_engine *engine)
{
	struct task_struct *task;
	u32 i;

	for (i = 0; i < engine->nr_channels; i++) {
		task = kthread_run(channel_thread, &engine->channels[i],
				   "mdma%08x.%u", engine->id, i);
		if (IS_ERR(task)) {
			mdma_thread_stop(engine);
			return PTR_ERR(task);
		}
		engine->channels[i].task = task;
	}
	return 0;
}
