/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "arch.h"
#include "runtime/address_space.h"
#include "runtime/image_table.h"

#define IMAGES 2048
/* More cannot be; the list of a broken process may lead in a circle. */
#define LONGEST_LIST 8192

/*
 * An entry of an object that can't be unloaded never changes again.  Others are read by copying,
 * under `sequence`, which is odd while they change.
 */
struct entry {
	uint32_t sequence;
	bool used;
	bool followed; /* what it needs stays, too */
	bool listed;   /* in the list as it was read last */
	uint32_t
		space; /* number of the namespace whose list that is: names mean something within one */
	struct ulp_image image;
};

static struct entry entries[IMAGES];
static uint32_t entry_count;

/* Numbers of entries in the loader's order. */
static uint16_t list[IMAGES];
static uint32_t list_length;

/*
 * Numbers of entries by address, for a quick look.  The two take turns; whoever reads one while it
 * is written finds nothing, or the wrong entry, sees that, and goes through all of them.
 */
static uint16_t order[2][IMAGES];
static struct {
	uint32_t which;
	uint32_t count;
} quick;

/* Who refreshes; others do not wait. */
static uint32_t refreshing;

/*
 * Pages in which no object was found although the list was read for that: code that was generated
 * at run time, say.  And so many more times is it read on the way into a function.
 */
#define ABSENT_PAGES 256
#define MISSES       64
static uint64_t absent[ABSENT_PAGES];
static int32_t misses_left;

static const Elf64_auxv_t *auxiliary;
static const struct r_debug *debug;

uint64_t ulp_auxiliary(uint64_t type)
{
	for (const Elf64_auxv_t *entry = auxiliary; entry && entry->a_type != AT_NULL; entry++)
		if (entry->a_type == type)
			return entry->a_un.a_val;
	return 0;
}

