/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every victim program shares: it obeys one command a line on standard
 * input and answers each with exactly one line on standard output, so that a
 * test never has to sleep.  The end of the input, or "quit", ends it with 0.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VICTIM_ARGUMENTS 8
#define VICTIM_LINE      512

struct victim_command {
	const char *name;
	/* arguments[0] is the name; missing arguments are empty strings. */
	void (*run)(char **arguments);
};

static inline void die(const char *what)
{
	fprintf(stderr, "victim: %s: %s\n", what, strerror(errno));
	_exit(70);
}

/* An argument that is a number from 0 on, less than `count`. */
static inline int number_below(int count, const char *argument)
{
	long number = strtol(argument, NULL, 10);

	if (number < 0 || number >= count)
		die("number out of range");
	return (int)number;
}

/* One write, so that an answer is never torn and no stdio lock is held. */
__attribute__((format(printf, 1, 2))) static inline void answer(const char *format, ...)
{
	char line[VICTIM_LINE];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(line, sizeof(line) - 1, format, list);
	va_end(list);
	if (length < 0 || length >= (int)sizeof(line) - 1)
		die("answer too long");
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		die("write answer");
}

static inline pthread_t start_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, body, argument);
	if (errno)
		die("pthread_create");
	return thread;
}

/*
 * For a thread that spins: it takes what the rest of the machine leaves.  The others of its process,
 * and the one that is borrowed, are as before: in Linux each thread has a nice value of its own.
 */
static inline void yield_to_others(void)
{
	if (setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19))
		die("setpriority");
}

static inline void *join_thread(pthread_t thread)
{
	void *result;

	errno = pthread_join(thread, &result);
	if (errno)
		die("pthread_join");
	return result;
}

static inline void make_pipe(int *ends)
{
	if (pipe(ends))
		die("pipe");
}

static inline void send_byte(int fd)
{
	if (write(fd, "x", 1) != 1)
		die("write byte");
}

static inline void wait_for_byte(int fd)
{
	char byte;

	while (read(fd, &byte, 1) != 1)
		;
}

/* Waits until another thread has set the flag: it does so before it blocks. */
static inline int wait_for_flag(const int *flag)
{
	int value;

	while (!(value = __atomic_load_n(flag, __ATOMIC_ACQUIRE)))
		usleep(200);
	return value;
}

/* Waits until another thread has counted so far. */
static inline void wait_for_count(const unsigned long *count, unsigned long value)
{
	while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < value)
		usleep(100);
}

/* Reads lines without stdio: no lock and no buffer of it is in use meanwhile. */
static inline int read_line(char *line, size_t size)
{
	size_t length = 0;

	for (;;) {
		char byte;
		ssize_t count = read(STDIN_FILENO, &byte, 1);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			die("read command");
		if (count == 0)
			return 0;
		if (byte == '\n')
			break;
		if (length + 1 >= size)
			die("command too long");
		line[length++] = byte;
	}
	line[length] = '\0';
	return 1;
}

static inline int serve(const struct victim_command *commands)
{
	char line[VICTIM_LINE];

	answer("ready");
	while (read_line(line, sizeof(line))) {
		char *arguments[VICTIM_ARGUMENTS];
		char *rest = line;
		const struct victim_command *command;

		for (int i = 0; i < VICTIM_ARGUMENTS; i++) {
			arguments[i] = rest;
			rest += strcspn(rest, " ");
			if (*rest)
				*rest++ = '\0';
		}
		if (!strcmp(arguments[0], "quit")) {
			answer("bye");
			return 0;
		}
		for (command = commands; command->name; command++)
			if (!strcmp(command->name, arguments[0]))
				break;
		if (command->name)
			command->run(arguments);
		else
			answer("unknown command %s", arguments[0]);
	}
	return 0;
}

#endif
