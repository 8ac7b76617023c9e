/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ELF object as it lies in memory, described without a word from the loader (gABI, chapter 5).
 * Nothing is read outside of what its program headers say is there to be read; and what may be
 * unloaded is copied (ulp_copy()), not read.
 */
#ifndef ULP_IMAGE_H
#define ULP_IMAGE_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>

/* Others are left out, and then nothing in them can be read; linkers make two to six. */
#define ULP_IMAGE_SEGMENTS 12

struct ulp_image {
	uint64_t start;       /* of the lowest segment; absolute, as all addresses here */
	uint64_t end;         /* behind the highest */
	uint64_t base;        /* load bias */
	uint64_t frame_table; /* .eh_frame_hdr, or 0 */
	uint64_t dynamic;     /* the dynamic section, or 0 */
	uint64_t dynamic_size;
	struct {
		uint64_t start;
		uint64_t end;
		uint32_t flags; /* PF_* */
	} segment[ULP_IMAGE_SEGMENTS];
	uint32_t segment_count;
	bool stays; /* it is never unloaded, so that it can be read */
	uint64_t
		name; /* a hash of the name that other objects need it by (DT_SONAME); 0: it has none */
	/* Two words by which it is told from another object at the same place. */
	uint32_t mark[2];
	uint64_t mark_at[2];
};

/* Describes the object with the program headers at `headers`. Returns false if it is not all there. */
bool ulp_image_describe(struct ulp_image *image, uint64_t base, uint64_t headers, unsigned count);

/* The same for one whose ELF header may be at `header`. */
bool ulp_image_describe_at(struct ulp_image *image, uint64_t header);

/*
 * [address, address + size) as a pointer if it lies in one readable segment, else NULL.  For an object
 * that does not stay, the caller knows that it is there: the calling thread will return to it, say.
 */
const void *ulp_image_read(const struct ulp_image *image, uint64_t address, uint64_t size);

/* The end of the readable segment that `address` lies in; 0 if it lies in none. */
uint64_t ulp_image_readable_to(const struct ulp_image *image, uint64_t address);

/* What the dynamic section says for the first `tag` (DT_*); 0 if it does not. Addresses are absolute. */
uint64_t ulp_image_dynamic(const struct ulp_image *image, int64_t tag);

/* Whether other objects need it by this name. */
bool ulp_image_is_named(const struct ulp_image *image, const char *name);

/* Whether it needs `other`, by its name (DT_NEEDED). */
bool ulp_image_needs(const struct ulp_image *image, const struct ulp_image *other);

/*
 * Calls `visit` with the address and type (STT_*) of every symbol that the object defines under
 * this name, in any version, and shows to others.
 */
void ulp_image_symbols(const struct ulp_image *image, const char *name,
		       void (*visit)(uint64_t address, unsigned type, void *argument),
		       void *argument);

/* The last of them that is a plain function, or 0. */
uint64_t ulp_image_function(const struct ulp_image *image, const char *name);

#endif
