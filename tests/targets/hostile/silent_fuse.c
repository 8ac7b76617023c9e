/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file system of one file that answers until it is told not to: silent_fuse DIRECTORY FILE.
 *
 * It says "ready" when it is mounted on DIRECTORY. DIRECTORY/libpulp.so then shows FILE. After SIGUSR1 no
 * request is answered any more. It speaks the kernel's protocol itself (linux/fuse.h), without libfuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_NODE 2

static volatile sig_atomic_t silent;
static int device, contents;
static off_t length;

static void fall_silent(int number)
{
	(void)number;
	silent = 1;
}

static void answer(const struct fuse_in_header *request, int error, const void *data, size_t size)
{
	struct fuse_out_header header = {.len = sizeof header + (error ? 0 : size),
					 .error = -error,
					 .unique = request->unique};
	struct iovec parts[] = {{&header, sizeof header}, {(void *)data, error ? 0 : size}};

	if (writev(device, parts, 2) < 0 && errno != ENOENT)
		perror("silent_fuse: writev");
}

static void attributes(uint64_t node, struct fuse_attr *attr)
{
	memset(attr, 0, sizeof *attr);
	attr->ino = node;
	attr->nlink = 1;
	attr->mode = node == FILE_NODE ? S_IFREG | 0755 : S_IFDIR | 0755;
	attr->size = node == FILE_NODE ? (uint64_t)length : 0;
}

static void serve(const struct fuse_in_header *request)
{
	const void *body = request + 1;

	switch (request->opcode) {
	case FUSE_INIT: {
		const struct fuse_init_in *in = body;
		struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
					    .minor = FUSE_KERNEL_MINOR_VERSION,
					    .max_readahead = in->max_readahead,
					    .max_write = 1 << 16,
					    .flags = in->flags & FUSE_ASYNC_READ};
		answer(request, 0, &out, sizeof out);
		break;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {.nodeid = FILE_NODE};
		attributes(FILE_NODE, &out.attr);
		answer(request, strcmp(body, "libpulp.so") ? ENOENT : 0, &out, sizeof out);
		break;
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = {0};
		attributes(request->nodeid, &out.attr);
		answer(request, 0, &out, sizeof out);
		break;
	}
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		struct fuse_open_out out = {0};
		answer(request, 0, &out, sizeof out);
		break;
	}
	case FUSE_READ: {
		const struct fuse_read_in *in = body;
		char *data = malloc(in->size);
		ssize_t count = pread(contents, data, in->size, (off_t)in->offset);
		answer(request, count < 0 ? EIO : 0, data, count < 0 ? 0 : (size_t)count);
		free(data);
		break;
	}
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(request, 0, NULL, 0);
		break;
	default:
		answer(request, ENOSYS, NULL, 0);
	}
}

int main(int count, char **arguments)
{
	struct sigaction action = {.sa_handler = fall_silent};
	static char buffer[1 << 18];
	struct stat status;
	char options[64];

	if (count != 3)
		return 2;
	contents = open(arguments[2], O_RDONLY);
	device = open("/dev/fuse", O_RDWR);
	if (contents < 0 || fstat(contents, &status) || device < 0) {
		perror("silent_fuse: open");
		return 1;
	}
	length = status.st_size;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 device);
	if (mount("silent", arguments[1], "fuse.silent", MS_NOSUID | MS_NODEV, options)) {
		perror("silent_fuse: mount");
		return 1;
	}
	sigaction(SIGUSR1, &action, NULL);
	puts("ready");
	fflush(stdout);
	while (!silent) {
		ssize_t got = read(device, buffer, sizeof buffer);
		if (got < 0 && errno != EINTR)
			return errno != ENODEV;
		if (got > 0 && !silent)
			serve((const struct fuse_in_header *)buffer);
	}
	/* What comes now is taken, so that nobody can call it back, and never answered. */
	while (read(device, buffer, sizeof buffer) >= 0 || errno == EINTR)
		;
	return 0;
}
