/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_ERRNO_H
#define SHIM_STREAM_LINUX_ERRNO_H

#include_next <linux/errno.h>

#endif
