# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a thread be started from where another one is, as far as can be told from outside the process?

Starting one allocates memory and takes locks of the C library.  So the thread
that is borrowed must be neither in the allocator nor in the loader, nor in a
part of the C library that may hold a lock.  The runtime asks the same of its
own stack (native/runtime/safe_point.c); this is for a process without runtime.
Where the two differ, this is the stricter one.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from ..arch.code import call_target
from ..arch.frames import CALLEE_SAVED, SIGNAL_RETURN
from ..arch.system_calls import NUMBERS
from ..elf.exports import exported_functions
from ..errors import UlpError
from ..named_tuple import NamedTuple
from .c_library_calls import CONDITION_CALLS, EXITS, LOCK_CALLS, PLAIN_CALLS
from .frameless import runs_outside
from .maps import is_loader, read_code_maps
from .memory import read_memory
from .unwinder import unwind
from .words import lies_in

C_LIBRARY = "libc.so.6"
# Before glibc 2.34 threads were started in a library of their own.
_C_LIBRARIES = (C_LIBRARY, "libpthread.so.0")

# More of a stack is not looked at, in bytes: it is read while the thread is held.
STACK_LIMIT = 1 << 20

_ALLOCATIONS = ("malloc", "calloc", "realloc", "free")
_FUTEX = NUMBERS["futex"]
# What an allocator may wait in with a lock held, or what changes memory.
_OF_ALLOCATORS = frozenset(NUMBERS[name] for name in (
    "mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "futex", "nanosleep", "clock_nanosleep", "sched_yield",
))
_OF_MEMORY = frozenset(NUMBERS[name] for name in (
    "mmap", "munmap", "mprotect", "mremap", "madvise", "brk",
))
_CHANGES_MEMORY = "changes its memory"
NOT_UNWOUND = "has a stack that cannot be unwound"
IN_ALLOCATOR_OF_PROGRAM = "is perhaps in the program's own memory allocator"
# The C library starts every thread, and main(), from two functions, one called by the other.
_START_FRAMES = 2
_WORD = 8
# Bytes of a stack whose words are compared one by one.
_PIECE = 256
_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Grounds(NamedTuple):
    """Where in a process a borrowed thread must not be."""

    c_library: tuple[tuple[int, int], ...]  # ranges of addresses
    loader: tuple[tuple[int, int], ...]
    allocator: tuple[tuple[int, int], ...]  # of libraries that bring one
    program_allocates: bool  # the program itself brings one: its frames tell nothing
    kernel: tuple[tuple[int, int], ...]  # the vdso
    code: tuple[tuple[int, int], ...]  # all of it
    lock_calls: tuple[tuple[int, int], ...]
    condition_calls: tuple[tuple[int, int], ...]
    plain_calls: tuple[tuple[int, int], ...]
    exits: tuple[tuple[int, int], ...]
    shared: tuple[tuple[int, int], ...]  # the C library, the loader, allocators and the vdso


class Blocked(NamedTuple):
    """Proof that a thread which is blocked in a system call is at a safe point, for as long as it stays there."""

    number: int  # of the system call
    stack_pointer: int
    instruction_pointer: int
    stack: Any  # ctypes buffer: the bytes from the stack pointer on
    registers: dict[int, int]  # {DWARF number: value} of others that its frames hang on


