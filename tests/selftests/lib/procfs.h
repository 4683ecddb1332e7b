/* SPDX-License-Identifier: GPL-2.0-only */
/* What /proc and /sys say: one number or one word a file, memory, locks. */
#ifndef SELFTESTS_PROCFS_H
#define SELFTESTS_PROCFS_H

/* Writes a string by one write(). Returns 0 or -errno. */
int file_write(const char *path, const char *text);

/* Reads at most size - 1 bytes, cuts the newline. Returns 0 or -errno. */
int file_read(const char *path, char *text, int size);

/* The same, with all its lines. Returns its length or -errno. */
int file_read_all(const char *path, char *text, int size);

/* The number in a file, or -errno. */
long long file_number(const char *path);

/* "Key:   123 kB" of a file in /proc, in kB; -errno if it is not there. */
long long proc_kb(const char *path, const char *key);

/* Pages of the system that are pinned (FOLL_PIN), each as often as it is. */
long long pinned_pages(void);

/* mm->locked_vm of this process in pages. */
long long locked_pages(void);

/*
 * Limits locked_vm to so many pages, and gives up the right to exceed limits.
 * Returns 0 or -errno.
 */
int limit_locked_pages(int pages);

/* Memory of the system that is neither free nor cache, in kB. */
long long used_kb(void);

/* Users of a module; -ENOENT: not loaded. */
long long module_refcount(const char *name);

/* True if the loaded type1 is the kernel's own, not ours. */
int backend_is_stock(void);

/*
 * True if it is the kernel's own, and is not to be killed: $DEADLY is not set. For
 * tests of what it does not survive.
 */
int stock_is_spared(void);

/* Milliseconds of the monotonic clock. */
double now_ms(void);

#endif
