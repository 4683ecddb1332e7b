// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "wait.h"

#define PATIENCE_MS	10000

int scaled_ms(int ms)
{
	const char *scale = getenv("TIMEOUT_SCALE");

	return ms * (scale && atoi(scale) > 0 ? atoi(scale) : 1);
}

int patience_ms(void)
{
	return scaled_ms(PATIENCE_MS);
}

long long locked_pages_soon(long long want)
{
	long long seen;

	WAIT_FOR((seen = locked_pages()) == want);
	return seen;
}
