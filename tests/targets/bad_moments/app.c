/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that are nearly always at a moment at which nothing may be done on
 * them.  The main thread is busy likewise: there is no idle one to divert.
 *
 *   start KIND N -> N threads and the main one do KIND, with a call of the library in each round
 *   latest       -> the layouts that they got in a round that began after this command
 *   fork WHERE   -> the PID of a child that goes on: it calls the library in a loop.  WHERE: outside,
 *                   or inside: forked in a callback from the library, which waits for "between"
 *   between      -> lets the child that is inside return; the layout of the call that it was in
 *   child        -> the layout that the child got in a call that began after this command
 *   reap         -> the child is told to end; its exit status
 *   leave        -> no answer: exit() with a handler that goes on until the layout has changed
 *                   twice; the threads run until the end
 *   stop         -> "OLD NEW BAD ROUNDS"
 */
#include "../victim.h"
#include "../contract/contract.h"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#define THREADS 16
#define BLOCKS  64
#define SORTED  150

extern char **environ;

struct worker {
	pthread_t thread;
	unsigned long rounds;
	unsigned int random;
	int latest;
	unsigned char *block[BLOCKS];
	size_t size[BLOCKS];
};

static struct worker workers[THREADS];
static int worker_count;
static int stopping;
static unsigned long counts[3]; /* old, new, bad */
static FILE *null;
static void (*work)(struct worker *self);

static void count(int layout)
{
	__atomic_fetch_add(&counts[layout == 1 ? 0 : layout == 2 ? 1 : 2], 1, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------- kinds of work */

static void work_malloc(struct worker *self)
{
	for (int turn = 0; turn < 60; turn++) {
		int i = rand_r(&self->random) % BLOCKS;
		size_t size = (size_t)(rand_r(&self->random) % 3000 + 1);

		if (self->block[i] && (self->block[i][0] != (unsigned char)i ||
				       self->block[i][self->size[i] - 1] != (unsigned char)i))
			die("a block changed");
		if (turn % 3) {
			free(self->block[i]);
			self->block[i] = malloc(size);
		} else {
			self->block[i] = realloc(self->block[i], size);
		}
		if (!self->block[i])
			die("malloc");
		self->size[i] = size;
		self->block[i][0] = (unsigned char)i;
		self->block[i][size - 1] = (unsigned char)i;
	}
}

static void work_loader(struct worker *self)
{
	(void)self;
	for (int turn = 0; turn < 3; turn++) {
		void *library = dlopen("libm.so.6", RTLD_NOW);
		double (*cosine)(double) =
			library ? (double (*)(double))dlsym(library, "cos") : NULL;

		if (!cosine || cosine(0) != 1)
			die("dlsym");
		dlclose(library);
	}
}

static void reap(pid_t child, const char *what, bool counted)
{
	int status;

	while (waitpid(child, &status, 0) != child)
		if (errno != EINTR)
			die(what);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 2)
		die(what);
	if (counted)
		count(WEXITSTATUS(status));
}

static void work_fork(struct worker *self)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0)
		_exit(transact((long)self->rounds) & 3);
	reap(child, "a forked child failed", true);
}

/* Its address space is its parent's until it executes or ends. */
static void work_vfork(struct worker *self)
{
	pid_t child = vfork();

	if (child < 0)
		die("vfork");
	if (child == 0) {
		if (self->rounds % 4 == 0)
			execl("/bin/true", "true", (char *)NULL);
		_exit(self->rounds % 4 == 0 ? 70 : 0);
	}
	reap(child, "a vforked child failed", false);
}

static void work_spawn(struct worker *self)
{
	char *arguments[] = {"true", NULL};
	pid_t child;

	(void)self;
	errno = posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ);
	if (errno)
		die("posix_spawn");
	reap(child, "a spawned child failed", false);
}

static void work_printf(struct worker *self)
{
	for (int turn = 0; turn < 20; turn++)
		if (fprintf(null, "%lu %d %f %s\n", self->rounds, turn, turn / 3.0, "printed") < 0)
			die("fprintf");
}

