/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the runtime asks of an architecture: the checklist for a port.  Nothing outside arch/
 * knows an opcode, a register or a byte of code.
 *
 * Each architecture has a folder here, which meson knows by host_machine.cpu_family().  There,
 *
 *   machine.h    has the values of the next paragraph and the inline functions,
 *   meson.build  names the sources (arch_sources; those that tests and the bootstrap code take
 *                alone; trm_source) and the compiler's options (arch_c_args,
 *                arch_bootstrap_c_args),
 *   trm.S        is linked into libraries: a universe slot of their own, and the note that
 *                leads to it (struct ulp_trm in ulp/abi.h).
 *
 * The values: ULP_STUB_POOL_SIZE and ULP_CELL_POOL_SIZE (bytes, so few that every stub and cell reaches
 * the runtime's data), ULP_JUMP_SIZE and ULP_SHORT_JUMP_SIZE (bytes of
 * jumps), ULP_LONGEST_INSTRUCTION, ULP_ENDBR_SIZE (bytes of what ULP_SITE_ENDBR says stands first in a
 * function), ULP_LONGEST_WAY_IN (bytes that may lie before the instruction that a
 * hook without padding takes the place of), ULP_PAGE (bytes), ULP_ADDRESS_END (where the addresses of
 * user space end),
 * ULP_REGISTERS (words of the registers as PTRACE_GETREGS gives them), ULP_UNWIND_REGISTERS,
 * ULP_UNWIND_STACK_POINTER and ULP_UNWIND_RETURN_ADDRESS (registers as frame descriptions number
 * them), ULP_LONGEST_CALL (bytes), ULP_SIGNAL_RETURN_SIZE (bytes that ulp_signal_return() compares),
 * ULP_SIGNAL_FRAME_SEGMENTS
 * (a word by which a signal's frame is recognized), ULP_LOADER_NAME (of the dynamic loader's file),
 * struct ulp_kernel_action (struct sigaction as rt_sigaction(2) has it).
 *
 * The inline functions:
 *
 *   uint64_t ulp_thread_pointer(void);
 *   long ulp_system_call_6(long number, long a, long b, long c, long d, long e, long f);
 *       calls nothing; returns what the kernel returns, -4095 to -1 where it fails
 *   void ulp_copy_long(void *to, const void *from, size_t size);
 *   void ulp_fill_long(void *to, int byte, size_t size);
 *       of more than 512 bytes, ascending, neither by a call
 *
 * Every function below is called on threads of a foreign program, so what CONTRIBUTING.md and
 * docs/runtime.md say of the runtime holds for it: no call of the C library, no lock, and a frame
 * description that is right at each instruction.
 */
#ifndef ULP_ARCH_H
#define ULP_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "machine.h"

/* ---- stub_pool.S, slow_path.S, request_entry.S */

/* Room for stubs: ULP_STUB_POOL_SIZE bytes of code, under one frame description that holds in every stub. */
extern unsigned char ulp_stub_pool[];
/*
 * Where the core diverts a thread to (ulp/abi.h, "diversion"): calls ulp_entry() with the block,
 * then loads each register from it, and is out of it with one instruction.
 */
void ulp_request_entry(void);
/*
 * Where a stub leads a thread whose number is behind: saves all that may carry something into a
 * function, asks ulp_universe_enter() where to go on, and goes there as if nothing had happened.
 */
void ulp_slow_path(void);
/* Room for cells: ULP_CELL_POOL_SIZE bytes of code, under one frame description that holds in every cell. */
extern unsigned char ulp_cell_pool[];
/* The section with the stubs, the cells and the slow path; the linker sets its ends. */
extern unsigned char ulp_entering_start[] __asm__("__start_ulp_entering")
	__attribute__((visibility("hidden")));
extern unsigned char ulp_entering_end[] __asm__("__stop_ulp_entering")
	__attribute__((visibility("hidden")));

/* ---- unmask.S */

#define ULP_UNMASK_PATTERN 0x5a5aa5a5c3c33c3cull

/*
 * Sets the calling thread's signal mask (8 bytes).  Returns whether a signal handler has run
 * on this stack before it returned.
 */
bool ulp_unmask(const uint64_t *mask);

/* ---- cpu.c */

/* Finds out how the slow path is to save vector registers here.  Called once, by the constructor. */
void ulp_cpu_detect(void);

/* ---- code.c: stubs */

/* What a stub hands to the slow path; it stands at the end of the stub itself. */
struct ulp_stub_descriptor {
	uint64_t function; /* struct ulp_function * */
};

struct ulp_stub {
	int64_t tls_offset; /* of the thread's universe number */
	const uint64_t *universe;
	uint64_t function; /* for the descriptor */
	uint32_t from;     /* the first universe that sees the replacement; 0: no replacement */
	uint64_t replacement;
	uint64_t older; /* where everybody else goes */
};

/*
 * Writes the code of a stub that will stand at `address` into `code`.  Returns
 * false if it can't reach the universe word or the slow path from there.
 */
bool ulp_code_stub(const struct ulp_stub *stub, uint64_t address,
		   unsigned char code[ULP_STUB_SIZE]);

