/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <string.h>

#include "arch.h"
#include "runtime/address_space.h"
#include "runtime/format.h"
#include "runtime/image_table.h"
#include "runtime/loader.h"
#include "runtime/memory_file.h"
#include "runtime/namespace.h"
#include "runtime/system_code.h"

static const uint8_t *find_build_id(const char *notes, size_t size, uint32_t *id_size)
{
	size_t at = 0;

	while (size - at >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)(notes + at);
		size_t name = at + sizeof *note;
		size_t description = name + ((note->n_namesz + 3u) & ~3u);
		size_t next = description + ((note->n_descsz + 3u) & ~3u);

		if (next > size || next <= at)
			return NULL;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
		    memcmp(notes + name, "GNU", 4) == 0) {
			*id_size = note->n_descsz;
			return (const uint8_t *)(notes + description);
		}
		at = next;
	}
	return NULL;
}

static void describe(const struct dl_phdr_info *info, struct ulp_object *object)
{
	*object = (struct ulp_object){.base = info->dlpi_addr,
				      .text_start = UINT64_MAX,
				      .read_start = UINT64_MAX,
				      .tls_module = info->dlpi_tls_modid};
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X)) {
			if (start < object->text_start)
				object->text_start = start;
			if (start + segment->p_memsz > object->text_end)
				object->text_end = start + segment->p_memsz;
		}
		/* One segment behind the other, without gaps that could not be read. */
		if (segment->p_type == PT_LOAD && segment->p_flags & PF_R) {
			if (start < object->read_start)
				object->read_start = start;
			if (start + segment->p_memsz > object->read_end)
				object->read_end = start + segment->p_memsz;
		}
		if (segment->p_type == PT_GNU_RELRO) {
			object->relro_start = start & ~(ULP_PAGE - 1);
			object->relro_end = (start + segment->p_memsz) & ~(ULP_PAGE - 1);
		}
		if (segment->p_type == PT_NOTE && !object->build_id)
			object->build_id = find_build_id((const char *)start, segment->p_memsz,
							 &object->build_id_size);
	}
}

struct wanted {
	uint64_t base;
	struct ulp_object *object;
};

/* A copy: outside the loader's lock it could go away.  There is one worker at a time. */
static char found_name[PATH_MAX];

static int match(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct wanted *wanted = argument;
	size_t length;

	(void)size;
	if (info->dlpi_addr != wanted->base)
		return 0;
	/* An object that is not position independent has the base 0, and so has the vdso's like. */
	describe(info, wanted->object);
	if (wanted->object->text_end == 0)
		return 0;
	length = strlen(info->dlpi_name);
	if (length >= sizeof found_name)
		return 0;
	memcpy(found_name, info->dlpi_name, length + 1);
	return 1;
}

static uint64_t base_of(void *handle)
{
	struct link_map *map = NULL;

	if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
		return UINT64_MAX;
	return map->l_addr;
}

