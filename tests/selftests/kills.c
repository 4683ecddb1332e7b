// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that use a device end at random moments: under each workload, in each state of a
 * migration, while dirty pages are tracked or not, by a signal, an exec, or want of memory. All
 * the time somebody tries to unload the modules, and sometimes to remove the device. Nothing may
 * be left of them: no pin, no user of a module, no kernel memory, no page.
 *
 * $KILLS such ends are made, from $SEED. $WORKLOADS is the directory of the presets, $MDMA the
 * file of another mdma.ko than the installed one.
 */
#include <dirent.h>
#include <sys/syscall.h>

#include "fixture.h"
#include "job.h"
#include "memcg.h"
#include "migration.h"

#define KILLS		12	/* unless $KILLS says otherwise */
#define WARM_UP		8	/* the kernel's own caches have filled by then */
#define PAGES		8192	/* of the victim */
#define SIDE		PAGES	/* the first page of what is mapped and unmapped */
#define SIDE_PAGES	64
#define DELAY_US	40000
#define STREAM_MAX	(1 << 20)
#define OOM_LIMIT	(96 << 20)
#define PRESETS		16

/* What may be left after all ends together, and after each one. */
#define KERNEL_SLACK	(64 << 10)
#define KERNEL_EACH	48
#define USED_SLACK_KB	2048

enum way { BY_SIGNAL, BY_EXEC, BY_EXEC_AND_SIGNAL, BY_MEMORY, WAYS };

static const char *const way_text[WAYS] = {
	"signal", "exec", "exec and signal", "want of memory",
};

static const struct {
	int state;
	const char *name;
} states[] = {
	{ MIG(RUNNING), "RUNNING" },
	{ MIG(RUNNING_P2P), "RUNNING_P2P" },
	{ MIG(PRE_COPY), "PRE_COPY" },
	{ MIG(PRE_COPY_P2P), "PRE_COPY_P2P" },
	{ MIG(STOP), "STOP" },
	{ MIG(STOP_COPY), "STOP_COPY" },
	{ MIG(RESUMING), "RESUMING" },
};

/**
 * struct plan - what is drawn for one end
 * @preset: number of the workload
 * @state: number of the migration state
 * @way: how the victim ends
 * @tracked: dirty pages are tracked
 * @removed: the device is being removed meanwhile
 * @delay_us: from the victim's readiness to its end
 * @bytes: of the migration stream that are read or written
 */
struct plan {
	unsigned int preset;
	unsigned int state;
	enum way way;
	bool tracked;
	bool removed;
	unsigned int delay_us;
	unsigned int bytes;
};

/* What the victim and the test share. */
struct victim {
	struct rig rig;
	int ready;
	int go;
};

/* What must be as before when a victim has ended. */
struct balance {
	long long pinned;
	long long type1_users;
	long long kernel_bytes;
	long long used_kb;
};

FIXTURE(kills) {
	char presets[PRESETS][128];
	unsigned int npresets;
	struct victim *victim;
	struct balance before;
	unsigned int ways[WAYS];
	unsigned int refused;		/* attempts to unload */
	unsigned int unloaded;		/* between an end and the look at what it left */
	unsigned int removed;
};

