# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a thread that runs at a safe point?  It is held while that is found out, so it has to be fast.

To read unwind information takes milliseconds.  So the thread is stopped more
than once.  Of the first stop only a picture is kept, its registers and its
stack, which is unwound when the thread is running again; the unwind rows that
this took are kept.  In later stops a thread that computes is mostly in the same
functions: then unwinding is a lookup for each frame.  A deep stack is walked
only as far as it differs from a picture that has been unwound.
"""

from __future__ import annotations

import ctypes
import struct
from bisect import bisect_right

from ..arch.frames import (
    CALLEE_SAVED,
    FRAME_POINTER,
    RETURN_ADDRESS,
    SIGNAL_CONTEXT,
    SIGNAL_CONTEXT_SIZE,
    STACK_POINTER,
    interrupted_registers,
)
from ..named_tuple import NamedTuple
from .safe_point import IN_ALLOCATOR_OF_PROGRAM, STACK_LIMIT, is_own, outside_from
from .unwinder import frame_around

# As much of a stack, in bytes, is read in 0.2 ms; of more, only where nothing else has helped.
FAST_LIMIT = 1 << 18
# So many frames are walked while the thread is held; a frame takes some four microseconds.
_WALKED = 48
# More frames than this are no stack.
_MOST_FRAMES = 1 << 16
# So often, while the thread is held, the rest of its stack is compared with an earlier picture.
_MOST_COMPARED = 6
# So many pictures in a row that cannot be unwound are enough to know that none can.
_MOST_LOST = 50
_WORD = struct.Struct("<Q")
_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Rows:
    """Unwind rows by absolute address, read when no thread is held."""

    def __init__(self):
        self._starts: list[int] = []
        self._rows: list[tuple] = []

    def find(self, address):
        """The elf.frames.Frame at ``address`` if it is known, else None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        end, frame = self._rows[index]
        return frame if address < end else None

    def learn(self, address, pid, mappings, files):
        """The same, read where it is not known; None where nobody can tell."""
        known = self.find(address)
        if known is not None:
            return known
        found = frame_around(pid, mappings, address, files)
        if found is None:
            return None
        start, end, frame = found
        index = bisect_right(self._starts, start)
        self._starts.insert(index, start)
        self._rows.insert(index, (end, frame))
        return frame


class _State(NamedTuple):
    """Where the walk has arrived: what unwinding goes on from."""

    pointer: int
    address: int  # of the instruction that goes on, not yet lowered into the call
    frame_pointer: int | None
    interrupted: bool


class _Unwound(NamedTuple):
    """A picture that was unwound to its end."""

    frames: list[int]
    positions: dict[_State, int]  # of each frame in ``frames``
    outside: int  # from this frame on all is well
    plain: int  # from this frame on there is no signal's
    simple: int  # from this frame on unwinding goes by the stack pointer and the frame pointer alone


class Picture:
    """Registers and stack of a thread, as of one moment.  Made before the thread is held."""

    def __init__(self):
        self.memory = ctypes.create_string_buffer(STACK_LIMIT)
        self.address = ctypes.addressof(self.memory)
        # The kernel gives memory as it is first written, which takes long for so much of it.
        ctypes.memset(self.address, 1, STACK_LIMIT)
        self.pointer = 0  # what the first byte of ``memory`` was read from
        self.size = 0
        self.registers: dict[int, int] | None = None


class _Walk:
    """From frame to frame, outwards, by a Picture."""

    def __init__(self, picture):
        self.picture = picture
        self.registers = picture.registers
        self.interrupted = True
        self.frames: list[int] = []
        self.ended = False
        self.signals = False  # whether a signal's frame was come by

    @property
    def state(self):
        registers = self.registers
        return _State(
            registers[STACK_POINTER], registers[RETURN_ADDRESS], registers.get(FRAME_POINTER), self.interrupted
        )

    def step(self, find):
        """Go to the caller; the Frame that led there, or None: that cannot be told.

        :param find: gives the Frame at an address, or None.
        """
        registers = self.registers
        address = registers[RETURN_ADDRESS] - (not self.interrupted)
        frame = find(address)
        if frame is None:
            return None
        if frame.outermost:
            self.frames.append(address)
            self.ended = True
            return frame
        caller = self._caller(frame)
        if caller is None:
            return None
        self.frames.append(address)
        self.interrupted = frame.signal
        self.signals = self.signals or frame.signal
        self.registers = caller
        return frame

    def _caller(self, frame):
        registers, picture = self.registers, self.picture
        below = registers[STACK_POINTER]
        if frame.signal:
            position = below + SIGNAL_CONTEXT - picture.pointer
            if not 0 <= position <= picture.size - SIGNAL_CONTEXT_SIZE:
                return None
            context = interrupted_registers(picture.memory[position:position + SIGNAL_CONTEXT_SIZE])
            if context is not None:
                return context
        if frame.base not in registers or RETURN_ADDRESS not in frame.saved:
            return None
        top = registers[frame.base] + frame.offset
        # Stacks grow downwards.
        if top <= below:
            return None
        lost = frame.lost
        caller = {number: value for number, value in registers.items() if number in CALLEE_SAVED and number not in lost}
        start, last = top - picture.pointer, picture.size - _WORD.size
        for number, offset in frame.saved.items():
            position = start + offset
            if not 0 <= position <= last:
                return None
            caller[number], = _WORD.unpack_from(picture.memory, position)
        caller[STACK_POINTER] = top
        return caller


