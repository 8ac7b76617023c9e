/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/clock.h"
#include "runtime/image_table.h"
#include "runtime/message.h"
#include "runtime/restartable.h"
#include "runtime/stack.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"

__attribute__((visibility("default"))) struct ulp_state ulp_state;

unsigned char ulp_request_buffer[ULP_REQUEST_CAPACITY];

static uint32_t next_result;

struct ulp_result *ulp_result_open(uint64_t nonce)
{
	struct ulp_result *result;
	uint32_t stage;

	/* Never the one that the worker is about to fill in; there is one worker at a time. */
	do {
		result = &ulp_state.results[__atomic_fetch_add(&next_result, 1, __ATOMIC_RELAXED) %
					    ULP_RESULTS];
		stage = __atomic_load_n(&result->stage, __ATOMIC_ACQUIRE);
	} while ((stage == ULP_STAGE_STARTED || stage == ULP_STAGE_WAITS) && ulp_state.owner);

	__atomic_store_n(&result->stage, ULP_STAGE_EMPTY, __ATOMIC_RELEASE);
	result->error = ULP_OK;
	result->entry_ns = 0;
	result->worker_ns = 0;
	result->universe = 0;
	memset(result->detail, 0, sizeof result->detail);
	__atomic_store_n(&result->nonce, nonce, __ATOMIC_RELEASE);
	return result;
}

void ulp_result_close(struct ulp_result *result, enum ulp_stage stage, enum ulp_error error)
{
	result->error = (int32_t)error;
	__atomic_store_n(&result->stage, (uint32_t)stage, __ATOMIC_RELEASE);
}

void ulp_state_begin_change(void)
{
	__atomic_store_n(&ulp_state.sequence, ulp_state.sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void ulp_state_end_change(void)
{
	__atomic_store_n(&ulp_state.sequence, ulp_state.sequence + 1, __ATOMIC_RELEASE);
}

uint32_t ulp_state_find_patch(const uint8_t *id)
{
	for (uint32_t i = 0; i < ulp_state.patch_count; i++)
		if (memcmp(ulp_state.patches[i].id, id, ULP_PATCH_ID_SIZE) == 0)
			return i;
	return ULP_NONE;
}

uint32_t ulp_state_find_library(uint64_t base)
{
	for (uint32_t i = 0; i < ulp_state.library_count; i++)
		if (ulp_state.libraries[i].base == base)
			return i;
	return ULP_NONE;
}

/* All that a process which is never patched sees of the runtime. */
__attribute__((constructor)) static void set_up(int argc, char **argv)
{
	ulp_cpu_detect();
	ulp_images_learn(argc, argv);
	ulp_clock_learn();
	ulp_stack_learn(argv);
	ulp_thread_learn();
	ulp_restartable_learn();
	ulp_state.abi_version = ULP_ABI_VERSION;
	ulp_state.size = sizeof ulp_state;
	memcpy(ulp_state.runtime_version, ULP_VERSION, sizeof ULP_VERSION);
	ulp_state.entry = (uint64_t)ulp_request_entry;
	ulp_state.request = (uint64_t)ulp_request_buffer;
	ulp_state.request_capacity = sizeof ulp_request_buffer;
	ulp_state.threads = (uint64_t)ulp_threads;
	ulp_state.messages = (uint64_t)&ulp_messages;
	ulp_state.stubs_start = (uint64_t)ulp_stub_pool;
	ulp_state.stubs_size = ULP_STUB_POOL_SIZE;
	ulp_state.text_start = (uint64_t)ulp_entering_start;
	ulp_state.text_end = (uint64_t)ulp_entering_end;
	/* When a process starts there is no other thread than the main one. */
	ulp_state.attached = ulp_system_call(SYS_gettid) != ulp_system_call(SYS_getpid);
	__atomic_store_n(&ulp_state.magic, ULP_STATE_MAGIC, __ATOMIC_RELEASE);
}
