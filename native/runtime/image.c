/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <string.h>

#include "arch.h"
#include "runtime/address_space.h"
#include "runtime/image.h"

const void *ulp_image_read(const struct ulp_image *image, uint64_t address, uint64_t size)
{
	uint64_t end = ulp_image_readable_to(image, address);

	return end && end - address >= size ? (const void *)address : NULL;
}

uint64_t ulp_image_readable_to(const struct ulp_image *image, uint64_t address)
{
	for (uint32_t i = 0; i < image->segment_count; i++)
		if (image->segment[i].flags & PF_R && address >= image->segment[i].start &&
		    address < image->segment[i].end)
			return image->segment[i].end;
	return 0;
}

/* What was copied last of an object that may be unloaded; a file maps whole pages, so rounding down is safe. */
#define VIEW_SIZE 512

struct view {
	const struct ulp_image *image; /* NULL: not described yet */
	uint64_t start;
	uint64_t end;
	_Alignas(8) unsigned char bytes[VIEW_SIZE];
};

static void open_view(struct view *view, const struct ulp_image *image)
{
	view->image = image;
	view->start = view->end = 0;
}

static bool copy(struct view *view, uint64_t address, uint64_t end)
{
	view->start = address & ~7ull;
	view->end = end - view->start < VIEW_SIZE ? end : view->start + VIEW_SIZE;
	if (ulp_copy(view->bytes, view->start, view->end - view->start))
		return true;
	view->start = view->end = 0;
	return false;
}

/* [address, address + size), or NULL if it is not there; until the next call. */
static const void *see(struct view *view, uint64_t address, uint64_t size)
{
	uint64_t end = view->image ? ulp_image_readable_to(view->image, address)
				   : (address + size + ULP_PAGE - 1) & ~(ULP_PAGE - 1);

	if (end < address || end - address < size || size > VIEW_SIZE - 8)
		return NULL;
	if (view->image && view->image->stays)
		return (const void *)address;
	if ((address < view->start || address + size > view->end) && !copy(view, address, end))
		return NULL;
	return view->bytes + (address - view->start);
}

/* FNV-1a, 64 bits. */
#define HASH_START  0xcbf29ce484222325ull
#define HASH_FACTOR 0x100000001b3ull

static uint64_t hash_of_name(const char *name)
{
	uint64_t hash = HASH_START;

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * HASH_FACTOR;
	return hash;
}

/* The same of a string in the object; 0 if it does not end there. */
static uint64_t hash_of_string(struct view *view, uint64_t address)
{
	const unsigned char *byte;
	uint64_t hash = HASH_START;

	while ((byte = see(view, address++, 1)) != NULL) {
		if (!*byte)
			return hash;
		hash = (hash ^ *byte) * HASH_FACTOR;
	}
	return 0;
}

static bool is_string(struct view *view, uint64_t address, const char *string)
{
	const char *byte;

	while ((byte = see(view, address++, 1)) != NULL && *byte == *string)
		if (!*string++)
			return true;
	return false;
}

static void add_segment(struct ulp_image *image, const Elf64_Phdr *header)
{
	uint64_t start = image->base + header->p_vaddr;
	uint64_t end = start + header->p_memsz;

	if (end <= start)
		return;
	if (start < image->start)
		image->start = start;
	if (end > image->end)
		image->end = end;
	if (image->segment_count == ULP_IMAGE_SEGMENTS)
		return;
	image->segment[image->segment_count].start = start;
	image->segment[image->segment_count].end = end;
	image->segment[image->segment_count++].flags = header->p_flags;
}

static void mark(struct ulp_image *image, struct view *view, unsigned i, uint64_t address)
{
	const uint32_t *word = see(view, address, sizeof *word);

	if (!word || address % sizeof *word)
		return;
	image->mark_at[i] = address;
	image->mark[i] = *word;
}

/* The first word of the build ID in these notes, or 0. */
static uint64_t build_id(struct view *view, uint64_t notes, uint64_t size)
{
	uint64_t at = notes;

	while (at + sizeof(Elf64_Nhdr) <= notes + size) {
		const Elf64_Nhdr *seen = see(view, at, sizeof *seen);
		uint64_t name = at + sizeof *seen, words;
		Elf64_Nhdr note;

		if (!seen)
			return 0;
		note = *seen;
		words = name + ((note.n_namesz + 3ull) & ~3ull);
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz >= 4 &&
		    is_string(view, name, "GNU"))
			return words;
		at = words + ((note.n_descsz + 3ull) & ~3ull);
	}
	return 0;
}

