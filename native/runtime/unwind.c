/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "arch.h"
#include "runtime/address_space.h"
#include "runtime/image_table.h"
#include "runtime/landing.h"
#include "runtime/stack.h"
#include "runtime/unwind.h"
#include "runtime/unwind_expression.h"

/* How a register of the caller is found. */
enum rule {
	SAME,
	UNDEFINED,
	SAVED_AT,      /* in memory, at the CFA plus the value */
	IS,            /* the CFA plus the value itself */
	IN_REGISTER,   /* in the register that the value names */
	SAVED_WHERE,   /* in memory; the value is the address of an expression, its length first */
	IS_EXPRESSION, /* what such an expression computes */
};

struct rules {
	uint8_t how[ULP_UNWIND_REGISTERS];
	int64_t value[ULP_UNWIND_REGISTERS];
	uint64_t cfa_register;
	int64_t cfa_offset;
	uint64_t cfa_expression; /* its address, or 0 */
};

/* DW_CFA_remember_state within DW_CFA_remember_state; compilers use one. */
#define REMEMBERED 3

/* Stacks may be switched, on purpose by a few functions, and by every handler on a stack of its own. */
#define MOST_TURNS 64

struct program {
	struct rules rules;
	struct rules initial; /* after the common instructions */
	struct rules remembered[REMEMBERED];
	unsigned depth;
	uint64_t location;
};

/* ------------------------------------------------------------------ the stack */

typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned_word;

static bool extend(struct ulp_unwinder *unwinder, uint64_t address)
{
	uint64_t page = address & ~(ULP_PAGE - 1);
	uint64_t end = ulp_stack_known_end(address);

	if (end) {
		unwinder->readable_from = address;
		unwinder->readable_to = end;
		return true;
	}
	if (!ulp_readable(page, ULP_PAGE))
		return false;
	if (page == unwinder->readable_to) {
		unwinder->readable_to += ULP_PAGE;
	} else {
		unwinder->readable_from = page;
		unwinder->readable_to = page + ULP_PAGE;
	}
	return true;
}

/* From frames of others, wherever their descriptions lead. */
__attribute__((no_sanitize("address"))) bool ulp_unwind_read(struct ulp_unwinder *unwinder,
							     uint64_t address, uint64_t *word)
{
	if (address > UINT64_MAX - 2 * ULP_PAGE)
		return false;
	/* A word may lie on two pages. */
	for (unsigned i = 0; i < 2 && (address < unwinder->readable_from ||
				       address + sizeof *word > unwinder->readable_to);
	     i++)
		if (!extend(unwinder,
			    address >= unwinder->readable_from && address < unwinder->readable_to
				    ? unwinder->readable_to
				    : address))
			return false;
	if (address < unwinder->readable_from || address + sizeof *word > unwinder->readable_to)
		return false;
	*word = *(const volatile unaligned_word *)address;
	return true;
}

/* ------------------------------------------------------------------ call frame instructions */

static bool set(struct rules *rules, uint64_t number, enum rule how, int64_t value)
{
	/* Vector registers are saved too, by some; nobody asks for them. */
	if (number >= ULP_UNWIND_REGISTERS)
		return true;
	rules->how[number] = (uint8_t)how;
	rules->value[number] = value;
	return true;
}

static bool restore(struct program *program, uint64_t number)
{
	if (number >= ULP_UNWIND_REGISTERS)
		return true;
	program->rules.how[number] = program->initial.how[number];
	program->rules.value[number] = program->initial.value[number];
	return true;
}

/* Where an expression begins, with its length; it is skipped. */
static int64_t expression(struct ulp_bytes *bytes)
{
	uint64_t address = (uint64_t)bytes->at;

	ulp_bytes_part(bytes, ulp_bytes_uleb(bytes));
	return (int64_t)address;
}

/* An offset in units of the data alignment factor; nonsense wraps around. */
static int64_t scaled(uint64_t units, const struct ulp_frame_description *description)
{
	return (int64_t)(units * (uint64_t)description->data_factor);
}

static void set_cfa(struct rules *rules, uint64_t number, int64_t offset)
{
	rules->cfa_register = number;
	rules->cfa_offset = offset;
	rules->cfa_expression = 0;
}

