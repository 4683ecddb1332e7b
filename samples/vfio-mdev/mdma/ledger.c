// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger: which pages the device wrote, the ground truth for checks of
 * dirty reports.
 *
 * Records are kept in leaves of MDMA_LEDGER_LEAF pages, in an xarray by page
 * number. A writer reserves the leaves before it writes and so cannot fail to
 * record what it wrote. A ledger that may not grow refuses; then the write
 * does not happen, and is counted as refused.
 *
 * A copy shows one moment. It can be 1.7 GB, so writers do not wait for it:
 * it begins while nothing is being written, and then takes the lock for a few
 * leaves at a time. A writer that reserves a leaf that is still to be copied
 * keeps the old contents for the copy.
 *
 * Takes mdma_ledger.lock; a copy takes the gate before it.
 */
#include <linux/math64.h>
#include <linux/mdma.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "ledger.h"

#define MDMA_LEDGER_LEAF	64
#define COPY_LEAVES		4	/* under the lock */

/*
 * A page was written if its seq is not 0. @old: what there was when copy number
 * @copy began, if the leaf is not in it yet; NULL: there was no leaf.
 */
struct mdma_ledger_leaf {
	u64 seq[MDMA_LEDGER_LEAF];
	u64 writes[MDMA_LEDGER_LEAF];
	u32 channel[MDMA_LEDGER_LEAF];
	u64 copy;
	struct mdma_ledger_leaf *old;
};

static struct kmem_cache *leaf_cache;

static ulong ledger_bytes = 256UL << 20;
module_param(ledger_bytes, ulong, 0444);
MODULE_PARM_DESC(ledger_bytes,
		 "Memory that the ledger of a new device may take");

/**
 * mdma_ledger_module_init() - once, before any ledger
 *
 * Return: 0 or -ENOMEM.
 */
int mdma_ledger_module_init(void)
{
	leaf_cache = KMEM_CACHE(mdma_ledger_leaf, SLAB_ACCOUNT);
	return leaf_cache ? 0 : -ENOMEM;
}

/**
 * mdma_ledger_module_exit() - once, after the last ledger was cleared
 */
void mdma_ledger_module_exit(void)
{
	kmem_cache_destroy(leaf_cache);
}

/**
 * mdma_ledger_init() - an empty ledger
 * @ledger: zeroed
 * @gate: held for reading while pages are written
 */
void mdma_ledger_init(struct mdma_ledger *ledger, struct rw_semaphore *gate)
{
	ledger->gate = gate;
	mutex_init(&ledger->lock);
	mutex_init(&ledger->copy_lock);
	ledger->copied = ULONG_MAX;
	xa_init_flags(&ledger->leaves, XA_FLAGS_ACCOUNT);
	ledger->bytes_max = min_t(u64, ledger_bytes, MDMA_LEDGER_BYTES_MAX);
}

/* Before a leaf changes: 0 or -ENOMEM. */
static int keep_old(struct mdma_ledger *ledger, unsigned long index,
		    struct mdma_ledger_leaf *leaf)
{
	struct mdma_ledger_leaf *old;

	if (index < ledger->copied || leaf->copy == ledger->copy)
		return 0;
	old = kmem_cache_alloc(leaf_cache, GFP_KERNEL_ACCOUNT);
	if (!old)
		return -ENOMEM;
	*old = *leaf;
	leaf->old = old;
	leaf->copy = ledger->copy;
	return 0;
}

static int reserve_leaf(struct mdma_ledger *ledger, unsigned long index)
{
	struct mdma_ledger_leaf *leaf;
	int ret;

	leaf = xa_load(&ledger->leaves, index);
	if (leaf)
		return keep_old(ledger, index, leaf);
	if (ledger->bytes + sizeof(*leaf) > READ_ONCE(ledger->bytes_max))
		return -ENOSPC;
	leaf = kmem_cache_zalloc(leaf_cache, GFP_KERNEL_ACCOUNT);
	if (!leaf)
		return -ENOMEM;
	leaf->copy = ledger->copy;
	ret = xa_err(xa_store(&ledger->leaves, index, leaf,
			      GFP_KERNEL_ACCOUNT));
	if (ret)
		kmem_cache_free(leaf_cache, leaf);
	else
		WRITE_ONCE(ledger->bytes, ledger->bytes + sizeof(*leaf));
	return ret;
}

