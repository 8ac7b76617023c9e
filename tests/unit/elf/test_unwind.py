# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwinding a post-processed library: through the padding, and as before everywhere else."""

from __future__ import annotations

import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process

LIBRARY = r"""
int external(int *);
static int __attribute__((noinline)) leaf(int x) { return x * 3; }
int simple(int x) { return leaf(x) + 1; }
int framed(int x) { int space[40] = { x }; return external(space) + leaf(x); }
int guarded(int x) { if (x > 5) { int space[3] = { x }; return external(space) + 2; } return x * x * x + leaf(x); }
int external(int *space) { return space[0]; }
"""


def frame_rows(path):
    """{first address: (end, rows)} of every FDE, as pyelftools decodes them; a row is (address, CFA, registers)."""
    with open(path, "rb") as stream:
        entries = [entry for entry in ELFFile(stream).get_dwarf_info().EH_CFI_entries()
                   if type(entry).__name__ == "FDE"]
        return {
            entry["initial_location"]: (
                entry["initial_location"] + entry["address_range"],
                [(row["pc"], (row["cfa"].reg, row["cfa"].offset),
                  {register: (rule.type, rule.arg) for register, rule in row.items() if isinstance(register, int)})
                 for row in entry.get_decoded().table])
            for entry in entries
        }


def frame_at(rows, address):
    """The CFA and register rules in force at an address."""
    return [row for row in rows if row[0] <= address][-1][1:]


def check_frames(path, before, gaps=()):
    """Every patchable function's FDE begins at its padding, where the frame is a caller's; all else is unchanged."""
    after = frame_rows(path)
    extended = {}
    for function in patchable_functions(ElfImage.open(path)):
        if function.label not in gaps:
            extended[function.address] = function.address - 14
    assert sorted(after) == sorted(extended.get(start, start) for start in before)
    for start, (end, rows) in before.items():
        new_end, new_rows = after[extended.get(start, start)]
        assert new_end == end
        for address in range(start, end):
            assert frame_at(new_rows, address) == frame_at(rows, address), hex(address)
        for address in range(extended.get(start, start), start):
            cfa, registers = frame_at(new_rows, address)
            assert cfa == (7, 8)  # rsp + 8
            assert registers == {16: ("OFFSET", -8)}  # only the return address is saved
    shown = subprocess.run(["readelf", "--debug-dump=frames-interp", str(path)], check=True, capture_output=True)
    assert shown.stderr == b""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_frames_cover_the_padding_and_are_as_before_elsewhere(compile_library, compiler):
    path = compile_library(LIBRARY, compiler=compiler)
    before = frame_rows(path)
    result = post_process(path)
    assert result.unwind_gaps == []
    check_frames(path, before)
    data = path.read_bytes()
    assert not post_process(path).changed and path.read_bytes() == data


ASSEMBLY = r"""
__asm__(".text; .balign 16; 1: .zero 14, 0x90; .globl far; .type far, @function;"
    "far: .cfi_startproc; nop; nop; .zero %d, 0x90; push %%rbx; .cfi_def_cfa_offset 16; .cfi_offset 3, -16;"
    "%s pop %%rbx; .cfi_def_cfa_offset 8; .cfi_restore 3; ret; .cfi_endproc; .size far, . - far;"
    ".section __patchable_function_entries, \"awo\", @progbits, .text; .balign 8; .quad 1b; .text");
"""
# More instructions, so that the entry is filled up to its end.
FILLING = "nop; .cfi_remember_state; nop; .cfi_restore_state;"


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("distance", [0, 45, 46, 47, 60, 61, 230, 240, 252, 253, 300, 65520, 65530, 70000])
def test_the_first_advance_is_lengthened_wherever_there_is_room(compile_library, distance, filled):
    for count in range(8):
        path = compile_library(ASSEMBLY % (distance, (FILLING if filled else "") + "nop; .cfi_undefined 6;" * count))
        before = frame_rows(path)
        result = post_process(path)
        check_frames(path, before, result.unwind_gaps)
        if not result.unwind_gaps:
            break
    # One of eight lengths leaves room in any case.
    assert result.unwind_gaps == []


def test_an_entry_without_room_is_left_and_reported(compile_library):
    gaps = []
    for count in range(8):
        path = compile_library(ASSEMBLY % (50, "nop; .cfi_undefined 6;" * count))
        before = frame_rows(path)
        result = post_process(path)
        check_frames(path, before, result.unwind_gaps)
        gaps.append(result.unwind_gaps)
        assert post_process(path).unwind_gaps == result.unwind_gaps
    assert ["far"] in gaps and [] in gaps


STEPPER = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unwind.h>
#include <dlfcn.h>

static uintptr_t low, high, main_frame;
static int steps, inside, lost;

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *found)
{
    if (_Unwind_GetCFA(context) == main_frame)
        *(int *)found = 1;
    return _URC_NO_REASON;
}

