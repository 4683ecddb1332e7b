// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device's threads are threads of the process that has it open: they are in its
 * control groups, stop and end with it, and come back with whoever uses the device
 * next.
 */
#include <time.h>

#include "cgroup.h"
#include "fixture.h"
#include "memcg.h"
#include "ring.h"
#include "stall.h"
#include "workers.h"

#define GROUP_A		"mdma-worker-a"
#define GROUP_B		"mdma-worker-b"
#define WORK_NS		20000000LL	/* so much of the thread's time is looked for */

/* --- threads --------------------------------------------------------------- */

/* Whether the kernel has such threads. Otherwise the device's are kthreads. */
static bool has_vhost_task(void)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/kallsyms", "r");

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, " vhost_task_create");
	if (f)
		fclose(f);
	return found;
}

static int workers(struct rig *r)
{
	return workers_each(&r->dev, getpid(), NULL, NULL);
}

static void run(struct rig *r)
{
	set_workload(r);
	SET(r, "run", "1");
	wait_for_writes(r, 1);
}

FIXTURE(worker) {
	struct rig rig;
};

FIXTURE_SETUP(worker)
{
	if (!has_vhost_task())
		SKIP("CONFIG_VHOST_TASK");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
}

FIXTURE_TEARDOWN(worker)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* One for each channel while it is open, whoever forks; none afterwards. */
TEST_F(worker, mdma_threads_are_of_the_user, 20)
{
	struct rig *r = &self->rig;
	int status;
	pid_t pid;

	EXPECT_EQ(4, workers(r));
	run(r);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(workers(r));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(4, workers(r));
	wait_for_writes(r, 1);
	mdma_close(&r->dev);
	/* One that has ended its work may still be on its way out. */
	EXPECT_EQ(1, WAIT_FOR(!workers(r)));
}

/* --- control groups -------------------------------------------------------- */

static void find_group(pid_t pid, pid_t tid, void *data)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/cgroup", pid, tid);
	if (file_read_all(path, text, sizeof(text)) < 0 || !strstr(text, data))
		FAIL("a thread is not in %s but in %s", (char *)data, text);
}

