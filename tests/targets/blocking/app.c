/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread, which is blocked in a system call whenever the patch comes.
 *
 *   version                    -> the version of the library of ../blocked
 *   block CALL MILLISECONDS    -> "blocking", and when the call is over
 *                                 "RESULT ERRNO MICROSECONDS EXTRA"
 *
 * EXTRA tells what else the call gave back: remaining time, bytes, signals handled.
 */
#include "../victim.h"
#include "../blocked/blocked.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

static volatile sig_atomic_t signals;
static int input = -1;

static void on_signal(int number)
{
	(void)number;
	signals++;
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static struct timespec to_timespec(long milliseconds)
{
	return (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000};
}

static struct timespec deadline(long milliseconds)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_nsec += milliseconds % 1000 * 1000000;
	time.tv_sec += milliseconds / 1000 + time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return time;
}

static long extra;

static int block_nanosleep(long milliseconds)
{
	struct timespec time = to_timespec(milliseconds), rest = {0, 0};
	int result = nanosleep(&time, &rest);

	/* The kernel writes it whenever the sleep is interrupted; it counts only for a sleep that failed. */
	extra = result ? rest.tv_sec * 1000 + rest.tv_nsec / 1000000 : 0;
	return result;
}

static int block_clock_nanosleep(long milliseconds)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_nsec += milliseconds % 1000 * 1000000;
	time.tv_sec += milliseconds / 1000 + time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static int block_poll(long milliseconds)
{
	struct pollfd poll_fd = {.fd = input, .events = POLLIN};
	int result = poll(&poll_fd, 1, (int)milliseconds);

	extra = poll_fd.revents;
	return result;
}

static int block_select(long milliseconds)
{
	struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
	fd_set set;
	int result;

	FD_ZERO(&set);
	FD_SET(input, &set);
	result = select(input + 1, &set, NULL, NULL, &time);
	extra = result >= 0 && FD_ISSET(input, &set);
	return result;
}

static int block_epoll_wait(long milliseconds)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);
	int result;

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, input, &event))
		die("epoll");
	result = epoll_wait(epoll, &event, 1, (int)milliseconds);
	extra = result > 0 ? (long)event.events : 0;
	close(epoll);
	return result;
}

static int block_read(long milliseconds)
{
	char bytes[16];

	(void)milliseconds;
	return (int)read(input, bytes, sizeof(bytes));
}

static int block_futex(long milliseconds)
{
	static int word;
	struct timespec time = to_timespec(milliseconds);

	return (int)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
}

static int block_sem_wait(long milliseconds)
{
	struct timespec time = deadline(milliseconds);
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	return sem_timedwait(&semaphore, &time);
}

static int block_condition(long milliseconds)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
	struct timespec time = deadline(milliseconds);
	int error;

	pthread_mutex_lock(&mutex);
	error = pthread_cond_timedwait(&condition, &mutex, &time);
	pthread_mutex_unlock(&mutex);
	extra = error;
	return error ? -1 : 0;
}

static int block_pause(long milliseconds)
{
	(void)milliseconds;
	return pause();
}

static int block_sigsuspend(long milliseconds)
{
	sigset_t none, blocked, before;
	int result, error;

	(void)milliseconds;
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	result = sigsuspend(&none);
	error = errno;
	/* The mask that sigsuspend found must be in force again. */
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	extra = 100 * sigismember(&blocked, SIGUSR1);
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return result;
}

static const struct {
	const char *name;
	int (*block)(long milliseconds);
} calls[] = {
	{"nanosleep", block_nanosleep},
	{"clock_nanosleep", block_clock_nanosleep},
	{"poll", block_poll},
	{"select", block_select},
	{"epoll_wait", block_epoll_wait},
	{"read", block_read},
	{"futex", block_futex},
	{"sem_wait", block_sem_wait},
	{"condition", block_condition},
	{"pause", block_pause},
	{"sigsuspend", block_sigsuspend},
};

static void run_block(char **arguments)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		long long begin;
		int result, error;

		if (strcmp(calls[i].name, arguments[1]) != 0)
			continue;
		extra = 0;
		signals = 0;
		answer("blocking");
		begin = now();
		errno = 0;
		result = calls[i].block(strtol(arguments[2], NULL, 10));
		error = errno;
		answer("%d %d %lld %ld", result, error, (now() - begin) / 1000, extra + signals);
		return;
	}
	answer("unknown call");
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", version());
}

/* The input that read, poll, select and epoll_wait wait for is a FIFO that the test writes to. */
static void run_open(char **arguments)
{
	input = open(arguments[1], O_RDWR);
	answer("%d", input >= 0);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"open", run_open},
		{"block", run_block},
		{"version", run_version},
		{NULL, NULL},
	};
	struct sigaction action = {.sa_handler = on_signal};

	if (sigaction(SIGUSR1, &action, NULL))
		die("sigaction");
	return serve(commands);
}
