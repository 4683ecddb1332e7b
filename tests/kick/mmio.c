// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of a guest with QEMU's device edu: an exception before each first access to a
 * page of the device, which should do no harm. Documentation/lab.rst describes what it
 * shows. Nothing else is needed in the guest's initramfs; dev/console is for its output.
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES		"/sys/bus/pci/devices/"
#define EDU		"0x11e8"
#define BAR_SIZE	(1 << 20)
#define PAGE		4096

/* The file of a device, opened. */
static int open_of(const char *device, const char *name, int flags)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", device, name);
	return open(path, flags);
}

static int is_edu(const char *device)
{
	char text[16] = "";
	int fd = open_of(device, "device", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	close(fd);
	return !strncmp(text, EDU, strlen(EDU));
}

static void touch(const char *device)
{
	int prot = PROT_READ | PROT_WRITE, n;
	int enable = open_of(device, "enable", O_WRONLY);
	volatile unsigned int *bar;
	volatile char *page;

	if (write(enable, "1", 1) != 1)
		puts("mmio: the device can't be enabled");
	bar = mmap(NULL, BAR_SIZE, prot, MAP_SHARED,
		   open_of(device, "resource0", O_RDWR | O_SYNC), 0);
	page = mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (n = 0; n < BAR_SIZE / PAGE; n++) {
		madvise((void *)page, PAGE, MADV_DONTNEED);
		*page = 1;
		(void)bar[n * (PAGE / sizeof(*bar))];
	}
	printf("mmio: %d pages\n", n);
}

int main(void)
{
	glob_t found;
	size_t i;

	mkdir("/sys", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	glob(DEVICES "*", 0, NULL, &found);
	for (i = 0; i < found.gl_pathc; i++)
		if (is_edu(found.gl_pathv[i]))
			touch(found.gl_pathv[i]);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
