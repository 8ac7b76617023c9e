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
#define _GNU_SOURCE
#include "../version.h"
#include "../blocked/blocked.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static volatile sig_atomic_t signals;
static int input = -1;
static int listening = -1;

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

static int block_ppoll(long milliseconds)
{
	struct pollfd poll_fd = {.fd = input, .events = POLLIN};
	struct timespec time = to_timespec(milliseconds);
	int result = ppoll(&poll_fd, 1, &time, NULL);

	extra = poll_fd.revents;
	return result;
}

static int block_pselect(long milliseconds)
{
	struct timespec time = to_timespec(milliseconds);
	fd_set set;
	int result;

	FD_ZERO(&set);
	FD_SET(input, &set);
	result = pselect(input + 1, &set, NULL, NULL, &time, NULL);
	extra = result >= 0 && FD_ISSET(input, &set);
	return result;
}

static int block_semtimedop(long milliseconds)
{
	struct timespec time = to_timespec(milliseconds);
	struct sembuf take = {0, -1, 0};
	int set = semget(IPC_PRIVATE, 1, 0600);
	int result = semtimedop(set, &take, 1, &time);
	int error = errno;

	semctl(set, 0, IPC_RMID);
	errno = error;
	return result;
}

static int block_sigtimedwait(long milliseconds)
{
	struct timespec time = to_timespec(milliseconds);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &time);
}

/* 0: no limit */
static void limit_input(int fd, long milliseconds)
{
	struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)))
		die("setsockopt");
}

static int accept_within(long milliseconds)
{
	int fd, error;

	limit_input(listening, milliseconds);
	fd = accept(listening, NULL, NULL);
	error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return fd < 0 ? fd : 1;
}

static int block_accept(long milliseconds)
{
	(void)milliseconds;
	return accept_within(0);
}

static int block_accept_within(long milliseconds)
{
	return accept_within(milliseconds);
}

static int receive_within(long milliseconds, int by_read)
{
	char bytes[16];
	int ends[2], result, error;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		die("socketpair");
	limit_input(ends[0], milliseconds);
	result = (int)(by_read ? read(ends[0], bytes, sizeof(bytes))
			       : recv(ends[0], bytes, sizeof(bytes), 0));
	error = errno;
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return result;
}

static int block_recv_within(long milliseconds)
{
	return receive_within(milliseconds, 0);
}

static int block_read_within(long milliseconds)
{
	return receive_within(milliseconds, 1);
}

/* A child that waits for the input, and then does what the parent is blocked for. */
static pid_t start_child(void (*then)(void *), void *argument)
{
	pid_t child = fork();
	char bytes[16];

	if (child < 0)
		die("fork");
	if (child)
		return child;
	signal(SIGUSR1, SIG_DFL);
	while (read(input, bytes, sizeof(bytes)) < 1)
		;
	if (then)
		then(argument);
	_exit(7);
}

static void end_child(pid_t child)
{
	int error = errno;

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	errno = error;
}

static int block_waitpid(long milliseconds)
{
	int status = 0, result;
	pid_t child = start_child(NULL, NULL);

	(void)milliseconds;
	result = waitpid(child, &status, 0);
	extra = status;
	if (result == child)
		return 1;
	end_child(child);
	return result;
}

static void *shared(void)
{
	static void *page;

	if (!page)
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		die("mmap");
	return page;
}

static void post(void *semaphore)
{
	sem_post(semaphore);
}

static int block_sem_wait_forever(long milliseconds)
{
	sem_t *semaphore = shared();
	pid_t child;
	int result;

	(void)milliseconds;
	sem_init(semaphore, 1, 0);
	child = start_child(post, semaphore);
	result = sem_wait(semaphore);
	end_child(child);
	return result;
}

