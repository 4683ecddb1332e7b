/* SPDX-License-Identifier: GPL-2.0-only */
/* What a call could leave behind, beside memory, which kmemleak finds. */
#ifndef SELFTESTS_LEFT_H
#define SELFTESTS_LEFT_H

#include <stdbool.h>

/**
 * struct left - what there is at one moment
 * @pins: in the system
 * @locked: pages of this process
 * @threads: of this process, and with them those of its devices
 * @files: open in this process
 * @mdma: users of that module
 * @type1: likewise
 */
struct left {
	long long pins;
	long long locked;
	long long threads;
	long long files;
	long long mdma;
	long long type1;
};

void left_look(struct left *l);

/*
 * Waits until there is nothing else than before, for some goes later: threads, the counting of
 * locked pages. With @fewer, there may be less pins. Returns whether it is so; *now has the last
 * look.
 */
bool left_is(const struct left *before, bool fewer, struct left *now);

#endif
