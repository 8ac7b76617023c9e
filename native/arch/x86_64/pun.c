/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Code for functions without padding: cells, and the landings that lead to them. */
#include <string.h>

#include "arch.h"

#define JUMP       0xe9
#define SHORT_JUMP 0xeb
#define REL32_SIZE 4

/* What a cell holds besides code; the rest of it is traps. */
#define AT_TARGET  192 /* the address that its last jump goes through */
#define CODE_END   64
#define LAST_FRAME 0xffffu

/* Of the table of saved registers. */
#define SAVED_REGISTERS 6
#define NOT_SAVED       1 /* the return address: a word that can be read, whatever comes of it */
#define NEVER           CODE_END

_Static_assert(ULP_CELL_FRAMES == 64 && ULP_CELL_SAVED == 200, "as in cell_pool.S");

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

bool ulp_code_pun_jumps(const unsigned char code[ULP_PUN_CODE], int64_t gap)
{
	if (!gap)
		return code[0] == JUMP;
	return code[0] == SHORT_JUMP && gap == ULP_SHORT_JUMP_SIZE + displacement_at(&code[1], 1) &&
	       code[ULP_SHORT_JUMP_SIZE] == JUMP;
}

uint64_t ulp_code_pun_landing(const struct ulp_code_pun *pun)
{
	uint64_t jump = pun->gap ? pun->gap : pun->site;
	const unsigned char *code = &pun->code[pun->gap ? ULP_SHORT_JUMP_SIZE : 0];

	return jump + ULP_JUMP_SIZE + (uint64_t)displacement_at(&code[1], REL32_SIZE);
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

/* The place in the table of the register that an instruction pushes; -1: the caller does not need it. */
static int saved_register(const unsigned char *push, unsigned length)
{
	static const signed char low[] = {-1, -1, -1, 0, -1, 1, -1, -1},
				 high[] = {-1, -1, -1, -1, 2, 3, 4, 5};

	return (length == 2 ? high : low)[push[length - 1] & 7];
}

/* Notes that what was just written has pushed a register, to so many bytes below the canonical frame address. */
static void note_saved(struct writer *w, int saved, uint32_t distance)
{
	unsigned char *entry = &w->code[ULP_CELL_SAVED + 2 * saved];

	/* Of two pushes the first one has the caller's value. */
	if (saved < 0 || entry[1] != NEVER)
		return;
	entry[0] = (unsigned char)(distance / 8);
	entry[1] = (unsigned char)w->at;
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
			note_saved(w, saved_register(code, length), *frame);
		}
		code += length;
	}
}

/*
 * The register that holds the address of an operand which is too far away: rsi, or rdi where the
 * instruction uses that.  No instruction with an operand in memory that is relative to itself uses
 * either unasked, and both are the callee's: an unwinder does not look for them.
 */
enum holder {
	RSI = 6,
	RDI = 7
};

/* The ModRM byte of such an operand: mod 0, r/m 5. */
static bool is_relative(unsigned char modrm)
{
	return (modrm & 0xc7) == 5;
}

/* The register in VEX.vvvv or EVEX.vvvv, which may be a general one; -1: the instruction has no such prefix. */
static int third_operand(const unsigned char *code)
{
	switch (*code) {
	case 0xc5:
		return ~code[1] >> 3 & 15;
	case 0xc4:
	case 0x62:
		return ~code[2] >> 3 & 15;
	default:
		return -1;
	}
}

/* call and jmp through memory don't come back to what restores the register. */
static bool comes_back(const unsigned char *code, const struct ulp_code_pun *pun)
{
	const unsigned char *modrm = &code[pun->displacement - 1];

	return modrm[-1] != 0xff || (*modrm >> 3 & 7) < 2 || (*modrm >> 3 & 7) == 6;
}

static bool is_prefix(unsigned char byte)
{
	static const unsigned char prefixes[] = {0xf0, 0xf2, 0xf3, 0x2e, 0x36,
						 0x3e, 0x26, 0x64, 0x65, 0x66};

	return memchr(prefixes, byte, sizeof prefixes) != NULL;
}

/* REX.B and its like have no meaning for an operand that is relative, but for one at a register. */
static bool has_extension(const unsigned char *code, unsigned modrm)
{
	unsigned i = 0;

	if (third_operand(code) >= 0)
		return *code != 0xc5 && !(code[1] & 0x20);
	while (i < modrm && is_prefix(code[i]))
		i++;
	return (code[i] & 0xf1) == 0x41 || third_operand(&code[i]) >= 0;
}