/**
 * mdma_ledger_reserve() - make room for a write that is about to happen
 * @ledger: is not cleared until the write is recorded
 * @iova: page aligned
 * @npages: does not wrap around
 *
 * Return: 0, -ENOMEM, or -ENOSPC if the ledger may not grow; that is counted.
 */
int mdma_ledger_reserve(struct mdma_ledger *ledger, u64 iova, u32 npages)
{
	unsigned long first = iova >> MDMA_PAGE_SHIFT;
	unsigned long index = first / MDMA_LEDGER_LEAF;
	unsigned long last = (first + npages - 1) / MDMA_LEDGER_LEAF;
	int ret = 0;

	mutex_lock(&ledger->lock);
	for (; index <= last && !ret; index++)
		ret = reserve_leaf(ledger, index);
	if (ret == -ENOSPC)
		WRITE_ONCE(ledger->refused, ledger->refused + 1);
	mutex_unlock(&ledger->lock);
	return ret;
}

/* Record writes of pages of a leaf. Return: how many were not in it. */
static u32 leaf_record(struct mdma_ledger_leaf *leaf, u32 slot, u32 npages,
		       u64 seq, u32 channel)
{
	u32 end = slot + npages, new = 0;

	for (; slot < end; slot++, seq++) {
		u64 old = leaf->seq[slot];

		leaf->writes[slot]++;
		if (seq <= old)
			continue;
		new += !old;
		leaf->seq[slot] = seq;
		leaf->channel[slot] = channel;
	}
	return new;
}

/**
 * mdma_ledger_record() - pages were written
 * @ledger: with room for them, see mdma_ledger_reserve()
 * @iova: of the first page
 * @npages: contiguous
 * @seq: of the first page; page i has @seq + i
 * @channel: that wrote, or MDMA_CHANNEL_NONE
 *
 * Two channels may write one page at the same time: the higher number stays.
 */
void mdma_ledger_record(struct mdma_ledger *ledger, u64 iova, u32 npages,
			u64 seq, u32 channel)
{
	unsigned long page = iova >> MDMA_PAGE_SHIFT;
	struct mdma_ledger_leaf *leaf;
	unsigned int slot;
	u32 here, new;

	mutex_lock(&ledger->lock);
	for (; npages; npages -= here, page += here, seq += here) {
		leaf = xa_load(&ledger->leaves, page / MDMA_LEDGER_LEAF);
		slot = page % MDMA_LEDGER_LEAF;
		here = min_t(u32, npages, MDMA_LEDGER_LEAF - slot);
		new = leaf_record(leaf, slot, here, seq, channel);
		WRITE_ONCE(ledger->records, ledger->records + new);
	}
	mutex_unlock(&ledger->lock);
}

static void free_leaf(struct mdma_ledger_leaf *leaf)
{
	if (leaf->old)
		kmem_cache_free(leaf_cache, leaf->old);
	kmem_cache_free(leaf_cache, leaf);
}

/**
 * mdma_ledger_clear() - forget everything
 * @ledger: no write is under way
 */
void mdma_ledger_clear(struct mdma_ledger *ledger)
{
	struct mdma_ledger_leaf *leaf;
	unsigned long index;

	mutex_lock(&ledger->lock);
	xa_for_each(&ledger->leaves, index, leaf)
		free_leaf(leaf);
	xa_destroy(&ledger->leaves);
	/* A copy that is being made begins anew */
	ledger->copy++;
	ledger->copied = ULONG_MAX;
	WRITE_ONCE(ledger->records, 0);
	WRITE_ONCE(ledger->bytes, 0);
	WRITE_ONCE(ledger->refused, 0);
	mutex_unlock(&ledger->lock);
}

static size_t copy_leaf(const struct mdma_ledger_leaf *leaf,
			unsigned long index, struct mdma_ledger_record *record)
{
	size_t n = 0;
	u64 page;
	u32 i;

	for (i = 0; i < MDMA_LEDGER_LEAF; i++) {
		if (!leaf->seq[i])
			continue;
		page = (u64)index * MDMA_LEDGER_LEAF + i;
		record[n++] = (struct mdma_ledger_record) {
			.iova = cpu_to_le64(page << MDMA_PAGE_SHIFT),
			.seq = cpu_to_le64(leaf->seq[i]),
			.writes = cpu_to_le64(leaf->writes[i]),
			.channel = cpu_to_le32(leaf->channel[i]),
		};
	}
	return n;
}

