/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Code for functions without padding: cells, and the landings that lead to them. */
#include <string.h>

#include "arch.h"

#define REL32_SIZE 4
#define JUMP_SIZE  5 /* e9 rel32 */

/* What a cell holds besides code; the rest of it is traps. */
#define AT_TARGET  56 /* the address that its last jump goes through */
#define LAST_FRAME 0xffffu

struct writer {
	unsigned char *code;
	uint64_t address;
	unsigned at;
	bool fits;
};

static void put(struct writer *w, const void *bytes, unsigned count)
{
	memcpy(w->code + w->at, bytes, count);
	w->at += count;
}

/* A displacement, relative to the end of the four bytes that it takes. */
static void put_relative(struct writer *w, uint64_t target)
{
	int64_t distance = (int64_t)(target - (w->address + w->at + REL32_SIZE));
	int32_t narrow = (int32_t)distance;

	if (narrow != distance)
		w->fits = false;
	put(w, &narrow, sizeof narrow);
}

/* Notes the canonical frame address at the next instruction: so many bytes above the stack pointer. */
static void note_frame(struct writer *w, uint32_t distance)
{
	uint16_t words = (uint16_t)(distance / 8);

	if (distance % 8 || distance / 8 > LAST_FRAME)
		w->fits = false;
	memcpy(w->code + ULP_CELL_FRAMES + w->at * sizeof words, &words, sizeof words);
}

static void put_jump_through(struct writer *w, uint64_t word)
{
	static const unsigned char notrack_jump[] = {0x3e, 0xff, 0x25};

	put(w, notrack_jump, sizeof notrack_jump);
	put_relative(w, word);
}

static int64_t displacement_at(const unsigned char *bytes, unsigned size)
{
	int32_t wide;

	if (size == 1)
		return (int8_t)*bytes;
	memcpy(&wide, bytes, sizeof wide);
	return wide;
}

uint64_t ulp_code_pun_landing(const struct ulp_code_pun *pun)
{
	return pun->site + JUMP_SIZE + (uint64_t)displacement_at(&pun->code[1], REL32_SIZE);
}

/* The length of what may stand before the site, and in *pushed the bytes that it pushes; 0: something else. */
static unsigned passable(const unsigned char *code, const unsigned char *end, unsigned *pushed)
{
	static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	size_t left = (size_t)(end - code);

	*pushed = 0;
	if (left >= sizeof endbr64 && memcmp(code, endbr64, sizeof endbr64) == 0)
		return sizeof endbr64;
	if (*code == 0x90)
		return 1;
	*pushed = 8;
	if ((*code & 0xf8) == 0x50)
		return 1;
	if (left >= 2 && *code == 0x41 && (code[1] & 0xf8) == 0x50)
		return 2;
	return 0;
}

/* The pushes again, where they are on the way to the old version. */
static void put_pushes(struct writer *w, const struct ulp_code_pun *pun, uint32_t *frame)
{
	const unsigned char *code = (const unsigned char *)pun->function;
	const unsigned char *site = (const unsigned char *)pun->site;

	while (code < site && w->fits) {
		unsigned pushed, length = passable(code, site, &pushed);

		if (!length || *frame + pushed > pun->frame_before) {
			w->fits = false;
		} else if (pushed) {
			note_frame(w, *frame);
			put(w, code, length);
			*frame += pushed;
		}
		code += length;
	}
}

static void put_instruction(struct writer *w, const struct ulp_code_pun *pun)
{
	const unsigned char *code = (const unsigned char *)pun->site;
	unsigned at = w->at;

	note_frame(w, pun->frame_before);
	put(w, code, pun->length);
	if (pun->instruction == ULP_PUN_RELATIVE) {
		uint64_t operand = pun->site + pun->length +
				   (uint64_t)displacement_at(&code[pun->displacement], REL32_SIZE);
		int64_t distance = (int64_t)(operand - (w->address + w->at));
		int32_t narrow = (int32_t)distance;

		w->fits = w->fits && narrow == distance;
		memcpy(w->code + at + pun->displacement, &narrow, sizeof narrow);
	}
}

bool ulp_code_cell(const struct ulp_code_pun *pun, uint64_t slot, uint64_t address,
		   unsigned char code[ULP_CELL_SIZE])
{
	struct writer w = {.code = code, .address = address, .fits = true};
	uint64_t target = pun->site + pun->length;
	uint32_t frame = 8;

	memset(code, ULP_CODE_TRAP, ULP_CELL_SIZE);
	memset(code + ULP_CELL_FRAMES, 0, 2 * ULP_CELL_FRAMES);
	if (pun->frame_before < 8 || pun->frame_before > 8 + 8 * 8)
		return false;
	if (pun->frame_before > 8) {
		/* lea pushed(%rsp), %rsp */
		const unsigned char undo[] = {0x48, 0x8d, 0x64, 0x24,
					      (unsigned char)(pun->frame_before - 8)};

		note_frame(&w, pun->frame_before);
		put(&w, undo, sizeof undo);
	}
	note_frame(&w, 8);
	put_jump_through(&w, slot);

	w.at = ULP_CELL_OLD;
	put_pushes(&w, pun, &frame);
	if (!w.fits || frame != pun->frame_before)
		return false;
	if (pun->instruction == ULP_PUN_JUMP)
		target += (uint64_t)displacement_at((const unsigned char *)pun->site +
							    pun->displacement,
						    pun->length - pun->displacement);
	else
		put_instruction(&w, pun);
	if (w.at + 7 > AT_TARGET)
		return false;
	note_frame(&w, pun->instruction == ULP_PUN_JUMP ? frame : pun->frame_after);
	put_jump_through(&w, address + AT_TARGET);
	w.at = AT_TARGET;
	put(&w, &target, sizeof target);
	return w.fits;
}

void ulp_code_landing(uint64_t cell, unsigned char code[ULP_LANDING_SIZE])
{
	/* notrack jmp *(%rip), and the word behind it. */
	static const unsigned char jump[] = {0x3e, 0xff, 0x25, 0, 0, 0, 0};

	memcpy(code, jump, sizeof jump);
	memcpy(code + sizeof jump, &cell, sizeof cell);
}