def survey_grounds(subject, files):
    """The Grounds of a process.

    :param subject: process.subject.Subject.
    :param files: process.mapped.MappedFiles.
    :raises ProcessGone, ProcessForbidden: it cannot be looked at.
    :raises UlpError: a file that it has mapped cannot be read.
    """
    pid = subject.proc_tid
    mappings = read_code_maps(pid)
    ranges: dict[str, list] = {"library": [], "loader": [], "allocator": [], "kernel": []}
    calls: dict[str, list[tuple[int, int]]] = {"locks": [], "conditions": [], "plain": [], "exits": []}
    program_allocates = False
    for library in files.libraries(pid, mappings):
        text = library.text_start, library.text_end
        image = files.image(pid, library.mapping)
        if is_loader(library.mapping):
            ranges["loader"].append(text)
        elif library.survey.soname in _C_LIBRARIES:
            ranges["library"].append(text)
            calls["locks"] += _places(image, library.base, LOCK_CALLS)
            calls["conditions"] += _places(image, library.base, CONDITION_CALLS)
            calls["plain"] += _places(image, library.base, PLAIN_CALLS)
            calls["exits"] += _places(image, library.base, EXITS)
        elif any(exported_functions(image, name) for name in _ALLOCATIONS):
            program_allocates |= image.is_program
            if not image.is_program:
                ranges["allocator"].append(text)
    for mapping in mappings:
        if mapping.path == "[vdso]":
            ranges["kernel"].append((mapping.start, mapping.end))
    return Grounds(
        tuple(sorted(ranges["library"])), tuple(sorted(ranges["loader"])), tuple(sorted(ranges["allocator"])),
        program_allocates, tuple(ranges["kernel"]), tuple((mapping.start, mapping.end) for mapping in mappings),
        tuple(sorted(calls["locks"])), tuple(sorted(calls["conditions"])), tuple(sorted(calls["plain"])),
        tuple(sorted(calls["exits"])), tuple(sorted(pair for found in ranges.values() for pair in found)),
    )


def _places(image, base, names):
    return [
        (base + function.start, base + function.start + function.size)
        for name in names for function in exported_functions(image, name)
    ]


def look_at_blocked(pid, where, grounds, mappings, files, registers=None):
    """Whether a thread that is blocked is at a safe point; it goes on running meanwhile.

    :param pid: a thread of the process that has not ended.
    :param where: procfs.SystemCall.
    :param grounds: Grounds.
    :param mappings: of the process, ascending (maps.Mapping).
    :param registers: {DWARF number: value} of the thread while it is in this call, if more than two are known.
    :return: (Blocked, "") or (None, why not, words that go on after *the thread*).
    :raises ProcessGone, ProcessForbidden: it cannot be looked at.
    """
    if where.number < 0:
        return None, "waits for memory"
    mapping = next((mapping for mapping in mappings if mapping.start <= where.stack_pointer < mapping.end), None)
    if mapping is None:
        return None, "has no stack"
    size = mapping.end - where.stack_pointer
    if size > STACK_LIMIT:
        return None, "has too deep a stack"
    try:
        stack = read_memory(pid, where.stack_pointer, size)
        frames = unwind(pid, where, files, registers=registers)
    except UlpError:
        return None, "has a stack that cannot be read"
    if frames is None:
        why = _judge_by_words(pid, where, stack, grounds, mappings, files)
    else:
        why = _judge(pid, frames, where.number, grounds)
    if why:
        return None, why
    buffer = ctypes.create_string_buffer(stack, size)
    saved = {number: value for number, value in (registers or {}).items() if number in CALLEE_SAVED}
    return Blocked(where.number, where.stack_pointer, where.instruction_pointer, buffer, saved), ""


def _judge_by_words(pid, where, stack, grounds, mappings, files):
    """Why no thread may be started on top of a stack that cannot be unwound, or ""."""
    if where.number in _OF_MEMORY:
        return _CHANGES_MEMORY
    if grounds.program_allocates or not runs_outside(pid, where, stack, grounds.shared, mappings, files):
        return NOT_UNWOUND
    return ""


def _judge(pid, frames, number, grounds):
    """Why no thread may be started on top of these frames, innermost first, or ""."""
    if number in _OF_MEMORY:
        return _CHANGES_MEMORY
    if any(lies_in(address, grounds.loader) for address in frames):
        return "is in the dynamic loader"
    if any(lies_in(address, grounds.allocator) for address in frames):
        return "is in the memory allocator"
    frames = [address for address in frames if not lies_in(address, grounds.kernel)]
    inside = [lies_in(address, grounds.c_library) for address in frames]
    first = inside.index(False) if False in inside else len(frames)
    if first == len(frames):
        return "runs no code of the program"
    if number == _FUTEX and not (first and _has_called(pid, frames[first - 1], frames[first], grounds.lock_calls)):
        return "waits for a lock, perhaps one of the C library's"
    # No allocator waits to be told something while somebody allocates.
    if grounds.program_allocates and number in _OF_ALLOCATORS and not (
            number == _FUTEX and _has_called(pid, frames[first - 1], frames[first], grounds.condition_calls)):
        return IN_ALLOCATOR_OF_PROGRAM
    start, started = _first_of_start(frames, inside, first, grounds)
    if not started:
        return "is being started or ends"
    if _is_called_back(pid, frames[first:start], inside[first:start], grounds):
        return "is called back by the C library"
    return ""


