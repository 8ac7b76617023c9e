/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/clock.h"
#include "runtime/fork.h"
#include "runtime/image_table.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"

/*
 * A library's constructor that forks holds the loader's lock, for which the worker may
 * be waiting: then waiting for the worker would never end.
 */
#define PATIENCE_NS 200000000

/*
 * Beyond the loader the worker needs nothing but the processor, which on a busy host may take long.  Not
 * for ever: a signal handler may fork while the thread holds the allocator's lock.
 */
#define PATIENCE_BEYOND_LOADER_NS 10000000000

/* A lock of our own: whoever forks must not come through a function that may be hooked. */
enum {
	FREE,
	HELD,
	WAITED_FOR,
};
static uint32_t change;

static uint64_t changing; /* thread pointer */
static bool in_change;
static __thread bool holding;
static bool broken;
/* A fork has waited for this change in vain: who holds the worker up may do so for long. */
static bool out_of_patience;
static bool beyond_loader;

static bool try_lock(void)
{
	uint32_t found = FREE;

	return __atomic_compare_exchange_n(&change, &found, HELD, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* Returns false if the lock is not to be had before `until`, on CLOCK_MONOTONIC; 0: for ever. */
static bool lock_until(uint64_t until)
{
	if (try_lock())
		return true;
	while (__atomic_exchange_n(&change, WAITED_FOR, __ATOMIC_ACQUIRE) != FREE) {
		uint64_t now = ulp_clock_ns(CLOCK_MONOTONIC);
		struct timespec left;

		if (until && now >= until)
			return false;
		left.tv_sec = (time_t)((until - now) / 1000000000);
		left.tv_nsec = (long)((until - now) % 1000000000);
		ulp_system_call(SYS_futex, &change, FUTEX_WAIT_PRIVATE, WAITED_FOR,
				until ? &left : NULL);
	}
	return true;
}

static void unlock(void)
{
	if (__atomic_exchange_n(&change, FREE, __ATOMIC_RELEASE) == WAITED_FOR)
		ulp_system_call(SYS_futex, &change, FUTEX_WAKE_PRIVATE, 1);
}

static bool wait_for_change(void)
{
	uint64_t begin = ulp_clock_ns(CLOCK_MONOTONIC), now = begin;

	do {
		if (lock_until(now + PATIENCE_NS))
			return true;
		now = ulp_clock_ns(CLOCK_MONOTONIC);
	} while (__atomic_load_n(&beyond_loader, __ATOMIC_RELAXED) &&
		 now - begin < PATIENCE_BEYOND_LOADER_NS);
	return false;
}

static void before(void)
{
	/* The worker itself, when a patch library's constructor forks. */
	if (in_change && changing == ulp_thread_pointer())
		return;
	/* A program that forks for every request would otherwise wait each time. */
	if (__atomic_load_n(&out_of_patience, __ATOMIC_RELAXED)) {
		holding = try_lock();
		return;
	}
	holding = wait_for_change();
	if (!holding)
		__atomic_store_n(&out_of_patience, true, __ATOMIC_RELAXED);
}

static void after_in_parent(void)
{
	if (holding)
		unlock();
	holding = false;
}

static void after_in_child(void)
{
	if (holding)
		unlock();
	else
		broken = true;
	holding = false;
	in_change = false;
	beyond_loader = false;
	ulp_settle_forked();
	ulp_thread_forked();
	ulp_images_forked();
	/* There is no worker here. */
	__atomic_store_n(&ulp_state.owner, 0, __ATOMIC_RELEASE);
}

/*
 * What pthread_atfork() comes down to.  That one is linked into each library, from an archive which
 * on some systems is not fit for indirect branch tracking: the runtime would not be either.
 */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
		      void *library);

bool ulp_at_fork(void (*before_fork)(void), void (*in_parent)(void), void (*in_child)(void))
{
	/* Any address of this library tells whose they are, which matters to one that is unloaded. */
	return __register_atfork(before_fork, in_parent, in_child, &change) == 0;
}

bool ulp_fork_prepare_for(void)
{
	static bool prepared;

	if (!prepared)
		prepared = ulp_at_fork(before, after_in_parent, after_in_child);
	return prepared;
}

void ulp_fork_hold(void)
{
	lock_until(0);
	/* A fork that waited for the last one may say so only now. */
	__atomic_store_n(&out_of_patience, false, __ATOMIC_RELAXED);
	changing = ulp_thread_pointer();
	in_change = true;
}

void ulp_fork_beyond_loader(void)
{
	__atomic_store_n(&beyond_loader, true, __ATOMIC_RELAXED);
	__atomic_store_n(&out_of_patience, false, __ATOMIC_RELAXED);
}

void ulp_fork_release(void)
{
	in_change = false;
	__atomic_store_n(&beyond_loader, false, __ATOMIC_RELAXED);
	__atomic_store_n(&out_of_patience, false, __ATOMIC_RELAXED);
	unlock();
}

bool ulp_fork_broke_change(void)
{
	return broken;
}
