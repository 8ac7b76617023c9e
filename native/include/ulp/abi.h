/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The binary interface between the runtime (libpulp.so, trm.o) and the core
 * that reads and drives it from outside the process.
 *
 * Everything here is little endian and naturally aligned; every structure is a
 * multiple of 8 bytes.  plugins/module_utils/abi.py holds the same layouts for
 * Python, and tests/unit/test_abi.py compares the two by compiling this file.
 * A change of any layout, or of what its fields can hold, raises ULP_ABI_VERSION.
 */
#ifndef ULP_ABI_H
#define ULP_ABI_H

#define ULP_ABI_VERSION 7u

#define ULP_STATE_MAGIC   0x4554415453504c55ull /* "ULPSTATE" */
#define ULP_REQUEST_MAGIC 0x5453455551504c55ull /* "ULPQUEST" */

#define ULP_PATCH_ID_SIZE 32 /* SHA-256 */
#define ULP_BUILD_ID_SIZE 32 /* the longest build ID kept; gcc and clang write 20 */
#define ULP_NAME_SIZE     64
#define ULP_VERSION_SIZE  16
#define ULP_DOMAINS       64
#define ULP_LIBRARIES     64
#define ULP_PATCHES       256
#define ULP_RESULTS       8
#define ULP_DETAIL_SIZE   160
#define ULP_THREAD_SETS   4096
#define ULP_THREAD_WAYS   4
#define ULP_EXCEPTED      32
#define ULP_STUB_SIZE     112
#define ULP_HOOK_CODE     20 /* ULP_PAD_BEFORE + endbr64 + ULP_PAD_ENTRY */
#define ULP_CELL_SIZE     256
#define ULP_LANDING_SIZE  15
#define ULP_PUN_CODE      8

/* trm.o puts an ELF note with this type and the name "ulp" into a library; see below. */
#define ULP_NOTE_TRM 1

#ifndef __ASSEMBLER__
#include <stdint.h>

/* ------------------------------------------------------------------ state */

/*
 * A universe domain: one universe number shared by the libraries that were
 * first patched together (usually one library).
 */
struct ulp_domain {
	uint64_t universe;     /* the global number; every publish adds one */
	int64_t  tls_offset;   /* a thread's number is the 8 bytes at its thread pointer + this */
	uint64_t slow_entries; /* entries that took the slow path */
	uint64_t kept;         /* of those: thread was inside and kept its number */
	uint64_t unprovable;   /* of those: nothing could be proved, number kept */
	uint32_t library_count;
	uint32_t flags;       /* ULP_DOMAIN_* */
	uint64_t floor;       /* the settled universe: whoever has an older number has not been
	                           inside since, unless it kept the number after floor_keeps */
	uint64_t floor_keeps; /* what keeps was when the core began to look */
	uint64_t keeps;       /* entries at which a thread kept a number that is not the newest */
	uint64_t coroutines;  /* slow entries on a stack that the thread was not started with */
	/*
	 * What floor says of all threads, seen says of all but those excepted, which were inside. An
	 * entry believes it; nothing is given up for it.
	 */
	uint64_t seen;
	uint64_t seen_keeps;
	uint32_t seen_sequence; /* odd while the worker changes these */
	uint32_t excepted_count;
	uint32_t excepted[ULP_EXCEPTED]; /* thread IDs */
	uint64_t hooked_again; /* the number published when hooks that something else had undone were
	                            put back last, or 0 */
	uint64_t suspended;    /* stacks that no thread was on, with frames of the libraries, which the
	                          core saw before the last apply or revert */
};
#define ULP_DOMAIN_TLS_OF_LIBRARY 1u /* tls_offset lies in the TLS of trm.o, else in the runtime's */

