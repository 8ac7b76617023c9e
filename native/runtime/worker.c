/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "system_call.h"
#include "runtime/address_space.h"
#include "runtime/apply.h"
#include "runtime/clock.h"
#include "runtime/fork.h"
#include "runtime/format.h"
#include "runtime/memory_file.h"
#include "runtime/message.h"
#include "runtime/request.h"
#include "runtime/revert.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/worker.h"

#define STACK_SIZE (512u << 10) /* constructors of patch libraries run on it */

/* There is one worker at a time: whoever starts it owns the runtime. */
static struct {
	uint64_t nonce;
	bool may_copy;
	struct ulp_result *result;
	uint64_t thread; /* the worker's ID; 0: it does not run yet, or not any more */
} order;

static bool comes_as_bytes(const struct ulp_taken *taken)
{
	return taken->request->operation == ULP_APPLY && !*taken->patch_path;
}

static const char *const operation_names[] = {
	[ULP_APPLY] = "apply", [ULP_REVERT] = "revert", [ULP_SETTLE] = "settle"};

static void note_suspended(const struct ulp_request *request)
{
	uint32_t patch = ulp_state_find_patch(request->patch_id);

	ulp_state_begin_change();
	ulp_state.domains[ulp_state.patches[patch].domain].suspended = request->suspended;
	ulp_state_end_change();
}

static enum ulp_error carry_out(struct ulp_result *result)
{
	const struct ulp_request *request;
	struct ulp_taken *taken = NULL;
	enum ulp_error error;

	if (ulp_fork_broke_change()) {
		ulp_format(result->detail, sizeof result->detail,
			   "this process was forked in the middle of an apply; restart it");
		return ULP_BAD_REQUEST;
	}
	error = ulp_request_take(order.nonce, &taken);
	if (error)
		return error;
	request = taken->request;
	if (!ulp_fork_prepare_for()) {
		ulp_request_discard(taken);
		return ULP_NO_MEMORY;
	}
	/* Before forks are held up: the core may take its time. */
	if (comes_as_bytes(taken)) {
		error = ulp_memory_file_receive(result, taken->patch_name, request->patch_id);
		if (error) {
			ulp_request_discard(taken);
			return error;
		}
	}
	ulp_fork_hold();
	if (request->operation != ULP_APPLY)
		ulp_fork_beyond_loader();
	switch (request->operation) {
	case ULP_APPLY:
		error = ulp_apply(taken, &result->universe, result->detail);
		break;
	case ULP_REVERT:
		error = ulp_revert(taken, &result->universe, result->detail);
		break;
	default:
		error = ulp_settle(taken, &result->universe);
		break;
	}
	if (!error && request->operation != ULP_SETTLE)
		note_suspended(request);
	ulp_message("%s %s: error %d%s%s, universe %llu", operation_names[request->operation],
		    taken->patch_name, error, *result->detail ? ": " : "", result->detail,
		    (unsigned long long)result->universe);
	ulp_fork_release();
	ulp_memory_file_close();
	ulp_request_discard(taken);
	return error;
}

static void *work(void *argument)
{
	struct ulp_result *result = order.result;
	uint64_t start = ulp_clock_ns(CLOCK_MONOTONIC);
	enum ulp_error error;

	(void)argument;
	__atomic_store_n(&order.thread, (uint64_t)ulp_system_call(SYS_gettid), __ATOMIC_RELEASE);
	if (order.may_copy)
		ulp_copy_begins();
	error = carry_out(result);
	ulp_copy_ends();
	result->worker_ns = ulp_clock_ns(CLOCK_MONOTONIC) - start;
	if (error)
		ulp_state.last_error = (uint32_t)error;
	ulp_result_close(result, error ? ULP_STAGE_FAILED : ULP_STAGE_DONE, error);
	__atomic_store_n(&order.thread, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&ulp_state.owner, 0, __ATOMIC_RELEASE);
	return NULL;
}

static bool start(const pthread_attr_t *attributes)
{
	pthread_t thread;

	return pthread_create(&thread, attributes, work, NULL) == 0;
}

/* By calls that the worker needs as well, so that no filter kills whoever asks. */
static long look_at_thread(uint64_t thread)
{
	char path[64];
	long descriptor;

	ulp_format(path, sizeof path, "/proc/self/task/%u", (unsigned)thread);
	descriptor = ulp_system_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return descriptor;
	ulp_system_call(SYS_close, descriptor);
	return 0;
}

bool ulp_worker_is_lost(void)
{
	uint64_t thread = __atomic_load_n(&order.thread, __ATOMIC_ACQUIRE);

	/* Who does not find itself there looks at the wrong /proc, or at none. */
	return thread && look_at_thread((uint64_t)ulp_system_call(SYS_gettid)) == 0 &&
	       look_at_thread(thread) == -ENOENT &&
	       __atomic_load_n(&order.thread, __ATOMIC_ACQUIRE) == thread;
}

bool ulp_worker_start(uint64_t nonce, bool may_copy, struct ulp_result *result)
{
	pthread_attr_t attributes;
	size_t usual;
	bool started;

	order.thread = 0;
	order.nonce = nonce;
	order.may_copy = may_copy;
	order.result = result;
	if (pthread_attr_init(&attributes) != 0)
		return false;
	/* The caller has its signals blocked, and so will the worker. */
	started = pthread_attr_getstacksize(&attributes, &usual) == 0 &&
		  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
		  pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0 &&
		  (start(&attributes) ||
		   /* Thread-local storage is taken from the stack: there may be very much of it. */
		   (pthread_attr_setstacksize(&attributes, usual) == 0 && start(&attributes)));
	pthread_attr_destroy(&attributes);
	return started;
}