/* CPU time of all workers, by their clocks. */
static void add_time(pid_t pid, pid_t tid, void *data)
{
	clockid_t clock = (~(unsigned int)tid << 3) | 6;
	struct timespec t;

	(void)pid;
	if (!clock_gettime(clock, &t))
		*(long long *)data += t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long work_ns(struct rig *r)
{
	long long ns = 0;

	workers_each(&r->dev, getpid(), add_time, &ns);
	return ns;
}

static long long group_ns(const char *name)
{
	long long us = -1;
	char text[1024];

	file_read_all(cgroup_file(name, "cpu.stat"), text, sizeof(text));
	if (sscanf(text, "usage_usec %lld", &us) != 1)
		return -1;
	return us * 1000;
}

/* The device works, and the group has that time. */
static void expect_charged(struct rig *r, const char *name)
{
	long long group = group_ns(name), work = work_ns(r), now = work;

	EXPECT_EQ(4, workers_each(&r->dev, getpid(), find_group, (void *)name));
	EXPECT_EQ(true, WAIT_FOR((now = work_ns(r)) - work >= WORK_NS));
	EXPECT_LE(now - work, group_ns(name) - group + 1000);
}

/* The VMM's group has the device's work, also after the VMM was moved. */
TEST_F(worker, mdma_work_is_in_the_users_group, 40)
{
	struct rig *r = &self->rig;

	run(r);
	ASSERT_STR("0", error(cgroup_enter(GROUP_A, "")));
	expect_charged(r, GROUP_A);
	ASSERT_STR("0", error(cgroup_enter(GROUP_B, "")));
	expect_charged(r, GROUP_B);
	ASSERT_STR("0", error(cgroup_leave()));
}

static void find_cpus(pid_t pid, pid_t tid, void *data)
{
	char path[64], text[4096], *cpus;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	file_read_all(path, text, sizeof(text));
	cpus = strstr(text, "Cpus_allowed_list:\t");
	if (!cpus || strncmp(cpus + 19, data, strlen(data)))
		FAIL("a thread is not confined to the CPUs of its group");
}

TEST_F(worker, mdma_threads_are_in_the_users_cpuset, 20)
{
	struct rig *r = &self->rig;
	int ret;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP("two CPUs");
	ret = cgroup_enter(GROUP_A, "cpuset");
	if (ret)
		SKIP("cpuset controller of cgroup2: %s", strerror(-ret));
	ASSERT_STR("0", error(file_write(cgroup_file(GROUP_A, "cpuset.cpus"),
					 "1")));
	EXPECT_EQ(4, workers_each(&r->dev, getpid(), find_cpus, "1\n"));
	run(r);
	ASSERT_STR("0", error(cgroup_leave()));
}

/* --- the end of a user ------------------------------------------------------ */

/* What a test and its owner and heir share: the rig as the owner has opened it. */
struct shared {
	struct rig rig;
	int ready;
	int over;
};

static void set(int *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

static bool is_set(int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static struct shared *share(struct rig *r)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	rig_close(r);
	ASSERT_NE((long)MAP_FAILED, (long)s);
	return s;
}

/* Starts a process that is the owner of a rig, until it is killed. */
static pid_t start_owner(struct shared *s, void (*act)(struct shared *s))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	IN_CHILD(act(s));
}

static void all_stopped(pid_t pid, pid_t tid, void *data)
{
	char path[64], text[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	file_read_all(path, text, sizeof(text));
	state = strrchr(text, ')');
	*(int *)data += state && state[2] == 'T';
}

static int stopped(struct rig *r, pid_t pid)
{
	int n = 0;

	workers_each(&r->dev, pid, all_stopped, &n);
	return n;
}

static void owner_runs(struct shared *s)
{
	ASSERT_STR("0", error(rig_open(&s->rig, "mdma-4", RIG_PAGES)));
	run(&s->rig);
	set(&s->ready);
	for (;;)
		pause();
}

/* A VMM that is stopped does no DMA, and nothing fails by that. */
TEST_F(worker, mdma_stops_with_its_user, 40)
{
	struct shared *s = share(&self->rig);
	struct mdma *m = &s->rig.dev;
	pid_t pid = start_owner(s, owner_runs);
	int status, i;
	long long n;

	EXPECT_EQ(true, WAIT_FOR(is_set(&s->ready)));
	for (i = 0; i < 20; i++) {
		kill(pid, SIGSTOP);
		EXPECT_EQ(true, WAIT_FOR(stopped(&s->rig, pid) == 4));
		n = mdma_get(m, "stats/pages_written");
		usleep(1000);
		EXPECT_EQ(n, mdma_get(m, "stats/pages_written"));
		kill(pid, SIGCONT);
		EXPECT_EQ(true,
			  WAIT_FOR(mdma_get(m, "stats/pages_written") > n));
	}
	EXPECT_EQ(0, mdma_get(m, "stats/pin_errors"));
	EXPECT_EQ(0, mdma_get(m, "stats/skipped"));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, mdma_get(m, "stats/pinned"));
}

/* The descriptor of an heir: it waits after STALLED pages. */
#define BIG		256
#define BIG_PAGES	512
#define STALLED		192

static void expect_continued(struct rig *r, struct ring *ring)
{
	struct mdma_ledger_record *rec;
	long long n, i;

	EXPECT_EQ(0, workers(r));
	EXPECT_EQ(0, ring->desc[0].status);
	ASSERT_STR("0", error(mdma_set_stall(&r->dev, 0)));
	EXPECT_EQ(1, ring_wait(ring));
	EXPECT_EQ(4, workers(r));
	EXPECT_EQ(MDMA_STATUS_DONE, ring->desc[0].status);
	n = mdma_ledger(&r->dev, &rec);
	for (i = 0; i < n; i++)
		if (rec[i].iova >= at(BIG) && rec[i].writes != 1)
			FAIL("a page was written %d times", (int)rec[i].writes);
	for (i = 0; i < BIG_PAGES << PAGE_SHIFT; i++)
		if (r->mem[(BIG << PAGE_SHIFT) + i] != 0x5a)
			FAIL("byte %lld was not written", i);
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pin_errors"));
	run(r);
	rig_close(r);
}

/* Has its own memory mapped, and waits within a descriptor for the owner's end. */
static void heir(struct shared *s, pid_t owner)
{
	static struct rig r;
	struct ring ring;
	const struct mdma_desc fill = {
		.op = MDMA_OP_FILL, .dst = at(BIG),
		.len = BIG_PAGES << PAGE_SHIFT, .data = 0x5a5a5a5a5a5a5a5aULL,
	};

	r = s->rig;
	ASSERT_EQ(0, dma_unmap(r.container, at(0), r.pages << PAGE_SHIFT, NULL));
	ASSERT_EQ(0, dma_map(r.container, r.mem, at(0), r.pages << PAGE_SHIFT,
			     MAP_RW));
	ring_enable(&ring, &r, 1, 8);
	ASSERT_STR("0", error(mdma_set_stall(&r.dev, (STALLED - 1) << PAGE_SHIFT)));
	ring_put(&ring, &fill);
	ring_doorbell(&ring);
	EXPECT_EQ(true, WAIT_FOR(mdma_get(&r.dev, "stats/pages_written") >=
				 STALLED));
	set(&s->ready);
	EXPECT_EQ(true, WAIT_FOR(getppid() != owner));
	expect_continued(&r, &ring);
}

static void owner_with_heir(struct shared *s)
{
	pid_t pid = getpid();

	ASSERT_STR("0", error(rig_open(&s->rig, "mdma-4", BIG + BIG_PAGES)));
	if (!fork()) {
		heir(s, pid);
		return;
	}
	for (;;)
		pause();
}

/*
 * The process that opened the device is killed within a descriptor; another one has
 * the device as well. Its next access brings the threads back, and they go on where
 * the others stopped.
 */
TEST_F(worker, mdma_heir_gets_the_threads, 60)
{
	struct shared *s = share(&self->rig);
	int done[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(done));
	pid = start_owner(s, owner_with_heir);
	close(done[1]);
	EXPECT_EQ(true, WAIT_FOR(is_set(&s->ready)));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	/* The heir has the other end. Its failures count as this test's. */
	EXPECT_EQ(0, read(done[0], &byte, 1));
}

#define LEDGER_PAGES	8192
#define LEDGER_BYTES	(64 << 10)	/* less than these pages need in the ledger */

/* The heir is in a group of its own, and has the device fill the ledger. */
static void heir_pays(struct shared *s, pid_t owner)
{
	static struct rig r;
	long long before;

	r = s->rig;
	ASSERT_STR("0", error(memcg_enter()));
	set(&s->ready);
	EXPECT_EQ(true, WAIT_FOR(getppid() != owner));
	ASSERT_EQ(0, dma_unmap(r.container, at(0), r.pages << PAGE_SHIFT, NULL));
	ASSERT_EQ(0, dma_map(r.container, r.mem, at(0), r.pages << PAGE_SHIFT, MAP_RW));
	EXPECT_EQ(MDMA_MAGIC, mdma_read32(&r.dev, MDMA_REG_MAGIC));
	EXPECT_EQ(4, workers(&r));
	before = memcg_kernel_bytes();
	set_window(&r, 0, LEDGER_PAGES / 2);
	SET(&r, "batch", "512");
	SET(&r, "run", "1");
	wait_for_writes(&r, LEDGER_PAGES);
	SET(&r, "run", "0");
	EXPECT_LE(LEDGER_BYTES, memcg_kernel_bytes() - before);
	/* So does a step of root's, whatever group root is in. */
	ASSERT_STR("0", error(memcg_leave()));
	before = memcg_kernel_bytes();
	set_window(&r, LEDGER_PAGES / 2, LEDGER_PAGES);
	SET(&r, "step", "16");
	EXPECT_LE(LEDGER_BYTES, memcg_kernel_bytes() - before);
	rig_close(&r);
}

static void owner_with_heir_that_pays(struct shared *s)
{
	pid_t pid = getpid();

	ASSERT_STR("0", error(rig_open(&s->rig, "mdma-4", LEDGER_PAGES)));
	if (!fork()) {
		heir_pays(s, pid);
		return;
	}
	for (;;)
		pause();
}

TEST_F(worker, mdma_heir_pays_for_the_memory, 60)
{
	struct shared *s = share(&self->rig);
	int done[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(done));
	pid = start_owner(s, owner_with_heir_that_pays);
	close(done[1]);
	EXPECT_EQ(true, WAIT_FOR(is_set(&s->ready)));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, read(done[0], &byte, 1));
}

