/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Emission of stubs, and of what stands in a function's padding. */
#include <string.h>

#include "arch.h"

#define NOP 0x90

struct writer {
	unsigned char *code;
	uint64_t address; /* where code[0] will stand */
	unsigned at;
	bool in_reach;
};

static void put(struct writer *w, const void *bytes, unsigned count)
{
	memcpy(w->code + w->at, bytes, count);
	w->at += count;
}

static void put32(struct writer *w, int64_t value)
{
	int32_t narrow = (int32_t)value;

	if (narrow != value)
		w->in_reach = false;
	put(w, &narrow, sizeof narrow);
}

/* A displacement, relative to the end of the four bytes that it takes. */
static void put_relative(struct writer *w, uint64_t target)
{
	put32(w, (int64_t)(target - (w->address + w->at + 4)));
}

#define PUT(w, ...)                                                                                \
	do {                                                                                       \
		static const unsigned char bytes_[] = {__VA_ARGS__};                               \
		put((w), bytes_, sizeof bytes_);                                                   \
	} while (0)

/* ------------------------------------------------------------------ stubs */

/*
 * No register is changed on the way through, not even r11: a caller inside the
 * library may have been compiled knowing what the function leaves alone.  The
 * word below the return address is free at a function's entry, and in the red
 * zone.
 *
 * The slot's jump is tracked where indirect branches are, so a stub begins with endbr64.  Its own
 * jumps are not: the middle of a function, or of a stub, is where they lead.
 *
 *    0  endbr64
 *    4  mov  %r11, -8(%rsp)
 *    9  mov  %fs:tls_offset, %r11
 *   18  cmp  universe(%rip), %r11
 *   25  mov  -8(%rsp), %r11
 *   30  je   chain
 *   32  lea  descriptor(%rip), %r11
 *   39  jmp  ulp_slow_path
 *       kept:                           the slow path's own jump has left this address
 *   44  mov  %r11, -8(%rsp)             there, which to the core looks like a frame's
 *       chain:
 *   49  cmpq $from, %fs:tls_offset      these three with a replacement only;
 *   62  jb   older                      the number, not the domain's universe:
 *   64  notrack jmp *replacement(%rip)  two words can't be compared at once
 *       older:
 *   71  notrack jmp *older(%rip)
 *   80  replacement, older, descriptor
 */
enum {
	AT_KEPT = 44,
	AT_CHAIN = 49,
	AT_OLDER = 71,
	AT_LITERALS = 80,
	LITERAL_REPLACEMENT = AT_LITERALS,
	LITERAL_OLDER = AT_LITERALS + 8,
	LITERAL_DESCRIPTOR = AT_LITERALS + 16,
};

bool ulp_code_stub(const struct ulp_stub *stub, uint64_t address, unsigned char code[ULP_STUB_SIZE])
{
	struct writer w = {.code = code, .address = address, .in_reach = true};

	memset(code, 0xcc, ULP_STUB_SIZE);
	PUT(&w, 0xf3, 0x0f, 0x1e, 0xfa);
	PUT(&w, 0x4c, 0x89, 0x5c, 0x24, 0xf8);
	PUT(&w, 0x64, 0x4c, 0x8b, 0x1c, 0x25);
	put32(&w, stub->tls_offset);
	PUT(&w, 0x4c, 0x3b, 0x1d);
	put_relative(&w, (uint64_t)stub->universe);
	PUT(&w, 0x4c, 0x8b, 0x5c, 0x24, 0xf8);
	PUT(&w, 0x74, AT_CHAIN - 32);
	PUT(&w, 0x4c, 0x8d, 0x1d);
	put_relative(&w, address + LITERAL_DESCRIPTOR);
	PUT(&w, 0xe9);
	put_relative(&w, (uint64_t)ulp_slow_path);

	PUT(&w, 0x4c, 0x89, 0x5c, 0x24, 0xf8);
	if (stub->from) {
		PUT(&w, 0x64, 0x48, 0x81, 0x3c, 0x25);
		put32(&w, stub->tls_offset);
		put32(&w, stub->from);
		PUT(&w, 0x72, AT_OLDER - (AT_CHAIN + 15));
		PUT(&w, 0x3e, 0xff, 0x25);
		put_relative(&w, address + LITERAL_REPLACEMENT);
	}
	PUT(&w, 0x3e, 0xff, 0x25);
	put_relative(&w, address + LITERAL_OLDER);

	w.at = LITERAL_REPLACEMENT;
	put(&w, &stub->replacement, 8);
	put(&w, &stub->older, 8);
	put(&w, &stub->function, 8);
	return w.in_reach;
}

