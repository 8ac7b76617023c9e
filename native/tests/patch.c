/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "target.h"

int new_answer(int question);
int newest_answer(int question);
int new_after(void (*callback)(void *), void *argument, int question);
int new_tail_of(int question);
int answer_of_thread(int question);
void new_even(struct path *path, int steps);
void new_odd(struct path *path, int steps);
void new_last(struct path *path);

int new_answer(int question)
{
	return question + 1000;
}

int new_after(void (*callback)(void *), void *argument, int question)
{
	callback(argument);
	return question + 1000;
}

int newest_answer(int question)
{
	return question + 2000;
}

int new_tail_of(int question)
{
	return question + 5000;
}

static void *ask(void *question)
{
	return (void *)(intptr_t)answer((int)(intptr_t)question);
}

/* Lets a thread ask that has never been in the library. */
int answer_of_thread(int question)
{
	pthread_t thread;
	void *seen;

	if (pthread_create(&thread, NULL, ask, (void *)(intptr_t)question) != 0 ||
	    pthread_join(thread, &seen) != 0)
		return -1;
	return (int)(intptr_t)seen;
}

static void note(struct path *path)
{
	path->versions |= NEW_VERSION;
	path->callback();
}

void new_even(struct path *path, int steps)
{
	note(path);
	if (steps > 0)
		odd(path, steps - 1);
}

void new_odd(struct path *path, int steps)
{
	note(path);
	if (steps > 0)
		even(path, steps - 1);
}

void new_last(struct path *path)
{
	note(path);
}
