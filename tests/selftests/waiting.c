// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who writes an attribute of a device waits until nothing executes. If a descriptor
 * waits for the user's memory, that is as long as the user likes; so whoever waits
 * can be killed.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fixture.h"
#include "migration.h"
#include "stall.h"

#define SLOW_PAGES	16

/* A device whose thread is about to write to memory that stalls. */
FIXTURE(waiting) {
	struct rig rig;
	struct stall stall;
};

FIXTURE_SETUP(waiting)
{
	struct rig *r = &self->rig;
	__u64 size = SLOW_PAGES << PAGE_SHIFT;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(stall_open(&self->stall, size)));
	ASSERT_EQ(0, dma_map(r->container, self->stall.mem, at(RIG_PAGES), size,
			     MAP_RW));
	set_window(r, RIG_PAGES, RIG_PAGES + SLOW_PAGES);
	SET(r, "access", "rw");
}

FIXTURE_TEARDOWN(waiting)
{
	stall_release(&self->stall);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* A process that does something with the device, and is to wait meanwhile. */
struct waiter {
	const char *name;
	void (*call)(struct mdma *m, const char *name);
	pid_t pid;
};

static void write_1(struct mdma *m, const char *name)
{
	mdma_set(m, name, "1");
}

static void write_0(struct mdma *m, const char *name)
{
	mdma_set(m, name, "0");
}

static void write_keep(struct mdma *m, const char *name)
{
	mdma_set(m, name, "keep");
}

static void write_window(struct mdma *m, const char *name)
{
	mdma_set(m, name, "0x40000000-0x40000fff");
}

static void write_7(struct mdma *m, const char *name)
{
	mdma_set(m, name, "7");
}

static void write_trace(struct mdma *m, const char *name)
{
	struct mdma_trace_header header = {
		.magic = MDMA_TRACE_MAGIC, .version = MDMA_TRACE_VERSION,
	};
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/%s", m->uuid, name);
	fd = open(path, O_WRONLY);
	if (write(fd, &header, sizeof(header)) != sizeof(header))
		_exit(1);
}

static void show(struct mdma *m, const char *name)
{
	char text[4096];

	mdma_get_text(m, name, text, sizeof(text));
}

static void hook_pin(struct mdma *m, const char *name)
{
	(void)name;
	mdma_pin(m, at(0), 1, 'w');
}

static void hook_ledger(struct mdma *m, const char *name)
{
	struct mdma_ledger_record *records;

	(void)name;
	mdma_ledger(m, &records);
}

static void hook_clear(struct mdma *m, const char *name)
{
	(void)name;
	mdma_clear_ledger(m);
}

static void begin(struct waiting *w, struct waiter *waiter)
{
	fflush(stdout);
	waiter->pid = fork();
	if (waiter->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	waiter->call(&w->rig.dev, waiter->name);
	_exit(0);
}

static void read_task(struct waiter *waiter, const char *name, char *text, int size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", waiter->pid, name);
	if (file_read_all(path, text, size) < 0)
		*text = '\0';
}

/* Whether it sleeps for a lock of the device: the kernel leaves out the lock's functions. */
static bool waits(struct waiter *waiter)
{
	char status[4096], stack[8192];

	read_task(waiter, "status", status, sizeof(status));
	read_task(waiter, "stack", stack, sizeof(stack));
	*strchrnul(stack, '\n') = '\0';
	return strstr(status, "\nState:\tD") && strstr(stack, "[mdma]");
}

static void expect_to_wait(struct waiter *waiter)
{
	char stack[8192];

	if (WAIT_FOR(waits(waiter)))
		return;
	read_task(waiter, "stack", stack, sizeof(stack));
	FAIL("%s does not wait:\n%s", waiter->name, stack);
}

static void expect_to_die(struct waiter *waiter)
{
	int status = 0;

	kill(waiter->pid, SIGKILL);
	if (!WAIT_FOR(waitpid(waiter->pid, &status, WNOHANG) == waiter->pid))
		FAIL("%s can't be killed", waiter->name);
	EXPECT_EQ(SIGKILL, status);
}

/* All wait at once; the first is a writer, so that readers wait behind it. */
static void all_wait(struct waiting *w, struct waiter *waiters, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		begin(w, &waiters[i]);
		expect_to_wait(&waiters[i]);
	}
	for (i = n - 1; i >= 0; i--)
		expect_to_die(&waiters[i]);
}

TEST_F(waiting, mdma_who_waits_for_the_device_can_be_killed, 60)
{
	struct waiter waiters[] = {
		{ .name = "stream_settings", .call = write_keep },
		{ .name = "dirty_log/enabled", .call = write_0 },
		{ .name = "workload/hold_ms", .call = write_7 },
		{ .name = "workload/run", .call = write_0 },
		{ .name = "workload/step", .call = write_1 },
		{ .name = "workload/window", .call = write_window },
		{ .name = "workload/window", .call = show },
		{ .name = "workload/trace", .call = show },
		/* Of two, one waits for the device, and the other for that one */
		{ .name = "workload/trace", .call = write_trace },
		{ .name = "workload/trace", .call = write_trace },
		{ .name = "pin", .call = hook_pin },
		{ .name = "ledger", .call = hook_ledger },
		{ .name = "ledger", .call = hook_ledger },
		{ .name = "ledger_clear", .call = hook_clear },
	};

	struct mdma *m = &self->rig.dev;
	char window[64], text[64];
	struct mdma_ledger_record *records;
	long long hold_ms = mdma_get(m, "workload/hold_ms");

	ASSERT_EQ(0, mdma_get_text(m, "workload/window", window, sizeof(window)));
	ASSERT_STR("0", error(mdma_rw_write(m, at(0), 8, 1)));
	SET(&self->rig, "run", "1");
	ASSERT_LE(0, stall_wait(&self->stall, 10000));
	all_wait(self, waiters, ARRAY_SIZE(waiters));
	/* None of them has changed anything */
	stall_release(&self->stall);
	wait_for_writes(&self->rig, 1);
	EXPECT_EQ(1, mdma_get(m, "workload/run"));
	EXPECT_EQ(hold_ms, mdma_get(m, "workload/hold_ms"));
	ASSERT_EQ(0, mdma_get_text(m, "stream_settings", text, sizeof(text)));
	EXPECT_STR("take", text);
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, sizeof(text)));
	EXPECT_STR(window, text);
	EXPECT_EQ(0, mdma_get(m, "stats/pins"));
	ASSERT_LE(1, mdma_ledger(m, &records));
	EXPECT_EQ(at(0), records[0].iova);
}