/* main() calls this after the exec. */
static int executed(const char *will)
{
	struct harness_verdict verdict = { 0 };
	static struct rig r;

	harness_verdict = &verdict;
	if (pread(atoi(will), &r, sizeof(r), 0) != sizeof(r))
		return 2;
	r.mem = memory(r.pages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	if (!setjmp(harness_out)) {
		EXPECT_EQ(0, workers(&r));
		ASSERT_EQ(0, dma_unmap(r.container, at(0),
				       r.pages << PAGE_SHIFT, NULL));
		ASSERT_EQ(0, dma_map(r.container, r.mem, at(0),
				     r.pages << PAGE_SHIFT, MAP_RW));
		EXPECT_EQ(MDMA_MAGIC, mdma_read32(&r.dev, MDMA_REG_MAGIC));
		EXPECT_EQ(4, workers(&r));
		wait_for_writes(&r, 100);
		SET(&r, "run", "0");
		ASSERT_STR("0", error(mdma_clear_ledger(&r.dev)));
		SET(&r, "step", "100");
		EXPECT_NE(0, check_stamps(&r));
	}
	return !!verdict.failures;
}

static void owner_execs(struct shared *s)
{
	int will = memfd_create("will", 0);
	char number[16];

	ASSERT_STR("0", error(rig_open(&s->rig, "mdma-4", RIG_PAGES)));
	run(&s->rig);
	fcntl(s->rig.dev.device, F_SETFD, 0);
	ASSERT_EQ(sizeof(s->rig), write(will, &s->rig, sizeof(s->rig)));
	snprintf(number, sizeof(number), "%d", will);
	execl("/proc/self/exe", "worker", "--executed", number, NULL);
	FAIL("exec: %s", strerror(errno));
}

/* An exec ends the threads; the new program's first access brings them back. */
TEST_F(worker, mdma_user_executes_a_program, 40)
{
	struct shared *s = share(&self->rig);
	pid_t pid = start_owner(s, owner_execs);
	int status;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Another process that has the userfaultfd, and nothing of the device. */
static void keep_memory(struct shared *s)
{
	mdma_close(&s->rig.dev);
	close(s->rig.container);
	while (!is_set(&s->over))
		usleep(1000);
	_exit(0);
}

/* Its memory is that of a userfaultfd which another process has as well. */
static void owner_waits(struct shared *s)
{
	struct stall stall;

	ASSERT_STR("0", error(rig_open(&s->rig, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(stall_open(&stall, 16 << PAGE_SHIFT)));
	ASSERT_EQ(0, dma_map(s->rig.container, stall.mem, at(RIG_PAGES),
			     16 << PAGE_SHIFT, MAP_RW));
	if (!fork())
		keep_memory(s);
	set_window(&s->rig, RIG_PAGES, RIG_PAGES + 16);
	SET(&s->rig, "access", "rw");
	SET(&s->rig, "run", "1");
	EXPECT_LE(0, stall_wait(&stall, 10000));
	set(&s->ready);
	for (;;)
		pause();
}

/* A signal that kills the VMM ends a wait for user memory, and that is no error. */
TEST_F(worker, mdma_killed_while_it_waits_for_user_memory, 40)
{
	struct shared *s = share(&self->rig);
	pid_t pid = start_owner(s, owner_waits);
	int status;

	EXPECT_EQ(true, WAIT_FOR(is_set(&s->ready)));
	kill(pid, SIGKILL);
	EXPECT_EQ(true, WAIT_FOR(waitpid(pid, &status, WNOHANG) == pid));
	EXPECT_EQ(0, mdma_get(&s->rig.dev, "stats/pin_errors"));
	EXPECT_EQ(0, mdma_get(&s->rig.dev, "stats/skipped"));
	set(&s->over);
}

static void after(void)
{
	mdev_remove_leftovers();
	memcg_remove();
	cgroup_remove(GROUP_A);
	cgroup_remove(GROUP_B);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--executed"))
		return executed(argv[2]);
	return harness_main(argc, argv, after);
}