static void note_header(struct ulp_image *image, const Elf64_Phdr *header)
{
	switch (header->p_type) {
	case PT_LOAD:
		add_segment(image, header);
		break;
	case PT_GNU_EH_FRAME:
		image->frame_table = image->base + header->p_vaddr;
		break;
	case PT_DYNAMIC:
		image->dynamic = image->base + header->p_vaddr;
		image->dynamic_size = header->p_memsz;
		break;
	default:
		break;
	}
}

static uint64_t name_of(const struct ulp_image *image, struct view *view);

bool ulp_image_describe(struct ulp_image *image, uint64_t base, uint64_t headers, unsigned count)
{
	struct view of_headers, of_rest;
	const Elf64_Phdr *header;
	uint64_t id = 0;

	*image = (struct ulp_image){.base = base, .start = UINT64_MAX};
	open_view(&of_headers, NULL);
	for (unsigned i = 0; i < count; i++) {
		header = see(&of_headers, headers + i * sizeof *header, sizeof *header);
		if (!header)
			return false;
		note_header(image, header);
	}
	if (!image->segment_count)
		return false;
	open_view(&of_rest, image);
	for (unsigned i = 0; i < count && !id; i++) {
		header = see(&of_headers, headers + i * sizeof *header, sizeof *header);
		if (!header)
			return false;
		if (header->p_type == PT_NOTE)
			id = build_id(&of_rest, base + header->p_vaddr, header->p_memsz);
	}
	image->name = name_of(image, &of_rest);
	/* Where its sections begin in the file; and which build it is, or how many frames it describes. */
	mark(image, &of_rest, 0, image->start + offsetof(Elf64_Ehdr, e_shoff));
	mark(image, &of_rest, 1,
	     id                   ? id
	     : image->frame_table ? image->frame_table + 8
				  : image->start + 60);
	return true;
}

/* The first segment that is loaded begins with the header. */
static bool find_base(uint64_t header_address, const Elf64_Ehdr *header, uint64_t *base)
{
	const Elf64_Phdr *first;
	struct view view;

	open_view(&view, NULL);
	for (unsigned i = 0; i < header->e_phnum; i++) {
		first = see(&view, header_address + header->e_phoff + i * sizeof *first,
			    sizeof *first);
		if (!first)
			return false;
		if (first->p_type == PT_LOAD) {
			*base = header_address - (first->p_vaddr & ~(ULP_PAGE - 1));
			return true;
		}
	}
	return false;
}

bool ulp_image_describe_at(struct ulp_image *image, uint64_t header_address)
{
	Elf64_Ehdr header;
	uint64_t base;

	return header_address % 8 == 0 && ulp_copy(&header, header_address, sizeof header) &&
	       memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
	       header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_phentsize == sizeof(Elf64_Phdr) &&
	       header.e_phoff % 8 == 0 && find_base(header_address, &header, &base) &&
	       ulp_image_describe(image, base, header_address + header.e_phoff, header.e_phnum) &&
	       ulp_readable(image->start, 1) &&
	       (!image->frame_table || ulp_readable(image->frame_table, 12));
}

/* The value of the first entry with this tag from `at` on, which is moved behind it. */
static bool next_dynamic(struct view *view, int64_t tag, uint64_t *at, uint64_t *value)
{
	const struct ulp_image *image = view->image;

	while (*at + sizeof(Elf64_Dyn) <= image->dynamic + image->dynamic_size) {
		const Elf64_Dyn *entry = see(view, *at, sizeof *entry);

		*at += sizeof *entry;
		if (!entry || entry->d_tag == DT_NULL)
			return false;
		if (entry->d_tag == tag) {
			*value = entry->d_un.d_val;
			return true;
		}
	}
	return false;
}

static bool is_address(int64_t tag)
{
	return tag == DT_STRTAB || tag == DT_SYMTAB || tag == DT_HASH || tag == DT_GNU_HASH ||
	       tag == DT_PLTGOT;
}

static uint64_t dynamic(struct view *view, int64_t tag)
{
	uint64_t at = view->image->dynamic, value;

	if (!next_dynamic(view, tag, &at, &value))
		return 0;
	/* The C library has added the bias already, but where it may not write: in the vdso. */
	return is_address(tag) && value < view->image->start ? view->image->base + value : value;
}