static void wake(void *word)
{
	__atomic_store_n((int *)word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int block_futex_forever(long milliseconds)
{
	int *word = shared();
	pid_t child;
	int result;

	(void)milliseconds;
	*word = 0;
	child = start_child(wake, word);
	result = (int)syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
	extra = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	end_child(child);
	return result;
}

/* One entry that waits for input, by system calls alone. */
struct ring {
	int fd;
	char *queue; /* both queues, as IORING_FEAT_SINGLE_MMAP has it */
	size_t queue_size;
	struct io_uring_sqe *entries;
	struct io_uring_params parameters;
};

static void open_ring(struct ring *ring)
{
	unsigned int *array;

	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->parameters);
	if (ring->fd < 0)
		die("io_uring_setup");
	ring->queue_size = ring->parameters.cq_off.cqes +
			   ring->parameters.cq_entries * sizeof(struct io_uring_cqe) +
			   ring->parameters.sq_entries * sizeof(unsigned int);
	ring->queue = mmap(NULL, ring->queue_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			   IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, ring->parameters.sq_entries * sizeof(*ring->entries),
			     PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (ring->queue == MAP_FAILED || ring->entries == MAP_FAILED)
		die("mmap of the ring");
	ring->entries[0].opcode = IORING_OP_POLL_ADD;
	ring->entries[0].fd = input;
	ring->entries[0].poll32_events = POLLIN;
	array = (unsigned int *)(ring->queue + ring->parameters.sq_off.array);
	array[0] = 0;
	__atomic_store_n((unsigned int *)(ring->queue + ring->parameters.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
}

/* What was completed, or 0. */
static int completed(const struct ring *ring)
{
	const struct io_uring_cqe *events =
		(const struct io_uring_cqe *)(ring->queue + ring->parameters.cq_off.cqes);
	const unsigned int *tail =
		(const unsigned int *)(ring->queue + ring->parameters.cq_off.tail);

	return __atomic_load_n(tail, __ATOMIC_ACQUIRE) ? events[0].res : 0;
}

static int close_ring(struct ring *ring, int result)
{
	int error = errno;

	extra = completed(ring);
	munmap(ring->queue, ring->queue_size);
	munmap(ring->entries, ring->parameters.sq_entries * sizeof(*ring->entries));
	close(ring->fd);
	errno = error;
	return result;
}

static int block_io_uring(long milliseconds)
{
	struct ring ring;

	(void)milliseconds;
	open_ring(&ring);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1)
		die("io_uring_enter");
	return close_ring(&ring, (int)syscall(SYS_io_uring_enter, ring.fd, 0, 1,
					      IORING_ENTER_GETEVENTS, NULL, 0));
}

static int block_io_uring_within(long milliseconds)
{
	struct __kernel_timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	struct io_uring_getevents_arg argument = {.ts = (unsigned long)&time};
	struct ring ring;

	open_ring(&ring);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1)
		die("io_uring_enter");
	return close_ring(&ring, (int)syscall(SYS_io_uring_enter, ring.fd, 0, 1,
					      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
					      &argument, sizeof(argument)));
}

/* Submits and waits in one call: it gives the number submitted, however the wait ends. */
static int block_io_uring_submit(long milliseconds)
{
	struct ring ring;

	(void)milliseconds;
	open_ring(&ring);
	return close_ring(&ring, (int)syscall(SYS_io_uring_enter, ring.fd, 1, 1,
					      IORING_ENTER_GETEVENTS, NULL, 0));
}

static int block_epoll_pwait2(long milliseconds)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct timespec time = to_timespec(milliseconds);
	int epoll = epoll_create1(0);
	int result;

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, input, &event))
		die("epoll");
	result = epoll_pwait2(epoll, &event, 1, &time, NULL);
	extra = result > 0 ? (long)event.events : 0;
	close(epoll);
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
	{"ppoll", block_ppoll},
	{"pselect", block_pselect},
	{"epoll_pwait2", block_epoll_pwait2},
	{"semtimedop", block_semtimedop},
	{"sigtimedwait", block_sigtimedwait},
	{"accept", block_accept},
	{"accept_within", block_accept_within},
	{"recv_within", block_recv_within},
	{"read_within", block_read_within},
	{"waitpid", block_waitpid},
	{"sem_wait_forever", block_sem_wait_forever},
	{"futex_forever", block_futex_forever},
	{"io_uring_enter", block_io_uring},
	{"io_uring_enter_within", block_io_uring_within},
	{"io_uring_enter_submitting", block_io_uring_submit},
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

/* The input that read, poll, select and epoll_wait wait for is a FIFO that the test writes to. */
static void run_open(char **arguments)
{
	input = open(arguments[1], O_RDWR);
	answer("%d", input >= 0);
}

/* Where accept waits for a connection. */
static void run_listen(char **arguments)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(arguments[1]) >= sizeof(address.sun_path))
		die("path too long");
	strcpy(address.sun_path, arguments[1]);
	listening = socket(AF_UNIX, SOCK_STREAM, 0);
	answer("%d", listening >= 0 &&
			     !bind(listening, (const struct sockaddr *)&address, sizeof(address)) &&
			     !listen(listening, 4));
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"open", run_open},       {"listen", run_listen}, {"block", run_block},
		{"version", run_version}, {NULL, NULL},
	};
	struct sigaction action = {.sa_handler = on_signal};

	if (sigaction(SIGUSR1, &action, NULL))
		die("sigaction");
	return serve(commands);
}
