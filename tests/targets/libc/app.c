/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that lives on functions of the C library, and was built without a thought of us.
 *
 *   values             -> "NAME=old" or "NAME=new" for each function, as the main thread gets it
 *   work N             -> starts N threads that call all of them all the time
 *   rounds             -> "VERSIONS WRONG", after each thread has begun and finished another round:
 *                         VERSIONS is old, new or both, as seen in these rounds; WRONG counts
 *                         results that are neither, or were made by functions of both
 *   park ID HOW        -> thread ID blocks inside an old function: in wordexp, in what
 *                         getline has jumped to, in a function that lfind calls back
 *   release ID         -> "WITHIN RETURNED NEXT": what it got from the function in which it was,
 *                         from those that it called on the way out, and from the next calls
 */
#include "../parked.h"

#include <arpa/inet.h>
#include <locale.h>
#include <monetary.h>
#include <netdb.h>
#include <search.h>
#include <sys/socket.h>
#include <time.h>
#include <wordexp.h>

#define WORKERS 16
#define PARKED  8

enum version {
	WRONG,
	OLD,
	NEW,
	BOTH
};

static const char *const names[] = {"wrong", "old", "new", "both"};

static enum version version_of(const char *seen, const char *old)
{
	return !strcmp(seen, old) ? OLD : !strcmp(seen, "new") ? NEW : WRONG;
}

/* ------------------------------------------------------------------ the functions */

static enum version by_getnetbyaddr(void)
{
	struct netent *net = getnetbyaddr(0x7f010203, AF_INET);

	return !net ? OLD : version_of(net->n_name, "");
}

static enum version by_wordexp(void)
{
	wordexp_t words;
	enum version version;

	if (wordexp("one", &words, WRDE_NOCMD))
		return WRONG;
	version = words.we_wordc == 1 ? version_of(words.we_wordv[0], "one") : WRONG;
	wordfree(&words);
	return version;
}

static enum version by_strfmon(void)
{
	char text[32];

	return strfmon(text, sizeof text, "%!n", 1.5) < 0 ? WRONG : version_of(text, "1.50");
}

static enum version by_inet_ntop(void)
{
	const unsigned char address[4] = {10, 0, 0, 1};
	char text[INET_ADDRSTRLEN];

	return inet_ntop(AF_INET, address, text, sizeof text) ? version_of(text, "10.0.0.1")
							      : WRONG;
}

static enum version by_a64l(void)
{
	long value = a64l("/");

	return value == 1 ? OLD : value == 1001 ? NEW : WRONG;
}

/* It calls localtime_r, and jumps to asctime_r: both replaced, or none. */
static enum version by_ctime_r(void)
{
	const time_t second = 86400;
	char text[64];

	return ctime_r(&second, text) ? version_of(text, "Fri Jan  2 00:00:00 1970\n") : WRONG;
}

static const struct {
	const char *name;
	enum version (*ask)(void);
	int alone; /* not to be called by two threads at once */
} functions[] = {
	{"getnetbyaddr", by_getnetbyaddr, 1},
	{"wordexp", by_wordexp, 0},
	{"strfmon", by_strfmon, 0},
	{"inet_ntop", by_inet_ntop, 0},
	{"a64l", by_a64l, 0},
	{"ctime_r", by_ctime_r, 0},
};

#define FUNCTIONS (sizeof functions / sizeof *functions)

static void run_values(char **arguments)
{
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		strcat(line, i ? " " : "");
		strcat(line, functions[i].name);
		strcat(line, "=");
		strcat(line, names[functions[i].ask()]);
	}
	answer("%s", line);
}

/* ------------------------------------------------------------------ all the time */

static struct worker {
	pthread_t thread;
	unsigned long rounds;
	unsigned long wrong;
	enum version seen; /* in its last round */
} workers[WORKERS];
static int worker_count;