/* DW_CFA_* with the two high bits clear; `operation` has been read. */
static bool execute_one(struct program *program, const struct ulp_frame_description *description,
			uint8_t operation, struct ulp_bytes *bytes)
{
	struct rules *rules = &program->rules;
	uint64_t number;

	switch (operation) {
	case 0x00: /* nop */
		return true;
	case 0x01: /* set_loc */
		program->location = ulp_bytes_pointer(bytes, description->encoding);
		return true;
	case 0x02: /* advance_loc1, 2, 4 */
		program->location += ulp_bytes_fixed(bytes, 1) * description->code_factor;
		return true;
	case 0x03:
		program->location += ulp_bytes_fixed(bytes, 2) * description->code_factor;
		return true;
	case 0x04:
		program->location += ulp_bytes_fixed(bytes, 4) * description->code_factor;
		return true;
	case 0x05: /* offset_extended */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, SAVED_AT, scaled(ulp_bytes_uleb(bytes), description));
	case 0x06: /* restore_extended */
		return restore(program, ulp_bytes_uleb(bytes));
	case 0x07: /* undefined */
		return set(rules, ulp_bytes_uleb(bytes), UNDEFINED, 0);
	case 0x08: /* same_value */
		return set(rules, ulp_bytes_uleb(bytes), SAME, 0);
	case 0x09: /* register */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, IN_REGISTER, (int64_t)ulp_bytes_uleb(bytes));
	case 0x0a: /* remember_state */
		if (program->depth == REMEMBERED)
			return false;
		program->remembered[program->depth++] = *rules;
		return true;
	case 0x0b: /* restore_state */
		if (program->depth == 0)
			return false;
		*rules = program->remembered[--program->depth];
		return true;
	case 0x0c: /* def_cfa */
		number = ulp_bytes_uleb(bytes);
		set_cfa(rules, number, (int64_t)ulp_bytes_uleb(bytes));
		return true;
	case 0x0d: /* def_cfa_register */
		set_cfa(rules, ulp_bytes_uleb(bytes), rules->cfa_offset);
		return true;
	case 0x0e: /* def_cfa_offset */
		rules->cfa_offset = (int64_t)ulp_bytes_uleb(bytes);
		return true;
	case 0x0f: /* def_cfa_expression */
		rules->cfa_expression = (uint64_t)expression(bytes);
		return true;
	case 0x10: /* expression */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, SAVED_WHERE, expression(bytes));
	case 0x11: /* offset_extended_sf */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, SAVED_AT,
			   scaled((uint64_t)ulp_bytes_sleb(bytes), description));
	case 0x12: /* def_cfa_sf */
		number = ulp_bytes_uleb(bytes);
		set_cfa(rules, number, scaled((uint64_t)ulp_bytes_sleb(bytes), description));
		return true;
	case 0x13: /* def_cfa_offset_sf */
		rules->cfa_offset = scaled((uint64_t)ulp_bytes_sleb(bytes), description);
		return true;
	case 0x14: /* val_offset */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, IS, scaled(ulp_bytes_uleb(bytes), description));
	case 0x15: /* val_offset_sf */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, IS, scaled((uint64_t)ulp_bytes_sleb(bytes), description));
	case 0x16: /* val_expression */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, IS_EXPRESSION, expression(bytes));
	case 0x2e: /* GNU_args_size */
		ulp_bytes_uleb(bytes);
		return true;
	case 0x2f: /* GNU_negative_offset_extended */
		number = ulp_bytes_uleb(bytes);
		return set(rules, number, SAVED_AT, scaled(-ulp_bytes_uleb(bytes), description));
	default:
		return false;
	}
}

/* Executes until the row of `instruction` is there. */
static bool execute(struct program *program, const struct ulp_frame_description *description,
		    struct ulp_bytes bytes, uint64_t instruction)
{
	while (bytes.at < bytes.end && !bytes.over && program->location <= instruction) {
		uint8_t operation = (uint8_t)ulp_bytes_fixed(&bytes, 1), low = operation & 0x3f;

		switch (operation >> 6) {
		case 1: /* advance_loc */
			program->location += low * description->code_factor;
			break;
		case 2: /* offset */
			set(&program->rules, low, SAVED_AT,
			    scaled(ulp_bytes_uleb(&bytes), description));
			break;
		case 3: /* restore */
			restore(program, low);
			break;
		default:
			if (!execute_one(program, description, operation, &bytes))
				return false;
		}
	}
	return !bytes.over;
}