static void set(int *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

static bool is_set(int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* --- presets ---------------------------------------------------------------- */

static void find_presets(struct kills *k)
{
	const char *path = getenv("WORKLOADS");
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	if (!dir)
		SKIP("$WORKLOADS: the directory of the presets");
	while ((entry = readdir(dir)) && k->npresets < PRESETS)
		if (entry->d_name[0] != '.')
			snprintf(k->presets[k->npresets++], sizeof(k->presets[0]),
				 "%.64s/%.48s", path, entry->d_name);
	closedir(dir);
	ASSERT_LT(0, k->npresets);
}

/* A preset has lines "name=value" and "# comment". */
static void set_preset(struct rig *r, const char *path)
{
	char line[256], name[64], value[64], attribute[96];
	FILE *f = fopen(path, "r");

	ASSERT_NE(0, (long)f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[a-z_]=%63s", name, value) != 2)
			continue;
		snprintf(attribute, sizeof(attribute), "workload/%s", name);
		ASSERT_STR("0", error(mdma_set(&r->dev, attribute, "%s", value)));
	}
	fclose(f);
}

/* --- the victim -------------------------------------------------------------- */

/* Calls of a VMM and of a driver, until the end. */
static int call_on(void *arg)
{
	static unsigned char bitmap[(PAGES + SIDE_PAGES) / 8];
	struct rig *r = arg;
	__u64 page = 0;

	for (;;) {
		dirty_get(r->container, at(0), (__u64)PAGES << PAGE_SHIFT, bitmap);
		dma_map(r->container, r->mem, at(SIDE), SIDE_PAGES << PAGE_SHIFT,
			MAP_RW);
		mdma_pin(&r->dev, at(SIDE), 16, 'w');
		mdma_rw_write(&r->dev, at(SIDE + 20), 64, 1);
		dma_unmap_get(r->container, at(SIDE), SIDE_PAGES << PAGE_SHIFT,
			      bitmap, NULL);
		dma_unmap(r->container, at(SIDE), SIDE_PAGES << PAGE_SHIFT, NULL);
		mdma_pin(&r->dev, at(page), 32, page % 3 ? 'w' : 'r');
		if (page % 2)
			mdma_unpin(&r->dev, at(page), 32);
		page = (page + 37) % (PAGES - 32);
		mdma_read32(&r->dev, MDMA_REG_MAGIC);
	}
	return 0;
}

/* Reads or writes the beginning of a stream, and leaves its file open. */
static void enter_state(struct mdma *m, const struct plan *plan)
{
	static unsigned char stream[STREAM_MAX];
	int state = states[plan->state].state, fd;
	long long size = 0;

	if (state == MIG(RESUMING)) {
		size = mig_save(m->device, stream, sizeof(stream));
		ASSERT_LT(0, size);
	}
	ASSERT_STR("0", error(mig_set(m->device, state, &fd)));
	if (fd < 0 || !plan->bytes)
		return;
	if (state == MIG(RESUMING))
		ASSERT_LE(0, write(fd, stream, plan->bytes % size));
	else
		mig_read(fd, stream, plan->bytes);	/* or to the end */
}

static void end_by_memory(void)
{
	const size_t size = OOM_LIMIT / 8;

	for (;;)
		memset(memory(size, PROT_READ | PROT_WRITE), 1, size);
}

static void execute(struct rig *r, bool keeps)
{
	if (keeps) {
		fcntl(r->dev.device, F_SETFD, 0);
		fcntl(r->container, F_SETFD, 0);
	}
	execl("/proc/self/exe", "kills", keeps ? "--wait" : "--end", NULL);
	FAIL("exec: %s", strerror(errno));
}

static void act(struct kills *k, const struct plan *plan)
{
	struct rig *r = &k->victim->rig;
	struct job caller;

	ASSERT_STR("0", error(memcg_enter()));
	ASSERT_STR("0", error(rig_open(r, "mdma-4", PAGES)));
	set_preset(r, k->presets[plan->preset]);
	set_window(r, 0, PAGES);
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/run", "1")));
	wait_for_writes(r, 1);
	if (plan->tracked)
		START(r);
	enter_state(&r->dev, plan);
	job_start(&caller, call_on, r);
	set(&k->victim->ready);
	while (!is_set(&k->victim->go))
		usleep(100);
	usleep(plan->delay_us);
	if (plan->way == BY_MEMORY)
		end_by_memory();
	if (plan->way == BY_EXEC || plan->way == BY_EXEC_AND_SIGNAL)
		execute(r, plan->way == BY_EXEC_AND_SIGNAL);
	for (;;)
		pause();
}

static pid_t start_victim(struct kills *k, const struct plan *plan)
{
	pid_t pid;

	memset(k->victim, 0, sizeof(*k->victim));
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	IN_CHILD(act(k, plan));
}

/* --- those who want to see it gone -------------------------------------------- */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* As long as the device is open. */
static void expect_no_unload(struct kills *k)
{
	static const char *const modules[] = { "mdma", "vfio_iommu_type1", "vfio" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modules); i++) {
		EXPECT_STR("EAGAIN", error(unload(modules[i])));
		k->refused++;
	}
}

/* Nobody may be left when this is possible. */
static void try_unload(struct kills *k)
{
	const char *load = getenv("MDMA") ? "insmod $MDMA" : "modprobe mdma";

	if (unload("mdma")) {
		k->refused++;
		return;
	}
	k->unloaded++;
	ASSERT_EQ(0, system(load));
}

static int remove_job(void *arg)
{
	struct rig *r = arg;

	return mdev_remove(r->dev.uuid);
}

/* Returns the victim's status when it has ended. */
static int end_victim(struct kills *k, const struct plan *plan, pid_t pid)
{
	bool killed = plan->way == BY_SIGNAL || plan->way == BY_EXEC_AND_SIGNAL;
	double kill_at, end;
	int status = 0;

	set(&k->victim->go);
	/* An exec may be complete by then, or under way. */
	kill_at = now_ms() + plan->delay_us / 1e3 *
		  (plan->way == BY_EXEC_AND_SIGNAL ? 2 : 1);
	end = now_ms() + 3 * patience_ms();
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (killed && now_ms() >= kill_at)
			kill(pid, SIGKILL);
		if (now_ms() >= end) {
			kill(pid, SIGKILL);
			FAIL("the victim does not end");
		}
		try_unload(k);
		usleep(500);
	}
	return status;
}

/* --- what is left --------------------------------------------------------------- */

/* Slow, and only exact when unused inodes and names have gone. */
static void look_at_memory(struct balance *b)
{
	file_write("/proc/sys/vm/drop_caches", "3");
	b->kernel_bytes = memcg_kernel_bytes();
	ASSERT_LE(0, b->kernel_bytes);
	b->used_kb = used_kb();
}