struct ulp_library {
	uint64_t base;       /* load bias */
	uint64_t text_start; /* absolute addresses of the executable segment(s) */
	uint64_t text_end;
	uint64_t resolver; /* the function of the loader that finds, the first time, where a jump
	                      out of the library leads; 0: it was all bound when it was loaded */
	uint32_t domain;   /* index into domains */
	uint32_t flags;    /* ULP_LIBRARY_* */
	uint32_t hooked;   /* functions whose entry leads through a stub */
	uint32_t build_id_size;
	uint8_t  build_id[ULP_BUILD_ID_SIZE];
	char     name[ULP_NAME_SIZE];
	uint64_t bodies; /* by bodies: address of struct ulp_bodies; else 0 */
	uint64_t hooks;  /* address of a struct ulp_hooks, and struct ulp_hook[hooks_count] behind it: the
	                      newest; 0: nothing is hooked */
	uint64_t hooks_count;
};
#define ULP_LIBRARY_POST_PROCESSED 1u
#define ULP_LIBRARY_PROGRAM        2u /* the main executable */
#define ULP_LIBRARY_STOCK          4u /* compiled without padding; its functions are hooked by puns */

/* Of such, only bodies count as inside. */
#define ULP_LIBRARY_BY_BODIES (ULP_LIBRARY_PROGRAM | ULP_LIBRARY_STOCK)

/*
 * The outermost frames of every stack are a program's own, so its text as a whole can't be
 * what a thread is inside of; and who enters a stock library is not seen but where it is hooked.
 * Here only the code of the functions that were ever replaced counts, and of those that they lead
 * to by jumps.
 */
struct ulp_body {
	uint64_t start;
	uint64_t end;
};

/* struct ulp_body[count] follows, ascending and disjoint. Never changed: a larger one takes its place. */
struct ulp_bodies {
	uint64_t count;
};

/*
 * What must stand in memory so that whoever enters a function passes its newest stub.  Somebody
 * else may change it: a uprobe that is taken off puts back what the file has, whatever stood there.
 * Changed under the sequence lock only.
 */
struct ulp_hook {
	uint64_t function;      /* absolute address of its first instruction */
	uint64_t slot;          /* address of the word that the way to the stub goes through */
	uint64_t stub;          /* what that word holds: the address of the newest stub */
	uint32_t stub_checksum; /* CRC-32 of the ULP_STUB_SIZE bytes there */
	uint32_t relied; /* bit i: byte i from `start` on must be as in `code`; 0: it is not hooked now */
	uint8_t  code[ULP_HOOK_CODE];
	uint8_t  original[ULP_HOOK_CODE]; /* what stood there before the function was hooked */
	uint64_t start;   /* of `code`: of a pun the instruction, else ULP_PAD_BEFORE before the function */
	uint64_t landing; /* of a pun: where its jump leads, ULP_LANDING_SIZE bytes; else 0 */
	uint64_t cell;    /* of a pun: ULP_CELL_SIZE bytes; else 0 */
	uint32_t landing_checksum;
	uint32_t cell_checksum;
	uint32_t kind;  /* enum ulp_hook_kind */
	uint32_t frame; /* at `start`: bytes from the stack pointer to the canonical frame address */
};

enum ulp_hook_kind {
	ULP_HOOK_PADDING = 0,
	ULP_HOOK_PUN     = 1,
	ULP_HOOK_SHORT   = 2, /* a pun by way of a gap: code[2] to code[6] are the jump there, which leads
	                         to `landing`; relied is of the first two bytes alone */
};

/* Each request adds one; struct ulp_hook[] follows, ascending by function. */
struct ulp_hooks {
	uint64_t older; /* address, or 0 */
	uint64_t older_count;
};

enum ulp_patch_status {
	ULP_PATCH_APPLIED  = 1,
	ULP_PATCH_REVERTED = 2,
};

struct ulp_patch {
	uint8_t  id[ULP_PATCH_ID_SIZE];
	uint64_t applied_universe;  /* the number published when it was applied last */
	uint64_t reverted_universe; /* the number published when it was reverted last, or 0 */
	uint64_t loaded_ns;         /* CLOCK_REALTIME of the last publish, nanoseconds */
	uint64_t text_start;        /* the patch library's executable segment(s) */
	uint64_t text_end;
	uint32_t status; /* enum ulp_patch_status */
	uint32_t domain;
	uint32_t functions;
	uint32_t reserved;
	char     name[ULP_NAME_SIZE];
};

