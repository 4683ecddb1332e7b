// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges that are being unmapped: what was announced is closed, until a while after
 * the end of its call, and nothing else is. Time stands still unless a test says so.
 */
#include <string.h>

#include <linux/jiffies.h>

#include "going.h"
#include "unit.h"

#define PAGE		4096ULL
#define STEPS		200000
#define SPACE		256	/* pages of the random test */
#define RANGES_MOST	(MDMA_GOING_RANGES / 2)

unsigned long jiffies;

static struct mdma_going ranges[MDMA_GOING_RANGES];

static void begin(void)
{
	/* A counter that wraps soon. */
	jiffies = -100UL;
	memset(ranges, 0, sizeof(ranges));
	mdma_going_init(ranges);
}

static struct mdma_going *unmap(u64 page, u64 npages)
{
	return mdma_going_begin(ranges, page * PAGE, (page + npages) * PAGE - 1);
}

static bool closed(u64 page, bool waited)
{
	return mdma_going_overlaps(ranges, page * PAGE, page * PAGE + PAGE - 1,
				   waited);
}

static void nothing_is_closed_at_first(void)
{
	begin();
	CHECK(!mdma_going_overlaps(ranges, 0, UINT64_MAX, false), "all");
	CHECK(!closed(0, false), "page 0");
}

static void closed_in_a_call_and_a_while_after(void)
{
	struct mdma_going *going;

	begin();
	going = unmap(10, 2);
	jiffies += 1000 * MDMA_GOING_MS;
	CHECK(closed(10, false) && closed(11, false), "in the call");
	CHECK(closed(10, true), "in the call, for one who waited");
	mdma_going_end(going);
	CHECK(closed(10, false), "after the call");
	CHECK(!closed(10, true), "after the call, for one who waited");
	jiffies += MDMA_GOING_MS;
	CHECK(closed(10, false), "at the end of the while");
	jiffies++;
	CHECK(!closed(10, false), "after the while");
}

static void borders_are_exact(void)
{
	begin();
	mdma_going_begin(ranges, 100, 199);
	CHECK(!mdma_going_overlaps(ranges, 0, 99, false), "below");
	CHECK(mdma_going_overlaps(ranges, 0, 100, false), "first byte");
	CHECK(mdma_going_overlaps(ranges, 199, 300, false), "last byte");
	CHECK(!mdma_going_overlaps(ranges, 200, 300, false), "above");
}

static void all_of_the_space(void)
{
	begin();
	mdma_going_begin(ranges, 0, UINT64_MAX);
	CHECK(mdma_going_overlaps(ranges, 0, 0, false), "first byte");
	CHECK(mdma_going_overlaps(ranges, UINT64_MAX, UINT64_MAX, false), "last byte");
}

/* As many as there is room for: what lies between them stays open. */
static void what_lies_between_is_open(void)
{
	u64 i;

	begin();
	for (i = 0; i < MDMA_GOING_RANGES; i++) {
		/* Some are in a call, others have just ended. */
		struct mdma_going *going = unmap(10 * i, 1);

		if (i % 2)
			mdma_going_end(going);
	}
	for (i = 0; i < 10 * MDMA_GOING_RANGES; i++)
		CHECK(closed(i, false) == !(i % 10), "page %llu", i);
}

/* One more joins the nearest, and is closed until both calls have ended. */
static void one_more_joins_the_nearest(void)
{
	struct mdma_going *going[MDMA_GOING_RANGES], *more;
	u64 i, page;

	begin();
	for (i = 0; i < MDMA_GOING_RANGES; i++)
		going[i] = unmap(10 * i, 1);
	more = unmap(52, 1);
	CHECK(more == going[5], "joined %td", more - ranges);
	CHECK(unmap(88, 1) == going[9], "did not join the one above");
	for (page = 0; page < 10 * MDMA_GOING_RANGES; page++)
		CHECK(closed(page, false) ==
		      (!(page % 10) || page == 51 || page == 52 ||
		       page == 88 || page == 89), "page %llu", page);
	mdma_going_end(going[5]);
	CHECK(closed(52, true) && closed(50, true), "one has ended");
	mdma_going_end(more);
	CHECK(!closed(52, true) && !closed(50, true), "both have ended");
	CHECK(closed(52, false), "for a while");
}

/* The room of a range that is open again is used, before any two become one. */
static void room_is_used_again(void)
{
	u64 i;

	begin();
	for (i = 0; i < MDMA_GOING_RANGES; i++)
		mdma_going_end(unmap(10 * i, 1));
	jiffies += MDMA_GOING_MS + 1;
	unmap(5, 1);
	unmap(25, 1);
	for (i = 0; i < 10 * MDMA_GOING_RANGES; i++)
		CHECK(closed(i, false) == (i == 5 || i == 25), "page %llu", i);
}

/* A call of the random test. */
struct call {
	struct mdma_going *going;
	u64 page, npages;
	unsigned long until;	/* closed that long, once it has ended */
	bool used, ended;
};

static struct call calls[RANGES_MOST];

static bool call_closes(const struct call *call, u64 page, bool waited)
{
	if (!call->used || page < call->page ||
	    page >= call->page + call->npages)
		return false;
	return !call->ended || (!waited && time_before_eq(jiffies, call->until));
}

static void step_call(struct call *call)
{
	if (call->used && !call->ended) {
		mdma_going_end(call->going);
		call->ended = true;
		call->until = jiffies + MDMA_GOING_MS;
	} else if (!call->used || !time_before_eq(jiffies, call->until)) {
		*call = (struct call) {
			.page = unit_below(SPACE), .npages = 1 + unit_below(9),
			.used = true,
		};
		call->going = unmap(call->page, call->npages);
	}
}

/* With room for all, closed is what a call or its while says, and nothing else. */
static void as_the_calls_say(void)
{
	unsigned int i, n;
	bool want, waited;
	u64 page;

	begin();
	memset(calls, 0, sizeof(calls));
	for (n = 0; n < STEPS; n++) {
		step_call(&calls[unit_below(RANGES_MOST)]);
		jiffies += unit_below(3);
		page = unit_below(SPACE + 10);
		waited = unit_below(2);
		want = false;
		for (i = 0; i < RANGES_MOST; i++)
			want |= call_closes(&calls[i], page, waited);
		CHECK(closed(page, waited) == want, "step %u, page %llu", n,
		      page);
	}
}

static const struct unit_test tests[] = {
	{ "nothing_is_closed_at_first", nothing_is_closed_at_first },
	{ "closed_in_a_call_and_a_while_after",
	  closed_in_a_call_and_a_while_after },
	{ "borders_are_exact", borders_are_exact },
	{ "all_of_the_space", all_of_the_space },
	{ "what_lies_between_is_open", what_lies_between_is_open },
	{ "one_more_joins_the_nearest", one_more_joins_the_nearest },
	{ "room_is_used_again", room_is_used_again },
	{ "as_the_calls_say", as_the_calls_say },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(tests[0]));
}