static void expect_balance(struct kills *k)
{
	WAIT_FOR(pinned_pages() == k->before.pinned);
	EXPECT_EQ(k->before.pinned, pinned_pages());
	EXPECT_EQ(k->before.type1_users, module_refcount("vfio_iommu_type1"));
	EXPECT_EQ(true, WAIT_FOR(!module_refcount("mdma")));
}

static void expect_memory(struct kills *k, unsigned int rounds)
{
	struct balance now;

	look_at_memory(&now);
	printf("# after %d ends: kernel memory of the victims %lld bytes, now %lld\n",
	       WARM_UP, k->before.kernel_bytes, now.kernel_bytes);
	printf("# memory used: %lld kB more\n", now.used_kb - k->before.used_kb);
	EXPECT_LE(now.kernel_bytes,
		  k->before.kernel_bytes + KERNEL_SLACK + KERNEL_EACH * rounds);
	EXPECT_LE(now.used_kb, k->before.used_kb + USED_SLACK_KB);
}

/* --- the rounds ------------------------------------------------------------------- */

static struct plan draw(struct kills *k, __u64 *seed, unsigned int round)
{
	struct plan plan = {
		/* In turn: so each of them is reached, with each of the others. */
		.preset = round % k->npresets,
		.way = round % WAYS,
		.state = random_next(seed) % ARRAY_SIZE(states),
		.tracked = random_next(seed) % 2,
		.removed = random_next(seed) % 3 == 0,
		.delay_us = random_next(seed) % DELAY_US,
		.bytes = random_next(seed) % 4096,
	};

	return plan;
}

static void say(struct kills *k, const struct plan *plan, unsigned int round)
{
	printf("# end %u: %s, %s%s, by %s after %u us%s\n", round,
	       strrchr(k->presets[plan->preset], '/') + 1,
	       states[plan->state].name, plan->tracked ? ", tracked" : "",
	       way_text[plan->way], plan->delay_us,
	       plan->removed ? ", removed" : "");
}

static void one_end(struct kills *k, const struct plan *plan)
{
	struct victim *v = k->victim;
	struct job remover;
	pid_t pid;
	int status;

	ASSERT_STR("0", error(memcg_limit(plan->way == BY_MEMORY ? OOM_LIMIT : 0)));
	pid = start_victim(k, plan);
	if (!WAIT_FOR(is_set(&v->ready) || waitpid(pid, &status, WNOHANG) == pid) ||
	    !is_set(&v->ready))
		FAIL("the victim does not begin");
	expect_no_unload(k);
	if (plan->removed) {
		job_start(&remover, remove_job, &v->rig);
		k->removed++;
	}
	status = end_victim(k, plan, pid);
	if (plan->way == BY_EXEC)
		EXPECT_EQ(0, status);
	else
		EXPECT_EQ(SIGKILL, status);
	if (plan->removed) {
		if (!job_ends(&remover))
			FAIL("the removal does not end");
		job_join(&remover);
	}
	mdev_remove_leftovers();
	k->ways[plan->way]++;
	expect_balance(k);
}

FIXTURE_SETUP(kills)
{
	if (stock_is_spared())
		SKIP("a backend that survives it (W3, W18)");
	find_presets(self);
	ENTER_MEMCG();
	ASSERT_STR("0", error(memcg_leave()));
	self->victim = mmap(NULL, sizeof(*self->victim), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE((long)MAP_FAILED, (long)self->victim);
	self->before.pinned = pinned_pages();
	self->before.type1_users = module_refcount("vfio_iommu_type1");
}

FIXTURE_TEARDOWN(kills)
{
	munmap(self->victim, sizeof(*self->victim));
	memcg_limit(0);
	EXPECT_LOCKED(0);
}

TEST_F(kills, R7_nothing_is_left_of_killed_users, 120)
{
	const char *text = getenv("KILLS");
	unsigned int rounds = text ? atoi(text) : KILLS, done = 0, i;
	__u64 seed = random_seed();
	int failures = 0;
	struct plan plan;

	for (i = 0; i < rounds && !failures; i++) {
		if (i == WARM_UP)
			look_at_memory(&self->before);
		plan = draw(self, &seed, i);
		one_end(self, &plan);
		done++;
		failures = harness_verdict->failures;
		if (failures || rounds <= KILLS)
			say(self, &plan, i);
	}
	if (!failures && rounds > WARM_UP)
		expect_memory(self, rounds);
	printf("# ends:");
	for (i = 0; i < WAYS; i++)
		printf(" %u by %s,", self->ways[i], way_text[i]);
	printf(" unload refused %u times, unloaded %u times, removed %u times\n",
	       self->refused, self->unloaded, self->removed);
	printf("# figures: kills=%u\n", done);
}

static void after(void)
{
	mdev_remove_leftovers();
	memcg_remove();
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--end"))
		return 0;
	if (argc == 2 && !strcmp(argv[1], "--wait"))
		for (;;)
			pause();
	return harness_main(argc, argv, after);
}