enum ulp_stage {
	ULP_STAGE_EMPTY   = 0,
	ULP_STAGE_REFUSED = 1, /* the diverted thread refused; nothing was started */
	ULP_STAGE_STARTED = 2, /* the worker thread runs */
	ULP_STAGE_DONE    = 3,
	ULP_STAGE_FAILED  = 4, /* the worker gave up; nothing was published */
	ULP_STAGE_WAITS   = 5, /* the worker waits until the core has filled and sealed the file
	                            whose descriptor is in `universe` */
};

struct ulp_result {
	uint64_t nonce;                   /* of the request it answers */
	uint32_t stage;                   /* enum ulp_stage */
	int32_t  error;                   /* enum ulp_error, 0 when done */
	uint64_t entry_ns;                /* how long the diverted thread spent in the runtime */
	uint64_t worker_ns;               /* how long the worker took */
	uint64_t universe;                /* the number that was published */
	char     detail[ULP_DETAIL_SIZE]; /* what went wrong, UTF-8, NUL-terminated */
};

/*
 * One for every thread that passed a slow path, in a set-associative table:
 * set = tid % ULP_THREAD_SETS, ULP_THREAD_WAYS records a set.  A record may be
 * evicted; a thread without one has to be judged by its stack.  A record whose
 * born_ns lies before the start of the thread with that tid is stale.
 */
struct ulp_thread {
	uint64_t tid;            /* 0: free; written last */
	uint64_t born_ns;        /* CLOCK_BOOTTIME, nanoseconds */
	uint64_t thread_pointer; /* fs base; tls_offset is relative to it */
	uint64_t unprovable;     /* bit d: its last entry into domain d could not be proved to
	                            come from outside: pending, whatever its stack holds */
};

struct ulp_messages {
	uint64_t written;     /* bytes ever written; the ring holds the last of them */
	uint64_t size;        /* bytes in data, a power of two */
	char     data[16384]; /* lines that end in \n */
};

/* The exported symbol ulp_state. Read it under the sequence lock. */
struct ulp_state {
	uint64_t magic; /* ULP_STATE_MAGIC, written last by the constructor */
	uint32_t abi_version;
	uint32_t size;     /* sizeof(struct ulp_state) */
	uint32_t sequence; /* odd while the worker changes what follows */
	uint32_t owner;    /* PID whose request is being carried out, or 0 */
	char     runtime_version[ULP_VERSION_SIZE];
	uint64_t entry;            /* address of the request entry */
	uint64_t request;          /* address of the request buffer */
	uint64_t request_capacity; /* bytes */
	uint64_t threads;          /* address of struct ulp_thread[SETS * WAYS] */
	uint64_t messages;         /* address of struct ulp_messages */
	uint64_t stubs_start;      /* the stub pool: code that belongs to no library */
	uint64_t stubs_used;       /* bytes */
	uint64_t stubs_size;       /* bytes */
	uint64_t text_start;       /* code that a thread passes on its way into a function: the
	                              stub pool, and the slow path */
	uint64_t text_end;
	uint32_t domain_count;
	uint32_t library_count;
	uint32_t patch_count;
	uint32_t last_error; /* enum ulp_error of the last request that failed, or 0 */

	struct ulp_result  results[ULP_RESULTS]; /* not under the sequence lock */
	struct ulp_domain  domains[ULP_DOMAINS];
	struct ulp_library libraries[ULP_LIBRARIES];
	struct ulp_patch   patches[ULP_PATCHES];
	uint64_t           attached; /* 1: it was loaded while the process ran; 0: when that started */
};

/* ---------------------------------------------------------------- request */

/*
 * The core writes a request into the buffer at any time, even while another
 * one is being carried out: the runtime copies it first and believes only a
 * copy whose checksum and nonce are right.  Offsets count from the start of
 * the request; strings end in NUL.
 */
enum ulp_operation {
	ULP_APPLY  = 1,
	ULP_REVERT = 2,
	ULP_SETTLE = 3, /* nothing but what `settled` says; of the patch's domain */
};

