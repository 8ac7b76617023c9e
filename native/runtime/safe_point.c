/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "arch/x86_64/arch.h"
#include "runtime/blocked_calls.h"
#include "runtime/safe_point.h"
#include "runtime/stack.h"
#include "runtime/state.h"

/* Two pages, on every kernel so far. */
#define VDSO_SIZE 8192

struct range {
	uint64_t start;
	uint64_t end;
};

static struct range c_library;
static struct range loader;
static struct range kernel_code; /* the vdso */
static struct range allocator;   /* empty when it is the C library */
/* The program brings its own allocator: then its frames tell nothing. */
static bool allocator_in_program;

/* What qsort calls between itself and the comparison function. */
#define SORT_FUNCTIONS 8
static uint64_t sort_functions[SORT_FUNCTIONS];
static unsigned sort_function_count;

static bool within(const struct range *range, uint64_t address)
{
	return address >= range->start && address < range->end;
}

static struct range object_of(const void *address, const struct link_map **map)
{
	struct dl_find_object object;

	if (_dl_find_object((void *)address, &object) != 0)
		return (struct range){0, 0};
	if (map)
		*map = object.dlfo_link_map;
	return (struct range){(uint64_t)object.dlfo_map_start, (uint64_t)object.dlfo_map_end};
}

void ulp_safe_point_learn_objects(void)
{
	const struct link_map *map = NULL;

	c_library = object_of((const void *)getauxval, NULL);
	kernel_code.start = getauxval(AT_SYSINFO_EHDR);
	kernel_code.end = kernel_code.start ? kernel_code.start + VDSO_SIZE : 0;
	loader = object_of((const void *)getauxval(AT_BASE), NULL);
	allocator = object_of((const void *)malloc, &map);
	if (allocator.start == c_library.start)
		allocator = (struct range){0, 0};
	else if (map && !map->l_prev)
		allocator_in_program = true;
}

/* The part of an object that is code. */
static struct range text_of(const struct range *object)
{
	const ElfW(Ehdr) *header = (const void *)object->start;
	const ElfW(Phdr) *segment = (const void *)(object->start + (header ? header->e_phoff : 0));
	struct range text = {UINT64_MAX, 0};
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; header && i < header->e_phnum; i++) {
		uint64_t start;

		if (segment[i].p_type != PT_LOAD)
			continue;
		/* Segments are ascending, and the first one begins with this header. */
		if (lowest == UINT64_MAX)
			lowest = segment[i].p_vaddr;
		start = object->start + segment[i].p_vaddr - lowest;
		if (!(segment[i].p_flags & PF_X))
			continue;
		if (start < text.start)
			text.start = start;
		if (start + segment[i].p_memsz > text.end)
			text.end = start + segment[i].p_memsz;
	}
	return text;
}

static bool note_sort_function(const struct ulp_frame *frame, void *argument)
{
	bool *in_library = argument;

	if (within(&c_library, frame->instruction)) {
		*in_library = true;
		if (sort_function_count < SORT_FUNCTIONS)
			sort_functions[sort_function_count++] = frame->function;
		return true;
	}
	return !*in_library;
}

static int compare_while_learning(const void *a, const void *b)
{
	bool in_library = false;

	ulp_stack_walk(note_sort_function, &in_library);
	return *(const char *)a - *(const char *)b;
}

/*
 * A comparison function may run for long under qsort, which holds no lock then. The
 * names of its inner functions are not public, so they are learnt by being called.
 * Three elements sort in place: nothing is allocated.
 */
static void learn_sort_functions(void)
{
	static const char *const search_for = "b";
	char elements[] = {'c', 'a', 'b'};

	qsort(elements, sizeof elements, 1, compare_while_learning);
	if (!bsearch(search_for, elements, sizeof elements, 1, compare_while_learning))
		abort();
}

static bool is_sort_function(uint64_t function)
{
	for (unsigned i = 0; i < sort_function_count; i++)
		if (sort_functions[i] == function)
			return true;
	return false;
}

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

/* The allocator's functions often leave by a jump: then only the call tells that it was theirs. */
static bool in_own_allocator(const struct frames *all, unsigned i)
{
	return allocator_in_program &&
	       (ulp_call_kind(all->frame[i].function) == ULP_CALL_ALLOCATE ||
		(i + 1 < all->count && !all->frame[i + 1].interrupted &&
		 ulp_call_kind(ulp_callsite_target(all->frame[i + 1].instruction)) ==
			 ULP_CALL_ALLOCATE));
}

static bool in_c_library(const struct ulp_frame *frame)
{
	return within(&c_library, frame->instruction);
}

/*
 * The frames that started the thread: contiguous, at the outer end.  A program's
 * own entry point may stand behind them.  When main() has returned, exit() stands
 * among them, with its lock.
 */
static unsigned start_frames(const struct frames *all, unsigned first)
{
	unsigned end = all->count;

	if (end > first + 1 && !in_c_library(&all->frame[end - 1]) &&
	    in_c_library(&all->frame[end - 2]))
		end--;
	while (end > first && in_c_library(&all->frame[end - 1]) &&
	       all->frame[end - 1].function != (uint64_t)exit &&
	       all->frame[end - 1].function != (uint64_t)quick_exit &&
	       all->frame[end - 1].function != (uint64_t)pthread_exit)
		end--;
	/* A signal handler interrupted one of them: it may have been anywhere inside. */
	for (unsigned i = end; i < all->count; i++)
		if (all->frame[i].interrupted)
			return all->count;
	return end;
}