/* Not inlined: this is the largest frame, and gone when the caller's registers are computed. */
__attribute__((noinline)) static bool find_rules(const struct ulp_frame_description *description,
						 uint64_t instruction, struct rules *rules)
{
	struct program program;

	/* All else is written before it is read. What others wrote may restore what has not been set yet. */
	program.rules = (struct rules){.cfa_register = ULP_UNWIND_REGISTERS};
	program.initial = program.rules;
	program.depth = 0;
	program.location = description->start;
	if (!execute(&program, description, description->common, UINT64_MAX))
		return false;
	program.initial = program.rules;
	program.location = description->start;
	if (!execute(&program, description, description->function, instruction))
		return false;
	*rules = program.rules;
	return true;
}

/* ------------------------------------------------------------------ from a frame to its caller */

static bool compute(struct ulp_unwinder *unwinder, uint64_t address, const uint64_t *initial,
		    uint64_t *result)
{
	struct ulp_bytes bytes = ulp_bytes_at(unwinder->image, address);
	struct ulp_bytes operations = ulp_bytes_part(&bytes, ulp_bytes_uleb(&bytes));

	return !bytes.over && ulp_unwind_evaluate(unwinder, operations, initial, result);
}

static bool find_cfa(struct ulp_unwinder *unwinder, const struct rules *rules, uint64_t *cfa)
{
	if (rules->cfa_expression)
		return compute(unwinder, rules->cfa_expression, NULL, cfa);
	if (rules->cfa_register >= ULP_UNWIND_RETURN_ADDRESS)
		return false;
	*cfa = unwinder->registers[rules->cfa_register] + (uint64_t)rules->cfa_offset;
	return true;
}

static bool find_register(struct ulp_unwinder *unwinder, const struct rules *rules, unsigned number,
			  uint64_t cfa, uint64_t *value)
{
	uint64_t at;

	switch (rules->how[number]) {
	case SAVED_AT:
		return ulp_unwind_read(unwinder, cfa + (uint64_t)rules->value[number], value);
	case IS:
		*value = cfa + (uint64_t)rules->value[number];
		return true;
	case IN_REGISTER:
		if ((uint64_t)rules->value[number] >= ULP_UNWIND_REGISTERS)
			return false;
		*value = unwinder->registers[rules->value[number]];
		return true;
	case SAVED_WHERE:
		return compute(unwinder, (uint64_t)rules->value[number], &cfa, &at) &&
		       ulp_unwind_read(unwinder, at, value);
	case IS_EXPRESSION:
		return compute(unwinder, (uint64_t)rules->value[number], &cfa, value);
	default: /* UNDEFINED: whatever it is, nobody relies on it */
		*value = unwinder->registers[number];
		return true;
	}
}

static void look_at_frame(struct ulp_unwinder *unwinder)
{
	uint64_t instruction =
		unwinder->registers[ULP_UNWIND_RETURN_ADDRESS] - !unwinder->interrupted;

	unwinder->described = false;
	if (!unwinder->registers[ULP_UNWIND_RETURN_ADDRESS])
		return;
	/* Callers are often in the same object. */
	if (!unwinder->image || instruction < unwinder->image->start ||
	    instruction >= unwinder->image->end)
		unwinder->image = ulp_image_at(instruction, &unwinder->room);
	unwinder->described = unwinder->image && ulp_frame_describe(unwinder->image, instruction,
								    &unwinder->description);
}

void ulp_unwind_begin(struct ulp_unwinder *unwinder)
{
	uint64_t stack_pointer = unwinder->registers[ULP_UNWIND_STACK_POINTER];

	unwinder->cfa_of_callee = stack_pointer;
	unwinder->interrupted = false;
	unwinder->image = NULL;
	unwinder->turns = 0;
	/* The thread is running on this page. */
	unwinder->readable_from = stack_pointer & ~7ull;
	unwinder->readable_to = (stack_pointer | (ULP_PAGE - 1)) + 1;
	look_at_frame(unwinder);
}

