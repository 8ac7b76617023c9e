/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that shuts itself in.
 *
 *   version                    -> the version of the library of tests/targets/blocked that it gets
 *   deny NUMBER ACTION         -> system call NUMBER gets seccomp's ACTION from now on
 *   deny NUMBER ACTION BITS    -> only where the third argument has all of BITS, as PROT_EXEC of mprotect
 *   only ACTION NUMBER,...     -> everything but these system calls gets ACTION
 *   strict                     -> nothing but read and write from now on; it can't even end well
 *   strict-thread              -> the same for another thread, which waits for a byte
 *   mdwe                       -> no memory may become executable (prctl)
 *   landlock                   -> no file may be opened any more, for reading or writing
 *   undumpable                 -> as a program that has given up its privileges: the kernel protects it
 *   tls LIBRARY                -> loads the libraries LIBRARY.0, LIBRARY.1, ... until there is no room in the
 *                                 static thread-local storage; how many
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>

#include "../blocked/blocked.h"
#include "../version.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* landlock(7), Linux 5.13: numbers of system calls. */
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_RESTRICT_SELF  446

#define NUMBERS 128

static void install(struct sock_filter *program, size_t length)
{
	struct sock_fprog whole = {(unsigned short)length, program};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole))
		die("seccomp");
	answer("filtered");
}

static void run_deny(char **arguments)
{
	unsigned number = (unsigned)strtoul(arguments[1], NULL, 0);
	unsigned action = (unsigned)strtoul(arguments[2], NULL, 0);
	unsigned bits = (unsigned)strtoul(arguments[3], NULL, 0);
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bits, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(program, sizeof(program) / sizeof(*program));
}

static void run_only(char **arguments)
{
	struct sock_filter program[2 * NUMBERS + 2];
	unsigned action = (unsigned)strtoul(arguments[1], NULL, 0);
	size_t length = 0;

	program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							 offsetof(struct seccomp_data, nr));
	for (char *at = arguments[2]; *at; at += *at == ',') {
		if (length + 3 > sizeof(program) / sizeof(*program))
			die("too many numbers");
		program[length++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)strtoul(at, &at, 10), 0, 1);
		program[length++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	install(program, length);
}

static void run_strict(char **arguments)
{
	(void)arguments;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		die("seccomp");
	answer("shut in");
}

static int waits_for[2];
static int is_shut_in;

static void *shut_in(void *argument)
{
	char byte;

	(void)argument;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		die("seccomp");
	__atomic_store_n(&is_shut_in, 1, __ATOMIC_RELEASE);
	for (;;)
		syscall(SYS_read, waits_for[0], &byte, 1);
	return NULL;
}

static void run_strict_thread(char **arguments)
{
	(void)arguments;
	make_pipe(waits_for);
	start_thread(shut_in, NULL);
	wait_for_flag(&is_shut_in);
	answer("shut in");
}

static void run_mdwe(char **arguments)
{
	(void)arguments;
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
		answer("%s", strerror(errno));
	else
		answer("denied");
}

static void run_landlock(char **arguments)
{
	/* struct landlock_ruleset_attr: LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE */
	uint64_t handled = 2 | 4;
	long ruleset = syscall(LANDLOCK_CREATE_RULESET, &handled, sizeof(handled), 0);

	(void)arguments;
	if (ruleset < 0) {
		answer("%s", strerror(errno));
		return;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) ||
	    close((int)ruleset))
		die("landlock");
	answer(open("/proc/self/mem", O_RDONLY) < 0 && errno == EACCES ? "denied" : "permitted");
}

static void run_undumpable(char **arguments)
{
	(void)arguments;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		die("prctl");
	answer("protected");
}

static void run_tls(char **arguments)
{
	int count = 0;

	for (;; count++) {
		char path[VICTIM_LINE];

		snprintf(path, sizeof(path), "%s.%d", arguments[1], count);
		if (!dlopen(path, RTLD_NOW))
			break;
	}
	answer("%d %s", count, dlerror());
}

static const struct victim_command commands[] = {
	{"version", run_version},
	{"deny", run_deny},
	{"only", run_only},
	{"strict", run_strict},
	{"strict-thread", run_strict_thread},
	{"mdwe", run_mdwe},
	{"landlock", run_landlock},
	{"undumpable", run_undumpable},
	{"tls", run_tls},
	{NULL, NULL},
};

int main(void)
{
	return serve(commands);
}
