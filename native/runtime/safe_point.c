/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arch.h"
#include "runtime/entering.h"
#include "runtime/safe_point.h"
#include "runtime/sort_functions.h"
#include "runtime/stack.h"

#define FRAMES 384

struct frames {
	struct ulp_frame frame[FRAMES];
	unsigned count;
	bool too_many;
};

/* Not on the stack of a thread that may have little left; whoever asks owns the runtime. */
static struct frames frames;

static bool collect(const struct ulp_frame *frame, void *argument)
{
	struct frames *all = argument;

	if (all->count == FRAMES) {
		all->too_many = true;
		return false;
	}
	all->frame[all->count++] = *frame;
	return true;
}

/* The diverted thread's own frames begin behind the runtime's. */
static unsigned first_of_thread(const struct frames *all)
{
	unsigned i = 0;

	while (i < all->count && !all->frame[i].interrupted)
		i++;
	return i;
}

/*
 * The C library starts every thread from two functions, one called by the other: start_thread()
 * from clone3(), and for main() likewise.  Both are on the stack for as long as the thread lives.
 */
#define START_WORDS 2

/* Return addresses, and what looks like them, in the part of a stack that can't be unwound. */
struct rest {
	unsigned in_c_library;
	bool elsewhere;
};

static bool note_word(uint64_t word, void *argument)
{
	struct rest *rest = argument;
	enum ulp_place place;

	/* What a signal interrupted need not be a call. */
	rest->elsewhere = word == ULP_SIGNAL_FRAME_SEGMENTS || ulp_entering(word);
	place = ulp_system_code_place_in_text(word);
	if (place != ULP_PLACE_OTHER && ulp_callsite_before(word)) {
		rest->in_c_library += place == ULP_PLACE_C_LIBRARY;
		rest->elsewhere |= place != ULP_PLACE_C_LIBRARY;
	}
	return !rest->elsewhere && rest->in_c_library <= START_WORDS;
}

/*
 * Code without frame description, as Go's and that of just-in-time compilers, calls nothing of the
 * C library's that calls it back: from the last frame that can be told to the end of the stack no
 * word leads there but the two that started the thread.
 */
static bool rest_is_free(const struct frames *all, const struct ulp_block *block)
{
	struct rest rest = {0, false};
	uint64_t instruction = ulp_registers_instruction(block->registers);
	uint64_t from = ulp_registers_stack_pointer(block->registers);

	if (ulp_system_code_allocator_in_program())
		return false;
	if (first_of_thread(all) < all->count)
		from = all->frame[all->count - 1].cfa_of_callee;
	else if (ulp_system_code_place_in_text(instruction) != ULP_PLACE_OTHER)
		return false;
	return ulp_stack_scan(from, note_word, &rest) && !rest.elsewhere &&
	       rest.in_c_library == START_WORDS;
}

bool ulp_safe_point(const struct ulp_block *block, enum ulp_wait wait, const char **why)
{
	struct ulp_surroundings surroundings = {
		.place = ulp_system_code_place,
		.kind = ulp_call_kind,
		.called = ulp_callsite_target,
		.entering = ulp_entering,
		.sorts = ulp_sorts,
	};
	unsigned first;
	bool complete;

	if (!ulp_system_code_learn()) {
		*why = "its C library and loader cannot be found";
		return false;
	}
	surroundings.allocator_in_program = ulp_system_code_allocator_in_program();
	frames.count = 0;
	frames.too_many = false;
	complete = ulp_stack_walk(collect, &frames);
	if (frames.too_many) {
		*why = "its stack is too deep to be looked at";
		return false;
	}
	if (!complete && !rest_is_free(&frames, block)) {
		*why = "its stack has a frame without unwind information";
		return false;
	}
	first = first_of_thread(&frames);
	*why = ulp_judge_frames(frames.frame + first, frames.count - first, complete, wait,
				&surroundings);
	return !*why;
}
