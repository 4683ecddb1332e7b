/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_LINUX_COMPILER_H
#define _SHIM_LINUX_COMPILER_H

#define __always_inline		inline __attribute__((always_inline))
#define __maybe_unused		__attribute__((unused))
#define WRITE_ONCE(x, v)	((void)(*(volatile __typeof__(x) *)&(x) = (v)))
#define READ_ONCE(x)		(*(volatile __typeof__(x) *)&(x))

#endif
