// SPDX-License-Identifier: GPL-2.0-only
/*
 * One defect for each tool of the debug kernel, to check that its report is
 * noticed. Loaded with defect=NAME, the module makes that defect, and its load
 * fails.
 *
 * For the debug kernel only: on any other kernel the defects do real harm.
 */
#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *defect = "";
module_param(defect, charp, 0);
MODULE_PARM_DESC(defect, "which: freed, bounds, shift, order, atomic, leak");

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spinning);

/* KASAN: a read of memory that was freed. */
static void use_freed(void)
{
	char *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	READ_ONCE(p[8]);
}

/* KASAN: a write past the end of an object. */
static void write_behind(void)
{
	char *p = kzalloc(100, GFP_KERNEL);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[100], 1);
	kfree(p);
}

/* UBSAN: a shift by more bits than the type has. */
static void shift_too_far(void)
{
	unsigned int by = 40, one = 1;

	OPTIMIZER_HIDE_VAR(by);
	OPTIMIZER_HIDE_VAR(one);
	pr_info("%u\n", one << by);
}

/* lockdep: two lock orders. They never deadlock, because one task takes both. */
static void lock_both_ways(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

/* DEBUG_ATOMIC_SLEEP: mutex_lock() might sleep, even if it does not. */
static void sleep_in_atomic(void)
{
	spin_lock(&spinning);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&spinning);
}

/* kmemleak: no pointer to the memory is kept. */
static void leak(void)
{
	int i;

	for (i = 0; i < 16; i++) {
		void *p = kmalloc(200, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

static const struct {
	const char *name;
	void (*make)(void);
} defects[] = {
	{ "freed", use_freed }, { "bounds", write_behind },
	{ "shift", shift_too_far }, { "order", lock_both_ways },
	{ "atomic", sleep_in_atomic }, { "leak", leak },
};

static int __init mdma_reports_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(defects); i++) {
		if (strcmp(defects[i].name, defect))
			continue;
		defects[i].make();
		return -ECANCELED;
	}
	return -EINVAL;
}
module_init(mdma_reports_init);

MODULE_DESCRIPTION("Deliberate defects, for the debug kernel's tools");
MODULE_LICENSE("GPL");
