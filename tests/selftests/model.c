// SPDX-License-Identifier: GPL-2.0-only
/*
 * R2, R3, R6, R8, R11, R12 together: random sequences of calls, and a plain
 * reference that knows what each call must return and each report must hold.
 *
 * $OPS calls are made, from $SEED, in trials of TRIAL_CALLS. Each call is drawn from
 * the trial's seed and the number of the call, so any call can be left out. A trial
 * that differs is shortened as long as it still differs, and printed.
 *
 * On the kernel's own type1 a difference must be one of its known weaknesses (enum
 * weakness). These are counted; any other difference fails.
 *
 * With $ANSWERS, each answer is logged there, to be compared with those of another backend
 * to the same calls. Then no bitmap faults, and parts of mappings are asked for only where
 * nothing is dirty: otherwise the kernel's own would go on with other records than ours.
 */
#include "answers.h"
#include "fixture.h"
#include "reference.h"

#define TRIAL_CALLS	400
#define MAX_PINS	5
#define DEFAULT_OPS	6000
#define CPU_WORKERS	4
#define BITMAP_ROOM	(2 * PAGE_SIZE)

enum weakness { W1, W2, W6, W10, W11, W15, UNWOUND, WEAKNESSES };

static const char *const weakness_text[WEAKNESSES] = {
	[W1] = "W1: pages reported wrongly after a report that faulted",
	[W2] = "W2: pages lost by a report that faulted",
	[W6] = "W6: failed unmaps that had unmapped",
	[W10] = "W10: reports of a part of a mapping refused",
	[W11] = "W11: pages reported that were pinned for read only",
	[W15] = "W15: stale bits kept, or bits changed beside a mapping",
	[UNWOUND] = "pages reported that a failing pin call had unwound",
};

/* Totals of all processes of a run, in shared memory. */
struct totals {
	volatile int differ;		/* one process has found a difference: the others end */
	__u64 calls;
	__u64 seen[WEAKNESSES];
};

struct model {
	struct rig rig;
	struct reference ref;
	unsigned char *memory;		/* what is mapped, page by page */
	unsigned char *room;		/* for a bitmap; what follows faults */
	unsigned char before[BITMAP_ROOM];
	bool stock;
	bool answers;			/* are logged */
	bool say;			/* print each call */
	__u64 random;
	__u64 calls;
	__u64 seen[WEAKNESSES];
	struct totals *totals;
	unsigned char skip[TRIAL_CALLS];
	int call;
};

