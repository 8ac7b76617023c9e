/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loader's namespaces: dlmopen() makes further ones.  What is in them neither dl_iterate_phdr()
 * nor dlopen() finds from here, as both look into the namespace of the runtime alone.
 */
#ifndef ULP_NAMESPACE_H
#define ULP_NAMESPACE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A handle of the object at `base` in a further namespace, for the caller to close; NULL if none has
 * one there.  `*space` becomes the namespace.
 */
void *ulp_namespace_open(uint64_t base, Lmid_t *space);

/* A handle of the object that came first into that namespace: its names are seen by all that came later. */
void *ulp_namespace_open_first(uint64_t base, Lmid_t *space);

#endif
