// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz.h"

__u64 input_number(struct input *in)
{
	__u64 value = 0;
	int i;

	switch (input_below(in, 8)) {
	case 0:
		return (1ULL << input_below(in, 64)) - input_below(in, 2);
	case 1:
		return -(__u64)input_byte(in);
	case 2:
		for (i = 0; i < 8; i++)
			value = value << 8 | input_byte(in);
		return value;
	default:
		return input_byte(in);
	}
}

__u64 input_iova(struct input *in)
{
	switch (input_below(in, 16)) {
	case 11:
	case 12:
		return at(READ_ONLY);
	case 13:
		return at(input_below(in, PAGES)) + input_byte(in);
	case 14:
		return at(PAGES) - input_byte(in);
	case 15:
		return input_number(in);
	default:
		return at(input_below(in, PAGES));
	}
}

__u64 input_pages(struct input *in)
{
	switch (input_below(in, 8)) {
	case 5:
		return PAGES;
	case 6:
		return input_below(in, 1024);
	case 7:
		return input_number(in);
	default:
		return 1 + input_below(in, 4);
	}
}