struct ulp_request {
	uint64_t magic; /* ULP_REQUEST_MAGIC */
	uint32_t abi_version;
	uint32_t size;      /* bytes of the whole request */
	uint64_t nonce;     /* random, not 0; the same as in the diversion block */
	uint32_t checksum;  /* CRC-32 (IEEE, as zlib's) of all bytes after this structure */
	uint32_t operation; /* enum ulp_operation */
	uint8_t  patch_id[ULP_PATCH_ID_SIZE];
	uint8_t  patch_build_id[ULP_BUILD_ID_SIZE];
	uint32_t patch_build_id_size;
	uint32_t patch_path; /* offset of the path that the worker dlopens; "": the process does not
	                        see the file, the core brings its bytes (ULP_STAGE_WAITS) */
	uint32_t patch_name; /* offset of the name shown in the state block */
	uint32_t library_count;
	uint32_t libraries;      /* offset of struct ulp_request_library[] */
	uint32_t settled;        /* a universe of the domain concerned which, the core has seen since it
	                            was published, every thread has reached or will at its next
	                            entry; 0: the core can't say.  Older versions are given up. */
	uint64_t settled_keeps;  /* the domain's keeps, read before the core began to look */
	uint32_t excepted;       /* offset of uint32_t[]: IDs of threads of which `settled` is not true; */
	uint32_t excepted_count; /* with ULP_SETTLE alone, at most ULP_EXCEPTED */
	uint64_t suspended;      /* for the domain's, with ULP_APPLY and ULP_REVERT */
	uint32_t replaced;       /* offset of uint8_t[][ULP_PATCH_ID_SIZE]: applied patches of the same
	                            domain that are taken back in the same publish, with ULP_APPLY
	                            and ULP_REVERT */
	uint32_t replaced_count;
};

struct ulp_request_library {
	uint64_t base;       /* load bias */
	uint64_t text_start; /* absolute */
	uint64_t text_end;
	uint64_t trm; /* absolute address of struct ulp_trm, or 0 */
	uint8_t  build_id[ULP_BUILD_ID_SIZE];
	uint32_t build_id_size;
	uint32_t flags; /* ULP_LIBRARY_* */
	uint32_t name;  /* offset of the soname or file name */
	uint32_t sites; /* offset of struct ulp_request_site[], ascending by function */
	uint32_t site_count;
	uint32_t replacements; /* offset of struct ulp_request_replacement[], ascending by function */
	uint32_t replacement_count;
	uint32_t bodies; /* offset of struct ulp_body[], relative to base, ascending and disjoint */
	uint32_t body_count;
	uint32_t bindings; /* offset of struct ulp_request_binding[] */
	uint32_t binding_count;
	uint32_t puns; /* of a stock library: offset of struct ulp_request_pun[], ascending by function */
	uint32_t pun_count;
	uint32_t reserved;
};

/* A function whose entry is to lead through a stub. */
struct ulp_request_site {
	uint32_t function; /* address of its first instruction, relative to base */
	uint32_t flags;    /* ULP_SITE_* */
};
#define ULP_SITE_ENDBR      1u  /* endbr64 stands first, the nops behind it */
#define ULP_SITE_ENTRY      2u  /* hook the function's own entry */
#define ULP_SITE_TRAMPOLINE 4u  /* hook the trampoline that post wrote before it */
#define ULP_SITE_TAIL       8u  /* code of the library may jump, not call, to it */
#define ULP_SITE_CYCLE      16u /* by jumps alone it may lead back to itself */
#define ULP_SITE_JUMPED     32u /* code of this patch library may jump, not call, to it */
#define ULP_SITE_PUN        64u /* it has no padding, and is hooked at one of its puns */

/* The ways into a function, hops, that can be switched on. */
#define ULP_SITE_HOPS (ULP_SITE_ENTRY | ULP_SITE_TRAMPOLINE)

/* Every replaced function must also be a site with ULP_SITE_ENTRY. */
struct ulp_request_replacement {
	uint32_t function; /* relative to the library's base */
	uint32_t reserved;
	uint64_t replacement; /* relative to the patch library's load bias */
};