/* By what the kernel says: its program headers may have been moved anywhere, by patchelf for one. */
static bool describe_program(struct ulp_image *image)
{
	const Elf64_Phdr *headers = (const Elf64_Phdr *)ulp_auxiliary(AT_PHDR);
	unsigned count = (unsigned)ulp_auxiliary(AT_PHNUM);

	for (unsigned i = 0; headers && i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			return ulp_image_describe(image, (uint64_t)headers - headers[i].p_vaddr,
						  (uint64_t)headers, count);
	return headers && ulp_image_describe_at(image, (uint64_t)headers - sizeof(Elf64_Ehdr));
}

static void note_list(uint64_t address, unsigned type, void *argument)
{
	(void)type;
	*(const struct r_debug **)argument = (const struct r_debug *)address;
}

void ulp_images_learn(int argc, char **argv)
{
	/* Behind the arguments lies the environment, and behind that the vector (psABI, 3.4.1). */
	char **end = argv + argc + 1;
	struct ulp_image image;

	while (*end)
		end++;
	/* unsetenv(3) moves what follows down, so that there may be several ends by now. */
	while (!*end)
		end++;
	auxiliary = (const Elf64_auxv_t *)end;
	if (describe_program(&image))
		debug = (const struct r_debug *)ulp_image_dynamic(&image, DT_DEBUG);
	/* Some linkers leave the entry out on request; then it is found as debuggers do without it. */
	if (!debug && ulp_auxiliary(AT_BASE) &&
	    ulp_image_describe_at(&image, ulp_auxiliary(AT_BASE)))
		ulp_image_symbols(&image, "_r_debug", note_list, &debug);
}

/* ------------------------------------------------------------------ reading the list */

static bool same(const struct ulp_image *a, const struct ulp_image *b)
{
	return a->start == b->start && a->end == b->end && a->base == b->base &&
	       a->frame_table == b->frame_table && a->mark[0] == b->mark[0] &&
	       a->mark[1] == b->mark[1];
}

static struct entry *known(const struct ulp_image *image)
{
	for (uint32_t i = 0; i < entry_count; i++)
		if (entries[i].used && same(&entries[i].image, image))
			return &entries[i];
	return NULL;
}

static struct entry *free_entry(void)
{
	for (uint32_t i = 0; i < entry_count; i++)
		if (!entries[i].used)
			return &entries[i];
	return entry_count < IMAGES ? &entries[entry_count] : NULL;
}

static void change(struct entry *entry, const struct ulp_image *image)
{
	__atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	entry->used = image != NULL;
	if (image)
		entry->image = *image;
	__atomic_store_n(&entry->sequence, entry->sequence + 1, __ATOMIC_RELEASE);
}

static struct entry *add(const struct ulp_image *image, uint32_t space)
{
	struct entry *entry = known(image);

	if (entry)
		return entry;
	entry = free_entry();
	if (!entry)
		return NULL;
	entry->followed = false;
	entry->space = space;
	change(entry, image);
	if (entry == &entries[entry_count])
		__atomic_store_n(&entry_count, entry_count + 1, __ATOMIC_RELEASE);
	return entry;
}

/* Another object may lie there by now. */
static bool still_there(const struct ulp_image *image)
{
	if (image->stays)
		return true;
	for (unsigned i = 0; i < 2; i++)
		if (image->mark_at[i] && !ulp_holds(image->mark_at[i], image->mark[i]))
			return false;
	return image->mark_at[0] || image->mark_at[1];
}

static struct entry *known_at(uint64_t base)
{
	for (uint32_t i = 0; i < entry_count; i++)
		if (entries[i].used && entries[i].image.base == base &&
		    still_there(&entries[i].image))
			return &entries[i];
	return NULL;
}

/* An object is found by its ELF header, which lies at its lowest address. */
static bool describe(const struct link_map *map, bool first, struct ulp_image *image)
{
	if (first)
		return describe_program(image);
	return ulp_image_describe_at(image, map->l_addr) && image->base == map->l_addr;
}

static struct entry *look_at(const struct link_map *map, bool first, uint32_t space)
{
	struct entry *entry = first ? NULL : known_at(map->l_addr);
	struct ulp_image image;

	if (!entry && describe(map, first, &image))
		entry = add(&image, space);
	return entry;
}

static void note_listed(struct entry *entry)
{
	if (!entry->listed)
		list[list_length++] = (uint16_t)(entry - entries);
	entry->listed = true;
}

static bool consistent(const struct r_debug *names)
{
	return __atomic_load_n(&names->r_state, __ATOMIC_ACQUIRE) == RT_CONSISTENT;
}

typedef void node_visitor(const struct link_map *map, uint32_t place, uint32_t space,
			  void *argument);

/*
 * No lock is taken, so a node may be freed under our eyes: each is copied, and none while the loader
 * says that it changes something.
 */
static uint32_t walk_list(const struct r_debug *names, uint32_t place, uint32_t space,
			  node_visitor *visit, void *argument)
{
	uint64_t at = (uint64_t)names->r_map;
	struct link_map map;

	while (at && place < LONGEST_LIST && consistent(names) && ulp_copy(&map, at, sizeof map)) {
		visit(&map, place++, space, argument);
		at = (uint64_t)map.l_next;
	}
	return place;
}

/* Since glibc 2.35 other namespaces, which dlmopen() makes, follow in a list (<link.h>). */
static const struct r_debug *next_namespace(const struct r_debug *names)
{
	const struct r_debug_extended *extended = (const struct r_debug_extended *)names;

	return names->r_version >= 2 ? (const struct r_debug *)extended->r_next : NULL;
}

static void walk_lists(node_visitor *visit, void *argument)
{
	uint32_t place = 0, space = 0;

	for (const struct r_debug *names = debug;
	     names && place < LONGEST_LIST && ulp_readable((uint64_t)names, sizeof *names);
	     names = next_namespace(names))
		place = walk_list(names, place, space++, visit, argument);
}

static void list_node(const struct link_map *map, uint32_t place, uint32_t space, void *argument)
{
	struct entry *entry = look_at(map, place == 0, space);

	(void)argument;
	if (!entry)
		return;
	entry->space = space;
	note_listed(entry);
}

struct nearest {
	uint64_t address;
	struct link_map map;
	uint32_t space;
	bool found;
};

/* Objects begin at their bias and have their dynamic section behind their code. */
static void note_nearest(const struct link_map *map, uint32_t place, uint32_t space, void *argument)
{
	struct nearest *nearest = argument;

	if (place == 0 || map->l_addr > nearest->address ||
	    nearest->address >= (uint64_t)map->l_ld ||
	    (nearest->found && map->l_addr <= nearest->map.l_addr))
		return;
	nearest->map = *map;
	nearest->space = space;
	nearest->found = true;
}

/* ------------------------------------------------------------------ names */

struct naming {
	uint64_t base;
	struct link_map head; /* of the namespace that is gone through */
	uint32_t space;       /* number of that one */
	bool wants_head;
	bool found;
	struct link_map named;
};

static void note_named(const struct link_map *map, uint32_t place, uint32_t space, void *argument)
{
	struct naming *naming = argument;

	(void)place;
	if (space == 0 || naming->found)
		return;
	if (space != naming->space)
		naming->head = *map;
	naming->space = space;
	if (map->l_addr != naming->base)
		return;
	naming->named = naming->wants_head ? naming->head : *map;
	naming->found = true;
}

/* No further than a page at a time: the next one may not be there. */
static bool copy_string(char *into, uint64_t from, uint64_t size)
{
	while (size) {
		uint64_t piece = ULP_PAGE - from % ULP_PAGE;

		if (piece > size)
			piece = size;
		if (!ulp_copy(into, from, piece))
			return false;
		if (memchr(into, 0, piece))
			return true;
		into += piece;
		from += piece;
		size -= piece;
	}
	return false;
}

/* Whether the loader changes none of its lists; each namespace has a state of its own. */
static bool at_rest(void)
{
	const struct r_debug *names = debug;

	for (unsigned i = 0; i < LONGEST_LIST; i++) {
		if (!names || !ulp_readable((uint64_t)names, sizeof *names))
			return true;
		if (!consistent(names))
			return false;
		names = next_namespace(names);
	}
	return false;
}

bool ulp_images_name(uint64_t base, uint64_t *first, char *name, uint64_t size, bool *settled)
{
	struct naming naming = {.base = base, .wants_head = first != NULL, .found = false};

	*settled = at_rest();
	walk_lists(note_named, &naming);
	*settled = *settled && at_rest();
	if (!naming.found || !copy_string(name, (uint64_t)naming.named.l_name, size))
		return false;
	if (first)
		*first = naming.named.l_addr;
	return true;
}

/* ------------------------------------------------------------------ objects that stay */

/* What an object needs goes no sooner than itself. */
static void follow(struct entry *entry)
{
	entry->followed = true;
	for (uint32_t i = 0; i < entry_count; i++)
		if (entries[i].used && entries[i].listed && !entries[i].image.stays &&
		    entries[i].space == entry->space &&
		    ulp_image_needs(&entry->image, &entries[i].image))
			entries[i].image.stays = true;
}

static void follow_all(void)
{
	bool more;

	do {
		more = false;
		for (uint32_t i = 0; i < entry_count; i++) {
			if (!entries[i].used || !entries[i].image.stays || entries[i].followed)
				continue;
			follow(&entries[i]);
			more = true;
		}
	} while (more);
}

static bool holds(const struct ulp_image *image, uint64_t address)
{
	return address >= image->start && address < image->end;
}

/* Neither the program, the runtime, nor what the kernel loaded at the start is ever unloaded. */
static void keep_what_stays(void)
{
	for (uint32_t i = 0; i < entry_count; i++) {
		const struct ulp_image *image = &entries[i].image;

		if (entries[i].used &&
		    (holds(image, ulp_auxiliary(AT_PHDR)) || holds(image, ulp_auxiliary(AT_BASE)) ||
		     holds(image, ulp_auxiliary(AT_SYSINFO_EHDR)) ||
		     holds(image, (uint64_t)ulp_images_learn)))
			entries[i].image.stays = true;
	}
	follow_all();
}

/* ------------------------------------------------------------------ refreshing */

static void sort(void)
{
	uint32_t next = 1 - quick.which, count = 0;
	uint16_t *sorted = order[next];

	for (uint32_t i = 0; i < entry_count; i++) {
		uint32_t at = count;

		if (!entries[i].used)
			continue;
		while (at > 0 && entries[sorted[at - 1]].image.start > entries[i].image.start) {
			sorted[at] = sorted[at - 1];
			at--;
		}
		sorted[at] = (uint16_t)i;
		count++;
	}
	__atomic_store_n(&quick.count, count, __ATOMIC_RELAXED);
	__atomic_store_n(&quick.which, next, __ATOMIC_RELEASE);
}

static bool begin_refresh(void)
{
	return debug && consistent(debug) &&
	       __atomic_exchange_n(&refreshing, 1, __ATOMIC_ACQUIRE) == 0;
}

static void end_refresh(void)
{
	__atomic_store_n(&refreshing, 0, __ATOMIC_RELEASE);
}

static void refresh(void)
{
	if (!begin_refresh())
		return;
	for (uint32_t i = 0; i < entry_count; i++)
		entries[i].listed = false;
	list_length = 0;
	walk_lists(list_node, NULL);
	/* A list that changed while it was read says nothing of what is not in it. */
	for (uint32_t i = 0; i < entry_count && consistent(debug); i++)
		if (entries[i].used && !entries[i].listed && !entries[i].image.stays)
			change(&entries[i], NULL);
	keep_what_stays();
	sort();
	end_refresh();
}

/*
 * Reads no object but the one that the calling thread will return to, which stays for so long: all
 * others may be unloaded meanwhile, and this thread may not be allowed to have the kernel copy.
 */
static void look_for(uint64_t address)
{
	struct nearest nearest = {.address = address, .found = false};

	if (!begin_refresh())
		return;
	walk_lists(note_nearest, &nearest);
	if (nearest.found && look_at(&nearest.map, false, nearest.space))
		sort();
	end_refresh();
}

void ulp_images_refresh(void)
{
	refresh();
	memset(absent, 0, sizeof absent);
	__atomic_store_n(&misses_left, MISSES, __ATOMIC_RELAXED);
}

void ulp_images_keep(uint64_t address)
{
	if (!begin_refresh())
		return;
	for (uint32_t i = 0; i < entry_count; i++)
		if (entries[i].used && holds(&entries[i].image, address))
			entries[i].image.stays = true;
	follow_all();
	end_refresh();
}

void ulp_images_forked(void)
{
	end_refresh();
}

/* ------------------------------------------------------------------ looking one up */

/* Returns NULL if it is none of `address`, `room` if it is a copy. */
static const struct ulp_image *take(const struct entry *entry, uint64_t address,
				    struct ulp_image *room)
{
	uint32_t sequence = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);

	if (sequence % 2 || !entry->used || !holds(&entry->image, address))
		return NULL;
	if (entry->image.stays)
		return &entry->image;
	*room = entry->image;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) != sequence)
		return NULL;
	return still_there(room) ? room : NULL;
}