/*
 * What the program called: the outermost of the library's frames, which ends before `to`, or
 * the function that went on there by a jump and that the call itself names (pthread_join()).
 */
static enum ulp_call_kind kind_of_call(const struct frames *all, unsigned to)
{
	enum ulp_call_kind kind = ulp_call_kind(all->frame[to - 1].function);

	if (kind == ULP_CALL_UNKNOWN && to < all->count)
		kind = ulp_call_kind(ulp_callsite_target(all->frame[to].instruction));
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
		return !allocator_in_program;
	case ULP_CALL_LEAF:
		return to - from == 1 && !allocator_in_program;
	case ULP_CALL_JOIN:
		return wait == ULP_WAITS_FOR_LOCK;
	default:
		return false;
	}
}

/*
 * The C library starts every thread from two functions, one called by the other: start_thread()
 * from clone3(), and for main() likewise.  Both are on the stack for as long as the thread lives.
 */
#define START_WORDS 2

/* Return addresses, and what looks like them, in the part of a stack that can't be unwound. */
struct rest {
	struct range c_library;
	struct range loader;
	struct range allocator;
	unsigned in_c_library;
	bool elsewhere;
};

static bool in_rest(const struct rest *rest, uint64_t address)
{
	return within(&rest->c_library, address) || within(&rest->loader, address) ||
	       within(&rest->allocator, address);
}

static bool note_word(uint64_t word, void *argument)
{
	struct rest *rest = argument;

	/* What a signal interrupted need not be a call. */
	rest->elsewhere = word == ULP_SIGNAL_FRAME_SEGMENTS ||
			  (word >= ulp_state.text_start && word < ulp_state.text_end);
	if (in_rest(rest, word) && ulp_callsite_before(word)) {
		rest->in_c_library += within(&rest->c_library, word);
		rest->elsewhere |= !within(&rest->c_library, word);
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
	struct rest rest = {.c_library = text_of(&c_library),
			    .loader = text_of(&loader),
			    .allocator = text_of(&allocator)};
	uint64_t instruction = ulp_registers_instruction(block->registers);
	uint64_t from = ulp_registers_stack_pointer(block->registers);

	if (allocator_in_program)
		return false;
	if (first_of_thread(all) < all->count)
		from = all->frame[all->count - 1].cfa_of_callee;
	else if (in_rest(&rest, instruction))
		return false;
	return ulp_stack_scan(from, note_word, &rest) && !rest.elsewhere &&
	       rest.in_c_library == START_WORDS;
}

bool ulp_safe_point(const struct ulp_block *block, enum ulp_wait wait, const char **why)
{
	unsigned first, end, i;
	bool innermost = true, complete;

	if (!sort_function_count)
		learn_sort_functions();
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
	end = complete ? start_frames(&frames, first) : frames.count;
	if (complete && first == end) {
		*why = "it runs no code of the program";
		return false;
	}
	for (i = first; i < end; i++) {
		const struct ulp_frame *frame = &frames.frame[i];
		unsigned to = i;

		/* Code of the kernel's, called by the C library; what is below decides. */
		if (within(&kernel_code, frame->instruction))
			continue;
		/* The frame below was interrupted by a signal: again an innermost one. */
		if (i > first && frame->interrupted) {
			innermost = true;
			wait = ULP_RUNS;
		}
		if (within(&loader, frame->instruction)) {
			*why = "it is in the dynamic loader";
			return false;
		}
		if (in_own_allocator(&frames, i) ||
		    (!allocator_in_program && within(&allocator, frame->instruction))) {
			*why = "it is in the memory allocator";
			return false;
		}
		if (frame->instruction >= ulp_state.text_start &&
		    frame->instruction < ulp_state.text_end) {
			*why = "it is deciding on its universe";
			return false;
		}
		if (!in_c_library(frame)) {
			if (innermost && allocator_in_program) {
				*why = "it computes, perhaps in the program's own memory allocator";
				return false;
			}
			innermost = false;
			continue;
		}
		while (to < end && in_c_library(&frames.frame[to]) &&
		       (to == i || !frames.frame[to].interrupted))
			to++;
		/* The trampoline that a signal handler returns to, alone. */
		if (to < end && to == i + 1 && frames.frame[to].interrupted)
			continue;
		if (innermost) {
			if (!innermost_call_is_safe(&frames, i, to, wait)) {
				*why = "it is in the C library";
				return false;
			}
			innermost = false;
		} else {
			for (unsigned k = i; k < to; k++) {
				if (!is_sort_function(frames.frame[k].function)) {
					*why = "it is called back by the C library";
					return false;
				}
			}
		}
		i = to - 1;
	}
	return true;
}

bool ulp_safe_point_in_c_library(uint64_t address)
{
	return within(&c_library, address);
}

bool ulp_safe_point_in_loader(uint64_t address)
{
	return within(&loader, address);
}