/* Whether the instruction does the same with the address of its operand in a register, which is restored behind it. */
static bool may_use_register(const unsigned char *code, const struct ulp_code_pun *pun)
{
	unsigned modrm = pun->displacement - 1u;
	uint32_t pushed = pun->frame_after - pun->frame_before;

	return pun->displacement >= 2 && is_relative(code[modrm]) && !has_extension(code, modrm) &&
	       comes_back(code, pun) && (pushed == 0 || pushed == 8);
}

static void put_saving(struct writer *w, bool loads, enum holder holder, int distance)
{
	/* mov %rsi, distance(%rsp), or the other way round */
	const unsigned char move[] = {0x48, loads ? 0x8b : 0x89,
				      (unsigned char)(0x44 | holder << 3), 0x24,
				      (unsigned char)distance};

	put(w, move, sizeof move);
}

/*
 * The same with its operand at a register.  The register is kept below what the instruction may
 * push: the function has put nothing there yet, and signal handlers leave it alone.
 */
static void put_far_instruction(struct writer *w, const struct ulp_code_pun *pun, uint64_t operand)
{
	const unsigned char *code = (const unsigned char *)pun->site;
	unsigned modrm = pun->displacement - 1u, behind = modrm + 1u + REL32_SIZE;
	unsigned operand_register = code[modrm] >> 3 & 7;
	bool rsi_is_used = operand_register == RSI || third_operand(code) == RSI;
	enum holder holder = rsi_is_used ? RDI : RSI;
	const unsigned char move_address[] = {0x48, (unsigned char)(0xb8 | holder)};
	unsigned char at_register = (unsigned char)(operand_register << 3 | holder);
	int pushed = (int)(pun->frame_after - pun->frame_before);

	/* One that uses both of them is none of a compiler's. */
	if (holder == RDI && (operand_register == RDI || third_operand(code) == RDI)) {
		w->fits = false;
		return;
	}
	note_frame(w, pun->frame_before);
	put_saving(w, false, holder, -24);
	note_frame(w, pun->frame_before);
	put(w, move_address, sizeof move_address);
	put(w, &operand, sizeof operand);
	note_frame(w, pun->frame_before);
	put(w, code, modrm);
	put(w, &at_register, 1);
	put(w, code + behind, pun->length - behind);
	note_frame(w, pun->frame_after);
	put_saving(w, true, holder, -24 + pushed);
}

static void put_instruction(struct writer *w, const struct ulp_code_pun *pun)
{
	const unsigned char *code = (const unsigned char *)pun->site;
	uint64_t operand = pun->site + pun->length;
	int64_t distance;
	int32_t narrow = 0;
	unsigned at = w->at;

	if (pun->instruction == ULP_PUN_RELATIVE) {
		operand += (uint64_t)displacement_at(&code[pun->displacement], REL32_SIZE);
		distance = (int64_t)(operand - (w->address + w->at + pun->length));
		narrow = (int32_t)distance;
		if (narrow != distance && may_use_register(code, pun)) {
			put_far_instruction(w, pun, operand);
			return;
		}
		w->fits = w->fits && narrow == distance;
	}
	note_frame(w, pun->frame_before);
	put(w, code, pun->length);
	if (pun->instruction == ULP_PUN_RELATIVE)
		memcpy(w->code + at + pun->displacement, &narrow, sizeof narrow);
}

bool ulp_code_cell(const struct ulp_code_pun *pun, uint64_t slot, uint64_t address,
		   unsigned char code[ULP_CELL_SIZE])
{
	struct writer w = {.code = code, .address = address, .fits = true};
	uint64_t target = pun->site + pun->length;
	uint32_t frame = 8;

	memset(code, ULP_CODE_TRAP, ULP_CELL_SIZE);
	memset(code + ULP_CELL_FRAMES, 0, 2 * ULP_CELL_FRAMES);
	for (unsigned i = 0; i < SAVED_REGISTERS; i++) {
		code[ULP_CELL_SAVED + 2 * i] = NOT_SAVED;
		code[ULP_CELL_SAVED + 2 * i + 1] = NEVER;
	}
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
	if (w.at + 7 > CODE_END)
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
