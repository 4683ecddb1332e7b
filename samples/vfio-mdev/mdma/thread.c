// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread of a channel: executes descriptors of the guest's ring and of the
 * host-side workload in turns, gives back runs that were held long enough, and
 * sleeps until there is something to do. It is a thread of the device's user, who
 * pays for it (worker.c). Takes mdma_engine.threads and the gate under it, and in the
 * thread the gate for reading, then mdma_channel.exec.
 */
#include <linux/kernel.h>
#include <linux/memcontrol.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>

#include "channel.h"
#include "engine.h"
#include "ring.h"
#include "thread.h"
#include "workload.h"

/*
 * Does what is to be done now: whether there was anything. The user pays for memory: a
 * thread of the user's own group, wherever that is now, and a kthread that of @memcg.
 */
static bool channel_work(void *data, ktime_t *next)
{
	struct mdma_channel *ch = data;
	struct mdma_engine *engine = ch->engine;
	struct mem_cgroup *old;
	ktime_t expire;
	bool busy = false;

	down_read(&engine->gate);
	old = set_active_memcg(current->mm ? NULL : engine->memcg);
	if (READ_ONCE(engine->attention))
		engine->attend(engine);
	if (engine->running) {
		mutex_lock(&ch->exec);
		busy = mdma_ring_poll(ch);
		if (mdma_workload_poll(ch, next))
			busy = true;
		mutex_unlock(&ch->exec);
	}
	expire = mdma_held_expire(&engine->held, ch->index, ch->workload.hold_ms,
				  mdma_workload_keep(ch));
	set_active_memcg(old);
	up_read(&engine->gate);
	*next = min(*next, expire);
	return busy;
}

/* Its process has ended, or executes another program. */
static void channel_killed(void *data)
{
	struct mdma_channel *ch = data;

	/* Who clears this mark sees that the worker is dead: see start_anew() */
	smp_mb();
	WRITE_ONCE(ch->engine->orphaned, true);
}

static int start(struct mdma_channel *ch)
{
	char name[TASK_COMM_LEN];

	snprintf(name, sizeof(name), "mdma%08x.%u", ch->engine->id, ch->index);
	ch->worker.work = channel_work;
	ch->worker.killed = channel_killed;
	ch->worker.data = ch;
	return mdma_worker_start(&ch->worker, name);
}

/**
 * mdma_thread_stop() - end the threads
 * @engine: not running, and nobody kicks it
 */
void mdma_thread_stop(struct mdma_engine *engine)
{
	u32 i;

	for (i = 0; i < engine->nr_channels; i++)
		mdma_worker_stop(&engine->channels[i].worker);
	engine->orphaned = false;
}

/**
 * mdma_thread_start() - start the threads, for a device that is being opened
 * @engine: not running; @memcg is set
 *
 * Return: 0 or a negative error.
 */
int mdma_thread_start(struct mdma_engine *engine)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < engine->nr_channels && !ret; i++)
		ret = start(&engine->channels[i]);
	if (ret)
		mdma_thread_stop(engine);
	return ret;
}

/* Who uses the device now pays for what others allocate for it: 0 or -EINTR. */
static int adopt_memory(struct mdma_engine *engine)
{
	struct mem_cgroup *memcg;
	int ret;

	ret = down_write_killable(&engine->gate);
	if (ret)
		return ret;
	memcg = get_mem_cgroup_from_mm(current->mm);
	swap(engine->memcg, memcg);
	up_write(&engine->gate);
	mem_cgroup_put(memcg);
	return 0;
}

/* Under engine->threads: those that are dead, and those that could not be started. */
static int start_anew(struct mdma_engine *engine)
{
	struct mdma_channel *ch = engine->channels;
	int ret;

	ret = adopt_memory(engine);
	if (ret)
		return ret;
	WRITE_ONCE(engine->orphaned, false);
	/* A thread that is not found dead below marks the device again. */
	smp_mb();
	for (; ch < engine->channels + engine->nr_channels && !ret; ch++) {
		if (!mdma_worker_gone(&ch->worker))
			continue;
		mdma_worker_stop(&ch->worker);
		ret = start(ch);
	}
	if (ret)
		WRITE_ONCE(engine->orphaned, true);
	return ret;
}

/**
 * mdma_thread_adopt() - the caller uses the device, and may be its new user
 * @engine: open; the caller keeps it so, and holds no lock
 *
 * The threads end with the process whose they are, or when that executes another
 * program. The device may stay open. Whoever uses it then gets the threads.
 *
 * Return: 0 or a negative error.
 */
int mdma_thread_adopt(struct mdma_engine *engine)
{
	int ret;

	if (likely(!READ_ONCE(engine->orphaned)))
		return 0;
	ret = mutex_lock_killable(&engine->threads);
	if (ret)
		return ret;
	ret = start_anew(engine);
	mutex_unlock(&engine->threads);
	return ret;
}