/* What the words of the patch library at `slot` are filled with before anything is published. */
enum ulp_binding {
	ULP_BIND_ADDRESS   = 1, /* base + offset */
	ULP_BIND_WORD      = 2, /* what the word at base + offset holds, such as one of the GOT */
	ULP_BIND_SYMBOL    = 3, /* what the loader finds for name and version, as the library would */
	ULP_BIND_TLS       = 4, /* two words, as __tls_get_addr() takes them: the library's TLS module
	                         ID, offset */
	ULP_BIND_TLS_WORDS = 5, /* the two words at base + offset, which are of that kind */
};

struct ulp_request_binding {
	uint64_t slot;    /* relative to the patch library's load bias; a multiple of 8 */
	uint64_t offset;  /* relative to the library's base, or in its thread-local storage */
	int64_t  addend;  /* is added to the value, or to the second word */
	uint32_t kind;    /* enum ulp_binding */
	uint32_t name;    /* offset of the name: looked up with ULP_BIND_SYMBOL, else only shown */
	uint32_t version; /* offset of the symbol's version, "": any */
	uint32_t reserved;
};

/*
 * One place where a function without padding can be hooked; those of a function follow each other,
 * the best first.  An instruction is overwritten with a jump, whole or in part; what stays of it and
 * of what follows is the rest of the jump's displacement, and so determines where that leads.  With a
 * gap, which is 5 bytes that nobody executes, a short jump leads there, and another one on from there.
 */
struct ulp_request_pun {
	uint32_t function; /* address of its first instruction, relative to base */
	uint32_t site;     /* address of the instruction, relative to base: at the start, or behind pushes */
	uint32_t size;     /* bytes from the function's start to its end, or to that of the displacement */
	uint32_t checksum; /* CRC-32 of those, and of the gap's behind them, where nothing is hooked */
	uint32_t frame_before;       /* bytes from the stack pointer to the canonical frame address, */
	uint32_t frame_after;        /* before the instruction and after it */
	uint8_t  code[ULP_PUN_CODE]; /* the bytes from `site` on when it is hooked: e9 and the displacement;
	                               with a gap eb and its, then the 5 bytes of the gap */
	uint8_t  written;            /* at the site, how many are not as they were: 1, or more in one store */
	uint8_t  length;             /* of the instruction */
	uint8_t  instruction;        /* enum ulp_pun_instruction */
	uint8_t  displacement;       /* where in the instruction its displacement begins, if it has one */
	uint32_t gap;                /* address, relative to base; 0: none is needed */
};

enum ulp_pun_instruction {
	ULP_PUN_PLAIN    = 0, /* does the same anywhere */
	ULP_PUN_RELATIVE = 1, /* has an operand relative to its own end, by 32 bits */
	ULP_PUN_JUMP     = 2, /* jmp, by 8 or 32 bits */
};

/* -------------------------------------------------------------- diversion */

/*
 * The block at B on the diverted thread's stack, 64-byte aligned:
 * rip = state.entry, rsp = rbx = B, rax = 0, orig_rax = -1, DF, AC, NT and TF clear.
 *
 * The core's order is: write the block, PTRACE_SETREGS, PTRACE_SETSIGMASK (all
 * blocked but 33, by which the C library makes every thread take part in setuid()),
 * PTRACE_DETACH.  The entry puts signal_mask back before it leaves, so
 * that a core that dies in between leaves no thread with blocked signals.
 */
#define ULP_BLOCK_RED_ZONE 128
#define ULP_BLOCK_XSTATE   256
/* The thread computes all the time: where its stack shows it outside it takes the newest number. */
#define ULP_BLOCK_CATCH_UP 1u
/* Of a bootstrap: the thread has registered an area by rseq(2), or may have. */
#define ULP_BLOCK_HAS_RSEQ 2u
/* Its seccomp filter does not kill for process_vm_readv(2). Runtimes from before that ignore it. */
#define ULP_BLOCK_MAY_COPY 4u

struct ulp_block {
	uint64_t registers[27]; /* user_regs_struct, adjusted so that a blocked call is made again */
	uint64_t interrupted;   /* 0: was not in a system call; else 4 or 512..516, the kernel's error */
	uint64_t nonce;
	uint64_t signal_mask; /* of the thread, as PTRACE_GETSIGMASK gives it */
	uint64_t flags;       /* ULP_BLOCK_* */
	uint64_t expected;    /* of a bootstrap: the claim that nonce takes the place of */
			      /* ULP_BLOCK_XSTATE: the NT_X86_XSTATE image as PTRACE_GETREGSET gives it */
};

