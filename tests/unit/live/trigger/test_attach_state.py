# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The borrowed thread's whole state is as it was: it compares that itself, before and after each call that it waits in.

General registers, direction flag, vector, mask and x87 registers (the whole image that xsave stores), fs and gs, errno,
signal mask, alternate stack, robust list, and what the call returns.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Busy, compiled

PROGRAM = r"""
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int answer(int);
/* 0: rdi, rsi, rdx, r10, r8, r9, r12 to r15, rbx, rbp as they are to be; 12: what is found; 24: rbx, rbp meanwhile. */
uint64_t general[26], number, flags;
long result;
unsigned char before[16384] __attribute__((aligned(64))), after[16384] __attribute__((aligned(64)));
unsigned char pattern[64 * 33] __attribute__((aligned(64)));
static void require(int holds, int status)
{
    if (!holds)
        _exit(status);
}
__attribute__((noinline)) static void call(void)
{
    __asm__ volatile(
        "mov %%rbx, 192+general(%%rip)\n mov %%rbp, 200+general(%%rip)\n fninit\n fldpi\n fldl2e\n"
        "lea pattern(%%rip), %%rcx\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "vmovdqu64 64*\\n(%%rcx), %%zmm\\n\n .endr\n"
        ".irp n,1,2,3,4,5,6,7\n kmovq 2048+8*\\n(%%rcx), %%k\\n\n .endr\n"
        "mov $-1, %%eax\n mov $-1, %%edx\n lea before(%%rip), %%rcx\n xsave64 (%%rcx)\n"
        "mov number(%%rip), %%rax\n lea general(%%rip), %%rcx\n mov (%%rcx), %%rdi\n mov 8(%%rcx), %%rsi\n"
        "mov 16(%%rcx), %%rdx\n mov 24(%%rcx), %%r10\n mov 32(%%rcx), %%r8\n mov 40(%%rcx), %%r9\n"
        "mov 48(%%rcx), %%r12\n mov 56(%%rcx), %%r13\n mov 64(%%rcx), %%r14\n mov 72(%%rcx), %%r15\n"
        "mov 80(%%rcx), %%rbx\n mov 88(%%rcx), %%rbp\n std\n syscall\n lea 96+general(%%rip), %%rcx\n"
        "mov %%rax, result(%%rip)\n mov %%rdi, (%%rcx)\n mov %%rsi, 8(%%rcx)\n mov %%rdx, 16(%%rcx)\n"
        "mov %%r10, 24(%%rcx)\n mov %%r8, 32(%%rcx)\n mov %%r9, 40(%%rcx)\n mov %%r12, 48(%%rcx)\n"
        "mov %%r13, 56(%%rcx)\n mov %%r14, 64(%%rcx)\n mov %%r15, 72(%%rcx)\n mov %%rbx, 80(%%rcx)\n"
        "mov %%rbp, 88(%%rcx)\n pushfq\n popq flags(%%rip)\n cld\n"
        "mov $-1, %%eax\n mov $-1, %%edx\n lea after(%%rip), %%rcx\n xsave64 (%%rcx)\n"
        "mov 192+general(%%rip), %%rbx\n mov 200+general(%%rip), %%rbp\n vzeroall\n fninit\n"
        ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}
int main(int argc, char **argv)
{
    static struct timespec limit = {0, 300000000}, rest;
    static sigset_t awaited;
    static int word = 1;
    volatile long *shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[1], O_RDWR), 0);
    stack_t own = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16}, found;
    uint64_t fs, gs = 0x12345678000, base;
    void *robust, *robust_after;
    size_t length;
    sigset_t blocked, blocked_after;
    (void)argc;
    for (unsigned i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)(i * 7 + 3);
    for (unsigned i = 0; i < 12; i++)
        general[i] = UINT64_C(0x1122334455667788) * (i + 1);
    sigemptyset(&awaited);
    sigaddset(&awaited, 40);
    sigprocmask(SIG_SETMASK, &awaited, NULL);
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    sigaltstack(&own, NULL);
    syscall(SYS_arch_prctl, ARCH_SET_GS, gs);
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    syscall(SYS_get_robust_list, 0, &robust, &length);
    number = SYS_CALL;
    memcpy(general, (uint64_t[]){ARGUMENTS}, sizeof(uint64_t[]){ARGUMENTS});
    for (;;) {
        errno = EDOM;
        call();
        require(errno == EDOM, 3);
        require(result == RESULT, 4);
        require(!memcmp(general, general + 12, 12 * sizeof *general), 5);
        require((flags & 0x400) != 0, 6);
        require(!memcmp(before, after, sizeof before), 7);
        sigaltstack(NULL, &found);
        require(found.ss_sp == own.ss_sp && found.ss_size == own.ss_size && !found.ss_flags, 8);
        sigprocmask(SIG_SETMASK, NULL, &blocked_after);
        require(!memcmp(&blocked, &blocked_after, 8), 9);
        syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
        require(base == gs, 10);
        syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
        require(base == fs, 11);
        syscall(SYS_get_robust_list, 0, &robust_after, &length);
        require(robust == robust_after, 12);
        shown[0] = answer(1);
        shown[1]++;
    }
}
"""
LIMIT = "(uint64_t)&limit"
CALLS = {
    "nanosleep": ("nanosleep", f"{LIMIT}, 0", "0"),
    "clock_nanosleep": ("clock_nanosleep", f"CLOCK_MONOTONIC, 0, {LIMIT}, (uint64_t)&rest", "0"),
    "futex": ("futex", f"(uint64_t)&word, 0, 1, {LIMIT}", "-ETIMEDOUT"),
    "poll": ("poll", "0, 0, 300", "0"),
    "sigtimedwait": ("rt_sigtimedwait", f"(uint64_t)&awaited, 0, {LIMIT}, 8", "-EAGAIN"),
}


@pytest.mark.skipif(
    "avx512bw" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"), reason="needs AVX-512 of the processor")
@pytest.mark.parametrize("call", CALLS)
def test_state_of_the_borrowed_thread(call, padded, runtime, trigger, tmp_path):
    """Seen to end with 5 and with 7 where one bit of r15, or of a vector register, was changed in the block."""
    number, arguments, result = CALLS[call]
    source, program, shown = (tmp_path / name for name in ("program.c", "program", "shown"))
    source.write_text(PROGRAM, encoding="utf-8")
    compiled("-fomit-frame-pointer", "-fno-pie", "-no-pie", f"-DSYS_CALL=SYS_{number}", f"-DARGUMENTS={arguments}",
             f"-DRESULT={result}", source, "-L", padded.directory, "-lvictim", "-o", program)
    shown.write_bytes(bytes(4096))
    victim = Busy([program, shown], shown, 1, env=dict(os.environ, LD_LIBRARY_PATH=str(padded.directory)))
    try:
        victim.goes_on()
        # The stops are counted, and on a busy host each may miss a thread that waits for 0.3 seconds at a time.
        for _time in range(10):
            row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=60).apply(victim.pid)
            if row.outcome != "failed":
                break
        assert (row.outcome, row.attached) == ("patched", True), row
        victim.goes_on()
        assert victim.ask("answer") == "5001"
        assert victim.end() == 0
    finally:
        victim.kill()
