/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small test harness: fixtures, one forked child per test with a time limit,
 * KTAP version 1 on stdout.
 *
 *	FIXTURE(rig) { int fd; };
 *	FIXTURE_SETUP(rig) { ASSERT_LE(0, self->fd = open(...)); }
 *	FIXTURE_TEARDOWN(rig) { close(self->fd); }
 *	TEST_F(rig, R2_does_this, 30) { EXPECT_EQ(0, f(self->fd)); }
 *	TEST_MAIN(after)
 *
 * EXPECT continues after a failure, ASSERT goes to the teardown. after() runs in
 * the parent after each test, to clean up what a killed child left behind. The time
 * limit is in seconds, for a hang, and is multiplied by $TIMEOUT_SCALE; a test does
 * not assert times by it.
 */
#ifndef SELFTESTS_HARNESS_H
#define SELFTESTS_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
struct harness_test {
	const char *name;
	void (*run)(void);
	int timeout;
	struct harness_test *next;
};

/* What the child tells the parent; in shared memory. */
struct harness_verdict {
	int failures;
	bool done;		/* it came to the end of the test */
	char skip[200];		/* the reason */
};

static struct harness_test *harness_tests, **harness_tail = &harness_tests;
static struct harness_verdict *harness_verdict;
static jmp_buf harness_out;
static sigset_t harness_chld;
static const char *harness_log = "/dev/kmsg";

#define harness_fail(fatal, fmt, ...) do {				\
	printf("# %s:%d: " fmt "\n", strrchr("/" __FILE__, '/') + 1,	\
	       __LINE__, ##__VA_ARGS__);				\
	harness_verdict->failures++;					\
	if (fatal)							\
		longjmp(harness_out, 1);				\
} while (0)

#define harness_compare(fatal, want, op, seen) do {			\
	long long harness_want = (long long)(want);			\
	long long harness_seen = (long long)(seen);			\
	if (!(harness_want op harness_seen))				\
		harness_fail(fatal, "%s " #op " %s: not %lld " #op " %lld", \
			     #want, #seen, harness_want, harness_seen);	\
} while (0)

#define harness_string(fatal, want, seen) do {				\
	const char *harness_want = (want), *harness_seen = (seen);	\
	if (strcmp(harness_want, harness_seen))				\
		harness_fail(fatal, "%s: want \"%s\", seen \"%s\"",	\
			     #seen, harness_want, harness_seen);	\
} while (0)

#define EXPECT_EQ(want, seen)	harness_compare(0, want, ==, seen)
#define EXPECT_NE(want, seen)	harness_compare(0, want, !=, seen)
#define EXPECT_LE(want, seen)	harness_compare(0, want, <=, seen)
#define EXPECT_LT(want, seen)	harness_compare(0, want, <, seen)
#define EXPECT_STR(want, seen)	harness_string(0, want, seen)
#define ASSERT_EQ(want, seen)	harness_compare(1, want, ==, seen)
#define ASSERT_NE(want, seen)	harness_compare(1, want, !=, seen)
#define ASSERT_LE(want, seen)	harness_compare(1, want, <=, seen)
#define ASSERT_LT(want, seen)	harness_compare(1, want, <, seen)
#define ASSERT_STR(want, seen)	harness_string(1, want, seen)
#define FAIL(fmt, ...)		harness_fail(1, fmt, ##__VA_ARGS__)
/* The reason names what is missing. */
#define SKIP(fmt, ...) do {						\
	snprintf(harness_verdict->skip, sizeof(harness_verdict->skip),	\
		 fmt, ##__VA_ARGS__);					\
	longjmp(harness_out, 1);					\
} while (0)

/*
 * What a process does that a test has forked, and its end: the exit code says whether
 * something failed in it. That counts as a failure of the test as well.
 */
#define IN_CHILD(call) do {						\
	int harness_before = harness_verdict->failures;			\
									\
	if (!setjmp(harness_out))					\
		call;							\
	fflush(stdout);							\
	_exit(harness_verdict->failures != harness_before);		\
} while (0)