/**
 * mdma_ledger_records_max() - how many pages there can be in the ledger
 * @ledger: any
 *
 * Return: records.
 */
u64 mdma_ledger_records_max(const struct mdma_ledger *ledger)
{
	u64 bytes = max(READ_ONCE(ledger->bytes), READ_ONCE(ledger->bytes_max));

	return div_u64(bytes, sizeof(struct mdma_ledger_leaf)) *
	       MDMA_LEDGER_LEAF;
}

/* Begins a copy when nothing is written: 0, -EAGAIN if @room is too small, -EINTR. */
static int begin_copy(struct mdma_ledger *ledger, u64 room, u64 *copy)
{
	int ret;

	ret = down_write_killable(ledger->gate);
	if (ret)
		return ret;
	mutex_lock(&ledger->lock);
	if (ledger->records > room) {
		ret = -EAGAIN;
	} else {
		*copy = ++ledger->copy;
		ledger->copied = 0;
	}
	mutex_unlock(&ledger->lock);
	up_write(ledger->gate);
	return ret;
}

/* Some leaves more: whether there may be others. */
static bool copy_leaves(struct mdma_ledger *ledger,
			struct mdma_ledger_record *record, size_t *n)
{
	struct mdma_ledger_leaf *leaf, *from;
	unsigned long index = ledger->copied;
	u32 i;

	for (i = 0; i < COPY_LEAVES; i++) {
		leaf = xa_find(&ledger->leaves, &index, ULONG_MAX, XA_PRESENT);
		if (!leaf) {
			ledger->copied = ULONG_MAX;
			return false;
		}
		from = leaf->copy == ledger->copy ? leaf->old : leaf;
		if (from)
			*n += copy_leaf(from, index, &record[*n]);
		if (leaf->old)
			kmem_cache_free(leaf_cache, leaf->old);
		leaf->old = NULL;
		ledger->copied = ++index;
	}
	return true;
}

/* All leaves as they were when a copy began: -EAGAIN if it was cleared. */
static int copy_all(struct mdma_ledger *ledger, u64 copy,
		    struct mdma_ledger_record *record, size_t *n)
{
	bool more = true;
	int ret = 0;

	for (*n = 0; more && !ret; cond_resched()) {
		mutex_lock(&ledger->lock);
		if (ledger->copy != copy)
			ret = -EAGAIN;
		else
			more = copy_leaves(ledger, record, n);
		mutex_unlock(&ledger->lock);
	}
	return ret;
}

/**
 * mdma_ledger_copy() - the ledger at one moment
 * @ledger: any, gate not held
 * @head: bytes to leave free before the first record, a multiple of 8
 * @size: bytes of the copy, with @head
 *
 * Return: records in ascending order of IOVA, to be freed with kvfree(), or
 * an ERR_PTR(): -ENOMEM, or -EINTR if the caller is killed.
 */
void *mdma_ledger_copy(struct mdma_ledger *ledger, size_t head, size_t *size)
{
	const size_t record = sizeof(struct mdma_ledger_record);
	void *data = NULL;
	size_t n = 0;
	u64 room, copy;
	int ret;

	ret = mutex_lock_killable(&ledger->copy_lock);
	if (ret)
		return ERR_PTR(ret);
	do {
		kvfree(data);
		/* With some more for what is written until the copy begins */
		room = READ_ONCE(ledger->records);
		room += room / 8 + MDMA_LEDGER_LEAF;
		data = kvmalloc(head + room * record,
				GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (!data) {
			ret = -ENOMEM;
			break;
		}
		ret = begin_copy(ledger, room, &copy);
		if (!ret)
			ret = copy_all(ledger, copy, data + head, &n);
	} while (ret == -EAGAIN);
	mutex_unlock(&ledger->copy_lock);
	*size = head + n * record;
	if (!ret)
		return data;
	kvfree(data);
	return ERR_PTR(ret);
}
