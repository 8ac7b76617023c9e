/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/unwind_expression.h"

#define DEPTH      16
#define MOST_STEPS 256

struct stack {
	uint64_t word[DEPTH];
	unsigned depth;
	bool failed;
};

static void push(struct stack *stack, uint64_t value)
{
	if (stack->depth == DEPTH)
		stack->failed = true;
	else
		stack->word[stack->depth++] = value;
}

static uint64_t pop(struct stack *stack)
{
	if (stack->depth == 0) {
		stack->failed = true;
		return 0;
	}
	return stack->word[--stack->depth];
}

static void pick(struct stack *stack, uint64_t from_top)
{
	if (from_top >= stack->depth)
		stack->failed = true;
	else
		push(stack, stack->word[stack->depth - 1 - from_top]);
}

static void push_register(struct stack *stack, const struct ulp_unwinder *unwinder, uint64_t number,
			  int64_t offset)
{
	if (number >= ULP_UNWIND_REGISTERS)
		stack->failed = true;
	else
		push(stack, unwinder->registers[number] + (uint64_t)offset);
}

static void dereference(struct stack *stack, struct ulp_unwinder *unwinder, uint64_t size)
{
	uint64_t word;

	if ((size != 1 && size != 2 && size != 4 && size != 8) ||
	    !ulp_unwind_read(unwinder, pop(stack), &word))
		stack->failed = true;
	else
		push(stack, size == 8 ? word : word & ((1ull << 8 * size) - 1));
}

/* Shifts by 64 and more are not what the processor makes of them. */
static uint64_t shift_right(uint64_t value, uint64_t by)
{
	return by < 64 ? value >> by : 0;
}

static uint64_t shift_right_signed(uint64_t value, uint64_t by)
{
	return (uint64_t)((int64_t)value >> (by < 64 ? by : 63));
}

/* Returns false if `operation` is not one of two operands. */
static bool combine(struct stack *stack, uint8_t operation)
{
	uint64_t second, first;

	switch (operation) {
	case 0x1a:
	case 0x1b:
	case 0x1c:
	case 0x1d:
	case 0x1e:
	case 0x21:
	case 0x22:
	case 0x24:
	case 0x25:
	case 0x26:
	case 0x27:
	case 0x29:
	case 0x2a:
	case 0x2b:
	case 0x2c:
	case 0x2d:
	case 0x2e:
		break;
	default:
		return false;
	}
	second = pop(stack);
	first = pop(stack);
	switch (operation) {
	case 0x1a: /* and */
		push(stack, first & second);
		break;
	case 0x1b: /* div, signed */
		if (!second || (first == 1ull << 63 && second == ~0ull))
			stack->failed = true;
		else
			push(stack, (uint64_t)((int64_t)first / (int64_t)second));
		break;
	case 0x1c: /* minus */
		push(stack, first - second);
		break;
	case 0x1d: /* mod */
		if (!second)
			stack->failed = true;
		else
			push(stack, first % second);
		break;
	case 0x1e: /* mul */
		push(stack, first * second);
		break;
	case 0x21: /* or */
		push(stack, first | second);
		break;
	case 0x22: /* plus */
		push(stack, first + second);
		break;
	case 0x24: /* shl */
		push(stack, second < 64 ? first << second : 0);
		break;
	case 0x25: /* shr */
		push(stack, shift_right(first, second));
		break;
	case 0x26: /* shra */
		push(stack, shift_right_signed(first, second));
		break;
	case 0x27: /* xor */
		push(stack, first ^ second);
		break;
	case 0x29: /* eq, and the other comparisons, which are signed */
		push(stack, first == second);
		break;
	case 0x2a:
		push(stack, (int64_t)first >= (int64_t)second);
		break;
	case 0x2b:
		push(stack, (int64_t)first > (int64_t)second);
		break;
	case 0x2c:
		push(stack, (int64_t)first <= (int64_t)second);
		break;
	case 0x2d:
		push(stack, (int64_t)first < (int64_t)second);
		break;
	case 0x2e:
		push(stack, first != second);
		break;
	}
	return true;
}

static void jump(struct stack *stack, struct ulp_bytes *operations, const unsigned char *start,
		 bool taken)
{
	int64_t distance = (int16_t)ulp_bytes_fixed(operations, 2);

	if (!taken)
		return;
	if (distance < start - operations->at || distance > operations->end - operations->at)
		stack->failed = true;
	else
		operations->at += distance;
}

