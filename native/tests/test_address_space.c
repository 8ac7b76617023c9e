/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that may not be there is copied; only by who may do so has the kernel to.  Seen to fail
 * (SIGSYS) with a copier of every thread, and (EPERM taken for memory that is gone) without the way
 * around a filter that denies.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "runtime/address_space.h"

#define PAGE 4096

/* Its second page is not there. */
static unsigned char *memory;

static void on_process_vm_readv(uint32_t action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void copies(void)
{
	unsigned char bytes[16] = {0};

	CHECK(ulp_copy(bytes, (uint64_t)memory + PAGE - 16, 16) && bytes[0] == 7 && bytes[15] == 7);
	CHECK(!ulp_copy(bytes, (uint64_t)memory + PAGE - 8, 16));
	CHECK(!ulp_copy(bytes, (uint64_t)memory + PAGE, 16));
	CHECK(!ulp_copy(bytes, UINT64_MAX - 7, 16));
}

static void *under_filter_that_kills(void *argument)
{
	on_process_vm_readv(SECCOMP_RET_KILL_PROCESS);
	copies();
	return argument;
}

static void *under_filter_that_denies(void *argument)
{
	on_process_vm_readv(SECCOMP_RET_ERRNO | 1);
	ulp_copy_begins();
	copies();
	ulp_copy_ends();
	return argument;
}

static void in_thread(void *(*function)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, function, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* Seen to fail with 7, which was the parent's. */
static void a_child_copies_its_own(void)
{
	int status;
	pid_t child = (pid_t)syscall(SYS_fork);

	CHECK(child >= 0);
	if (child == 0) {
		unsigned char byte = 0;

		memory[0] = 8;
		_exit(!(ulp_copy(&byte, (uint64_t)memory, 1) && byte == 8));
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED && munmap(memory + PAGE, PAGE) == 0);
	memset(memory, 7, PAGE);
	copies();
	ulp_copy_begins();
	copies();
	a_child_copies_its_own();
	in_thread(under_filter_that_kills);
	ulp_copy_ends();
	in_thread(under_filter_that_denies);
	on_process_vm_readv(SECCOMP_RET_KILL_PROCESS);
	copies();
	return 0;
}