static bool arrive(struct ulp_unwinder *unwinder, const uint64_t *registers, uint64_t cfa,
		   bool interrupted)
{
	/* Callers lie above; frames that lead down again and again lead in a circle. */
	if (cfa <= unwinder->registers[ULP_UNWIND_STACK_POINTER] && ++unwinder->turns > MOST_TURNS)
		return false;
	for (unsigned i = 0; i < ULP_UNWIND_REGISTERS; i++)
		unwinder->registers[i] = registers[i];
	unwinder->cfa_of_callee = cfa;
	unwinder->interrupted = interrupted;
	look_at_frame(unwinder);
	return true;
}

/* The C library describes where handlers return to; programs that do without it may not. */
static bool step_over_signal(struct ulp_unwinder *unwinder)
{
	uint64_t instruction = unwinder->registers[ULP_UNWIND_RETURN_ADDRESS];
	uint64_t frame = unwinder->cfa_of_callee;
	uint64_t registers[ULP_UNWIND_REGISTERS];

	if (!ulp_readable(instruction, ULP_SIGNAL_RETURN_SIZE) ||
	    !ulp_signal_return((const unsigned char *)instruction))
		return false;
	for (unsigned i = 0; i < ULP_UNWIND_REGISTERS; i++)
		if (!ulp_unwind_read(unwinder, frame + ulp_signal_registers[i], &registers[i]))
			return false;
	return arrive(unwinder, registers, registers[ULP_UNWIND_STACK_POINTER], true);
}

/* A landing of a pun, which no description covers: nothing of the function's frame is there but pushes. */
static bool step_over_landing(struct ulp_unwinder *unwinder)
{
	uint32_t frame = ulp_landing_frame(unwinder->registers[ULP_UNWIND_RETURN_ADDRESS]);
	uint64_t registers[ULP_UNWIND_REGISTERS], cfa;

	/* Nothing is called there. */
	if (!frame || !unwinder->interrupted)
		return false;
	cfa = unwinder->registers[ULP_UNWIND_STACK_POINTER] + frame;
	for (unsigned i = 0; i < ULP_UNWIND_REGISTERS; i++)
		registers[i] = unwinder->registers[i];
	registers[ULP_UNWIND_STACK_POINTER] = cfa;
	return ulp_unwind_read(unwinder, cfa - sizeof(uint64_t),
			       &registers[ULP_UNWIND_RETURN_ADDRESS]) &&
	       arrive(unwinder, registers, cfa, false);
}

bool ulp_unwind_step(struct ulp_unwinder *unwinder)
{
	const struct ulp_frame_description *description = &unwinder->description;
	uint64_t registers[ULP_UNWIND_REGISTERS], cfa;
	struct rules rules;

	if (!unwinder->described)
		return step_over_landing(unwinder) || step_over_signal(unwinder);
	if (description->return_column != ULP_UNWIND_RETURN_ADDRESS ||
	    !find_rules(description,
			unwinder->registers[ULP_UNWIND_RETURN_ADDRESS] - !unwinder->interrupted,
			&rules) ||
	    !find_cfa(unwinder, &rules, &cfa))
		return false;
	for (unsigned i = 0; i < ULP_UNWIND_REGISTERS; i++)
		if (rules.how[i] == SAME)
			registers[i] = unwinder->registers[i];
		else if (!find_register(unwinder, &rules, i, cfa, &registers[i]))
			return false;
	if (rules.how[ULP_UNWIND_STACK_POINTER] == SAME)
		registers[ULP_UNWIND_STACK_POINTER] = cfa;
	if (rules.how[ULP_UNWIND_RETURN_ADDRESS] == UNDEFINED)
		registers[ULP_UNWIND_RETURN_ADDRESS] = 0;
	else if (rules.how[ULP_UNWIND_RETURN_ADDRESS] == SAME)
		return false;
	return arrive(unwinder, registers, cfa, description->signal);
}