/* Returns false if `operation` is not one that puts a constant or a register onto the stack. */
static bool push_operand(struct stack *stack, const struct ulp_unwinder *unwinder,
			 uint8_t operation, struct ulp_bytes *operations)
{
	uint64_t number;

	if (operation >= 0x30 && operation <= 0x4f) { /* lit0 to lit31 */
		push(stack, operation - 0x30u);
		return true;
	}
	if (operation >= 0x50 && operation <= 0x6f) { /* reg0 to reg31 */
		push_register(stack, unwinder, operation - 0x50u, 0);
		return true;
	}
	if (operation >= 0x70 && operation <= 0x8f) { /* breg0 to breg31 */
		push_register(stack, unwinder, operation - 0x70u, ulp_bytes_sleb(operations));
		return true;
	}
	switch (operation) {
	case 0x03: /* addr */
	case 0x0e: /* const8u, const8s */
	case 0x0f:
		push(stack, ulp_bytes_fixed(operations, 8));
		return true;
	case 0x08: /* const1u, const1s, and so on */
		push(stack, ulp_bytes_fixed(operations, 1));
		return true;
	case 0x09:
		push(stack, (uint64_t)(int64_t)(int8_t)ulp_bytes_fixed(operations, 1));
		return true;
	case 0x0a:
		push(stack, ulp_bytes_fixed(operations, 2));
		return true;
	case 0x0b:
		push(stack, (uint64_t)(int64_t)(int16_t)ulp_bytes_fixed(operations, 2));
		return true;
	case 0x0c:
		push(stack, ulp_bytes_fixed(operations, 4));
		return true;
	case 0x0d:
		push(stack, (uint64_t)(int64_t)(int32_t)ulp_bytes_fixed(operations, 4));
		return true;
	case 0x10: /* constu */
		push(stack, ulp_bytes_uleb(operations));
		return true;
	case 0x11: /* consts */
		push(stack, (uint64_t)ulp_bytes_sleb(operations));
		return true;
	case 0x90: /* regx */
		push_register(stack, unwinder, ulp_bytes_uleb(operations), 0);
		return true;
	case 0x92: /* bregx */
		number = ulp_bytes_uleb(operations);
		push_register(stack, unwinder, number, ulp_bytes_sleb(operations));
		return true;
	default:
		return false;
	}
}

static void rearrange(struct stack *stack, struct ulp_unwinder *unwinder, uint8_t operation,
		      struct ulp_bytes *operations, const unsigned char *start)
{
	uint64_t a, b, c;

	switch (operation) {
	case 0x06: /* deref */
		dereference(stack, unwinder, 8);
		break;
	case 0x94: /* deref_size */
		dereference(stack, unwinder, ulp_bytes_fixed(operations, 1));
		break;
	case 0x12: /* dup */
		pick(stack, 0);
		break;
	case 0x13: /* drop */
		pop(stack);
		break;
	case 0x14: /* over */
		pick(stack, 1);
		break;
	case 0x15: /* pick */
		pick(stack, ulp_bytes_fixed(operations, 1));
		break;
	case 0x16: /* swap */
		a = pop(stack);
		b = pop(stack);
		push(stack, a);
		push(stack, b);
		break;
	case 0x17: /* rot: the top becomes the third */
		a = pop(stack);
		b = pop(stack);
		c = pop(stack);
		push(stack, a);
		push(stack, c);
		push(stack, b);
		break;
	case 0x19: /* abs */
		a = pop(stack);
		push(stack, (int64_t)a < 0 ? -a : a);
		break;
	case 0x1f: /* neg */
		push(stack, -pop(stack));
		break;
	case 0x20: /* not */
		push(stack, ~pop(stack));
		break;
	case 0x23: /* plus_uconst */
		a = pop(stack);
		push(stack, a + ulp_bytes_uleb(operations));
		break;
	case 0x28: /* bra */
		jump(stack, operations, start, pop(stack) != 0);
		break;
	case 0x2f: /* skip */
		jump(stack, operations, start, true);
		break;
	case 0x96: /* nop */
		break;
	default:
		stack->failed = true;
	}
}

bool ulp_unwind_evaluate(struct ulp_unwinder *unwinder, struct ulp_bytes operations,
			 const uint64_t *initial, uint64_t *result)
{
	const unsigned char *start = operations.at;
	struct stack stack = {.depth = 0};

	if (initial)
		push(&stack, *initial);
	for (unsigned i = 0; i < MOST_STEPS; i++) {
		uint8_t operation;

		if (stack.failed || operations.over)
			return false;
		if (operations.at == operations.end) {
			*result = pop(&stack);
			return !stack.failed;
		}
		operation = (uint8_t)ulp_bytes_fixed(&operations, 1);
		if (!push_operand(&stack, unwinder, operation, &operations) &&
		    !combine(&stack, operation))
			rearrange(&stack, unwinder, operation, &operations, start);
	}
	return false;
}
