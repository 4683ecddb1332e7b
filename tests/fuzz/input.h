/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bytes of libFuzzer as choices and numbers. When they have ended, every choice
 * is the first one.
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

struct input {
	const unsigned char *next;
	const unsigned char *end;
};

static inline bool input_empty(const struct input *in)
{
	return in->next == in->end;
}

static inline unsigned int input_byte(struct input *in)
{
	return input_empty(in) ? 0 : *in->next++;
}

/* 0 to @n - 1. */
static inline unsigned int input_below(struct input *in, unsigned int n)
{
	unsigned int value = input_byte(in);

	if (n > 256)
		value |= input_byte(in) << 8;
	return value % n;
}

/* True in one of @n cases. */
static inline bool input_one_in(struct input *in, unsigned int n)
{
	return input_below(in, n) == n - 1;
}

/* Any number, most often a small one, or one close to a power of two. */
__u64 input_number(struct input *in);

/* An IOVA: mostly of a page of the rig, or close to one. */
__u64 input_iova(struct input *in);

/* Pages: mostly as many as the rig has, or fewer. */
__u64 input_pages(struct input *in);

#endif