static const struct ulp_image *find_quickly(uint64_t address, struct ulp_image *room)
{
	const uint16_t *sorted = order[__atomic_load_n(&quick.which, __ATOMIC_ACQUIRE)];
	uint32_t low = 0, high = __atomic_load_n(&quick.count, __ATOMIC_RELAXED);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (entries[sorted[middle]].image.start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? take(&entries[sorted[low - 1]], address, room) : NULL;
}

static const struct ulp_image *find(uint64_t address, struct ulp_image *room)
{
	const struct ulp_image *image = find_quickly(address, room);
	uint32_t count = __atomic_load_n(&entry_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; !image && i < count; i++)
		image = take(&entries[i], address, room);
	return image;
}

static uint64_t *absence(uint64_t address)
{
	return &absent[address / ULP_PAGE % ABSENT_PAGES];
}

const struct ulp_image *ulp_image_at(uint64_t address, struct ulp_image *room)
{
	uint64_t page = address / ULP_PAGE;
	const struct ulp_image *image = find(address, room);

	if (image || __atomic_load_n(absence(address), __ATOMIC_RELAXED) == page ||
	    __atomic_load_n(&misses_left, __ATOMIC_RELAXED) <= 0 ||
	    __atomic_fetch_sub(&misses_left, 1, __ATOMIC_RELAXED) <= 0)
		return image;
	look_for(address);
	image = find(address, room);
	if (!image)
		__atomic_store_n(absence(address), page, __ATOMIC_RELAXED);
	return image;
}

void ulp_images_each(bool (*visit)(const struct ulp_image *image, void *argument), void *argument)
{
	for (uint32_t i = 0; i < list_length; i++)
		if (!visit(&entries[list[i]].image, argument))
			return;
}
