// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "rig.h"
#include "stall.h"

int stall_open(struct stall *s, __u64 size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;

	s->size = size;
	s->mem = memory(size, PROT_READ | PROT_WRITE);
	madvise(s->mem, size, MADV_NOHUGEPAGE);
	s->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || ioctl(s->fd, UFFDIO_API, &api))
		return -errno;
	reg = (struct uffdio_register) {
		.range = { .start = (unsigned long)s->mem, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	return ioctl(s->fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

int stall_wait(struct stall *s, int ms)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&p, 1, scaled_ms(ms)) != 1 || read(s->fd, &msg, sizeof(msg)) < 0)
		return -ETIMEDOUT;
	return (msg.arg.pagefault.address - (unsigned long)s->mem) >>
	       PAGE_SHIFT;
}

void stall_release_page(struct stall *s, int page)
{
	struct uffdio_zeropage zero = {
		.range = {
			.start = (unsigned long)s->mem +
				 ((unsigned long)page << PAGE_SHIFT),
			.len = PAGE_SIZE,
		},
	};

	if (ioctl(s->fd, UFFDIO_ZEROPAGE, &zero) && errno != EEXIST)
		perror("# UFFDIO_ZEROPAGE");
}

void stall_release(struct stall *s)
{
	struct uffdio_range range = {
		.start = (unsigned long)s->mem, .len = s->size,
	};
	__u64 page;

	for (page = 0; page < s->size >> PAGE_SHIFT; page++)
		stall_release_page(s, page);
	ioctl(s->fd, UFFDIO_UNREGISTER, &range);
}

void stall_break(struct stall *s)
{
	munmap(s->mem, s->size);
	close(s->fd);
}