/* --------------------------------------------------------------- bootstrap */

/*
 * Code that loads the runtime into a process that was started without it.  It is built with the
 * runtime, and lies in the section ".ulp.bootstrap" of libpulp.so, which is never loaded.  The core
 * fills in the words of its head, writes it into unused bytes of a page of code, and diverts a
 * thread to `entry` as described above.  That thread makes a claim (nonce in the block takes the
 * place of expected in the words), starts a worker, which calls dlopen(), and goes back.
 */
#define ULP_BOOTSTRAP_MAGIC 0x544f4f42504c5536ull /* "6ULPBOOT" */

/*
 * In the lower half of a claim, where the core has given up waiting for the worker.  The rest of it stays, so that the
 * next attempt is told apart from one that is withdrawn after it, and a fork of the process from the process.
 */
#define ULP_BOOTSTRAP_WITHDRAWN 0x80000000u

/*
 * In place of a descriptor, of which none is so large: this process was forked from one that had made a
 * claim, and its own forks may still call the code that lies there.
 */
#define ULP_BOOTSTRAP_FORKED 0x7fffffff

struct ulp_bootstrap {
	uint64_t magic;
	uint32_t size;  /* bytes, with this head; the path of the runtime follows, NUL-terminated */
	uint32_t entry; /* from the head's start */
	/* From here on the core fills in: addresses of functions of the C library, and of the words. */
	uint64_t pthread_create;
	uint64_t pthread_attr_init;
	uint64_t pthread_attr_setstacksize;
	uint64_t pthread_attr_setdetachstate;
	uint64_t errno_location;
	uint64_t register_atfork;
	uint64_t cxa_finalize;
	uint64_t dlopen;
	uint64_t dlerror;
	uint64_t system_call; /* syscall() */
	uint64_t c_library_start;
	uint64_t c_library_end;
	uint64_t words;        /* address of struct ulp_bootstrap_words */
	uint32_t detail_size;  /* bytes for words->detail */
	uint8_t  has_avx;      /* the processor has AVX, and the kernel uses it */
	uint8_t  brings_bytes; /* there is no path: the core gives the runtime's bytes */
	uint8_t  reserved[2];
};

enum ulp_bootstrap_stage {
	ULP_BOOTSTRAP_NONE      = 0,
	ULP_BOOTSTRAP_STARTED   = 1, /* the claim is made */
	ULP_BOOTSTRAP_WAITS     = 2, /* for the bytes, in the file with the descriptor in words */
	ULP_BOOTSTRAP_LOADED    = 3,
	ULP_BOOTSTRAP_NO_THREAD = 4, /* error: what pthread_create() returned */
	ULP_BOOTSTRAP_NO_FILE   = 5, /* error: of memfd_create(2), or 0: the bytes did not come */
	ULP_BOOTSTRAP_REFUSED   = 6, /* dlopen() failed; detail is what dlerror() said */
	ULP_BOOTSTRAP_NO_RSEQ   = 7, /* a new thread could not register what the diverted one has */
};

/* In unused bytes of a page of data, all zero at first. */
struct ulp_bootstrap_words {
	/* Upper half: start time of the process in clock ticks; lower half: nonce of 31 bits, not 0. */
	uint64_t claim;
	/* Lower half of the claim that the fields below are of: written after them, so read before them. */
	uint32_t begun;
	uint32_t stage; /* enum ulp_bootstrap_stage */
	int32_t  error;
	uint32_t thread; /* TID of the diverted thread, and of the worker, in their PID namespace */
	uint32_t worker;
	int32_t  descriptor;
	char     detail[8]; /* NUL-terminated; really detail_size bytes */
};

/* ------------------------------------------------------------------- trm.o */

/*
 * The 8 descriptor bytes of the note (ULP_NOTE_TRM) are: uint32_t version (1); int32_t, the distance from
 * this very field to the struct ulp_trm.
 */