uint64_t ulp_code_chain(uint64_t stub)
{
	return stub + AT_CHAIN;
}

uint64_t ulp_code_kept(const struct ulp_stub_descriptor *descriptor)
{
	return (uint64_t)descriptor - LITERAL_DESCRIPTOR + AT_KEPT;
}

/* ---------------------------------------------------------------- padding */

/*
 * Without endbr64 the hop at f goes back 6 bytes, to the slot jump at f-6.
 *
 * With endbr64 the entry is f+4.  From there the slot jump's place at f-6 would
 * need the displacement f4, and a thread that stands between the two nops would
 * execute it as hlt.  f5 is cmc, harmless at a function's entry, and leads to f-5,
 * from where a second hop leads to the slot jump, then at f-12.
 */
#define HOP_PLAIN 0xf8 /* clc */
#define HOP_ENDBR 0xf5 /* cmc */

static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

static uint64_t entry_of(uint64_t function, bool endbr)
{
	return function + (endbr ? sizeof endbr64 : 0);
}

static uint64_t slot_jump_of(uint64_t function, bool endbr)
{
	return function - (endbr ? 12 : 6);
}

uint64_t ulp_code_resume(uint64_t function, bool endbr)
{
	return entry_of(function, endbr) + ULP_PAD_ENTRY;
}

static bool all_nops(const unsigned char *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (bytes[i] != NOP)
			return false;
	return true;
}

bool ulp_code_hookable(uint64_t function, bool endbr, bool trampoline)
{
	const unsigned char *pad = (const unsigned char *)(function - ULP_PAD_BEFORE);
	const unsigned char *entry = (const unsigned char *)entry_of(function, endbr);
	bool has_trampoline = pad[0] == 0xeb && pad[1] == ULP_PAD_BEFORE - 2;

	if (endbr && memcmp((const void *)function, endbr64, sizeof endbr64) != 0)
		return false;
	if (((uint64_t)entry & 7) == 7)
		return false;
	if (entry[1] != NOP || (entry[0] != NOP && entry[0] != 0x66))
		return false;
	if (trampoline && !has_trampoline)
		return false;
	return all_nops(pad + 2, ULP_PAD_BEFORE - 2) && (has_trampoline || all_nops(pad, 2));
}

bool ulp_code_slot_jump(uint64_t function, bool endbr, uint64_t slot,
			struct ulp_code_patch patches[2], unsigned *count)
{
	uint64_t at = slot_jump_of(function, endbr);
	struct writer w = {.code = patches[0].bytes, .address = at, .in_reach = true};

	PUT(&w, 0xff, 0x25);
	put_relative(&w, slot);
	patches[0].address = at;
	patches[0].size = w.at;
	*count = 1;
	if (endbr) {
		patches[1].address = function - 5;
		patches[1].size = 2;
		patches[1].bytes[0] = 0xeb;
		patches[1].bytes[1] = 0xf7; /* f-3 - 9 = f-12 */
		*count = 2;
	}
	return w.in_reach;
}

void ulp_code_entry_hop(uint64_t function, bool endbr, struct ulp_code_patch hop[2])
{
	uint64_t entry = entry_of(function, endbr);

	hop[0].address = entry + 1;
	hop[0].size = 1;
	hop[0].bytes[0] = endbr ? HOP_ENDBR : HOP_PLAIN;
	hop[1].address = entry;
	hop[1].size = 1;
	hop[1].bytes[0] = 0xeb;
}

static uint32_t bits(int distance, unsigned count)
{
	return ((1u << count) - 1) << (ULP_PAD_BEFORE + distance);
}

struct ulp_code_parts ulp_code_parts(bool endbr)
{
	int entry = endbr ? sizeof endbr64 : 0, jump = endbr ? -12 : -6;
	struct ulp_code_parts parts = {
		.slot_jump = bits(jump, 6),
		.entry = bits(entry, ULP_PAD_ENTRY),
		.trampoline = bits(-ULP_PAD_BEFORE, 2),
		.starts = bits(jump, 1) | bits(entry, 1) | bits(-ULP_PAD_BEFORE, 1),
	};

	if (endbr) {
		parts.slot_jump |= bits(-5, 2);
		parts.starts |= bits(-5, 1);
	}
	return parts;
}

void ulp_code_trampoline_hop(uint64_t function, bool endbr, struct ulp_code_patch *hop)
{
	hop->address = function - ULP_PAD_BEFORE + 1;
	hop->size = 1;
	hop->bytes[0] =
		(unsigned char)(slot_jump_of(function, endbr) - (function - ULP_PAD_BEFORE + 2));
}
