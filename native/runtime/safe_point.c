/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <string.h>

#include "arch.h"
#include "runtime/blocked_calls.h"
#include "runtime/image_table.h"
#include "runtime/safe_point.h"
#include "runtime/stack.h"
#include "runtime/entering.h"

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
static struct range c_library_text, loader_text, allocator_text;
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

static const struct ulp_image *c_library_image;
static uint64_t system_call_function; /* syscall() */

struct by_name {
	const char *soname;
	const struct ulp_image *image; /* NULL: none has it */
};

static bool has_name(const struct ulp_image *image, void *argument)
{
	struct by_name *wanted = argument;

	if (strcmp(ulp_image_soname(image), wanted->soname) != 0)
		return true;
	wanted->image = image;
	return false;
}

/* Not by what the kernel says: the loader itself may have been the program that was started. */
static const struct ulp_image *image_named(const char *soname)
{
	struct by_name wanted = {.soname = soname, .image = NULL};

	ulp_images_each(has_name, &wanted);
	return wanted.image;
}

static struct range range_of(const struct ulp_image *image)
{
	return image ? (struct range){image->start, image->end} : (struct range){0, 0};
}

/* The part of an object that is code. */
static struct range text_of(const struct ulp_image *image)
{
	struct range text = {UINT64_MAX, 0};

	for (uint32_t i = 0; image && i < image->segment_count; i++) {
		if (!(image->segment[i].flags & PF_X))
			continue;
		if (image->segment[i].start < text.start)
			text.start = image->segment[i].start;
		if (image->segment[i].end > text.end)
			text.end = image->segment[i].end;
	}
	return text;
}

static void learn_allocator(uint64_t function)
{
	struct ulp_image room;
	const struct ulp_image *image = ulp_image_at(function, &room);

	if (!image || image->start == c_library.start)
		return;
	allocator = range_of(image);
	allocator_text = text_of(image);
	allocator_in_program = within(&allocator, ulp_auxiliary(AT_PHDR));
}

bool ulp_safe_point_learn(void)
{
	const struct ulp_image *library, *dynamic_loader;

	if (c_library_image)
		return true;
	library = image_named("libc.so.6");
	dynamic_loader = image_named(ULP_LOADER_NAME);
	if (!library || !dynamic_loader)
		return false;
	c_library_image = library;
	c_library = range_of(library);
	c_library_text = text_of(library);
	loader = range_of(dynamic_loader);
	loader_text = text_of(dynamic_loader);
	kernel_code.start = ulp_auxiliary(AT_SYSINFO_EHDR);
	kernel_code.end = kernel_code.start ? kernel_code.start + VDSO_SIZE : 0;
	system_call_function = ulp_image_function(c_library_image, "syscall");
	learn_allocator(ulp_calls_learn(c_library_image));
	return true;
}

static bool known_to_sort(uint64_t function)
{
	for (unsigned i = 0; i < sort_function_count; i++)
		if (sort_functions[i] == function)
			return true;
	return false;
}

static bool note_sort_function(const struct ulp_frame *frame, void *argument)
{
	bool *in_library = argument;

	if (within(&c_library, frame->instruction)) {
		*in_library = true;
		if (!known_to_sort(frame->function) && sort_function_count < SORT_FUNCTIONS)
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
	char elements[] = {'c', 'a', 'b'};
	int (*compare)(const void *, const void *) = compare_while_learning;
	void (*sort)(void *, size_t, size_t, int (*)(const void *, const void *)) =
		(void (*)(void *, size_t, size_t, int (*)(const void *, const void *)))
			ulp_image_function(c_library_image, "qsort");
	void *(*search)(const void *, const void *, size_t, size_t,
			int (*)(const void *, const void *)) =
		(void *(*)(const void *, const void *, size_t, size_t,
			   int (*)(const void *, const void *)))ulp_image_function(c_library_image,
										   "bsearch");

	if (sort)
		sort(elements, sizeof elements, 1, compare);
	if (search)
		search("b", elements, sizeof elements, 1, compare);
}

static bool is_sort_function(uint64_t function)
{
	static bool learned;

	if (!learned) {
		learned = true;
		learn_sort_functions();
	}
	return known_to_sort(function);
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
	       ulp_call_kind(all->frame[end - 1].function) != ULP_CALL_EXIT)
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
	rest->elsewhere = word == ULP_SIGNAL_FRAME_SEGMENTS || ulp_entering(word);
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
	struct rest rest = {
		.c_library = c_library_text, .loader = loader_text, .allocator = allocator_text};
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

	if (!ulp_safe_point_learn()) {
		*why = "its C library and loader cannot be found";
		return false;
	}
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
		if (ulp_entering(frame->instruction)) {
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

bool ulp_safe_point_in_system_call_function(uint64_t address)
{
	/* It is not longer than this. */
	return address >= system_call_function && address < system_call_function + 64;
}

bool ulp_safe_point_in_loader(uint64_t address)
{
	return within(&loader, address);
}