uint64_t ulp_image_dynamic(const struct ulp_image *image, int64_t tag)
{
	struct view view;

	open_view(&view, image);
	return dynamic(&view, tag);
}

static uint64_t name_of(const struct ulp_image *image, struct view *view)
{
	uint64_t at = image->dynamic, offset;

	return next_dynamic(view, DT_SONAME, &at, &offset)
		       ? hash_of_string(view, dynamic(view, DT_STRTAB) + offset)
		       : 0;
}

bool ulp_image_is_named(const struct ulp_image *image, const char *name)
{
	return image->name == hash_of_name(name);
}

bool ulp_image_needs(const struct ulp_image *image, const struct ulp_image *other)
{
	uint64_t at = image->dynamic, strings, offset;
	struct view view;

	if (!other->name)
		return false;
	open_view(&view, image);
	strings = dynamic(&view, DT_STRTAB);
	while (next_dynamic(&view, DT_NEEDED, &at, &offset))
		if (hash_of_string(&view, strings + offset) == other->name)
			return true;
	return false;
}

struct search {
	struct view view;
	const char *name;
	uint64_t symbols; /* DT_SYMTAB */
	uint64_t strings; /* DT_STRTAB */
	void (*visit)(uint64_t address, unsigned type, void *argument);
	void *argument;
};

/* Returns false where the table is over. */
static bool look_at(struct search *search, uint64_t index)
{
	const Elf64_Sym *seen =
		see(&search->view, search->symbols + index * sizeof *seen, sizeof *seen);
	Elf64_Sym symbol;

	if (!seen)
		return false;
	symbol = *seen;
	if (symbol.st_shndx != SHN_UNDEF && symbol.st_value &&
	    is_string(&search->view, search->strings + symbol.st_name, search->name))
		search->visit(search->view.image->base + symbol.st_value,
			      ELF64_ST_TYPE(symbol.st_info), search->argument);
	return true;
}

static uint32_t word(struct search *search, uint64_t address)
{
	const uint32_t *place = see(&search->view, address, sizeof *place);

	return place ? *place : 0;
}

static uint32_t hash_of_symbol(const char *name)
{
	uint32_t hash = 5381;

	while (*name)
		hash = hash * 33 + (unsigned char)*name++;
	return hash;
}

/* The table: bucket count, first symbol, words of the filter, shift; filter, buckets, chains. */
static void search_by_hash(struct search *search, uint64_t table)
{
	uint32_t buckets = word(search, table), first = word(search, table + 4),
		 filter = word(search, table + 8);
	uint32_t hash = hash_of_symbol(search->name), index, link;
	uint64_t bucket_table = table + 16 + filter * 8ull, chains = bucket_table + buckets * 4ull;

	if (!buckets)
		return;
	index = word(search, bucket_table + hash % buckets * 4ull);
	if (index < first)
		return;
	do {
		link = word(search, chains + (index - first) * 4ull);
		if ((link | 1) == (hash | 1) && !look_at(search, index))
			return;
		index++;
	} while (!(link & 1) && see(&search->view, chains + (index - first) * 4ull, 4));
}

void ulp_image_symbols(const struct ulp_image *image, const char *name,
		       void (*visit)(uint64_t address, unsigned type, void *argument),
		       void *argument)
{
	struct search search = {.name = name, .visit = visit, .argument = argument};
	uint64_t table;

	open_view(&search.view, image);
	search.symbols = dynamic(&search.view, DT_SYMTAB);
	search.strings = dynamic(&search.view, DT_STRTAB);
	table = dynamic(&search.view, DT_GNU_HASH);
	if (table) {
		search_by_hash(&search, table);
		return;
	}
	/* The older kind of table says how many symbols there are. */
	table = dynamic(&search.view, DT_HASH);
	for (uint64_t i = 0; table && i < word(&search, table + 4) && look_at(&search, i); i++)
		;
}

static void note_function(uint64_t address, unsigned type, void *argument)
{
	if (type == STT_FUNC)
		*(uint64_t *)argument = address;
}

uint64_t ulp_image_function(const struct ulp_image *image, const char *name)
{
	uint64_t address = 0;

	ulp_image_symbols(image, name, note_function, &address);
	return address;
}
