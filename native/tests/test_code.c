/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stubs, executed; the jumps in the padding, decoded; call sites, real ones. */
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "check.h"
#include "runtime/image_table.h"

uint64_t seen_descriptor, seen_r11;
static uint64_t universe;
static __thread uint64_t number;

static int original(void)
{
	return 1;
}

static int replacement(void)
{
	return 2;
}

static int later_replacement(void)
{
	return 3;
}

/* Near the program, so that a stub reaches its universe. */
static unsigned char *executable_page(void)
{
	void *page = mmap((void *)((((uint64_t)&universe) & ~4095ull) + (16 << 20)), 4096,
			  PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	return page;
}

static int call(const unsigned char *code)
{
	int result;

	__asm__ volatile("mov $0x5a5a, %%r11d\n\tcall *%1"
			 : "=a"(result)
			 : "r"(code)
			 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

/* Where indirect branches are tracked: every jump through a word leads to an endbr64, or is not tracked. */
static void tracking(const unsigned char *code)
{
	unsigned jumps = 0;

	CHECK(memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0);
	for (unsigned at = 5; at + 1 < ULP_STUB_SIZE - 24; at++) {
		if (code[at] != 0xff || code[at + 1] != 0x25)
			continue;
		CHECK(code[at - 1] == 0x3e);
		jumps++;
	}
	CHECK(jumps == 2);
}

static void stubs(void)
{
	unsigned char *page = executable_page();
	uint64_t first = (uint64_t)page, second = first + ULP_STUB_SIZE,
		 third = second + ULP_STUB_SIZE;
	struct ulp_stub stub = {
		.tls_offset = (int64_t)((uint64_t)&number - ulp_thread_pointer()),
		.universe = &universe,
		.function = 0x1122334455667788,
		.older = (uint64_t)original,
	};

	CHECK(ulp_code_stub(&stub, first, page));
	stub.from = 3;
	stub.replacement = (uint64_t)replacement;
	stub.older = ulp_code_chain(first);
	CHECK(ulp_code_stub(&stub, second, page + ULP_STUB_SIZE));
	stub.from = 5;
	stub.replacement = (uint64_t)later_replacement;
	stub.older = ulp_code_chain(second);
	CHECK(ulp_code_stub(&stub, third, page + 2 * ULP_STUB_SIZE));

	for (universe = 0; universe < 8; universe++) {
		number = universe;
		CHECK(call(page) == 1);
		CHECK(call(page + ULP_STUB_SIZE) == (universe < 3 ? 1 : 2));
		CHECK(call(page + 2 * ULP_STUB_SIZE) == (universe < 3 ? 1 : universe < 5 ? 2 : 3));
	}
	tracking(page + ULP_STUB_SIZE);
	tracking(page + 2 * ULP_STUB_SIZE);
	number = 7;
	for (int i = 0; i < 3; i++) {
		const struct ulp_stub_descriptor *descriptor;

		CHECK(call(page + i * ULP_STUB_SIZE) == -1);
		descriptor = (const struct ulp_stub_descriptor *)seen_descriptor;
		CHECK(descriptor->function == 0x1122334455667788);
		for (number = 0; number < 7; number++)
			CHECK(call((const unsigned char *)ulp_code_kept(descriptor)) ==
			      (number < 3 || i == 0   ? 1
			       : number < 5 || i == 1 ? 2
						      : 3));
		CHECK(seen_r11 == 0x5a5a);
	}
	/* Too far away for a 32-bit displacement. */
	CHECK(!ulp_code_stub(&stub, first + (1ull << 33), page + 3 * ULP_STUB_SIZE));
}

static int32_t displacement(const unsigned char *at)
{
	int32_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static void padding(bool endbr)
{
	_Alignas(16) static unsigned char code[64];
	uint64_t function = (uint64_t)code + 30;
	unsigned entry = endbr ? 34 : 30;
	struct ulp_code_patch patch[2], hop[2], trampoline;
	unsigned count;

	memset(code, 0x90, sizeof code);
	if (endbr)
		memcpy(code + 30, "\xf3\x0f\x1e\xfa", 4);
	CHECK(ulp_code_hookable(function, endbr, false));
	CHECK(!ulp_code_hookable(function, endbr, true));
	memcpy(code + 16, "\xeb\x0c", 2);
	CHECK(ulp_code_hookable(function, endbr, true));
	code[entry] = 0x66;
	CHECK(ulp_code_hookable(function, endbr, true));
	code[entry] = 0x55;
	CHECK(!ulp_code_hookable(function, endbr, true));
	code[entry] = 0x90;
	code[20] = 0xcc;
	CHECK(!ulp_code_hookable(function, endbr, true));
	code[20] = 0x90;
	CHECK(!ulp_code_hookable(function + 1, endbr, false));

	CHECK(ulp_code_slot_jump(function, endbr, function + 0x1000, patch, &count));
	CHECK(count == (endbr ? 2u : 1u));
	CHECK(patch[0].bytes[0] == 0xff && patch[0].bytes[1] == 0x25);
	CHECK(patch[0].address + 6 + (uint64_t)displacement(patch[0].bytes + 2) ==
	      function + 0x1000);
	CHECK(!ulp_code_slot_jump(function, endbr, function + (3ull << 30), patch, &count));
	CHECK(ulp_code_slot_jump(function, endbr, function + 0x1000, patch, &count));

	ulp_code_entry_hop(function, endbr, hop);
	CHECK(hop[0].address == (uint64_t)code + entry + 1 &&
	      hop[1].address == (uint64_t)code + entry);
	CHECK(hop[1].bytes[0] == 0xeb);
	uint64_t landing = (uint64_t)code + entry + 2 + (uint64_t)(int8_t)hop[0].bytes[0];

	if (endbr) {
		CHECK(landing == patch[1].address);
		landing = patch[1].address + 2 + (uint64_t)(int8_t)patch[1].bytes[1];
	}
	CHECK(landing == patch[0].address);
	ulp_code_trampoline_hop(function, endbr, &trampoline);
	CHECK(trampoline.address == (uint64_t)code + 17);
	CHECK(trampoline.address + 1 + trampoline.bytes[0] == patch[0].address);
	CHECK(ulp_code_resume(function, endbr) == (uint64_t)code + entry + 2);
}

__attribute__((noinline)) static uint64_t who_was_called(void)
{
	return ulp_callsite_target((uint64_t)__builtin_return_address(0));
}

static void call_sites(void)
{
	uint64_t (*volatile pointer)(void) = who_was_called;

	CHECK(who_was_called() == (uint64_t)who_was_called);
	/* Nobody can tell afterwards. */
	CHECK(pointer() != (uint64_t)who_was_called);
}

int main(int argc, char **argv)
{
	ulp_images_learn(argc, argv);
	ulp_images_refresh();
	stubs();
	padding(false);
	padding(true);
	call_sites();
	return 0;
}
