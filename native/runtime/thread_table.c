/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/prctl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/address_space.h"
#include "runtime/clock.h"
#include "runtime/thread_table.h"

struct ulp_thread ulp_threads[ULP_THREAD_SETS * ULP_THREAD_WAYS];

/* The calling thread's record, as far as it knows; it may have been evicted since. */
static __thread struct ulp_thread *own;

/*
 * A sandboxed thread may not be allowed to ask the kernel for its ID.  The C library keeps it in
 * each thread's control block, and has the kernel clear it there when the thread ends
 * (set_tid_address(2)): so that the kernel knows where it lies.
 */
static int64_t id_offset; /* from the thread pointer; 0: not found */

/* Where it has been since glibc 2.4. */
#define USUAL_OFFSET 0x2d0

static bool id_lies_at(int64_t offset, uint32_t id)
{
	return offset > 0 && offset < (int64_t)ULP_PAGE && offset % 4 == 0 &&
	       *(const uint32_t *)(ulp_thread_pointer() + (uint64_t)offset) == id;
}

void ulp_thread_learn(void)
{
	uint32_t id = (uint32_t)ulp_system_call(SYS_gettid);
	uint64_t cleared = 0;

	if (id_lies_at(USUAL_OFFSET, id)) {
		id_offset = USUAL_OFFSET;
	} else if (ulp_system_call(SYS_prctl, PR_GET_TID_ADDRESS, &cleared) == 0 &&
		   id_lies_at((int64_t)(cleared - ulp_thread_pointer()), id)) {
		id_offset = (int64_t)(cleared - ulp_thread_pointer());
	}
}

uint64_t ulp_thread_id(void)
{
	if (!id_offset)
		return (uint64_t)ulp_system_call(SYS_gettid);
	return *(const volatile uint32_t *)(ulp_thread_pointer() + (uint64_t)id_offset);
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
