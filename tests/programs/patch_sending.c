/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New versions of functions of the C library that send something: "old page" becomes "new page" on the way, so that
 * the answers of any server tell which version has sent them.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE       "old page"
#define LENGTH     (sizeof PAGE - 1)
#define MOST_BYTES 4096
#define MOST_PARTS 64

/* What is to be sent, changed; in the caller's own memory if it holds no such page, or is none of this size. */
static const void *changed(const void *bytes, size_t size, char *copy)
{
	char *page = size <= MOST_BYTES ? memmem(bytes, size, PAGE, LENGTH) : NULL;

	if (page == NULL)
		return bytes;
	memcpy(copy, bytes, size);
	memcpy(copy + (page - (char *)bytes), "new", 3);
	return copy;
}

/* The same for parts, the first one with a page changed. */
static const struct iovec *changed_parts(const struct iovec *parts, size_t count,
					 struct iovec *others, char *copy)
{
	if (count > MOST_PARTS)
		return parts;
	for (size_t i = 0; i < count; i++) {
		const void *bytes = changed(parts[i].iov_base, parts[i].iov_len, copy);

		if (bytes == parts[i].iov_base)
			continue;
		memcpy(others, parts, count * sizeof *parts);
		others[i].iov_base = copy;
		return others;
	}
	return parts;
}

ssize_t new_send(int file, const void *bytes, size_t size, int flags)
{
	char copy[MOST_BYTES];

	return syscall(SYS_sendto, file, changed(bytes, size, copy), size, flags, NULL, 0);
}

ssize_t new_writev(int file, const struct iovec *parts, int count)
{
	char copy[MOST_BYTES];
	struct iovec others[MOST_PARTS];

	return syscall(SYS_writev, file, changed_parts(parts, (size_t)count, others, copy), count);
}

ssize_t new_sendmsg(int file, const struct msghdr *message, int flags)
{
	char copy[MOST_BYTES];
	struct iovec others[MOST_PARTS];
	struct msghdr other = *message;

	other.msg_iov =
		(struct iovec *)changed_parts(message->msg_iov, message->msg_iovlen, others, copy);
	return syscall(SYS_sendmsg, file, &other, flags);
}
