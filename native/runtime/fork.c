/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <time.h>

#include "runtime/fork.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"

/*
 * A library's constructor that forks holds the loader's lock, for which the worker may
 * be waiting: then waiting for the worker would never end.
 */
#define PATIENCE_NS 200000000

static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;
static pthread_t changing;
static bool in_change;
static __thread bool holding;
static bool broken;
/* A fork has waited for this change in vain: who holds the worker up may do so for long. */
static bool out_of_patience;

static void before(void)
{
	struct timespec until;

	/* The worker itself, when a patch library's constructor forks. */
	if (in_change && pthread_equal(changing, pthread_self()))
		return;
	/* A program that forks for every request would otherwise wait each time. */
	if (__atomic_load_n(&out_of_patience, __ATOMIC_RELAXED)) {
		holding = pthread_mutex_trylock(&change) == 0;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PATIENCE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	holding = pthread_mutex_clocklock(&change, CLOCK_MONOTONIC, &until) == 0;
	if (!holding)
		__atomic_store_n(&out_of_patience, true, __ATOMIC_RELAXED);
}

static void after_in_parent(void)
{
	if (holding)
		pthread_mutex_unlock(&change);
	holding = false;
}

static void after_in_child(void)
{
	if (holding)
		pthread_mutex_unlock(&change);
	else
		broken = true;
	holding = false;
	in_change = false;
	ulp_settle_forked();
	ulp_thread_forked();
	/* There is no worker here. */
	__atomic_store_n(&ulp_state.owner, 0, __ATOMIC_RELEASE);
}

bool ulp_fork_prepare_for(void)
{
	static bool prepared;

	if (!prepared)
		prepared = pthread_atfork(before, after_in_parent, after_in_child) == 0;
	return prepared;
}

void ulp_fork_hold(void)
{
	pthread_mutex_lock(&change);
	/* A fork that waited for the last one may say so only now. */
	__atomic_store_n(&out_of_patience, false, __ATOMIC_RELAXED);
	changing = pthread_self();
	in_change = true;
}

void ulp_fork_release(void)
{
	in_change = false;
	__atomic_store_n(&out_of_patience, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&change);
}

bool ulp_fork_broke_change(void)
{
	return broken;
}
