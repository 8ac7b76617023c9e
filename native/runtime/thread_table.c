/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <time.h>

#include "arch/x86_64/arch.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"

struct ulp_thread ulp_threads[ULP_THREAD_SETS * ULP_THREAD_WAYS];

/* The calling thread's record, as far as it knows; it may have been evicted since. */
static __thread struct ulp_thread *own;

/*
 * A sandboxed thread may not be allowed to ask the kernel; a lock of the error-checking
 * kind keeps its owner's ID.
 */
uint64_t ulp_thread_id(void)
{
	pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
	int owner;

	pthread_mutex_lock(&mutex);
	owner = mutex.__data.__owner;
	pthread_mutex_unlock(&mutex);
	return (uint64_t)owner;
}

/*
 * A record of the same thread, else of an earlier thread with the same ID, else a
 * free one, else the oldest: a thread that loses its record is judged by its stack
 * until it comes by again.
 */
static struct ulp_thread *choose(uint64_t tid)
{
	struct ulp_thread *set = &ulp_threads[tid % ULP_THREAD_SETS * ULP_THREAD_WAYS];
	struct ulp_thread *chosen = set;

	for (int way = 0; way < ULP_THREAD_WAYS; way++) {
		struct ulp_thread *record = &set[way];
		uint64_t holder = __atomic_load_n(&record->tid, __ATOMIC_ACQUIRE);

		if (holder == tid)
			return record;
		if (chosen->tid != 0 && (holder == 0 || record->born_ns < chosen->born_ns))
			chosen = record;
	}
	return chosen;
}

static void claim(struct ulp_thread *record, uint64_t tid)
{
	__atomic_store_n(&record->tid, 0, __ATOMIC_SEQ_CST);
	record->born_ns = ulp_clock_ns(CLOCK_BOOTTIME);
	record->thread_pointer = ulp_thread_pointer();
	record->unprovable = 0;
	__atomic_store_n(&record->tid, tid, __ATOMIC_RELEASE);
}

void ulp_thread_forked(void)
{
	uint64_t tid = ulp_thread_id();

	if (!own)
		return;
	own = choose(tid);
	claim(own, tid);
}

void ulp_thread_note(uint32_t domain, bool provable)
{
	uint64_t tid = ulp_thread_id();
	uint64_t bit = 1ull << domain;

	if (!own || own->tid != tid || own->thread_pointer != ulp_thread_pointer()) {
		own = choose(tid);
		claim(own, tid);
	}
	if (provable)
		__atomic_and_fetch(&own->unprovable, ~bit, __ATOMIC_RELAXED);
	else
		__atomic_or_fetch(&own->unprovable, bit, __ATOMIC_RELAXED);
}