static void *work(void *argument)
{
	struct worker *self = argument;

	yield_to_others();
	for (;;) {
		enum version seen = WRONG;

		for (unsigned i = 0; i < FUNCTIONS; i++) {
			enum version version = functions[i].alone ? WRONG : functions[i].ask();

			if (version == WRONG && !functions[i].alone)
				__atomic_fetch_add(&self->wrong, 1, __ATOMIC_RELAXED);
			seen |= version;
		}
		__atomic_store_n(&self->seen, seen, __ATOMIC_RELAXED);
		__atomic_fetch_add(&self->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_work(char **arguments)
{
	int count = number_below(WORKERS + 1, arguments[1]);

	while (worker_count < count) {
		struct worker *worker = &workers[worker_count++];

		worker->thread = start_thread(work, worker);
	}
	answer("%d", worker_count);
}

static void run_rounds(char **arguments)
{
	unsigned long before[WORKERS], wrong = 0;
	enum version seen = WRONG;

	(void)arguments;
	for (int i = 0; i < worker_count; i++)
		before[i] = __atomic_load_n(&workers[i].rounds, __ATOMIC_ACQUIRE);
	for (int i = 0; i < worker_count; i++) {
		/* The first may have begun earlier. */
		wait_for_count(&workers[i].rounds, before[i] + 2);
		seen |= __atomic_load_n(&workers[i].seen, __ATOMIC_RELAXED);
		wrong += __atomic_load_n(&workers[i].wrong, __ATOMIC_RELAXED);
	}
	answer("%s %lu", names[seen], wrong);
}

/* ------------------------------------------------------------------ inside */

static struct slot {
	struct parked parked;
	const char *how;
	const char *within;
	enum version returned;
	enum version next;
} slots[PARKED];

static enum version all(void)
{
	enum version seen = WRONG;

	for (unsigned i = 0; i < FUNCTIONS; i++)
		if (!functions[i].alone)
			seen |= functions[i].ask();
	return seen;
}

static void in_wordexp(struct slot *self)
{
	char command[64];
	wordexp_t words;

	/* The shell inherits the pipe; the thread waits in wordexp for what it says. */
	snprintf(command, sizeof command, "$(head -c 1 <&%d)", self->parked.pipe[0]);
	__atomic_store_n(&self->parked.inside, 1, __ATOMIC_RELEASE);
	if (wordexp(command, &words, 0))
		die("wordexp");
	self->within = !strcmp(words.we_wordv[0], "x") ? "old" : "new";
	wordfree(&words);
}

static void in_getline(struct slot *self)
{
	FILE *stream = fdopen(dup(self->parked.pipe[0]), "r");
	char *line = NULL;
	size_t size = 0;

	__atomic_store_n(&self->parked.inside, 1, __ATOMIC_RELEASE);
	if (getline(&line, &size, stream) != 2)
		die("getline");
	self->within = !strcmp(line, "x\n") ? "old" : "new";
	free(line);
	fclose(stream);
}

static int compare(const void *key, const void *element)
{
	struct slot *self = *(struct slot *const *)key;

	(void)element;
	stay(&self->parked);
	self->returned = all();
	return 0;
}

static void in_lfind(struct slot *self)
{
	int element = 0;
	size_t count = 1;

	self->within = lfind(&self, &element, &count, sizeof element, compare) ? "old" : "new";
}

static void *park(void *argument)
{
	struct slot *self = argument;

	if (!strcmp(self->how, "wordexp"))
		in_wordexp(self);
	else if (!strcmp(self->how, "getline"))
		in_getline(self);
	else
		in_lfind(self);
	self->next = all();
	return NULL;
}

static void run_park(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	memset(slot, 0, sizeof *slot);
	slot->how = strdup(arguments[2]);
	park_thread(&slot->parked, park, slot);
	answer("%d", wait_for_flag(&slot->parked.inside));
}

static void run_release(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	if (write(slot->parked.pipe[1], "x\n", 2) != 2)
		die("write");
	join_parked(&slot->parked);
	answer("%s %s %s", slot->within, names[slot->returned], names[slot->next]);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"values", run_values}, {"work", run_work},       {"rounds", run_rounds},
		{"park", run_park},     {"release", run_release}, {},
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return serve(commands);
}
