/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects in the process: loading a patch library, and holding on to a target. */
#ifndef ULP_LOADER_H
#define ULP_LOADER_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

struct ulp_object {
	uint64_t base;       /* load bias */
	uint64_t text_start; /* over its executable segments */
	uint64_t text_end;
	uint64_t read_start; /* over the segments that are there to be read */
	uint64_t read_end;
	uint64_t relro_start; /* whole pages, writable until the loader had filled them */
	uint64_t relro_end;
	uint64_t
		tls_module; /* as __tls_get_addr() counts them; 0: it has no thread-local storage */
	const uint8_t *build_id; /* in the object's own memory; NULL if it has none */
	uint32_t build_id_size;
};

/*
 * The namespace of the object at `base`, see namespace.h.  LM_ID_NEWLM if that cannot be told: it is
 * loaded no more, or the loader changes the list of that namespace just now.
 */
Lmid_t ulp_loader_namespace(uint64_t base);

/*
 * Loads the patch library at `path`, for good; "" is the memory file that was received.  It comes
 * into the namespace of the object at the load bias `target`.  On failure `detail` (ULP_DETAIL_SIZE
 * bytes) has the loader's words.
 */
enum ulp_error ulp_loader_load(const char *path, uint64_t target, struct ulp_object *object,
			       char *detail);

/*
 * Finds the object that is loaded at `base`, and makes sure that it stays.  Returns
 * ULP_LIBRARY_CHANGED if there is none.
 */
enum ulp_error ulp_loader_hold(uint64_t base, struct ulp_object *object);

/* Describes the object that is loaded at `base`; returns false if there is none. */
bool ulp_loader_find(uint64_t base, struct ulp_object *object);

/*
 * The address of what the object at `base` means by `name` with `version` ("" for any), in the
 * loader's order: the program and all that came with it, then the object and what it needs.  0 if
 * there is none.
 */
uint64_t ulp_loader_symbol(uint64_t base, const char *name, const char *version);

/*
 * The function of the loader through which the object with code at `text` jumps to another one's
 * function the first time, or 0: it finds them all when it is loaded.
 */
uint64_t ulp_loader_resolver(uint64_t text);

bool ulp_object_has_build_id(const struct ulp_object *object, const uint8_t *build_id,
			     uint32_t size);

#endif
