/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diverted thread was in a system call.  A handler that would have ended the call ends it,
 * even if its signal comes after the last look at the pending ones; one after which the call
 * would have gone on does not, whatever other handlers there are.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

static volatile sig_atomic_t handled, raise_late, raise_early;

static void handler(int signal_number)
{
	(void)signal_number;
	handled++;
}

static long kernel(long number, long a, long b, long c, long d)
{
	register long fourth __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
			 : "rcx", "r11", "memory");
	return result;
}

static void send_to_self(int signal_number)
{
	CHECK(kernel(SYS_tgkill, getpid(), gettid(), signal_number, 0) == 0);
}

/* The runtime's own calls come by here. */
long syscall(long number, ...)
{
	va_list list;
	long a, b, c, d, result;

	va_start(list, number);
	a = va_arg(list, long);
	b = va_arg(list, long);
	c = va_arg(list, long);
	d = va_arg(list, long);
	va_end(list);
	if (number == SYS_rt_sigpending && raise_early) {
		send_to_self(raise_early);
		raise_early = 0;
	}
	result = kernel(number, a, b, c, d);
	if (number == SYS_rt_sigpending && raise_late) {
		send_to_self(raise_late);
		raise_late = 0;
	}
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return result;
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
	raise_early = early;
	raise_late = late;
	result = divert_from_call(error);
	CHECK(raise_early == 0 && raise_late == 0);
	CHECK(handled == (early != 0) + (late != 0));
	return result;
}

int main(void)
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
	return 0;
}
