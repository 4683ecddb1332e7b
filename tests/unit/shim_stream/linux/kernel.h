/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_KERNEL_H
#define SHIM_STREAM_LINUX_KERNEL_H

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
