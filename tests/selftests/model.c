// SPDX-License-Identifier: GPL-2.0-only
/*
 * R2, R3, R6, R8, R12, R14 together: random calls, and a simple model that
 * knows what each report, each count and each error must be.
 *
 * The space is SPACE pages with mappings and holes. A page of the model is
 * mapped or not, has a number of pins, may be a target of writes (pinned for
 * write since it was last free), and has a record or not.
 */
#include "fixture.h"

#define SPACE		2000
#define MAPPINGS	12
#define MAX_PINS	5

struct model_page {
	bool mapped;
	bool target;
	bool record;
	int pins;
};

struct model {
	struct rig rig;
	struct model_page page[SPACE];
	__u64 seed;
	bool tracking;
	int op;
};

FIXTURE_SETUP(model)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", 0)));
	self->seed = random_seed();
}

FIXTURE_TEARDOWN(model)
{
	rig_close(&self->rig);
	EXPECT_EQ(0, locked_pages());
}

static __u64 pick(struct model *m, __u64 n)
{
	return random_next(&m->seed) % n;
}

#define MODEL_FAIL(m, fmt, ...) \
	FAIL("operation %d: " fmt, (m)->op, ##__VA_ARGS__)

static void map_some(struct model *m)
{
	__u64 page = pick(m, 5), n, i;

	while (page < SPACE - 1) {
		n = 1 + pick(m, pick(m, 2) ? 8 : 2 * SPACE / MAPPINGS);
		n = page + n > SPACE ? SPACE - page : n;
		ASSERT_EQ(0, dma_map(m->rig.container,
				     memory(n << PAGE_SHIFT,
					    PROT_READ | PROT_WRITE),
				     at(page), n << PAGE_SHIFT, MAP_RW));
		for (i = page; i < page + n; i++)
			m->page[i].mapped = true;
		page += n + pick(m, 3) * pick(m, 100);
	}
}

/* A run of pages, short or long, that may reach into holes. */
static void pick_run(struct model *m, __u64 *first, __u64 *n, __u64 most)
{
	*n = 1 + pick(m, pick(m, 3) ? 10 : most);
	*first = pick(m, SPACE - *n + 1);
}

static void do_pin(struct model *m)
{
	bool write = pick(m, 3), good = true;
	__u64 first, n, i;
	int ret;

	pick_run(m, &first, &n, 512);
	for (i = first; i < first + n; i++) {
		if (m->page[i].pins >= MAX_PINS)
			return;
		good &= m->page[i].mapped;
	}
	ret = mdma_pin(&m->rig.dev, at(first), n, write ? 'w' : 'r');
	if (good != !ret)
		MODEL_FAIL(m, "pin %llu+%llu: %s", first, n, error(ret));
	for (i = first; good && i < first + n; i++) {
		m->page[i].target |= write;
		m->page[i].pins++;
	}
}

/* Also of pages that are not pinned; not of pages that are not mapped. */
static void do_unpin(struct model *m)
{
	__u64 first, n, i;
	int ret;

	pick_run(m, &first, &n, 512);
	for (i = first; i < first + n; i++)
		if (!m->page[i].mapped)
			return;
	ret = mdma_unpin(&m->rig.dev, at(first), n);
	if (ret)
		MODEL_FAIL(m, "unpin %llu+%llu: %s", first, n, error(ret));
	for (i = first; i < first + n; i++) {
		struct model_page *p = &m->page[i];

		if (!p->pins || --p->pins)
			continue;
		p->record |= p->target && m->tracking;
		p->target = false;
	}
}

static void do_rw(struct model *m)
{
	__u64 first = pick(m, SPACE - 1), offset = pick(m, PAGE_SIZE);
	__u64 len = 1 + pick(m, PAGE_SIZE - 1), last, i;
	bool write = pick(m, 2);
	int ret;

	last = first + (offset + len - 1) / PAGE_SIZE;
	if (!m->page[first].mapped || !m->page[last].mapped)
		return;
	ret = write ? mdma_rw_write(&m->rig.dev, at(first) + offset, len, 1) :
		      mdma_rw_read(&m->rig.dev, at(first) + offset, len);
	if (ret)
		MODEL_FAIL(m, "rw %llu: %s", first, error(ret));
	for (i = first; i <= last; i++)
		m->page[i].record |= write && m->tracking;
}

static void do_get(struct model *m)
{
	static unsigned char bitmap[SPACE / 8 + 16], before[sizeof(bitmap)];
	__u64 first, n, i, bits;
	int ret, want;

	pick_run(m, &first, &n, SPACE);
	bits = bitmap_bytes(n) * 8;
	for (i = 0; i < sizeof(bitmap); i++)
		bitmap[i] = pick(m, 256);
	memcpy(before, bitmap, sizeof(bitmap));
	ret = dirty_get(m->rig.container, at(first), n << PAGE_SHIFT, bitmap);
	if (ret != (m->tracking ? 0 : -EINVAL))
		MODEL_FAIL(m, "get %llu+%llu: %s", first, n, error(ret));
	for (i = 0; i < bits; i++) {
		struct model_page *p = &m->page[first + i];

		want = bitmap_bit(before, i);
		if (m->tracking && i < n && p->mapped) {
			want = p->record || (p->pins && p->target);
			p->record = false;
		}
		if (bitmap_bit(bitmap, i) != want)
			MODEL_FAIL(m, "get %llu+%llu: %llu: want %d (mapped %d, pins %d)",
				   first, n, first + i, want, p->mapped,
				   p->pins);
	}
	if (memcmp(bitmap + bits / 8, before + bits / 8,
		   sizeof(bitmap) - bits / 8))
		MODEL_FAIL(m, "get %llu+%llu wrote past the bitmap", first, n);
}

static void do_start_stop(struct model *m)
{
	__u64 i;

	if (pick(m, 10))
		return;
	m->tracking = pick(m, 4);
	if (m->tracking)
		START(&m->rig);
	else
		STOP(&m->rig);
	for (i = 0; !m->tracking && i < SPACE; i++)
		m->page[i].record = false;
}

static void check_counts(struct model *m)
{
	long long pinned = 0, i;

	for (i = 0; i < SPACE; i++)
		pinned += m->page[i].pins > 0;
	if (locked_pages() != pinned)
		MODEL_FAIL(m, "VmLck is %lld, want %lld pages", locked_pages(),
			   pinned);
}

static void trial(struct model *m, int operations)
{
	static void (*const op[])(struct model *m) = {
		do_pin, do_pin, do_pin, do_unpin, do_unpin, do_unpin, do_unpin,
		do_rw, do_get, do_start_stop,
	};
	__u64 i;

	map_some(m);
	for (m->op = 0; m->op < operations; m->op++) {
		op[pick(m, ARRAY_SIZE(op))](m);
		if (!pick(m, 8))
			check_counts(m);
	}
	check_counts(m);
	STOP(&m->rig);
	for (i = 0; i < SPACE; i++)
		while (m->page[i].pins-- > 0)
			UNPIN(&m->rig, i, 1);
	EXPECT_EQ(0, locked_pages());
	EXPECT_EQ(0, mdma_get(&m->rig.dev, "stats/pinned"));
	ASSERT_EQ(0, dma_unmap(m->rig.container, at(0), SPACE << PAGE_SHIFT,
			       NULL));
	memset(m->page, 0, sizeof(m->page));
	m->tracking = false;
}

TEST_F(model, R8_random_calls_against_a_model, 60)
{
	int i;

	for (i = 0; i < 6; i++)
		trial(self, 700);
}

TEST_F(model, R8_random_calls_many_small_trials, 60)
{
	int i;

	for (i = 0; i < 40; i++)
		trial(self, 40);
}

TEST_MAIN(mdev_remove_leftovers)
