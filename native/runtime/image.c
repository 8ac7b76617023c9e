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

static void mark(struct ulp_image *image, unsigned i, uint64_t address)
{
	const uint32_t *word = ulp_image_read(image, address, sizeof *word);

	if (!word || address % sizeof *word)
		return;
	image->mark_at[i] = address;
	image->mark[i] = *word;
}

/* The first word of the build ID in these notes, or 0. */
static uint64_t build_id(const struct ulp_image *image, uint64_t notes, uint64_t size)
{
	uint64_t at = notes;

	while (at + sizeof(Elf64_Nhdr) <= notes + size) {
		const Elf64_Nhdr *note = ulp_image_read(image, at, sizeof *note);
		uint64_t name = at + sizeof *note, words;

		if (!note)
			return 0;
		words = name + ((note->n_namesz + 3ull) & ~3ull);
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz >= 4 &&
		    ulp_image_read(image, name, 4) && memcmp((const void *)name, "GNU", 4) == 0)
			return words;
		at = words + ((note->n_descsz + 3ull) & ~3ull);
	}
	return 0;
}

bool ulp_image_describe(struct ulp_image *image, uint64_t base, const Elf64_Phdr *headers,
			unsigned count)
{
	uint64_t id = 0;

	*image = (struct ulp_image){.base = base, .start = UINT64_MAX};
	for (unsigned i = 0; i < count; i++)
		if (headers[i].p_type == PT_LOAD)
			add_segment(image, &headers[i]);
	if (!image->segment_count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = base + headers[i].p_vaddr;

		if (headers[i].p_type == PT_GNU_EH_FRAME)
			image->frame_table = start;
		if (headers[i].p_type == PT_DYNAMIC) {
			image->dynamic = start;
			image->dynamic_size = headers[i].p_memsz;
		}
		if (headers[i].p_type == PT_NOTE && !id)
			id = build_id(image, start, headers[i].p_memsz);
	}
	/* Where its sections begin in the file; and which build it is, or how many frames it describes. */
	mark(image, 0, image->start + offsetof(Elf64_Ehdr, e_shoff));
	mark(image, 1, id ? id : image->frame_table ? image->frame_table + 8 : image->start + 60);
	return true;
}

bool ulp_image_describe_at(struct ulp_image *image, uint64_t header_address)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)header_address;
	uint64_t headers, size;

	if (header_address % 8 || !ulp_readable(header_address, sizeof *header) ||
	    memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_phentsize != sizeof(Elf64_Phdr) ||
	    !header->e_phnum || header->e_phoff % 8)
		return false;
	headers = header_address + header->e_phoff;
	size = header->e_phnum * sizeof(Elf64_Phdr);
	if (!ulp_readable(headers, size))
		return false;
	for (unsigned i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *first = &((const Elf64_Phdr *)headers)[i];

		/* The first segment that is loaded begins with the header. */
		if (first->p_type == PT_LOAD)
			return ulp_image_describe(
				       image, header_address - (first->p_vaddr & ~(ULP_PAGE - 1)),
				       (const Elf64_Phdr *)headers, header->e_phnum) &&
			       ulp_readable(image->start, 1) &&
			       (!image->frame_table || ulp_readable(image->frame_table, 12));
	}
	return false;
}

static const Elf64_Dyn *next_dynamic(const struct ulp_image *image, int64_t tag, uint64_t *at)
{
	while (*at + sizeof(Elf64_Dyn) <= image->dynamic + image->dynamic_size) {
		const Elf64_Dyn *entry = ulp_image_read(image, *at, sizeof *entry);

		*at += sizeof *entry;
		if (!entry || entry->d_tag == DT_NULL)
			return NULL;
		if (entry->d_tag == tag)
			return entry;
	}
	return NULL;
}

static bool is_address(int64_t tag)
{
	return tag == DT_STRTAB || tag == DT_SYMTAB || tag == DT_HASH || tag == DT_GNU_HASH ||
	       tag == DT_PLTGOT;
}

