/* SPDX-License-Identifier: GPL-2.0-only */
/* User memory that faults where a test wants it. */
#ifndef _SHIM_LINUX_UACCESS_H
#define _SHIM_LINUX_UACCESS_H

#include <string.h>
#include <linux/types.h>

/* The first address that can't be read, and the first that can't be written. */
extern const char *shim_read_end;
extern const char *shim_write_end;

unsigned long copy_to_user(void *to, const void *from, unsigned long n);
unsigned long copy_from_user(void *to, const void *from, unsigned long n);
#define put_user(x, ptr) ({						\
	__typeof__(*(ptr)) shim_value = (x);				\
	copy_to_user((ptr), &shim_value, sizeof(shim_value)) ? -14 : 0;	\
})

#define get_user(x, ptr)						\
	(copy_from_user(&(x), (ptr), sizeof(*(ptr))) ? -14 : 0)

unsigned long clear_user(void *to, unsigned long n);

#endif
