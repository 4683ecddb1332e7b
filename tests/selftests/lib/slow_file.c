// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "procfs.h"
#include "slow_file.h"
#include "wait.h"

#define DIRECTORY	"/tmp/mdma-selftest-slow-file"
#define NODE		2	/* the only file */
#define REQUEST_MAX	0x21000

struct slow_file_state {
	int stalled;
	int released;
	int gave_up;
	pid_t test;
	int looks;	/* that must see the test's own thread stuck */
};

static void answer(int fd, __u64 unique, int error, const void *data, int len)
{
	char text[sizeof(struct fuse_out_header) + 0x20000];
	struct fuse_out_header head = {
		.len = sizeof(head) + len, .error = error, .unique = unique,
	};

	memcpy(text, &head, sizeof(head));
	if (len)
		memcpy(text + sizeof(head), data, len);
	/* Fails if the request was interrupted. */
	if (write(fd, text, head.len) < 0)
		return;
}

static struct fuse_attr attributes(__u64 node, __u64 size)
{
	return (struct fuse_attr) {
		.ino = node, .size = size, .nlink = 1, .blksize = 4096,
		.mode = node == NODE ? S_IFREG | 0600 : S_IFDIR | 0700,
	};
}

static void serve_read(int fd, struct slow_file_state *state, __u64 unique,
		       const struct fuse_read_in *in)
{
	static const char zeros[0x20000];
	long long before = -1, now;
	int same = 0;

	__atomic_store_n(&state->stalled, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&state->released, __ATOMIC_ACQUIRE) &&
	       same < state->looks) {
		usleep(1000);
		now = thread_sleeps(state->test, "D");
		same = now >= 0 && now == before ? same + 1 : 0;
		before = now;
	}
	if (same == state->looks)
		__atomic_store_n(&state->gave_up, 1, __ATOMIC_RELEASE);
	answer(fd, unique, 0, zeros, in->size);
}

static void serve(int fd, struct slow_file *f, const struct fuse_in_header *in)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = 4096,
	};
	struct fuse_entry_out entry = {
		.nodeid = NODE, .entry_valid = 1000, .attr_valid = 1000,
		.attr = attributes(NODE, f->size),
	};
	struct fuse_attr_out attr = {
		.attr_valid = 1000, .attr = attributes(in->nodeid, f->size),
	};
	struct fuse_open_out opened = { .fh = 1 };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(fd, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		answer(fd, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		answer(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(fd, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		serve_read(fd, f->state, in->unique, (const void *)(in + 1));
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fd, in->unique, -EOPNOTSUPP, NULL, 0);
	}
}

static void server(int fd, struct slow_file *f)
{
	static __u64 request[REQUEST_MAX / 8];

	/* Keep nothing open that the test may want to close. */
	fd = dup2(fd, STDERR_FILENO + 1);
	close_range(fd + 1, ~0U, 0);
	for (;;) {
		if (read(fd, request, sizeof(request)) > 0)
			serve(fd, f, (const void *)request);
		else if (errno != EINTR && errno != ENOENT)
			_exit(0);
	}
}

/* Unmounts the file system as soon as the file is open. */
static int open_file(struct slow_file *f, int fuse)
{
	char options[80];
	int fd, ret = 0;

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	mkdir(DIRECTORY, 0700);
	if (mount("slow", DIRECTORY, "fuse", MS_NOSUID | MS_NODEV, options))
		return -errno;
	f->server = fork();
	if (!f->server)
		server(fuse, f);
	fd = open(DIRECTORY "/file", O_RDONLY);
	if (fd < 0)
		ret = -errno;
	umount2(DIRECTORY, MNT_DETACH);
	rmdir(DIRECTORY);
	if (ret)
		return ret;
	f->mem = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
		      0);
	if (f->mem == MAP_FAILED)
		ret = -errno;
	close(fd);
	return ret;
}

int slow_file_open(struct slow_file *f, __u64 size)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), ret;

	if (fuse < 0)
		return -errno;
	f->size = size;
	f->state = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f->state == MAP_FAILED)
		return -errno;
	*f->state = (struct slow_file_state) {
		.test = getpid(),
		.looks = backend_is_stock() ? SETTLED : patience_ms(),
	};
	ret = open_file(f, fuse);
	close(fuse);
	return ret;
}

int slow_file_wait(struct slow_file *f)
{
	return WAIT_FOR(__atomic_load_n(&f->state->stalled, __ATOMIC_ACQUIRE)) ?
	       0 : -ETIMEDOUT;
}

bool slow_file_gave_up(struct slow_file *f)
{
	return f->state && __atomic_load_n(&f->state->gave_up, __ATOMIC_ACQUIRE);
}

void slow_file_release(struct slow_file *f)
{
	__atomic_store_n(&f->state->released, 1, __ATOMIC_RELEASE);
}

void slow_file_close(struct slow_file *f)
{
	if (f->server <= 0)
		return;
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	munmap(f->mem, f->size);
}
