/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The objects that are loaded, as the loader's own list says, which debuggers read too (struct
 * r_debug of <link.h>).  The loader itself is never called: it may be hooked, or hold its lock.
 */
#ifndef ULP_IMAGE_TABLE_H
#define ULP_IMAGE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/image.h"

/* Call once, at start, with what the loader passes to a constructor. */
void ulp_images_learn(int argc, char **argv);

/* What the kernel told the process at its start (getauxval(3)); 0 if it did not. */
uint64_t ulp_auxiliary(uint64_t type);

/*
 * Reads the list.  Call from a thread that answers a request, before anybody looks for an
 * image; objects that come later are looked for when a stack leads into them.
 */
void ulp_images_refresh(void);

/*
 * The image that `address` lies in, or NULL.  `room` is used for one that may be unloaded one day.
 * Takes no lock that anybody waits for.  A return address, or an address that is executed, must be
 * asked for: nobody unloads an object that a thread will return to, so it is there for as long
 * as the frame is.
 */
const struct ulp_image *ulp_image_at(uint64_t address, struct ulp_image *room);

/* Calls `visit` with each image of the list, in the loader's order, until it returns false. */
void ulp_images_each(bool (*visit)(const struct ulp_image *image, void *argument), void *argument);

/*
 * The name that the loader has for the object at `base`, where that is in a namespace which dlmopen()
 * made; NUL-terminated.  Unless `first` is NULL, the name and the base of what came first into that
 * namespace.  Returns false if there is none, and then `*settled` says whether that is certain.
 */
bool ulp_images_name(uint64_t base, uint64_t *first, char *name, uint64_t size, bool *settled);

/* The image that `address` lies in is never unloaded any more. */
void ulp_images_keep(uint64_t address);

/* In a forked child. */
void ulp_images_forked(void);

#endif