FIXTURE_SETUP(model)
{
	self->stock = backend_is_stock();
	self->answers = answers_wanted();
	self->memory = memory(REF_PAGES << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	self->room = memory(BITMAP_ROOM + PAGE_SIZE, PROT_READ | PROT_WRITE);
	mprotect(self->room + BITMAP_ROOM, PAGE_SIZE, PROT_NONE);
	self->totals = mmap(NULL, sizeof(*self->totals), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(-1, (long)self->totals);
	self->rig.container = -1;
}

FIXTURE_TEARDOWN(model)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* The difference that ended the trial, and where a trial returns to. */
static char difference[200];
static jmp_buf differs;

#define differ(fmt, ...) do {						\
	snprintf(difference, sizeof(difference), fmt, ##__VA_ARGS__);	\
	longjmp(differs, 1);						\
} while (0)

static void must(struct model *m, const char *what, int first, int n, int want,
		 int ret)
{
	if (m->say)
		printf("#   %3d: %s %d+%d: %s\n", m->call, what, first, n,
		       error(ret));
	m->calls++;
	answers_say("%s %d+%d %s\n", what, first, n, error(ret));
	if (want != ret)
		differ("%s %d+%d: want %s, seen %s", what, first, n,
		       error(want), error(ret));
}

static int pick(struct model *m, int n)
{
	return random_next(&m->random) % n;
}

/* Picks a run of pages, short or long, that may extend into holes. */
static void pick_run(struct model *m, int *first, int *n, int most)
{
	*n = 1 + pick(m, pick(m, 32) ? 10 : most);
	*first = pick(m, REF_PAGES - *n + 1);
}

/* Makes a run longer, so that it cuts no mapping. */
static void widen(struct model *m, int *first, int *n)
{
	const struct ref_page *page = m->ref.page;
	int last = *first + *n - 1;

	while (*first && page[*first].mapping &&
	       page[*first - 1].mapping == page[*first].mapping)
		--*first;
	while (last < REF_PAGES - 1 && page[last].mapping &&
	       page[last + 1].mapping == page[last].mapping)
		last++;
	*n = last - *first + 1;
}

/* Picks mostly one or more whole mappings, but also holes and parts. */
static void pick_range(struct model *m, int *first, int *n)
{
	pick_run(m, first, n, REF_PAGES);
	if (pick(m, 3))
		widen(m, first, n);
}

/* Whether any backend has nothing to report of a run. */
static bool is_clean(struct model *m, int first, int n)
{
	const struct ref_page *p;

	for (p = m->ref.page + first; p < m->ref.page + first + n; p++)
		if (ref_dirty(p) || p->touched || p->unwound || p->pins)
			return false;
	return true;
}

/* --- reports ------------------------------------------------------------- */

/* A buffer of which only this many bytes, from the start, can be written. */
static unsigned char *make_bitmap(struct model *m, int good)
{
	unsigned char *bitmap = m->room + BITMAP_ROOM - good;
	int i;

	for (i = 0; i < good; i++)
		bitmap[i] = pick(m, 256);
	memcpy(m->before, bitmap, good);
	return bitmap;
}

/* Bytes that can be written: the bitmap and more, or less than it for a fault. */
static int pick_good(struct model *m, int n, bool fault)
{
	int bytes = bitmap_bytes(n);

	return fault ? 8 * pick(m, bytes / 8) : bytes + 16;
}

/* Whether the range has a page whose bit can't be written. */
static bool must_fault(struct model *m, int first, int n, int good)
{
	int i;

	for (i = good * 8; i < n; i++)
		if (m->ref.page[first + i].mapping)
			return true;
	return false;
}

/* Whether there is a mapped page in the u64 of this bit. */
static bool near_mapping(struct model *m, int first, int n, int bit)
{
	int i;

	for (i = bit & ~63; i <= (bit | 63) && i < n; i++)
		if (m->ref.page[first + i].mapping)
			return true;
	return false;
}

/*
 * Whether the bit is in the first u64 of a mapping that begins within that u64. The
 * kernel's own keeps everything in that u64 of the user's buffer: what was there
 * before the call, and what earlier mappings put there. Their own bitmaps keep the
 * user's bits behind their end from one report to the next.
 */
static bool stale(struct model *m, int first, int bit)
{
	const struct ref_page *page = m->ref.page + first;
	bool kept = bitmap_bit(m->before, bit);
	int begin = bit, i;

	while (begin && page[begin - 1].mapping == page[bit].mapping)
		begin--;
	for (i = begin & ~63; i < begin; i++)
		kept |= !!page[i].mapping;
	return kept && begin % 64 && begin / 64 == bit / 64;
}

/* Explains why the kernel's own reports a page that is not dirty. */
static enum weakness explain(struct model *m, int first, int bit)
{
	struct ref_page *p = &m->ref.page[first + bit];

	if (p->touched)
		return W11;
	if (p->unwound)
		return UNWOUND;
	if (stale(m, first, bit))
		return W15;
	return WEAKNESSES;
}

static void check_bit(struct model *m, int first, int n, int bit, bool seen)
{
	struct ref_page *p = &m->ref.page[first + bit];
	bool was = bitmap_bit(m->before, bit);

	if (bit >= n || !p->mapping) {
		if (seen == was)
			return;
		if (!m->stock || !near_mapping(m, first, n, bit))
			differ("report %d+%d: bit %d is of no mapped page, and changed",
			       first, n, bit);
		m->seen[W15]++;
	} else if (seen != ref_dirty(p)) {
		enum weakness w = explain(m, first, bit);

		if (!m->stock || !seen || w == WEAKNESSES)
			differ("report %d+%d: page %d: want %d, pins %d", first,
			       n, first + bit, !seen, p->pins);
		m->seen[w]++;
	}
}

/*
 * Logs the bits of mapped pages that are set, and the others that have changed; and
 * which of these the kernel's own can be excused for, by which weakness. Not for a part
 * of a mapping, of which the kernel's own makes no report.
 */
static void log_report(struct model *m, int first, int n,
		       const unsigned char *bitmap, int good)
{
	unsigned char bits[BITMAP_ROOM] = "", excused[WEAKNESSES][BITMAP_ROOM];
	int i;

	memset(excused, 0, sizeof(excused));
	for (i = 0; i < good * 8; i++) {
		struct ref_page *p = &m->ref.page[first + i];
		bool seen = bitmap_bit(bitmap, i);
		enum weakness w = WEAKNESSES;

		if (i >= n || !p->mapping) {
			seen = seen != bitmap_bit(m->before, i);
			if (near_mapping(m, first, n, i))
				w = W15;
		} else if (!ref_dirty(p)) {
			w = explain(m, first, i);
		}
		bitmap_assign(bits, i, seen);
		if (w != WEAKNESSES)
			bitmap_assign(excused[w], i, 1);
	}
	answers_say("report");
	answers_bits("bits", bits, good * 8);
	answers_bits("W11", excused[W11], good * 8);
	answers_bits("W15", excused[W15], good * 8);
	answers_bits("unwound", excused[UNWOUND], good * 8);
	answers_say("\n");
}

static void check_report(struct model *m, int first, int n,
			 const unsigned char *bitmap, int good)
{
	int i;

	if (m->answers && !ref_cuts(&m->ref, first, n))
		log_report(m, first, n, bitmap, good);
	for (i = 0; i < good * 8; i++)
		check_bit(m, first, n, i, bitmap_bit(bitmap, i));
}

/* After a fault: bits that belong to no mapped page must be unchanged. */
static void check_rest(struct model *m, int first, int n,
		       const unsigned char *bitmap, int good)
{
	int i;

	for (i = 0; !m->stock && i < good * 8; i++)
		if (i >= n || !m->ref.page[first + i].mapping)
			check_bit(m, first, n, i, bitmap_bit(bitmap, i));
}

/* --- the kernel's own type1 after a fault ------------------------------- */

static void restart(struct model *m)
{
	STOP(&m->rig);
	ref_stop(&m->ref);
	START(&m->rig);
	ref_start(&m->ref);
}

/* Its records have changed: find out how, then begin anew. */
static void stock_get_faulted(struct model *m)
{
	unsigned char *bitmap = make_bitmap(m, bitmap_bytes(REF_PAGES));
	int i;

	ASSERT_EQ(0, dirty_get(m->rig.container, at(0),
			       (__u64)REF_PAGES << PAGE_SHIFT, bitmap));
	for (i = 0; i < REF_PAGES; i++) {
		struct ref_page *p = &m->ref.page[i];
		bool seen = bitmap_bit(bitmap, i);

		if (!p->mapping)
			continue;
		m->seen[W1] += seen && !ref_dirty(p) && !p->touched &&
			       !p->unwound;
		m->seen[W2] += !seen && ref_dirty(p);
	}
	restart(m);
}

static void unmap_all(struct model *m)
{
	ASSERT_EQ(0, dma_unmap(m->rig.container, at(0),
			       (__u64)REF_PAGES << PAGE_SHIFT, NULL));
	ref_unmap(&m->ref, 0, REF_PAGES);
}

static void stock_unmap_faulted(struct model *m, int n)
{
	__u64 left = 0;
	int i, mapped = 0;

	for (i = 0; i < REF_PAGES; i++)
		mapped += !!m->ref.page[i].mapping;
	ASSERT_EQ(0, dma_unmap(m->rig.container, at(0),
			       (__u64)REF_PAGES << PAGE_SHIFT, &left));
	if (left >> PAGE_SHIFT > (__u64)mapped ||
	    mapped - (int)(left >> PAGE_SHIFT) > n)
		differ("a failed unmap of %d pages left %lld of %d", n,
		       left >> PAGE_SHIFT, mapped);
	m->seen[W6] += left >> PAGE_SHIFT != (__u64)mapped;
	ref_unmap(&m->ref, 0, REF_PAGES);
	restart(m);
}

/* --- the calls ----------------------------------------------------------- */

static void do_map(struct model *m)
{
	int first, n;

	n = 1 + pick(m, pick(m, 2) ? 8 : REF_PAGES / 6);
	first = pick(m, REF_PAGES - n + 1);
	must(m, "map", first, n, ref_map(&m->ref, first, n),
	     dma_map(m->rig.container, m->memory + ((__u64)first << PAGE_SHIFT),
		     at(first), (__u64)n << PAGE_SHIFT, MAP_RW));
}

static void do_unmap(struct model *m)
{
	__u64 unmapped = 0;
	int first, n, pages;

	pick_range(m, &first, &n);
	pages = ref_unmap(&m->ref, first, n);
	must(m, "unmap", first, n, pages < 0 ? pages : 0,
	     dma_unmap(m->rig.container, at(first), (__u64)n << PAGE_SHIFT,
		       &unmapped));
	answers_say("size %llx\n", unmapped);
	if (pages >= 0 && unmapped >> PAGE_SHIFT != (__u64)pages)
		differ("unmap %d+%d: want %d pages, seen %lld", first, n,
		       pages, unmapped >> PAGE_SHIFT);
}

static void unmap_get(struct model *m, bool fault)
{
	int first, n, good, ret, wanted = 0;
	unsigned char *bitmap;
	__u64 unmapped;

	pick_range(m, &first, &n);
	good = pick_good(m, n, fault);
	bitmap = make_bitmap(m, good);
	ret = dma_unmap_get(m->rig.container, at(first),
			    (__u64)n << PAGE_SHIFT, bitmap, &unmapped);
	if (!m->ref.tracking || ref_cuts(&m->ref, first, n))
		wanted = -EINVAL;
	else if (must_fault(m, first, n, good) ||
		 (fault && ret == -EFAULT))
		wanted = -EFAULT;
	must(m, fault ? "unmap+get, fault," : "unmap+get", first, n, wanted, ret);
	answers_say("size %llx\n", unmapped);
	if (!ret) {
		check_report(m, first, n, bitmap, good);
		ref_unmap(&m->ref, first, n);
		return;
	}
	check_rest(m, first, n, bitmap, good);
	if (ret != -EFAULT)
		return;
	if (m->stock)
		stock_unmap_faulted(m, n);
	else
		ref_give_back(&m->ref, first, n);
}

static void do_unmap_get(struct model *m)
{
	unmap_get(m, false);
}

static void do_unmap_get_fault(struct model *m)
{
	unmap_get(m, !m->answers);
}

static void get_range(struct model *m, bool fault)
{
	int first, n, good, ret, wanted = m->ref.tracking ? 0 : -EINVAL;
	unsigned char *bitmap;

	pick_range(m, &first, &n);
	if (m->answers && !is_clean(m, first, n))
		widen(m, &first, &n);
	good = pick_good(m, n, fault);
	bitmap = make_bitmap(m, good);
	ret = dirty_get(m->rig.container, at(first), (__u64)n << PAGE_SHIFT,
			bitmap);
	if (m->stock && !wanted && ref_cuts(&m->ref, first, n)) {
		wanted = -EINVAL;
		m->seen[W10]++;
	} else if (!wanted && (must_fault(m, first, n, good) ||
			       (fault && ret == -EFAULT))) {
		wanted = -EFAULT;
	}
	must(m, fault ? "get, fault," :
	     ref_cuts(&m->ref, first, n) ? "get a part" : "get", first, n,
	     wanted, ret);
	if (!ret) {
		check_report(m, first, n, bitmap, good);
		ref_reported(&m->ref, first, n);
		return;
	}
	check_rest(m, first, n, bitmap, good);
	if (m->stock && ret == -EFAULT)
		stock_get_faulted(m);
}

static void do_get(struct model *m)
{
	get_range(m, false);
}

static void do_get_fault(struct model *m)
{
	get_range(m, !m->answers);
}

/* Also unpins pages that are not pinned, but no pages that are not mapped. */
static void do_unpin(struct model *m)
{
	int first, most, n = 0;

	pick_run(m, &first, &most, 512);
	while (n < most && m->ref.page[first + n].mapping)
		n++;
	if (!n)
		return;
	ref_unpin(&m->ref, first, n);
	must(m, "unpin", first, n, 0, mdma_unpin(&m->rig.dev, at(first), n));
}

static void do_pin(struct model *m)
{
	bool write = pick(m, 3);
	int first, n, i;

	pick_run(m, &first, &n, 512);
	for (i = first; i < first + n; i++)
		if (m->ref.page[i].pins >= MAX_PINS)
			return;
	must(m, write ? "pin for write" : "pin for read", first, n,
	     ref_pin(&m->ref, first, n, write),
	     mdma_pin(&m->rig.dev, at(first), n, write ? 'w' : 'r'));
}

static void do_rw(struct model *m)
{
	int first = pick(m, REF_PAGES - 1), offset = pick(m, PAGE_SIZE);
	int len = 1 + pick(m, PAGE_SIZE - 1);
	int last = first + (offset + len - 1) / PAGE_SIZE;
	bool write = pick(m, 2);

	must(m, write ? "write" : "read", first, last - first + 1,
	     ref_rw(&m->ref, first, last, write),
	     write ? mdma_rw_write(&m->rig.dev, at(first) + offset, len, 1) :
		     mdma_rw_read(&m->rig.dev, at(first) + offset, len));
}

static void do_start_stop(struct model *m)
{
	if (pick(m, 4)) {
		ref_start(&m->ref);
		must(m, "start", 0, 0, 0, dirty_start(m->rig.container));
	} else {
		ref_stop(&m->ref);
		must(m, "stop", 0, 0, 0, dirty_stop(m->rig.container));
	}
}

static void check_locked(struct model *m)
{
	long long want = ref_locked(&m->ref);
	long long seen = locked_pages_soon(want);

	if (seen != want)
		differ("%lld pages are charged, want %lld", seen, want);
	answers_say("locked %lld\n", want);
}

/* How often each call is drawn, out of 64. */
static const struct {
	int share;
	void (*call)(struct model *m);
} mix[] = {
	{ 7, do_map }, { 2, do_unmap }, { 2, do_unmap_get },
	{ 1, do_unmap_get_fault }, { 18, do_pin }, { 18, do_unpin },
	{ 7, do_rw }, { 5, do_get }, { 2, do_get_fault }, { 2, do_start_stop },
};

static void draw(struct model *m)
{
	int n = pick(m, 64), i;

	for (i = 0; n >= mix[i].share; i++)
		n -= mix[i].share;
	mix[i].call(m);
}

/* --- trials -------------------------------------------------------------- */

/* Returns whether the trial differs. If not, nothing is left mapped or tracked. */
static bool trial(struct model *m, __u64 seed)
{
	memset(&m->ref, 0, sizeof(m->ref));
	if (setjmp(differs))
		return true;
	answers_say("seed %llx\n", seed);
	if (m->answers)
		answers_info(m->rig.container);
	for (m->call = 0; m->call < TRIAL_CALLS; m->call++) {
		if (m->skip[m->call])
			continue;
		m->random = (seed + m->call + 1) * 0x9e3779b97f4a7c15ULL | 1;
		random_next(&m->random);
		draw(m);
		if (!(m->call % 50))
			check_locked(m);
	}
	check_locked(m);
	unmap_all(m);
	check_locked(m);
	STOP(&m->rig);
	return false;
}

/* The same in a new container, in which nothing has gone wrong yet. */
static bool fresh_trial(struct model *m, __u64 seed)
{
	rig_close(&m->rig);
	ASSERT_STR("0", error(rig_open(&m->rig, "mdma-1", 0)));
	return trial(m, seed);
}

/* Leaves out calls as long as the trial still differs; prints the rest. */
static void shrink(struct model *m, __u64 seed)
{
	int some, first;

	memset(m->skip + m->call + 1, 1, TRIAL_CALLS - m->call - 1);
	if (!fresh_trial(m, seed))
		printf("# not by itself: what the trials before left matters\n");
	for (some = TRIAL_CALLS / 2; some; some /= 2)
		for (first = 0; first < TRIAL_CALLS; first += some) {
			unsigned char before[TRIAL_CALLS];
			int n = TRIAL_CALLS - first;

			memcpy(before, m->skip, sizeof(before));
			memset(m->skip + first, 1, n < some ? n : some);
			if (!memcmp(before, m->skip, sizeof(before)))
				continue;
			if (!fresh_trial(m, seed))
				memcpy(m->skip, before, sizeof(before));
		}
	m->say = true;
	printf("# the shortest that differs:\n");
	fresh_trial(m, seed);
	FAIL("%s", difference);
}

static void add(__u64 *total, __u64 n)
{
	__atomic_fetch_add(total, n, __ATOMIC_RELAXED);
}

static void run(struct model *m, __u64 seed, __u64 ops)
{
	struct totals *t = m->totals;
	int i;

	ASSERT_STR("0", error(rig_open(&m->rig, "mdma-1", 0)));
	for (; m->calls < ops && !t->differ; seed += TRIAL_CALLS)
		if (trial(m, seed) &&
		    !__atomic_exchange_n(&t->differ, 1, __ATOMIC_RELAXED)) {
			printf("# SEED=0x%llx OPS=1: %s\n", seed, difference);
			shrink(m, seed);
		}
	add(&t->calls, m->calls);
	for (i = 0; i < WEAKNESSES; i++)
		add(&t->seen[i], m->seen[i]);
}

static void print_totals(const struct totals *t, double ms)
{
	int i;

	printf("# %llu calls in %.0f ms\n", t->calls, ms);
	printf("# figures: operations=%llu\n", t->calls);
	for (i = 0; i < WEAKNESSES; i++)
		if (t->seen[i])
			printf("# %llu %s\n", t->seen[i], weakness_text[i]);
}

/*
 * Several processes for each CPU, each with a container and seeds of its own, because
 * a pin of memory that was just unmapped sleeps for 20 ms.
 */
TEST_F(model, R8_random_calls_against_a_model, 120)
{
	long workers = CPU_WORKERS * sysconf(_SC_NPROCESSORS_ONLN), i;
	const char *text = getenv("OPS");
	__u64 ops = text && *text ? strtoull(text, NULL, 0) : DEFAULT_OPS;
	__u64 seed = random_seed();
	double begin = now_ms();
	int status;

	for (i = 0; i < workers; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			if (self->answers)
				ASSERT_EQ(0, answers_open(i));
			run(self, seed + ((__u64)i << 40),
			    (ops + workers - 1) / workers);
			ASSERT_EQ(0, answers_close());
			return;
		}
	}
	for (i = 0; i < workers; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
	print_totals(self->totals, now_ms() - begin);
	EXPECT_LE(ops, self->totals->calls);
}

TEST_MAIN(mdev_remove_leftovers)
