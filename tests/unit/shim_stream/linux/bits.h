/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_BITS_H
#define SHIM_STREAM_LINUX_BITS_H

#define BIT_ULL(bit)	(1ULL << (bit))

#endif