uint64_t ulp_image_dynamic(const struct ulp_image *image, int64_t tag)
{
	uint64_t at = image->dynamic;
	const Elf64_Dyn *entry = next_dynamic(image, tag, &at);

	if (!entry)
		return 0;
	/* The C library has added the bias already, but where it may not write: in the vdso. */
	if (is_address(tag) && entry->d_un.d_ptr < image->start)
		return image->base + entry->d_un.d_ptr;
	return entry->d_un.d_val;
}

static const char *string(const struct ulp_image *image, uint64_t offset)
{
	uint64_t address = ulp_image_dynamic(image, DT_STRTAB) + offset;
	uint64_t end = ulp_image_readable_to(image, address);

	return end && memchr((const void *)address, 0, end - address) ? (const char *)address : "";
}

const char *ulp_image_soname(const struct ulp_image *image)
{
	uint64_t offset = ulp_image_dynamic(image, DT_SONAME);

	return offset ? string(image, offset) : "";
}

bool ulp_image_needs(const struct ulp_image *image, const char *name)
{
	uint64_t at = image->dynamic;
	const Elf64_Dyn *entry;

	while ((entry = next_dynamic(image, DT_NEEDED, &at)) != NULL)
		if (strcmp(string(image, entry->d_un.d_val), name) == 0)
			return true;
	return false;
}

struct search {
	const struct ulp_image *image;
	const char *name;
	uint64_t table; /* DT_SYMTAB */
	void (*visit)(uint64_t address, unsigned type, void *argument);
	void *argument;
};

/* Returns false where the table is over. */
static bool look_at(const struct search *search, uint64_t index)
{
	const Elf64_Sym *symbol = ulp_image_read(
		search->image, search->table + index * sizeof(Elf64_Sym), sizeof(Elf64_Sym));

	if (!symbol)
		return false;
	if (symbol->st_shndx != SHN_UNDEF && symbol->st_value &&
	    strcmp(string(search->image, symbol->st_name), search->name) == 0)
		search->visit(search->image->base + symbol->st_value,
			      ELF64_ST_TYPE(symbol->st_info), search->argument);
	return true;
}

static uint32_t word(const struct ulp_image *image, uint64_t address)
{
	const uint32_t *place = ulp_image_read(image, address, sizeof *place);

	return place ? *place : 0;
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	while (*name)
		hash = hash * 33 + (unsigned char)*name++;
	return hash;
}

/* The table: bucket count, first symbol, words of the filter, shift; filter, buckets, chains. */
static void search_by_hash(const struct search *search, uint64_t table)
{
	const struct ulp_image *image = search->image;
	uint32_t buckets = word(image, table), first = word(image, table + 4),
		 filter = word(image, table + 8);
	uint32_t hash = hash_of(search->name), index, link;
	uint64_t bucket_table = table + 16 + filter * 8ull, chains = bucket_table + buckets * 4ull;

	if (!buckets)
		return;
	index = word(image, bucket_table + hash % buckets * 4ull);
	if (index < first)
		return;
	do {
		link = word(image, chains + (index - first) * 4ull);
		if ((link | 1) == (hash | 1) && !look_at(search, index))
			return;
		index++;
	} while (!(link & 1) && ulp_image_read(image, chains + (index - first) * 4ull, 4));
}

void ulp_image_symbols(const struct ulp_image *image, const char *name,
		       void (*visit)(uint64_t address, unsigned type, void *argument),
		       void *argument)
{
	const struct search search = {image, name, ulp_image_dynamic(image, DT_SYMTAB), visit,
				      argument};
	uint64_t table = ulp_image_dynamic(image, DT_GNU_HASH);

	if (table) {
		search_by_hash(&search, table);
		return;
	}
	/* The older kind of table says how many symbols there are. */
	table = ulp_image_dynamic(image, DT_HASH);
	for (uint64_t i = 0; table && i < word(image, table + 4) && look_at(&search, i); i++)
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