def _is_called_back(pid, frames, inside, grounds):
    """Whether the C library has called the program while it was at something, other than for a signal in a plain call.

    :param frames: addresses, innermost first, from the first that is not the C library's to the start of the thread.
    :param inside: of each, whether it is the C library's.
    """
    interrupted = False
    for address, is_inside in zip(frames, inside):
        if not is_inside:
            interrupted = False
        elif _returns_from_signal(pid, address):
            interrupted = True
        elif not (interrupted and lies_in(address, grounds.plain_calls)):
            return True
    return False


def _returns_from_signal(pid, address):
    """Whether the frame at ``address`` is where a signal handler returns to; that is never called (sigreturn(2))."""
    try:
        return read_memory(pid, address + 1, len(SIGNAL_RETURN)) == SIGNAL_RETURN
    except UlpError:
        return False


def _first_of_start(frames, inside, first, grounds):
    """(Index of the innermost of the frames that started the thread, whether they did no more than that)."""
    # A program's own entry point may stand behind them.
    end = len(frames) - (not inside[-1])
    start = end
    while start > first and inside[start - 1]:
        start -= 1
    return start, (
        end - start <= _START_FRAMES and not any(lies_in(address, grounds.exits) for address in frames[start:end])
    )


def outside_from(frames, grounds):
    """From which frame on, outwards, a thread executes nothing but code of its own and what started it.

    :param frames: addresses of instructions, innermost first, to the outermost.
    :param grounds: Grounds.
    :return: an index of ``frames``, 0 when that holds for all of them; None when it holds for none: the thread is being
        started, or ends, or nothing shows what has started it.
    """
    inside = [lies_in(address, grounds.c_library) for address in frames]
    start, started = _first_of_start(frames, inside, 0, grounds)
    if not started or start == len(frames) or not inside[start]:
        return None
    harmful = [index for index in range(start) if not is_own(frames[index], grounds)]
    return harmful[-1] + 1 if harmful else 0


def is_own(address, grounds):
    """Whether an instruction at ``address`` is none of what starting a thread needs; in a stop this is to be fast."""
    return not lies_in(address, grounds.shared)


def _has_called(pid, function, call, functions):
    """Whether the program has called one of some functions of the C library.

    :param function: an address in the outermost function of the C library's.
    :param call: the address of a byte of the program's instruction that called it.
    """
    if lies_in(function, functions):
        return True
    # What was called may have gone on there by a jump.
    try:
        target = call_target(call + 1, lambda address, size: read_memory(pid, address, size))
    except UlpError:
        return False
    return target is not None and any(target == start for start, _end in functions)


def differs(old, new, stack_pointer, code):
    """Whether two pictures of a stack differ in anything that could be of a frame.

    The kernel itself writes there: what is left of a sleep, events.  So only words count that are addresses of code or
    of this stack, in one picture or the other.  The thread is held meanwhile, so words are looked at only where the
    bytes differ.

    :param old: ctypes buffer of bytes, from ``stack_pointer`` on.
    :param new: the same, as long.
    :param code: ranges of addresses, ascending.
    """
    size = len(old) // _WORD * _WORD
    end = stack_pointer + len(old)
    return any(
        stack_pointer <= word < end or lies_in(word, code)
        for start, stop in _different(old, new, 0, size)
        for before, after in zip(struct.iter_unpack("<Q", old[start:stop]), struct.iter_unpack("<Q", new[start:stop]))
        if before != after
        for word in (*before, *after)
    )


def _different(old, new, start, stop):
    """Pieces (start, stop) of two buffers that are not alike, each of a few words."""
    size = stop - start
    if not _compare(ctypes.addressof(old) + start, ctypes.addressof(new) + start, size):
        return
    if size <= _PIECE:
        yield start, stop
        return
    middle = start + size // (2 * _WORD) * _WORD
    yield from _different(old, new, start, middle)
    yield from _different(old, new, middle, stop)