static void step(int number, siginfo_t *info, void *context)
{
    uintptr_t pc = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    (void)number; (void)info;
    steps++;
    if (pc >= low && pc < high) {
        int found = 0;
        _Unwind_Backtrace(frame, &found);
        inside++;
        if (!found)
            lost++;
    }
}

static _Unwind_Reason_Code first(struct _Unwind_Context *context, void *skip)
{
    if ((*(int *)skip)--)
        return _URC_NO_REASON;
    main_frame = _Unwind_GetCFA(context);
    return _URC_END_OF_STACK;
}

static int __attribute__((noinline, noclone)) work(int (*function)(int))
{
    int skip = 1, result;
    struct sigaction action = { .sa_sigaction = step, .sa_flags = SA_SIGINFO };
    _Unwind_Backtrace(first, &skip);
    sigaction(SIGTRAP, &action, 0);
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    result = function(6);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
    return result;
}

int main(int argc, char **argv)
{
    void *library = dlopen(argv[1], RTLD_NOW);
    int (*function)(int) = (int (*)(int))dlsym(library, argv[2]);
    (void)argc;
    low = (uintptr_t)function;
    high = low + 16;
    int result = work(function);
    printf("%d %d %d %d", result, steps > 0, inside, lost);
    return 0;
}
"""


@pytest.mark.parametrize("name", ["simple", "framed", "guarded"])
def test_a_thread_interrupted_in_the_padding_can_be_unwound(compile_library, compile_file, name):
    path = compile_library(LIBRARY)
    program = compile_file(STEPPER, "-O1", "-fno-omit-frame-pointer", "-mno-red-zone", "-ldl", name="stepper")
    post_process(path)
    output = subprocess.run([str(program), str(path), name], check=True, stdout=subprocess.PIPE).stdout
    result, stepped, inside, lost = map(int, output.split())
    assert result == {"simple": 19, "framed": 24, "guarded": 8}[name]
    # The trampoline and the function's first instruction.
    assert (stepped, inside, lost) == (1, 2, 0)


def test_without_the_extension_the_stepper_would_notice(compile_library, compile_file):
    path = compile_library(LIBRARY)
    program = compile_file(STEPPER, "-O1", "-fno-omit-frame-pointer", "-mno-red-zone", "-ldl", name="stepper")
    frames = ElfImage.open(path).section(".eh_frame")
    table = ElfImage.open(path).section(".eh_frame_hdr")
    original = path.read_bytes()
    post_process(path)
    data = bytearray(path.read_bytes())
    for section in (frames, table):
        data[section.offset:section.offset + section.size] = original[section.offset:section.offset + section.size]
    path.write_bytes(data)
    output = subprocess.run([str(program), str(path), "simple"], check=True, stdout=subprocess.PIPE).stdout
    assert output.split()[2:] == [b"2", b"1"]


EXCEPTIONS = r"""
#include <stdexcept>
static int destroyed;
struct Guard { int &count; ~Guard() { count++; } };
static int __attribute__((noinline)) thrower(int x) { if (x > 3) throw std::runtime_error("large"); return x; }
extern "C" int passes(int x) { return thrower(x) + 1; }
extern "C" int cleans(int x) { Guard guard{destroyed}; return passes(x) + 1; }
extern "C" int catches(int x) { try { return cleans(x); } catch (const std::runtime_error &) { return -destroyed; } }
extern "C" int callback(int (*function)(int), int x) { Guard guard{destroyed}; return function(x) + 1; }
"""

CATCHER = r"""
#include <cstdio>
#include <stdexcept>
extern "C" { int passes(int); int cleans(int); int catches(int); int callback(int (*)(int), int); }
static int throws(int) { throw 17; }
int main()
{
    int caught = 0;
    for (int round = 0; round < 1000; round++) {
        try { passes(9); } catch (const std::runtime_error &) { caught++; }
        try { cleans(9); } catch (const std::runtime_error &) { caught++; }
        try { callback(throws, 1); } catch (int number) { caught += number; }
    }
    std::printf("%d %d %d %d", caught, catches(1), catches(9), callback(passes, 1));
}
"""


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
def test_exceptions_pass_through_a_post_processed_library(compile_library, compile_file, tmp_path, optimisation):
    path = compile_library(EXCEPTIONS, optimisation, "-falign-functions=16", compiler="g++", suffix=".cc")
    main = compile_file(CATCHER, "-c", compiler="g++", suffix=".cc", name="main.o")
    program = tmp_path / "catcher"
    subprocess.run(["g++", "-o", str(program), str(main), str(path), f"-Wl,-rpath,{tmp_path}"], check=True)
    expected = subprocess.run([str(program)], check=True, stdout=subprocess.PIPE).stdout
    before = frame_rows(path)
    result = post_process(path, allow_untracked=True)
    assert subprocess.run([str(program)], check=True, stdout=subprocess.PIPE).stdout == expected
    # Functions that catch or clean up have tables that count from the beginning of their frame description.
    assert {"catches", "cleans", "callback"} <= set(result.unwind_gaps)
    assert "passes" not in result.unwind_gaps
    check_frames(path, before, result.unwind_gaps)
