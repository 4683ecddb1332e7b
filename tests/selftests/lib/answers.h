/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A log of what a backend answered to each call, to be compared with that of another
 * backend, line by line (scripts/lab.d/judge/answers.py).
 */
#ifndef SELFTESTS_ANSWERS_H
#define SELFTESTS_ANSWERS_H

#include <stdbool.h>

/* Whether $ANSWERS says where to. */
bool answers_wanted(void);

/* The log of one process: $ANSWERS.NUMBER. Returns 0 or -errno. */
int answers_open(int number);

/* All of it is in the file then. Returns 0 or -errno. */
int answers_close(void);

/* Nothing happens without a log. */
void answers_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* " NAME 0,3-5,9": the bits that are set, however many; nothing if there are none. */
void answers_bits(const char *name, const void *bitmap, int nbits);

/* What VFIO_IOMMU_GET_INFO says of a container. */
void answers_info(int container);

#endif
