/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/address_space.h"
#include "runtime/binding.h"
#include "runtime/format.h"
#include "runtime/image.h"
#include "runtime/image_table.h"
#include "runtime/message.h"
#include "runtime/request.h"

#define WORD sizeof(uint64_t)

/* One library of the request, and the patch library, as they lie in memory. */
struct sides {
	const struct ulp_image *target;
	const struct ulp_image *patch;
	struct ulp_object loaded; /* the target, as the loader says */
	const struct ulp_object *patch_loaded;
};

static uint32_t words_of(const struct ulp_request_binding *binding)
{
	return binding->kind == ULP_BIND_TLS || binding->kind == ULP_BIND_TLS_WORDS ? 2 : 1;
}

/* The library's own words at `offset`, or NULL where it has none to read. */
static const uint64_t *words_at(const struct sides *sides, uint64_t offset, uint32_t count)
{
	return ulp_image_read(sides->target, sides->loaded.base + offset, count * WORD);
}

/* Returns false if what the binding stands for is not there. */
static bool find_value(const struct sides *sides, const struct ulp_request_binding *binding,
		       const char *name, const char *version, uint64_t value[2])
{
	const uint64_t *words;

	switch (binding->kind) {
	case ULP_BIND_ADDRESS:
		value[0] = sides->loaded.base + binding->offset;
		break;
	case ULP_BIND_SYMBOL:
		value[0] = ulp_loader_symbol(sides->loaded.base, name, version);
		if (!value[0])
			return false;
		break;
	case ULP_BIND_TLS:
		value[0] = sides->loaded.tls_module;
		value[1] = binding->offset;
		if (!value[0])
			return false;
		break;
	default:
		words = words_at(sides, binding->offset, words_of(binding));
		if (!words)
			return false;
		/* The loader binds a function lazily in one store. */
		value[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
		if (words_of(binding) == 2)
			value[1] = words[1];
		break;
	}
	value[words_of(binding) - 1] += (uint64_t)binding->addend;
	return true;
}

static bool writable(const struct ulp_image *image, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < image->segment_count; i++)
		if (image->segment[i].flags & PF_W && start >= image->segment[i].start &&
		    end <= image->segment[i].end)
			return true;
	return false;
}

static bool protect(uint64_t address, int protection)
{
	return ulp_system_call(SYS_mprotect, address & ~(ULP_PAGE - 1), ULP_PAGE, protection) == 0;
}

/* Threads that an earlier apply has brought into the patch library may read the word meanwhile. */
static bool store(const struct ulp_object *patch, uint64_t address, uint64_t value)
{
	uint64_t *word = (uint64_t *)address;
	bool protected = address >= patch->relro_start && address < patch->relro_end;

	if (*word == value)
		return true;
	if (protected && !protect(address, PROT_READ | PROT_WRITE))
		return false;
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	if (protected && !protect(address, PROT_READ))
		ulp_message("a page of relocated data at %llx stays writable: mprotect is denied",
			    (unsigned long long)(address & ~(ULP_PAGE - 1)));
	return true;
}

static enum ulp_error fill(const struct ulp_taken *taken, const struct sides *sides,
			   const struct ulp_request_binding *binding, char *detail)
{
	const char *name = ulp_request_string(taken, binding->name);
	const char *version = ulp_request_string(taken, binding->version);
	uint64_t slot = sides->patch_loaded->base + binding->slot, value[2] = {0, 0};
	uint32_t count = words_of(binding);

	if (!writable(sides->patch, slot, slot + count * WORD)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "the word for %s is not the patch library's",
			   name);
		return ULP_BAD_REQUEST;
	}
	if (!find_value(sides, binding, name, version, value)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "%s%s%s", name, *version ? "@" : "", version);
		return ULP_BINDING_FAILED;
	}
	for (uint32_t i = 0; i < count; i++)
		if (!store(sides->patch_loaded, slot + i * WORD, value[i])) {
			ulp_format(detail, ULP_DETAIL_SIZE, "the word for %s", name);
			return ULP_WORD_UNWRITABLE;
		}
	return ULP_OK;
}

static enum ulp_error fill_all(const struct ulp_taken *taken,
			       const struct ulp_taken_library *library,
			       const struct ulp_object *patch, char *detail)
{
	struct ulp_image room, patch_room;
	struct sides sides = {.patch_loaded = patch};
	enum ulp_error error = ULP_OK;

	if (!library->said->binding_count)
		return ULP_OK;
	sides.target = ulp_image_at(library->said->text_start, &room);
	sides.patch = ulp_image_at(patch->text_start, &patch_room);
	if (!sides.target || !sides.patch || !ulp_loader_find(library->said->base, &sides.loaded)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "%s", library->name);
		return ULP_LIBRARY_CHANGED;
	}
	for (uint32_t i = 0; !error && i < library->said->binding_count; i++)
		error = fill(taken, &sides, &library->bindings[i], detail);
	return error;
}

enum ulp_error ulp_bindings_fill(const struct ulp_taken *taken, const struct ulp_object *patch,
				 char *detail)
{
	enum ulp_error error = ULP_OK;

	for (uint32_t i = 0; !error && i < taken->request->library_count; i++)
		error = fill_all(taken, &taken->libraries[i], patch, detail);
	return error;
}