class Running:
    """What is known of one thread that runs."""

    def __init__(self, rows, grounds):
        """
        :param rows: Rows of its process.
        :param grounds: safe_point.Grounds.
        """
        self._rows = rows
        self._grounds = grounds
        self.picture = Picture()
        self._earlier = Picture()
        self._unwound: _Unwound | None = None
        self.limit = FAST_LIMIT  # bytes of stack, at most STACK_LIMIT
        # Whether a signal's frame is on the stack for which why_not() has found no reason: else it is no alternate one.
        self.signals = True
        self._lost = 0  # how often in a row study() could not unwind a picture

    @property
    def is_in_vain(self):
        """Whether stopping the thread has led to nothing so often that it runs in code without unwind information."""
        return self._lost >= _MOST_LOST

    def is_own(self, address):
        """Whether a thread that executes the instruction there may be at a safe point; for the held thread."""
        return is_own(address, self._grounds)

    def why_not(self):
        """Why the thread is not at a safe point, words that go on after *the thread*, or "": it is, by ``picture``.

        Call this while the thread is held.
        """
        walk = _Walk(self.picture)
        grounds, find = self._grounds, self._rows.find
        self.signals = True
        if grounds.program_allocates:
            return IN_ALLOCATOR_OF_PROGRAM
        compared, compare_at = 0, 0
        for count in range(_WALKED):
            if self._unwound is not None and count >= compare_at and compared < _MOST_COMPARED:
                position = self._unwound.positions.get(walk.state)
                if position is not None:
                    if position >= max(self._unwound.outside, self._unwound.simple) and self._goes_on_alike(walk):
                        self.signals = walk.signals or position < self._unwound.plain
                        return ""
                    compared += 1
                    compare_at = 2 * count + 1
            frame = walk.step(find)
            if frame is None:
                return "runs in code that was not seen before"
            if not is_own(walk.frames[-1], grounds):
                # Only the frames that started it may be there.
                return self._why_not_started(walk, find)
        return "has too many frames to look at them while it is held"

    def _why_not_started(self, walk, find):
        """The same, with the innermost frame that is not the program's own found."""
        while not walk.ended:
            if len(walk.frames) > _WALKED or walk.step(find) is None:
                return "runs in code that was not seen before"
        if outside_from(walk.frames, self._grounds) == 0:
            self.signals = walk.signals
            return ""
        return "runs in the C library, the loader or the memory allocator, or is called by them"

    def _goes_on_alike(self, walk):
        """Whether the stack from here on is what it was in the earlier picture."""
        now, before = self.picture, self._earlier
        pointer = walk.registers[STACK_POINTER]
        here, there = pointer - now.pointer, pointer - before.pointer
        size = now.size - here
        return (
            here >= 0 and there >= 0 and before.size - there == size
            and _compare(now.address + here, before.address + there, size) == 0
        )

    def study(self, pid, mappings, files):
        """Unwind ``picture``, taken of the thread, which is running again.

        :param pid: the process, or a thread of it that has not ended.
        :param mappings: of the process, ascending (maps.Mapping).
        :param files: mapped.MappedFiles.
        """
        if self.picture.registers is None:
            # It was not taken.
            return
        walk = _Walk(self.picture)
        positions: dict[_State, int] = {}
        bases = []
        plain = 0

        def find(address):
            return self._rows.learn(address, pid, mappings, files)

        while not walk.ended:
            positions[walk.state] = len(walk.frames)
            frame = walk.step(find)
            if frame is None or len(walk.frames) > _MOST_FRAMES:
                # The loader's frames cannot be told, either, but nobody stays there.
                self._lost += is_own(walk.registers[RETURN_ADDRESS], self._grounds)
                return
            bases.append(frame.base in (STACK_POINTER, FRAME_POINTER) or frame.outermost)
            if frame.signal:
                plain = len(walk.frames)
        self._lost = 0
        outside = outside_from(walk.frames, self._grounds)
        if outside is None:
            return
        simple = len(bases) - next((n for n, known in enumerate(reversed(bases)) if not known), len(bases))
        self._unwound = _Unwound(walk.frames, positions, outside, plain, simple)
        self.picture, self._earlier = self._earlier, self.picture
        self.picture.registers = None
