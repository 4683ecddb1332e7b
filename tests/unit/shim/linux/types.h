/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel types for user space: just what the units under test use. */
#ifndef _SHIM_LINUX_TYPES_H
#define _SHIM_LINUX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <asm/types.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef unsigned int gfp_t;

#define __user
#define __aligned_u64		__u64 __attribute__((aligned(8)))

/* Newer kernels' UAPI headers say so of their arrays. */
#ifndef __counted_by
#define __counted_by(member)
#endif

#endif
