/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A site: the place at a function where whoever enters it is led to its newest stub.  There are
 * several kinds.  A kind says what is written there and in what order, how the old version of the
 * function is reached, and what else must be in memory for it; who hooks, verifies, puts back and
 * undoes goes by that alone.
 *
 * Bytes of a site are counted as in struct ulp_hook: bit i stands for byte i of `code`.
 */
#ifndef ULP_SITE_H
#define ULP_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/function.h"
#include "runtime/request.h"
#include "runtime/text.h"

#define ULP_SITE_STEPS 5

/*
 * One step of hooking, each a barrier behind the one before.  The steps of a hop, a way into the
 * function, switch it on; the last of them decides.
 */
struct ulp_site_step {
	uint32_t bytes;
	uint32_t hop; /* of ULP_SITE_HOPS; 0: code that nobody comes to before a hop is on */
	bool at_once; /* all bytes by one store of the processor; else each by its own */
};

struct ulp_site_layout {
	uint64_t address; /* of byte 0 */
	unsigned size;    /* how many bytes there are */
	unsigned step_count;
	struct ulp_site_step step[ULP_SITE_STEPS];
	uint32_t starts; /* the bytes at which an instruction begins once it is hooked */
};

struct ulp_site_kind {
	struct ulp_site_layout (*layout)(const struct ulp_function *function);

	/* Whether a function that was never hooked can be, in these hops: what stands there is what must. */
	enum ulp_error (*plan)(struct ulp_function *function, uint32_t hops,
			       const struct ulp_taken_library *library);

	/*
	 * Makes what the site needs elsewhere, and gives the function its slot.  NULL: it needs nothing
	 * but a slot near the library.
	 */
	enum ulp_error (*prepare)(const struct ulp_text *text, struct ulp_function *function,
				  char *detail);

	/* Takes back what was planned and prepared, where nothing has led to it yet.  NULL: nothing was. */
	void (*discard)(const struct ulp_text *text, struct ulp_function *function);

	/* What the bytes become, by the function's slot.  False: it is not within reach. */
	bool (*encode)(const struct ulp_function *function, unsigned char code[ULP_HOOK_CODE]);

	/* Where the function as it was before goes on. */
	uint64_t (*old_version)(const struct ulp_function *function);

	/* Whether a call of `address` is a call of the function. */
	bool (*is_called_by)(const struct ulp_function *function, uint64_t address);

	/* Whether what the site needs elsewhere is as it was left.  NULL: it needs nothing. */
	bool (*is_whole)(const struct ulp_function *function);

	/* Whether a function whose hook was undone can be hooked again.  NULL: none is undone. */
	bool (*is_unchanged)(const struct ulp_function *function);

	/* Whether the hook is undone once nothing of its domain is replaced any more, for no thread. */
	bool goes_when_reverted;
};

extern const struct ulp_site_kind ulp_site_padding;
extern const struct ulp_site_kind ulp_site_pun;

const struct ulp_site_kind *ulp_site_of(const struct ulp_function *function);

/* The bytes of all steps of these hops; 0: of the code that they lead to. */
uint32_t ulp_site_bytes(const struct ulp_site_layout *layout, uint32_t hops);

/* Those of `bytes` that are not in memory as in `expected`. */
uint32_t ulp_site_differing(const struct ulp_site_layout *layout, uint32_t bytes,
			    const unsigned char expected[ULP_HOOK_CODE]);

/* Writes `bytes` of `code`, those that follow each other at once. */
bool ulp_site_write(const struct ulp_text *text, const struct ulp_site_layout *layout,
		    uint32_t bytes, const unsigned char code[ULP_HOOK_CODE]);

/* The same of code that threads may be executing: `bytes` of one step, as that says, where they differ. */
bool ulp_site_write_step(const struct ulp_text *text, const struct ulp_site_layout *layout,
			 unsigned step, uint32_t bytes, const unsigned char code[ULP_HOOK_CODE]);

/* Whether the step is the one that switches its hop on. */
bool ulp_site_decides(const struct ulp_site_layout *layout, unsigned step);

#endif
