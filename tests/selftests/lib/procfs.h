/* SPDX-License-Identifier: GPL-2.0-only */
/* Contents of /proc and /sys: files with one number or one word, memory, locks. */
#ifndef SELFTESTS_PROCFS_H
#define SELFTESTS_PROCFS_H

/* Writes a string by one write(). Returns 0 or -errno. */
int file_write(const char *path, const char *text);

/* Reads at most size - 1 bytes, cuts the newline. Returns 0 or -errno. */
int file_read(const char *path, char *text, int size);

/* The same, with all lines of the file. Returns the length or -errno. */
int file_read_all(const char *path, char *text, int size);

/* The number in a file, or -errno. */
long long file_number(const char *path);

/* "Key:   123 kB" of a file in /proc, in kB; -errno if the key is missing. */
long long proc_kb(const char *path, const char *key);

/* Number of pins (FOLL_PIN) in the system. */
long long pinned_pages(void);

/* mm->locked_vm of this process in pages. */
long long locked_pages(void);

/*
 * Limits locked_vm to this many pages, and drops the capability to exceed limits.
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
 * True if the type1 is the kernel's own and $DEADLY is not set. For tests that the
 * kernel's own does not survive.
 */
int stock_is_spared(void);

/*
 * How often a thread has gone to sleep, if it sleeps now in one of these states ("D",
 * "DS"); otherwise -1.
 */
long long thread_sleeps(int tid, const char *states);

/* After this many looks, 1 ms apart, that see no new sleep, a thread sleeps for good. */
#define SETTLED		50

/* Milliseconds of the monotonic clock. */
double now_ms(void);

#endif
