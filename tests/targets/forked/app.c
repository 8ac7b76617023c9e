/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forks while a patch is pending on one of its threads, and while one is applied.
 *
 *   park          -> "parked": a thread is in a callback from the library of ../contract, and waits
 *   fork WHERE    -> "ID PID" of a child.  WHERE: outside, by the main thread; inside, by the parked
 *                    one, so that the child is in the callback, and waits there
 *   let ID        -> a child that is inside returns from there: the layout of the call that it was in
 *   ask ID        -> the layout that the child got in a call that began after this command
 *   end ID        -> the child is told to end; its exit status
 *   release       -> the parked thread returns: the layout of its call
 *   call          -> the layout that the main thread gets
 *   brood N       -> no answer: a thread forks N children, one after the other
 *   hatched       -> "ID PID ID PID ...", when they are there
 */
#include "../victim.h"
#include "../contract/contract.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define CHILDREN 32

/* What the parent and a child share. */
static struct shared {
	unsigned long calls;
	int latest;
	int first;
	int let_go;
	int end;
} * shared;

static pid_t children[CHILDREN];
static int child_count;

static struct {
	pthread_t thread;
	int inside;
	int fork_now;
	int forked;
	int let_go;
	int layout;
} parked;

static void nap(void)
{
	usleep(100);
}

static pid_t parent;

static void live(struct shared *self)
{
	/* Nor does it outlive the parent of a test that failed. */
	while (!__atomic_load_n(&self->end, __ATOMIC_RELAXED) && getppid() == parent) {
		int layout = transact((long)self->calls);

		if (layout != 1 && layout != 2)
			_exit(70);
		__atomic_store_n(&self->latest, layout, __ATOMIC_RELAXED);
		__atomic_fetch_add(&self->calls, 1, __ATOMIC_RELEASE);
		nap();
	}
	_exit(0);
}

/* In the child, the number of its slot; in the parent, -1. */
static int fork_one(void)
{
	int slot = child_count;
	pid_t child;

	if (slot == CHILDREN)
		die("too many children");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		return slot;
	children[slot] = child;
	__atomic_store_n(&child_count, slot + 1, __ATOMIC_RELEASE);
	return -1;
}

/* Called by the library. */
static void wait_inside(void *argument)
{
	int *child = argument;

	__atomic_store_n(&parked.inside, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&parked.let_go, __ATOMIC_ACQUIRE)) {
		if (__atomic_exchange_n(&parked.fork_now, 0, __ATOMIC_ACQ_REL)) {
			*child = fork_one();
			if (*child >= 0) {
				while (!__atomic_load_n(&shared[*child].let_go, __ATOMIC_ACQUIRE) &&
				       getppid() == parent)
					nap();
				return;
			}
			__atomic_store_n(&parked.forked, 1, __ATOMIC_RELEASE);
		}
		nap();
	}
}

static void *park(void *argument)
{
	int child = -1;
	int layout = transact_around(11, wait_inside, &child);

	(void)argument;
	if (child >= 0) {
		__atomic_store_n(&shared[child].first, layout, __ATOMIC_RELEASE);
		live(&shared[child]);
	}
	parked.layout = layout;
	return NULL;
}

static void run_park(char **arguments)
{
	(void)arguments;
	memset(&parked, 0, sizeof(parked));
	parked.thread = start_thread(park, NULL);
	wait_for_flag(&parked.inside);
	answer("parked");
}

static void run_fork(char **arguments)
{
	if (!strcmp(arguments[1], "inside")) {
		parked.forked = 0;
		__atomic_store_n(&parked.fork_now, 1, __ATOMIC_RELEASE);
		wait_for_flag(&parked.forked);
	} else {
		int child = fork_one();

		if (child >= 0)
			live(&shared[child]);
	}
	answer("%d %d", child_count - 1, (int)children[child_count - 1]);
}

static void run_let(char **arguments)
{
	struct shared *child = &shared[number_below(child_count, arguments[1])];

	__atomic_store_n(&child->let_go, 1, __ATOMIC_RELEASE);
	answer("%d", wait_for_flag(&child->first));
}

static void run_ask(char **arguments)
{
	struct shared *child = &shared[number_below(child_count, arguments[1])];
	unsigned long begin = __atomic_load_n(&child->calls, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&child->calls, __ATOMIC_ACQUIRE) < begin + 2)
		nap();
	answer("%d", __atomic_load_n(&child->latest, __ATOMIC_RELAXED));
}

static void run_end(char **arguments)
{
	int slot = number_below(child_count, arguments[1]);
	int status;

	__atomic_store_n(&shared[slot].end, 1, __ATOMIC_RELAXED);
	if (waitpid(children[slot], &status, 0) != children[slot])
		die("waitpid");
	answer("%d", status);
}

static void run_release(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&parked.let_go, 1, __ATOMIC_RELEASE);
	join_thread(parked.thread);
	answer("%d", parked.layout);
}

static void run_call(char **arguments)
{
	(void)arguments;
	answer("%d", transact(42));
}

static pthread_t brooder;
static int brood_from;

static void *brood(void *argument)
{
	for (long left = (long)argument; left > 0; left--) {
		int child = fork_one();

		if (child >= 0)
			live(&shared[child]);
		/* Over all of three applies and reverts, more or less. */
		usleep(15000);
	}
	return NULL;
}

static void run_brood(char **arguments)
{
	brood_from = child_count;
	brooder = start_thread(brood, (void *)strtol(arguments[1], NULL, 10));
}

static void run_hatched(char **arguments)
{
	char line[VICTIM_LINE] = "";

	(void)arguments;
	join_thread(brooder);
	for (int i = brood_from; i < child_count; i++) {
		size_t length = strlen(line);

		snprintf(line + length, sizeof(line) - length, "%s%d %d", *line ? " " : "", i,
			 (int)children[i]);
	}
	answer("%s", line);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"park", run_park}, {"fork", run_fork},   {"let", run_let},
		{"ask", run_ask},   {"end", run_end},     {"release", run_release},
		{"call", run_call}, {"brood", run_brood}, {"hatched", run_hatched},
		{NULL, NULL},
	};

	parent = getpid();
	shared = mmap(NULL, CHILDREN * sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	return serve(commands);
}
