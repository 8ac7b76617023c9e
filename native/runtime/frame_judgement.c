/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "runtime/frame_judgement.h"

struct frames {
	const struct ulp_frame *frame;
	unsigned count;
	const struct ulp_surroundings *in;
};

static bool in_c_library(const struct frames *all, unsigned i)
{
	return all->in->place(all->frame[i].instruction) == ULP_PLACE_C_LIBRARY;
}

/* The kind of the function that the frame called, by the call itself. */
static enum ulp_call_kind called_by(const struct frames *all, unsigned i)
{
	return all->in->kind(all->in->called(all->frame[i].instruction));
}

/* The allocator's functions often leave by a jump: then only the call tells that it was theirs. */
static bool in_own_allocator(const struct frames *all, unsigned i)
{
	return all->in->allocator_in_program &&
	       (all->in->kind(all->frame[i].function) == ULP_CALL_ALLOCATE ||
		(i + 1 < all->count && !all->frame[i + 1].interrupted &&
		 called_by(all, i + 1) == ULP_CALL_ALLOCATE));
}

/*
 * The index of the first of the frames that started the thread: contiguous, at the outer end.  A
 * program's own entry point may stand behind them.  When main() has returned, exit() stands among
 * them, with its lock.
 */
static unsigned start_frames(const struct frames *all)
{
	unsigned end = all->count;

	if (end > 1 && !in_c_library(all, end - 1) && in_c_library(all, end - 2))
		end--;
	while (end > 0 && in_c_library(all, end - 1) &&
	       all->in->kind(all->frame[end - 1].function) != ULP_CALL_EXIT)
		end--;
	/* A signal handler interrupted one of them: it may have been anywhere inside. */
	for (unsigned i = end; i < all->count; i++)
		if (all->frame[i].interrupted)
			return all->count;
	return end;
}

/* Behind the frames of the C library that begin with `from` and were not interrupted. */
static unsigned end_of_call(const struct frames *all, unsigned from, unsigned end)
{
	unsigned to = from + 1;

	while (to < end && in_c_library(all, to) && !all->frame[to].interrupted)
		to++;
	return to;
}

/*
 * What the program called: the outermost of the library's frames, which ends before `to`, or
 * the function that went on there by a jump and that the call itself names (pthread_join()).
 */
static enum ulp_call_kind kind_of_call(const struct frames *all, unsigned to)
{
	enum ulp_call_kind kind = all->in->kind(all->frame[to - 1].function);

	if (kind == ULP_CALL_UNKNOWN && to < all->count)
		kind = called_by(all, to);
	return kind;
}

/*
 * [from, to) are frames of the C library, innermost first, on top of frames that are
 * not: the function that was called from there decides.  But whoever waits in the
 * kernel, and not for a lock, is not in the allocator, which never does; the library's
 * other locks, such as a stream's, are not needed to start a thread.
 */
static bool innermost_call_is_safe(const struct frames *all, unsigned from, unsigned to,
				   enum ulp_wait wait)
{
	if (wait == ULP_WAITS)
		return true;
	switch (kind_of_call(all, to)) {
	case ULP_CALL_SYSTEM:
		return true;
	case ULP_CALL_LOCK:
		return !all->in->allocator_in_program;
	case ULP_CALL_CONDITION:
		return !all->in->allocator_in_program || wait == ULP_WAITS_FOR_LOCK;
	case ULP_CALL_LEAF:
		return to - from == 1 && !all->in->allocator_in_program;
	case ULP_CALL_JOIN:
		return wait == ULP_WAITS_FOR_LOCK;
	default:
		return false;
	}
}

/* Whether all of [from, to), frames of the C library that called the program back, hold no lock. */
static bool only_sort(const struct frames *all, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (!all->in->sorts(all->frame[i].function))
			return false;
	return true;
}

const char *ulp_judge_frames(const struct ulp_frame *frame, unsigned count, bool complete,
			     enum ulp_wait wait, const struct ulp_surroundings *surroundings)
{
	struct frames all = {frame, count, surroundings};
	unsigned end = complete ? start_frames(&all) : count;
	bool innermost = true;

	if (complete && end == 0)
		return "it runs no code of the program";
	for (unsigned i = 0, to; i < end; i = to) {
		enum ulp_place place = surroundings->place(frame[i].instruction);

		to = i + 1;
		/* Code of the kernel's, called by the C library; what is below decides. */
		if (place == ULP_PLACE_KERNEL)
			continue;
		/* The frame below was interrupted by a signal: again an innermost one. */
		if (i > 0 && frame[i].interrupted) {
			innermost = true;
			wait = ULP_RUNS;
		}
		if (place == ULP_PLACE_LOADER)
			return "it is in the dynamic loader";
		if (place == ULP_PLACE_ALLOCATOR || in_own_allocator(&all, i))
			return "it is in the memory allocator";
		if (surroundings->entering(frame[i].instruction))
			return "it is deciding on its universe";
		if (place != ULP_PLACE_C_LIBRARY) {
			if (innermost && surroundings->allocator_in_program)
				return "it computes, perhaps in the program's own memory allocator";
			innermost = false;
			continue;
		}
		to = end_of_call(&all, i, end);
		/* The trampoline that a signal handler returns to, alone. */
		if (to < end && to == i + 1 && frame[to].interrupted)
			continue;
		if (innermost && !innermost_call_is_safe(&all, i, to, wait))
			return "it is in the C library";
		if (!innermost && !only_sort(&all, i, to))
			return "it is called back by the C library";
		innermost = false;
	}
	return NULL;
}
