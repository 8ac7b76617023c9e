# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames of a blocked thread, from its files' unwind information, without stopping it.

Words on a stack that look like return addresses may be left from earlier calls;
the frames tell which ones are.  Of a thread that nobody stops only two registers
can be seen, the instruction pointer and the stack pointer; the others are known
as far as functions have saved them on the way.  So there are stacks that cannot
be unwound from here: code that has no unwind information, or whose frames hang
on a frame pointer that nobody has saved.

Source: DWARF 5, section 6.4.4 (call frame unwinding); arch.frames has the registers, and the frame of a signal.
"""

from __future__ import annotations

from ..arch.code import LONGEST_CALL, looks_like_call
from ..arch.frames import (
    CALLEE_SAVED,
    FRAME_POINTER,
    RETURN_ADDRESS,
    SIGNAL_CONTEXT,
    SIGNAL_CONTEXT_SIZE,
    STACK_POINTER,
    interrupted_registers,
)
from ..errors import UlpError
from ..named_tuple import NamedTuple
from .maps import is_loader, mapping_at, read_code_maps
from .memory import read_memory

# More frames than this are no stack.
_MOST_FRAMES = 4096


class _Lost(Exception):
    """The next frame cannot be told."""


class _Unseen(_Lost):
    """It hangs on a register of which nothing is known."""


class Unwound(NamedTuple):
    """The frames of a thread, as far as they can be told."""

    frames: list  # as of unwind()
    untold: int | None  # from this address of the stack on, which is within it, nothing is known; None: all is told


class _Place(NamedTuple):
    """Where a function is being executed."""

    address: int  # as of unwind()
    interrupted: bool  # by a signal, or blocked: not at a call
    registers: dict


def unwind(pid, where, files, mappings=None, registers=None):
    """Where the functions on a thread's stack are being executed, innermost first.

    :param pid: the process, or a thread of it that has not ended.
    :param where: procfs.SystemCall in which the thread is blocked.
    :param files: mapped.MappedFiles.
    :param mappings: its executable ones (maps.Mapping); read now when None.
    :param registers: {DWARF number: value} of the thread, where more of them are known than the two in ``where``.
    :return: list of addresses, each of a byte of the instruction that is executed (the call, but for the innermost and
        for those that a signal interrupted); None when the stack could not be unwound to its end.
    :raises ProcessGone, ProcessForbidden: as maps.read_maps.
    """
    mappings = read_code_maps(pid) if mappings is None else mappings
    known = {**(registers or {}), STACK_POINTER: where.stack_pointer, RETURN_ADDRESS: where.instruction_pointer}
    try:
        return _frames(pid, known, files, mappings)
    except _Lost:
        return None


def unwind_as_far_as_told(pid, where, files, mappings):
    """The frames of a thread up to code without unwind information, or to a frame that hangs on an unknown register.

    :param pid: as for unwind(), like the others; raises the same.
    :return: Unwound.
    """
    known = {STACK_POINTER: where.stack_pointer, RETURN_ADDRESS: where.instruction_pointer}
    places = []
    try:
        for place in _walk(pid, known, files, mappings):
            places.append(place)
    except _Lost:
        return Unwound([place.address for place in places], _untold(pid, places, mappings))
    return Unwound([place.address for place in places], None)


def _untold(pid, places, mappings):
    """Where the stack begins of which nothing is known, if the unwinding was lost at the last of the _Places.

    That what was used until there was right shows where it has led: up the stack, and to code behind a call.
    """
    pointers = [place.registers[STACK_POINTER] for place in places]
    last = places[-1]
    mapping = mapping_at(mappings, last.address)
    told = pointers == sorted(pointers) and mapping is not None and mapping.executable and (
        last.interrupted or is_behind_call(pid, last.registers[RETURN_ADDRESS]))
    return pointers[-1] if told else pointers[0]


def is_behind_call(pid, address):
    """Whether the instruction before ``address`` may be a call; ``pid`` as for unwind()."""
    try:
        return looks_like_call(read_memory(pid, address - LONGEST_CALL, LONGEST_CALL))
    except UlpError:
        return False


def hangs_on_register(pid, where, files, mappings):
    """Whether unwind() ends where only a register leads on that cannot be seen of a blocked thread.

    :param mappings: of the process, ascending (maps.Mapping).
    """
    try:
        _frames(pid, {STACK_POINTER: where.stack_pointer, RETURN_ADDRESS: where.instruction_pointer}, files, mappings)
    except _Unseen:
        return True
    except _Lost:
        pass
    return False


def _frames(pid, registers, files, mappings):
    return [place.address for place in _walk(pid, registers, files, mappings)]


def _walk(pid, registers, files, mappings):
    """Each _Place on a stack, innermost first; raises _Lost behind the last that can be told."""
    interrupted = True
    for _frame in range(_MOST_FRAMES):
        # What follows a call may belong to another function: the call itself does not.
        place = _Place(registers[RETURN_ADDRESS] - (not interrupted), interrupted, registers)
        yield place
        frame = _frame_at(pid, mappings, place.address, files)
        if frame.outermost:
            return
        interrupted = frame.signal
        registers = _caller(pid, registers, frame)
    raise _Lost


def caller_of(pid, return_address, address, mappings, files):
    """What a function that is called returns to, by its return address alone: of a stack that no thread is on.

    :param pid: the process, or a thread of it that has not ended.
    :param return_address: the word at ``address``, where a function that has been called will return to.
    :param mappings: of the process, ascending (maps.Mapping).
    :param files: mapped.MappedFiles.
    :return: (the caller's own return address, the stack pointer when it has returned there), or None: that can't be
        told, or there is no caller.
    """
    registers = {STACK_POINTER: address + 8, RETURN_ADDRESS: return_address}
    try:
        frame = _frame_at(pid, mappings, return_address - 1, files)
        if frame.outermost or is_start_of_function(pid, mappings, return_address, files):
            return None
        if frame.base == FRAME_POINTER:
            # Whoever was called has saved it first, if it has a frame pointer too.
            registers[FRAME_POINTER] = _word(pid, address - 8)
        caller = _caller(pid, registers, frame)
    except _Lost:
        return None
    return caller[RETURN_ADDRESS], caller[STACK_POINTER]


def frame_around(pid, mappings, address, files):
    """Between which absolute addresses (start, end) the elf.frames.Frame is the one at ``address``, and that Frame.

    :param pid: the process, or a thread of it that has not ended.
    :param mappings: of the process, ascending (maps.Mapping).
    :return: None where that cannot be told.
    """
    try:
        return _around(pid, mappings, address, files)
    except _Lost:
        return None


def _frame_at(pid, mappings, address, files):
    return _around(pid, mappings, address, files)[2]


def _around(pid, mappings, address, files):
    mapping = mapping_at(mappings, address)
    if mapping is None or not mapping.inode:
        raise _Lost
    try:
        survey = files.survey(pid, mapping)
        if survey is None or is_loader(mapping):
            raise _Lost
        bias = survey.load_bias(mapping) if survey.native else None
        found = files.frames(pid, mapping).around(address - bias) if bias is not None else None
    except UlpError as error:
        # The file cannot be reached, or was damaged since.
        raise _Lost from error
    if found is None:
        raise _Lost
    start, end, frame = found
    return start + bias, end + bias, frame


def is_start_of_function(pid, mappings, address, files):
    """Whether a function begins there: the call before it never returns, and who has the address has a pointer.

    :param pid: the process, or a thread of it that has not ended.
    :param mappings: of the process, ascending (maps.Mapping).
    :return: False where that cannot be told.
    """
    mapping = mapping_at(mappings, address)
    if mapping is None or not mapping.inode:
        return False
    try:
        survey = files.survey(pid, mapping)
        bias = survey.load_bias(mapping) if survey is not None and survey.native else None
        return bias is not None and files.frames(pid, mapping).is_start(address - bias)
    except UlpError:
        return False


def _caller(pid, registers, frame):
    """The caller's registers, {DWARF number: value}, as far as they are known."""
    if frame.signal:
        context = registers[STACK_POINTER] + SIGNAL_CONTEXT
        interrupted = interrupted_registers(_read(pid, context, SIGNAL_CONTEXT_SIZE))
        if interrupted is not None:
            return interrupted
    if frame.base not in registers:
        raise _Unseen
    top = registers[frame.base] + frame.offset
    # Stacks grow downwards: only what a signal interrupted may lie elsewhere.
    if top <= registers[STACK_POINTER] or RETURN_ADDRESS not in frame.saved:
        raise _Lost
    caller = {
        register: value for register, value in registers.items()
        if register in CALLEE_SAVED and register not in frame.lost
    }
    for register, offset in frame.saved.items():
        caller[register] = _word(pid, top + offset)
    caller[STACK_POINTER] = top
    return caller


def _word(pid, address):
    return int.from_bytes(_read(pid, address, 8), "little")


def _read(pid, address, size):
    try:
        return read_memory(pid, address, size)
    except UlpError as error:
        raise _Lost from error