struct ulp_trm {
	uint64_t version; /* 1 */
	int64_t  locate;  /* distance from this field to a function int64_t (*)(void) that
	                            returns the universe slot's distance from the thread pointer */
};

/* ------------------------------------------------------------------- code */

/*
 * A patchable function f, compiled with -fpatchable-function-entry=16,14:
 * 14 nops before f, 2 at its entry e, where e = f, or f + 4 behind an endbr64.
 * e and e + 1 must lie in one aligned 8-byte word.
 *
 *   f-14  eb 0c           post: jmp f.  Hooked: eb 06 (eb 00 with endbr64)
 *   f-6   ff 25 rel32     jmp *slot(%rip); at f-12 when an endbr64 stands first,
 *   f-5   eb f7           and then this leads from the entry hop to f-12
 *   e     90 90 | 66 90   hooked: eb f8 (eb f5 with endbr64)
 */
#define ULP_PAD_BEFORE 14
#define ULP_PAD_ENTRY  2

/*
 * A function f without padding, hooked at an instruction s: at f, or behind endbr64 and pushes.
 *
 *   s        e9 | s+1 to s+4 as they were: the displacement
 *            or, in a gap's reach: eb rel8, and in the gap, which stays: e9 rel32
 *   landing  notrack jmp *(%rip); the cell's address.  Where that jump leads, in a page mapped there
 *   cell     +0   what the pushes did is undone, then notrack jmp *slot(%rip)
 *            +16  the pushes, the instruction from s, then a jump to what follows it: the old version
 *                 (of an operand that is relative to the instruction, and too far away for that, the
 *                 address is in a register meanwhile)
 *            +64  for each of its first 64 bytes, at a byte where an instruction begins: uint16_t, bytes from the
 *                 stack pointer to the canonical frame address, divided by 8
 *            +200 for each of rbx, rbp, r12 to r15 two bytes: how many words below the canonical frame address
 *                 it was pushed, and from which byte of the cell on it is there; 1 and 64 where it was not
 *                 (from version 7 on, so that the instruction may change what was pushed)
 */
#define ULP_CELL_OLD    16
#define ULP_CELL_FRAMES 64
#define ULP_CELL_SAVED  200

/* ------------------------------------------------------------------ errors */

enum ulp_error {
	ULP_OK = 0,
	/* try again: this thread, now, could not serve */
	ULP_BUSY          = 1, /* another request is being carried out */
	ULP_UNSAFE        = 2, /* the thread is not at a safe point */
	ULP_STALE_REQUEST = 3, /* the buffer holds another request by now */
	ULP_NO_THREAD     = 4, /* pthread_create failed */
	/* final */
	ULP_BAD_REQUEST     = 16, /* malformed */
	ULP_BAD_VERSION     = 17,
	ULP_LIBRARY_CHANGED = 18, /* not mapped there any more, or another build ID */
	ULP_LOAD_FAILED     = 19, /* dlopen said no; detail has its words */
	ULP_PATCH_MISMATCH  = 20, /* what was loaded is not the patch library asked for */
	ULP_TEXT_UNWRITABLE = 21, /* neither /proc/self/mem nor mprotect */
	ULP_NO_BARRIER      = 22, /* membarrier SYNC_CORE is not to be had */
	ULP_NO_MEMORY       = 23,
	ULP_FULL            = 24, /* stub pool, or one of the tables of the state block */
	ULP_UNEXPECTED_CODE = 25, /* the bytes at a site are not what they should be */
	ULP_DOMAINS_DIFFER  = 26, /* the targets were first patched apart from each other */
	ULP_ALREADY_APPLIED = 27,
	ULP_NOT_APPLIED     = 28,
	ULP_WORKER_LOST     = 29, /* the worker of an earlier request was killed at its work */
	ULP_BINDING_FAILED  = 30, /* what a word of the patch library stands for is not there */
	ULP_NO_LANDING      = 31, /* where a function's puns would lead there is something else */
	ULP_WORD_UNWRITABLE = 32, /* a word of the patch library stays as it is: mprotect is denied */
};

#endif /* __ASSEMBLER__ */
#endif
