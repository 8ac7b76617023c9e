/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diverted thread was in a system call.  A handler that would have ended the call ends it,
 * even if its signal comes after the last look at the pending ones; one after which the call
 * would have gone on does not, whatever other handlers there are.
 *
 * Signals come at the very moment at which the runtime asks which are pending: another process
 * traces this one's system calls and sends them.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

static volatile sig_atomic_t handled;

/* Signals that come right before and right after the look; shared with the tracer. */
static volatile struct {
	int early;
	int late;
} * to_come;

static void handler(int signal_number)
{
	(void)signal_number;
	handled++;
}

static void handle(int signal_number, int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	CHECK(sigaction(signal_number, &action, NULL) == 0);
}

static long interrupted(uint64_t error, int early, int late)
{
	long result;

	/* Whoever is still at work for the last one would see to it that nothing is started. */
	while (STATE->owner)
		usleep(100);
	handled = 0;
	to_come->early = early;
	to_come->late = late;
	result = divert_from_call(error);
	CHECK(to_come->early == 0 && to_come->late == 0);
	CHECK(handled == (early != 0) + (late != 0));
	return result;
}

static void traced(void)
{
	static char memory[65536];
	stack_t alternate = {.ss_sp = memory, .ss_size = sizeof memory};

	handle(SIGUSR1, 0);
	handle(SIGUSR2, SA_RESTART);
	CHECK(interrupted(ERESTARTSYS, 0, 0) == 0);
	CHECK(interrupted(ERESTARTSYS, SIGUSR1, 0) == -EINTR);
	CHECK(interrupted(ERESTARTSYS, 0, SIGUSR1) == -EINTR);
	CHECK(interrupted(ERESTARTSYS, SIGUSR2, 0) == 0);
	CHECK(interrupted(ERESTARTSYS, SIGUSR2, SIGUSR1) == -EINTR);
	CHECK(interrupted(ERESTARTNOHAND, SIGUSR2, 0) == -EINTR);
	CHECK(interrupted(ERESTARTNOHAND, 0, SIGUSR2) == -EINTR);
	CHECK(interrupted(ERESTART_RESTARTBLOCK, 0, SIGUSR2) == -EINTR);

	/* No look at the pending signals at all: there is nothing to decide. */
	handled = 0;
	CHECK(divert_from_call(ERESTARTNOINTR) == 0);

	/* The frame of a handler on an alternate stack lies there. */
	CHECK(sigaltstack(&alternate, NULL) == 0);
	handle(SIGUSR1, SA_ONSTACK);
	CHECK(interrupted(ERESTARTSYS, 0, 0) == 0);
	CHECK(interrupted(ERESTARTSYS, 0, SIGUSR1) == -EINTR);
	for (unsigned i = 0; i < sizeof memory; i++)
		memory[i] = 0x11;
	CHECK(interrupted(ERESTARTSYS, 0, 0) == 0);
	for (unsigned i = 0; i < sizeof memory; i++)
		CHECK(memory[i] == 0x11);
}

static void send_now(pid_t process, volatile int *signal_number)
{
	if (*signal_number)
		CHECK(kill(process, *signal_number) == 0);
	*signal_number = 0;
}

/* Returns how the process ended. */
static int trace(pid_t process)
{
	bool asks = false;
	int status;

	CHECK(ptrace(PTRACE_INTERRUPT, process, 0, 0) == 0);
	for (;;) {
		int passed_on = 0;

		CHECK(waitpid(process, &status, __WALL) == process);
		if (!WIFSTOPPED(status))
			return status;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			struct __ptrace_syscall_info info;

			CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, process, sizeof info, &info) > 0);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
				asks = info.entry.nr == SYS_rt_sigpending;
				if (asks)
					send_now(process, &to_come->early);
			} else if (asks) {
				send_now(process, &to_come->late);
			}
		} else if (!(status >> 16)) {
			passed_on = WSTOPSIG(status);
		}
		CHECK(ptrace(PTRACE_SYSCALL, process, 0, passed_on) == 0);
	}
}

int main(void)
{
	int go[2], status;
	pid_t child;
	char byte;

	to_come = mmap(NULL, sizeof *to_come, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	CHECK(to_come != MAP_FAILED && pipe(go) == 0);
	child = fork();
	if (child == 0) {
		/* Until it is traced. */
		CHECK(close(go[1]) == 0 && read(go[0], &byte, 1) == 1);
		traced();
		exit(0);
	}
	CHECK(child > 0 && write(go[1], "", 1) == 1);
	CHECK(child > 0 && ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACESYSGOOD) == 0);
	CHECK(write(go[1], "", 1) == 1);
	status = trace(child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return 0;
}
