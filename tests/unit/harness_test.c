// SPDX-License-Identifier: GPL-2.0-only
/*
 * The harness of the selftests: a test passes only if it comes to its end.
 */
#include "harness.h"
#include "unit.h"

FIXTURE(nothing) {
	int unused;
};

FIXTURE_SETUP(nothing)
{
	(void)self;
}

FIXTURE_TEARDOWN(nothing)
{
	(void)self;
}

TEST_F(nothing, passes, 60)
{
}

TEST_F(nothing, skips, 60)
{
	SKIP("nothing to do");
}

TEST_F(nothing, fails, 60)
{
	EXPECT_EQ(1, 2);
}

TEST_F(nothing, fails_for_good, 60)
{
	ASSERT_EQ(1, 2);
}

TEST_F(nothing, exits_midway, 60)
{
	exit(0);
}

/* The child comes to the end of the test, the test itself does not. */
TEST_F(nothing, child_returns, 60)
{
	if (!fork())
		return;
	wait(NULL);
	exit(0);
}

TEST_F(nothing, child_exits, 60)
{
	if (!fork())
		_exit(0);
	wait(NULL);
}

TEST_F(nothing, fails_before_a_good_child, 60)
{
	EXPECT_EQ(1, 2);
	if (!fork())
		IN_CHILD((void)0);
	wait(NULL);
}

TEST_F(nothing, says_whether_a_child_failed, 60)
{
	int status;

	if (!fork())
		IN_CHILD((void)0);
	wait(&status);
	if (status)
		return;
	if (!fork())
		IN_CHILD(ASSERT_EQ(1, 2));
	wait(&status);
	/* Only so is it good. */
	harness_verdict->failures -= WEXITSTATUS(status) == 1;
}

static void after(void)
{
}

/* Whether the harness says that this test is good. Its KTAP is not for us. */
static bool is_good(const char *name)
{
	char program[] = "harness_test", *argv[] = { program, (char *)name };
	int status;
	pid_t pid;

	harness_log = "/dev/null";
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		_exit(harness_main(ARRAY_SIZE(argv), argv, after));
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

static void good_tests_pass(void)
{
	CHECK(is_good("passes"), "it does nothing");
	CHECK(is_good("skips"), "it says why");
	CHECK(is_good("child_exits"), "its child does");
}

static void failures_fail(void)
{
	CHECK(!is_good("fails"), "EXPECT");
	CHECK(!is_good("fails_for_good"), "ASSERT");
	CHECK(!is_good("there_is_no_such_test"), "no test at all");
}

static void test_that_exits_midway_fails(void)
{
	CHECK(!is_good("exits_midway"), "by exit(0)");
}

static void end_of_a_child_is_not_that_of_the_test(void)
{
	CHECK(!is_good("child_returns"), "the test exits");
}

static void child_forgives_nothing(void)
{
	CHECK(!is_good("fails_before_a_good_child"), "a failure of the test");
	CHECK(is_good("says_whether_a_child_failed"), "the exit codes");
}

int main(void)
{
	static const struct unit_test tests[] = {
		{ "harness: good tests pass", good_tests_pass },
		{ "harness: failures fail", failures_fail },
		{ "harness: a test that exits midway fails",
		  test_that_exits_midway_fails },
		{ "harness: the end of a child is not that of the test",
		  end_of_a_child_is_not_that_of_the_test },
		{ "harness: a child forgives nothing", child_forgives_nothing },
	};

	return unit_main(tests, ARRAY_SIZE(tests));
}