/* Blocked, in a call that is one to be diverted in, with a lock of stdio held. */
static void work_stdio_lock(struct worker *self)
{
	flockfile(null);
	usleep(200);
	if (fprintf(null, "%lu\n", self->rounds) < 0)
		die("fprintf");
	funlockfile(null);
}

static int compare(const void *one, const void *other)
{
	int a = *(const int *)one, b = *(const int *)other;

	return (a > b) - (a < b);
}

static void work_qsort(struct worker *self)
{
	int values[SORTED];

	for (int i = 0; i < SORTED; i++)
		values[i] = rand_r(&self->random);
	qsort(values, SORTED, sizeof(values[0]), compare);
	for (int i = 1; i < SORTED; i++)
		if (values[i - 1] > values[i])
			die("not sorted");
}

static void *short_life(void *argument)
{
	count(transact((long)argument));
	return NULL;
}

static void work_threads(struct worker *self)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		threads[i] = start_thread(short_life, (void *)self->rounds);
	for (int i = 0; i < 3; i++)
		join_thread(threads[i]);
}

static void on_alarm(int number)
{
	int saved = errno;

	count(transact(number));
	errno = saved;
}

static void set_timer(long microseconds)
{
	struct itimerval timer = {{0, microseconds}, {0, microseconds}};

	if (setitimer(ITIMER_REAL, &timer, NULL))
		die("setitimer");
}

static void start_signals(void)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	if (sigaction(SIGALRM, &action, NULL))
		die("sigaction");
	set_timer(200);
}

static const struct {
	const char *name;
	void (*work)(struct worker *self);
	void (*start)(void);
} kinds[] = {
	{"malloc", work_malloc, NULL},
	{"loader", work_loader, NULL},
	{"fork", work_fork, NULL},
	{"vfork", work_vfork, NULL},
	{"spawn", work_spawn, NULL},
	{"printf", work_printf, NULL},
	{"stdio_lock", work_stdio_lock, NULL},
	{"qsort", work_qsort, NULL},
	{"threads", work_threads, NULL},
	{"signals", work_malloc, start_signals},
};

static void do_round(struct worker *self)
{
	int layout = transact((long)self->rounds);

	count(layout);
	__atomic_store_n(&self->latest, layout, __ATOMIC_RELAXED);
	work(self);
	__atomic_fetch_add(&self->rounds, 1, __ATOMIC_RELEASE);
}

static void *loop(void *argument)
{
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED))
		do_round(argument);
	return NULL;
}

/* ------------------------------------------------------------------ commands */

static void run_start(const char *name, int threads)
{
	if (threads >= THREADS)
		die("too many threads");
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, name)) {
			work = kinds[i].work;
			if (kinds[i].start)
				kinds[i].start();
		}
	if (!work)
		die("no such kind");
	worker_count = threads + 1;
	for (int i = 0; i < worker_count; i++) {
		workers[i].random = (unsigned int)i + 1;
		/* The first is the main thread. */
		if (i)
			workers[i].thread = start_thread(loop, &workers[i]);
	}
	answer("%s", name);
}

static void run_latest(void)
{
	unsigned long begin[THREADS];
	char line[VICTIM_LINE] = "";

	for (int i = 0; i < worker_count; i++)
		begin[i] = __atomic_load_n(&workers[i].rounds, __ATOMIC_ACQUIRE);
	for (int i = 0; i < worker_count; i++)
		while (__atomic_load_n(&workers[i].rounds, __ATOMIC_ACQUIRE) < begin[i] + 2)
			do_round(&workers[0]);
	for (int i = 0; i < worker_count; i++) {
		size_t length = strlen(line);

		snprintf(line + length, sizeof(line) - length, "%s%d", i ? " " : "",
			 __atomic_load_n(&workers[i].latest, __ATOMIC_RELAXED));
	}
	answer("%s", line);
}