static int call_step(void *arg)
{
	struct waiting *w = arg;

	return mdma_set(&w->rig.dev, "workload/step", "1");
}

/* One step executes, and the other waits for it. */
TEST_F(waiting, mdma_who_waits_for_a_step_can_be_killed, 60)
{
	struct waiter waiter = { .name = "workload/step", .call = write_1 };
	struct job job;

	job_start(&job, call_step, self);
	ASSERT_LE(0, stall_wait(&self->stall, 10000));
	all_wait(self, &waiter, 1);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&job));
	EXPECT_EQ(1, mdma_get(&self->rig.dev, "stats/pages_written"));
}

static int call_stop(void *arg)
{
	struct waiting *w = arg;

	return mig_set(w->rig.dev.device, MIG(STOP), NULL);
}

/* The device is about to stop, and its migration state is locked. */
TEST_F(waiting, mdma_who_waits_for_the_migration_can_be_killed, 60)
{
	struct waiter waiter = { .name = "workload/trace", .call = write_trace };
	struct job job;

	SET(&self->rig, "run", "1");
	ASSERT_LE(0, stall_wait(&self->stall, 10000));
	job_start(&job, call_stop, self);
	ASSERT_EQ(true, job_sleeps_in(&job, "mdma_engine_run"));
	all_wait(self, &waiter, 1);
	stall_release(&self->stall);
	EXPECT_EQ(0, job_join(&job));
	EXPECT_EQ(MIG(STOP), mig_get(self->rig.dev.device));
}

TEST_MAIN(mdev_remove_leftovers)
