/* SPDX-License-Identifier: GPL-2.0-only */
/* The ledger: which pages the device wrote. */
#ifndef MDMA_LEDGER_H
#define MDMA_LEDGER_H

#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/xarray.h>

/**
 * struct mdma_ledger - which pages the device wrote
 * @gate: of the device; nothing is being written while it is held for writing
 * @lock: guards @copy and all fields below it, but @bytes_max
 * @copy_lock: held while a copy is made; taken before @gate, and that before @lock
 * @copy: number of the copy that is being made, or was last
 * @copied: leaves before this index are in it; ULONG_MAX if none is being made
 * @leaves: of MDMA_LEDGER_LEAF records
 * @records: pages in the ledger
 * @bytes: of all leaves
 * @bytes_max: no leaf is added beyond
 * @refused: writes that did not happen for that
 *
 * @records, @bytes and @refused are read without the lock as well, by mdma_ledger_copy()
 * and sysfs. So they are written by WRITE_ONCE().
 */
struct mdma_ledger {
	struct rw_semaphore *gate;
	struct mutex lock;	/* copy and all below, but bytes_max */
	struct mutex copy_lock;	/* a copy */
	u64 copy;
	unsigned long copied;
	struct xarray leaves;
	u64 records;
	u64 bytes;
	u64 bytes_max;
	u64 refused;
};

/* The largest value of @bytes_max: a copy of that has less than 2 GiB. */
#define MDMA_LEDGER_BYTES_MAX	SZ_1G

int mdma_ledger_module_init(void);
void mdma_ledger_module_exit(void);
void mdma_ledger_init(struct mdma_ledger *ledger, struct rw_semaphore *gate);
int mdma_ledger_reserve(struct mdma_ledger *ledger, u64 iova, u32 npages);
void mdma_ledger_record(struct mdma_ledger *ledger, u64 iova, u32 npages,
			u64 seq, u32 channel);
void mdma_ledger_clear(struct mdma_ledger *ledger);
u64 mdma_ledger_records_max(const struct mdma_ledger *ledger);
void *mdma_ledger_copy(struct mdma_ledger *ledger, size_t head, size_t *size);

#endif /* MDMA_LEDGER_H */
