// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "rig.h"
#include "stall.h"

/* The kernel has this much memory in huge pages from now on. */
static int set_huge_pages(__u64 size)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (!file)
		return -errno;
	fprintf(file, "%llu", size / STALL_HUGE_SIZE);
	return fclose(file) ? -errno : 0;
}

static void *huge_memory(__u64 size)
{
	void *mem;

	if (set_huge_pages(size))
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	return mem == MAP_FAILED ? NULL : mem;
}

static void *stall_memory(__u64 size, enum stall_kind kind)
{
	void *mem;
	int fd;

	if (kind == STALL_HUGE)
		return huge_memory(size);
	if (kind != STALL_SHMEM) {
		mem = memory(size, PROT_READ | PROT_WRITE);
		madvise(mem, size, MADV_NOHUGEPAGE);
		if (kind == STALL_WRITE)
			memset(mem, 0, size);
		return mem;
	}
	fd = memfd_create("stall", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, size))
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

static int stall_protect(struct stall *s, __u64 offset, __u64 len, __u64 mode)
{
	struct uffdio_writeprotect wp = {
		.range = {
			.start = (unsigned long)s->mem + offset,
			.len = len,
		},
		.mode = mode,
	};

	return ioctl(s->fd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

int stall_open_kind(struct stall *s, __u64 size, enum stall_kind kind)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;
	bool write = kind == STALL_WRITE;

	s->size = size;
	s->kind = kind;
	s->mem = stall_memory(size, kind);
	if (!s->mem)
		return -errno;
	s->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || ioctl(s->fd, UFFDIO_API, &api))
		return -errno;
	reg = (struct uffdio_register) {
		.range = { .start = (unsigned long)s->mem, .len = size },
		.mode = write ? UFFDIO_REGISTER_MODE_WP :
				UFFDIO_REGISTER_MODE_MISSING,
	};
	if (ioctl(s->fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return write ? stall_protect(s, 0, size, UFFDIO_WRITEPROTECT_MODE_WP) :
		       0;
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

/* UFFDIO_ZEROPAGE has no huge pages. */
static void release_huge(struct stall *s)
{
	void *zeroes = memory(s->size, PROT_READ);
	struct uffdio_copy copy = {
		.dst = (unsigned long)s->mem,
		.src = (unsigned long)zeroes,
		.len = s->size,
	};

	if (ioctl(s->fd, UFFDIO_COPY, &copy))
		perror("# UFFDIO_COPY");
	munmap(zeroes, s->size);
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

	if (s->kind == STALL_WRITE) {
		stall_protect(s, (__u64)page << PAGE_SHIFT, PAGE_SIZE, 0);
		return;
	}
	if (ioctl(s->fd, UFFDIO_ZEROPAGE, &zero) && errno != EEXIST)
		perror("# UFFDIO_ZEROPAGE");
}

void stall_release(struct stall *s)
{
	struct uffdio_range range = {
		.start = (unsigned long)s->mem, .len = s->size,
	};
	__u64 page;

	if (s->kind == STALL_HUGE)
		release_huge(s);
	for (page = 0; page < s->size >> PAGE_SHIFT && s->kind != STALL_HUGE; page++)
		stall_release_page(s, page);
	ioctl(s->fd, UFFDIO_UNREGISTER, &range);
}

void stall_break(struct stall *s)
{
	munmap(s->mem, s->size);
	close(s->fd);
}
