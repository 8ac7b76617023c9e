/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CYCLES_H
#define CYCLES_H

#include <stdbool.h>

/*
 * Has the runtime in this process carry out the requests in a folder again and again: `apply`, `revert` and `settle`,
 * as the tool has made them for it.
 *
 *   all_were_outside  returns once each thread has been outside the libraries since it was called
 *   is_patched        what the replaced functions tell
 *
 * Exits with a message where one is not carried out, where a hook is not on after an apply or a byte of a site is not
 * the original one after a revert, and where the replaced functions do not answer as they should.
 */
void cycle(unsigned long count, const char *folder, void (*all_were_outside)(void),
	   bool (*is_patched)(void));

#endif