/* The same of one that dl_iterate_phdr() does not show; its ELF header lies at its lowest address. */
static bool describe_apart(void *handle, uint64_t base, struct ulp_object *object)
{
	const ElfW(Ehdr) *header = (const void *)base;
	struct dl_phdr_info info = {.dlpi_addr = base};
	size_t tls_module = 0;

	if (!ulp_readable(base, sizeof *header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    !ulp_readable(base + header->e_phoff, header->e_phnum * sizeof(ElfW(Phdr)) + 1))
		return false;
	info.dlpi_phdr = (const ElfW(Phdr) *)(base + header->e_phoff);
	info.dlpi_phnum = header->e_phnum;
	if (dlinfo(handle, RTLD_DI_TLS_MODID, &tls_module) == 0)
		info.dlpi_tls_modid = tls_module;
	describe(&info, object);
	return object->text_end != 0;
}

/* In another namespace; the handle keeps it, and is for the caller to close. */
static void *find_apart(uint64_t base, struct ulp_object *object, Lmid_t *space)
{
	void *handle = ulp_namespace_open(base, space);

	if (handle && !describe_apart(handle, base, object)) {
		dlclose(handle);
		return NULL;
	}
	return handle;
}

static bool find_here(uint64_t base, struct ulp_object *object)
{
	struct wanted wanted = {.base = base, .object = object};

	return dl_iterate_phdr(match, &wanted);
}

bool ulp_loader_find(uint64_t base, struct ulp_object *object)
{
	Lmid_t space;
	void *handle;

	if (find_here(base, object))
		return true;
	handle = find_apart(base, object, &space);
	if (handle)
		dlclose(handle);
	return handle;
}

Lmid_t ulp_loader_namespace(uint64_t base)
{
	struct ulp_object object;
	Lmid_t space;
	void *handle;

	if (find_here(base, &object))
		return LM_ID_BASE;
	handle = ulp_namespace_open(base, &space);
	if (!handle)
		return LM_ID_NEWLM;
	dlclose(handle);
	return space;
}

/* It stays, and so does what it needs: stacks that lead into it need no second look. */
static void keep(const struct ulp_object *object)
{
	ulp_images_refresh();
	ulp_images_keep(object->text_start);
}

static void *open_in(Lmid_t space, const char *path)
{
	if (space == LM_ID_BASE)
		return dlopen(path, RTLD_NOW | RTLD_LOCAL);
	return dlmopen(space, path, RTLD_NOW | RTLD_LOCAL);
}

enum ulp_error ulp_loader_load(const char *path, uint64_t target, struct ulp_object *object,
			       char *detail)
{
	bool in_memory = !*path;
	/* What the patch library needs is what the target needs, a C library of its own even. */
	Lmid_t space = ulp_loader_namespace(target);
	void *handle;

	if (space == LM_ID_NEWLM) {
		ulp_format(detail, ULP_DETAIL_SIZE,
			   "the loader, which is busy, does not tell where the target is");
		return ULP_LOAD_FAILED;
	}
	if (in_memory)
		path = ulp_memory_file_path();
	handle = open_in(space, path);
	if (!handle) {
		const char *words = dlerror();

		ulp_format(detail, ULP_DETAIL_SIZE, "%s", words ? words : "dlopen failed");
		return ULP_LOAD_FAILED;
	}
	if (in_memory)
		ulp_memory_file_loaded();
	if (!ulp_loader_find(base_of(handle), object)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "%s was loaded but cannot be found", path);
		dlclose(handle);
		return ULP_LOAD_FAILED;
	}
	/* The handle is kept: nothing is unloaded while a thread could be in it. */
	keep(object);
	return ULP_OK;
}

/* A handle of the object at `base`, which ulp_loader_find() has found; NULL if there is none. */
static void *open_found(uint64_t base)
{
	/* RTLD_NOLOAD raises the count of what is loaded already; no name is the program itself. */
	void *handle = dlopen(*found_name ? found_name : NULL, RTLD_LAZY | RTLD_NOLOAD);

	if (handle && base_of(handle) != base) {
		dlclose(handle);
		return NULL;
	}
	return handle;
}

enum ulp_error ulp_loader_hold(uint64_t base, struct ulp_object *object)
{
	Lmid_t space;

	if (find_here(base, object) ? !open_found(base) : !find_apart(base, object, &space))
		return ULP_LIBRARY_CHANGED;
	keep(object);
	return ULP_OK;
}

static uint64_t look_up(void *handle, const char *name, const char *version)
{
	return (uint64_t)(*version ? dlvsym(handle, name, version) : dlsym(handle, name));
}

/* Closes the handle, which may be NULL. */
static uint64_t look_up_once(void *handle, const char *name, const char *version)
{
	uint64_t address = handle ? look_up(handle, name, version) : 0;

	if (handle)
		dlclose(handle);
	return address;
}

uint64_t ulp_loader_symbol(uint64_t base, const char *name, const char *version)
{
	struct ulp_object object;
	uint64_t address;
	Lmid_t space;

	if (find_here(base, &object)) {
		address = look_up(RTLD_DEFAULT, name, version);
		return address ? address : look_up_once(open_found(base), name, version);
	}
	address = look_up_once(ulp_namespace_open_first(base, &space), name, version);
	return address ? address : look_up_once(ulp_namespace_open(base, &space), name, version);
}

/* The word of the linkage table in which the loader leaves the address of its function, psABI, figure 5.2. */
#define RESOLVER_WORD 2

uint64_t ulp_loader_resolver(uint64_t text)
{
	struct ulp_image room;
	const struct ulp_image *image = ulp_image_at(text, &room);
	const uint64_t *resolver = NULL;

	if (image)
		resolver = ulp_image_read(image,
					  ulp_image_dynamic(image, DT_PLTGOT) +
						  RESOLVER_WORD * sizeof *resolver,
					  sizeof *resolver);
	/* Where all is bound at once the word is unused, and may hold anything. */
	return resolver && ulp_system_code_place(*resolver) == ULP_PLACE_LOADER ? *resolver : 0;
}

bool ulp_object_has_build_id(const struct ulp_object *object, const uint8_t *build_id,
			     uint32_t size)
{
	return object->build_id && object->build_id_size == size &&
	       memcmp(object->build_id, build_id, size) == 0;
}
