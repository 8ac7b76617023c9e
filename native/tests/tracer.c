/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "tracer.h"

#define SYSCALL_INSTRUCTION_SIZE 2
#define RESTART_SYSCALL          219
#define ERESTART_RESTARTBLOCK    516
#define EXTENDED_STATE           16384
#define FLAGS_TO_CLEAR           0x44500 /* AC, NT, DF, TF */

/* Kernel-internal errors, from the kernel's include/linux/errno.h, after which a call is made again. */
static bool made_again(long error)
{
	return (error >= 512 && error <= 514) || error == ERESTART_RESTARTBLOCK;
}

void divert_process(pid_t process, uint64_t nonce)
{
	static struct {
		struct ulp_block block;
		unsigned char extended[EXTENDED_STATE];
	} __attribute__((aligned(64))) image;
	struct user_regs_struct registers;
	struct iovec extended = {(char *)&image + ULP_BLOCK_XSTATE, EXTENDED_STATE}, from, to;
	uint64_t all = ~0ull, place;
	int status;

	CHECK(ptrace(PTRACE_SEIZE, process, 0, 0) == 0);
	CHECK(ptrace(PTRACE_INTERRUPT, process, 0, 0) == 0);
	CHECK(waitpid(process, &status, __WALL) == process && WIFSTOPPED(status));
	CHECK(ptrace(PTRACE_GETREGS, process, 0, &registers) == 0);
	CHECK(ptrace(PTRACE_GETREGSET, process, NT_X86_XSTATE, &extended) == 0);
	CHECK((long)registers.orig_rax >= 0 && made_again(-(long)registers.rax));

	image.block.interrupted = -registers.rax;
	image.block.nonce = nonce;
	CHECK(ptrace(PTRACE_GETSIGMASK, process, 8, &image.block.signal_mask) == 0);
	place = (registers.rsp - ULP_BLOCK_RED_ZONE - ULP_BLOCK_XSTATE - extended.iov_len) & ~63ull;
	registers.rax = image.block.interrupted == ERESTART_RESTARTBLOCK ? RESTART_SYSCALL
									 : registers.orig_rax;
	registers.rip -= SYSCALL_INSTRUCTION_SIZE;
	memcpy(image.block.registers, &registers, sizeof registers);
	from = (struct iovec){&image, ULP_BLOCK_XSTATE + extended.iov_len};
	to = (struct iovec){(void *)place, from.iov_len};
	CHECK(process_vm_writev(process, &from, 1, &to, 1, 0) == (ssize_t)from.iov_len);

	registers.rip = STATE->entry;
	registers.rsp = registers.rbx = place;
	registers.rax = 0;
	registers.orig_rax = ~0ull;
	registers.eflags &= ~(uint64_t)FLAGS_TO_CLEAR;
	CHECK(ptrace(PTRACE_SETREGS, process, 0, &registers) == 0);
	CHECK(ptrace(PTRACE_SETSIGMASK, process, 8, &all) == 0);
	CHECK(ptrace(PTRACE_DETACH, process, 0, 0) == 0);
}

struct ulp_result answer_of_process(pid_t process, uint64_t nonce)
{
	struct ulp_result results[ULP_RESULTS];
	struct iovec to = {results, sizeof results}, from = {STATE->results, sizeof results};

	for (int i = 0; i < 20000; i++) {
		CHECK(process_vm_readv(process, &to, 1, &from, 1, 0) == sizeof results);
		for (int k = 0; k < ULP_RESULTS; k++)
			if (results[k].nonce == nonce && results[k].stage >= ULP_STAGE_DONE)
				return results[k];
			else if (results[k].nonce == nonce && results[k].stage == ULP_STAGE_REFUSED)
				return results[k];
		usleep(1000);
	}
	CHECK(!"an answer");
	abort();
}