/*
 * Where a stub goes on once the thread's number is settled: from here on only
 * numbers decide.  A newer stub of the same function leads here as its `older`.
 */
uint64_t ulp_code_chain(uint64_t stub);
/* The same for a thread that comes from the slow path with the number that it had. */
uint64_t ulp_code_kept(const struct ulp_stub_descriptor *descriptor);

/* ---- code.c: the padding around a function's entry */

/* One patch of the padding: bytes that are written, in order, one after the other. */
struct ulp_code_patch {
	uint64_t address;
	unsigned size;
	unsigned char bytes[6];
};

/* Where the function goes on behind its entry nops. */
uint64_t ulp_code_resume(uint64_t function, bool endbr);

/*
 * True if the padding is as the compiler, post, or an earlier hook left it, so that
 * it may be hooked; `trampoline` says that post's trampoline must stand there.
 */
bool ulp_code_hookable(uint64_t function, bool endbr, bool trampoline);

/* The jump through the slot, dead code until a hook is switched on. */
bool ulp_code_slot_jump(uint64_t function, bool endbr, uint64_t slot,
			struct ulp_code_patch patches[2], unsigned *count);

/* Switching the entry on: write hop[0], barrier, write hop[1]. Single bytes. */
void ulp_code_entry_hop(uint64_t function, bool endbr, struct ulp_code_patch hop[2]);

/* The bytes of struct ulp_hook's code that each part of a hook takes: bit i for byte i. */
struct ulp_code_parts {
	uint32_t slot_jump;
	uint32_t entry;
	uint32_t trampoline;
	uint32_t starts; /* of the bytes above, those at which an instruction begins */
};

struct ulp_code_parts ulp_code_parts(bool endbr);

/* Switching post's trampoline on: a single byte. */
void ulp_code_trampoline_hop(uint64_t function, bool endbr, struct ulp_code_patch *hop);

/* ---- pun.c: functions without padding; see struct ulp_request_pun */

struct ulp_code_pun {
	uint64_t function;
	uint64_t site;
	unsigned char code[ULP_PUN_CODE];
	uint64_t gap; /* 0: none */
	unsigned length;
	enum ulp_pun_instruction instruction;
	unsigned displacement;
	uint32_t frame_before, frame_after;
};

/* Whether `code` jumps; where `gap` is not 0, to so many bytes behind its start, and on from there. */
bool ulp_code_pun_jumps(const unsigned char code[ULP_PUN_CODE], int64_t gap);

/* Where the jump leads. */
uint64_t ulp_code_pun_landing(const struct ulp_code_pun *pun);

/*
 * Writes into `code` a cell that will stand at `address`: the way to the slot, and the old version, from
 * the function as it is in memory.  Returns false if it can't be moved there: something else than
 * endbr64, nops and pushes stands before the site, or what the instruction refers to is not within reach
 * and it cannot be told to take the address from a register.
 */
bool ulp_code_cell(const struct ulp_code_pun *pun, uint64_t slot, uint64_t address,
		   unsigned char code[ULP_CELL_SIZE]);

/* The code of a landing, which leads to the cell at `cell`.  A single instruction. */
void ulp_code_landing(uint64_t cell, unsigned char code[ULP_LANDING_SIZE]);

/* What stands in a page of landings where there is none. */
#define ULP_CODE_TRAP 0xcc

/* ---- callsite.c */

/*
 * The address that the call before `return_address` went to, followed through one
 * procedure linkage table entry; 0 if the instruction is not a call whose target
 * can be known afterwards.
 */
uint64_t ulp_callsite_target(uint64_t return_address);

/* Whether the bytes before `address` may be a call; ULP_LONGEST_CALL of them must be readable. */
bool ulp_callsite_before(uint64_t address);

/* ---- callsite.c: the registers of a diverted thread, in its block */

/* The interrupted system call in `registers` is to fail with EINTR, not to be made again. */
void ulp_registers_fail_with_eintr(uint64_t registers[ULP_REGISTERS]);
uint64_t ulp_registers_instruction(const uint64_t registers[ULP_REGISTERS]);
uint64_t ulp_registers_stack_pointer(const uint64_t registers[ULP_REGISTERS]);
/* The number of the system call that the thread was in. */
uint64_t ulp_registers_system_call(const uint64_t registers[ULP_REGISTERS]);

/* ---- unwind_start.S */

/*
 * The registers as the caller of this function has them, once it has returned: those that a
 * callee must preserve, the stack pointer, and in place of the return address the instruction.
 * The others are set to 0.
 */
void ulp_unwind_start(uint64_t registers[ULP_UNWIND_REGISTERS]);

/* ---- signal_frame.c */

/* Whether the code at `instruction` is what a signal handler returns to. */
bool ulp_signal_return(const unsigned char *instruction);

/*
 * Where the kernel has saved the registers, in the order of their numbers, relative to the stack
 * pointer that a handler returns with.
 */
extern const uint16_t ulp_signal_registers[ULP_UNWIND_REGISTERS];

#endif