/* What parent and child share. */
static struct shared {
	unsigned long calls;
	int latest;
	int first; /* the layout of the call in which it was forked */
	int let_go;
	int end;
} * shared;

static pid_t child_pid;

static void child_loop(void)
{
	while (!__atomic_load_n(&shared->end, __ATOMIC_RELAXED)) {
		int layout = transact((long)shared->calls);

		if (layout != 1 && layout != 2)
			_exit(70);
		__atomic_store_n(&shared->latest, layout, __ATOMIC_RELAXED);
		__atomic_fetch_add(&shared->calls, 1, __ATOMIC_RELEASE);
		usleep(100);
	}
	_exit(0);
}

static void fork_between(void *argument)
{
	(void)argument;
	child_pid = fork();
	if (child_pid < 0)
		die("fork");
	while (child_pid == 0 && !__atomic_load_n(&shared->let_go, __ATOMIC_ACQUIRE))
		usleep(100);
}

static void run_fork(const char *where)
{
	memset(shared, 0, sizeof(*shared));
	if (!strcmp(where, "inside")) {
		int layout = transact_around(11, fork_between, NULL);

		if (child_pid == 0)
			__atomic_store_n(&shared->first, layout, __ATOMIC_RELEASE);
		else
			count(layout);
	} else {
		child_pid = fork();
		if (child_pid < 0)
			die("fork");
	}
	if (child_pid == 0)
		child_loop();
	answer("%d", (int)child_pid);
}

static void run_between(void)
{
	__atomic_store_n(&shared->let_go, 1, __ATOMIC_RELEASE);
	answer("%d", wait_for_flag(&shared->first));
}

static void run_child(void)
{
	unsigned long begin = __atomic_load_n(&shared->calls, __ATOMIC_ACQUIRE);

	wait_for_count(&shared->calls, begin + 2);
	answer("%d", __atomic_load_n(&shared->latest, __ATOMIC_RELAXED));
}

static void run_reap(void)
{
	int status;

	__atomic_store_n(&shared->end, 1, __ATOMIC_RELAXED);
	if (waitpid(child_pid, &status, 0) != child_pid)
		die("waitpid");
	answer("%d", status);
}

/* Until the layout has changed twice. */
static void at_exit(void)
{
	int layout = workers[0].latest;

	for (int changes = 0; changes < 2; changes += workers[0].latest != layout) {
		layout = workers[0].latest;
		do_round(&workers[0]);
	}
	if (counts[2])
		die("layouts mixed");
}

static void stop(void)
{
	unsigned long rounds = 0;

	set_timer(0);
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < worker_count; i++) {
		if (i)
			join_thread(workers[i].thread);
		rounds += workers[i].rounds;
	}
	worker_count = 0;
	work = NULL;
	answer("%lu %lu %lu %lu", counts[0], counts[1], counts[2], rounds);
}

static bool input_waits(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 0) == 1;
}

int main(void)
{
	char line[VICTIM_LINE], name[32], argument[32];

	null = fopen("/dev/null", "w");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (!null || shared == MAP_FAILED)
		die("prepare");
	answer("ready");
	for (;;) {
		int number = 0;

		while (work && !input_waits())
			do_round(&workers[0]);
		if (!read_line(line, sizeof(line)))
			return 0;
		if (sscanf(line, "%31s %31s %d", name, argument, &number) < 1)
			die("no command");
		if (!strcmp(name, "start"))
			run_start(argument, number);
		else if (!strcmp(name, "latest"))
			run_latest();
		else if (!strcmp(name, "fork"))
			run_fork(argument);
		else if (!strcmp(name, "between"))
			run_between();
		else if (!strcmp(name, "child"))
			run_child();
		else if (!strcmp(name, "reap"))
			run_reap();
		else if (!strcmp(name, "stop"))
			stop();
		else if (!strcmp(name, "leave")) {
			atexit(at_exit);
			exit(0);
		} else if (!strcmp(name, "quit")) {
			stop();
			return 0;
		} else {
			answer("unknown command %s", name);
		}
	}
}
