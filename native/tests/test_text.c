/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Code is written by mprotect(2) where /proc/self/mem can't be opened.  A filter that lets pages become writable,
 * and not the other way round, must not have written code told as not written.  Seen to fail: both functions
 * returned false, with the new bytes in place, and whoever called them went on as if the old ones were there.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/message.h"
#include "runtime/text.h"

#define SIZE 4096

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int messages;

void ulp_message(const char *format, ...)
{
	(void)format;
	messages++;
}

#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (n))

/* By read(2), which fails where it can't store. */
static bool can_write(void *place)
{
	unsigned char byte = *(volatile unsigned char *)place;
	int ends[2];
	bool done =
		pipe(ends) == 0 && write(ends[1], &byte, 1) == 1 && read(ends[0], place, 1) == 1;

	close(ends[0]);
	close(ends[1]);
	return done;
}

static int deny(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_READ | PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* What the program has made writable stays so.  Seen to fail: it was read-only, and the program's next store faulted. */
static bool stays_as_it_is(int protection)
{
	const struct ulp_text text = {.memory = {.number = -1}};
	unsigned char *pages =
		mmap(NULL, 2 * SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const bool writable = protection & PROT_WRITE;

	/* The first page alone. */
	if (pages == MAP_FAILED || mprotect(pages, SIZE, protection))
		return false;
	return ulp_text_store((uint64_t)pages, "abc", 3) && can_write(pages) == writable &&
	       ulp_text_write(&text, (uint64_t)pages + SIZE - 1, "de", 2) &&
	       can_write(pages) == writable && !can_write(pages + SIZE) &&
	       !memcmp(pages + SIZE - 1, "de", 2) && !memcmp(pages, "abc", 4);
}

int main(void)
{
	unsigned char *page =
		mmap(NULL, 2 * SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t second = (uint64_t)(page + SIZE);
	struct ulp_text text = {.memory = {.number = -1}};

	CHECK(page != MAP_FAILED);
	CHECK(stays_as_it_is(PROT_READ | PROT_EXEC));
	CHECK(stays_as_it_is(PROT_READ | PROT_WRITE | PROT_EXEC));
	CHECK(ulp_text_store((uint64_t)page, "abc", 3));
	CHECK(!memcmp(page, "abc", 3) && !messages);
	CHECK(!deny());
	CHECK(ulp_text_store((uint64_t)page + 4, "def", 3));
	CHECK(!memcmp(page, "abc\0def", 7) && messages == 1);
	CHECK(ulp_text_write(&text, second, "0123456789", 10));
	CHECK(!memcmp(page + SIZE, "0123456789", 10) && messages == 2);
	/* Across two words nothing is stored at once. */
	CHECK(!ulp_text_store((uint64_t)page + 6, "abc", 3));
	CHECK(page[6] == 'f' && messages == 2);
	return 0;
}