#define FIXTURE(type)		struct type
#define FIXTURE_SETUP(type)	static inline void type##_setup(struct type *self)
#define FIXTURE_TEARDOWN(type)	static inline void type##_teardown(struct type *self)

#define TEST_F(type, id, seconds)					\
static void id(struct type *self);					\
static void harness_run_##id(void)					\
{									\
	static struct type self;					\
									\
	if (!setjmp(harness_out)) {					\
		type##_setup(&self);					\
		id(&self);						\
	}								\
	if (!setjmp(harness_out))					\
		type##_teardown(&self);					\
}									\
static __attribute__((constructor)) void harness_add_##id(void)		\
{									\
	static struct harness_test harness_this = {			\
		.name = #id, .run = harness_run_##id, .timeout = seconds, \
	};								\
	*harness_tail = &harness_this;					\
	harness_tail = &harness_this.next;				\
}									\
static void id(struct type *self __attribute__((unused)))

/* In the child. A process that this one forks must not end the test. */
static inline void harness_child(struct harness_test *t)
{
	pid_t pid = getpid();

	setpgid(0, 0);
	sigprocmask(SIG_UNBLOCK, &harness_chld, NULL);
	t->run();
	harness_verdict->done |= getpid() == pid;
	_exit(0);
}

/* Returns the child's status, which is not 0 if the child had to be killed. */
static inline int harness_wait(const char *name, pid_t pid, int seconds)
{
	struct timespec limit = { .tv_sec = seconds };
	bool killed = false;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (sigtimedwait(&harness_chld, NULL, &limit) >= 0 || errno != EAGAIN)
			continue;
		printf("%s %s: no end after %d s\n",
		       killed ? "Bail out!" : "#", name, seconds);
		if (killed)
			exit(1);
		kill(-pid, SIGKILL);
		killed = true;
	}
	if (status)
		printf("# %s: status 0x%x\n", name, status);
	return status;
}

static inline int harness_one(struct harness_test *t, int number, int scale)
{
	int status, log = open(harness_log, O_WRONLY | O_CLOEXEC);
	struct harness_verdict *v = harness_verdict;
	pid_t pid;

	/*
	 * Warnings in the kernel's log belong to the test named above them. The
	 * console shows the line at once, because it ends with a line break: so it
	 * names the test in which a lab hangs.
	 */
	dprintf(log, "selftest: %s (%s)\n", t->name, program_invocation_short_name);
	close(log);
	memset(v, 0, sizeof(*v));
	pid = fork();
	if (pid < 0)
		exit(1);
	if (!pid)
		harness_child(t);
	setpgid(pid, pid);
	status = harness_wait(t->name, pid, t->timeout * scale);
	kill(-pid, SIGKILL);
	if (!status && !v->done)
		printf("# %s: it exited before its end\n", t->name);
	v->failures += status || !v->done;
	printf("%sok %d %s%s%s\n", v->failures ? "not " : "", number, t->name,
	       *v->skip ? " # SKIP " : "", v->skip);
	return !!v->failures;
}

/* Arguments: prefixes of the names of the tests to run; without any, all tests. */
static inline int harness_main(int argc, char **argv, void (*after)(void))
{
	const char *scale = getenv("TIMEOUT_SCALE");
	int count = 0, number = 0, failed = 0, i;
	struct harness_test *t;
	bool wanted;

	harness_verdict = mmap(NULL, sizeof(*harness_verdict),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigemptyset(&harness_chld);
	sigaddset(&harness_chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &harness_chld, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (t = harness_tests; t; t = t->next) {
		for (wanted = argc < 2, i = 1; i < argc; i++)
			wanted |= !strncmp(t->name, argv[i], strlen(argv[i]));
		t->timeout = wanted ? t->timeout : 0;
		count += wanted;
	}
	printf("KTAP version 1\n1..%d\n", count);
	for (t = harness_tests; t; t = t->next) {
		if (t->timeout)
			failed += harness_one(t, ++number, scale ? atoi(scale) : 1);
		after();
	}
	return failed || !count;
}

#define TEST_MAIN(after) \
	int main(int argc, char **argv) { return harness_main(argc, argv, after); }

#endif /* SELFTESTS_HARNESS_H */
