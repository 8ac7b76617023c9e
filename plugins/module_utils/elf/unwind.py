# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extend unwind information over the padding before functions.

Once a library is post-processed, threads execute the 14 bytes before a
function, so an unwinder that interrupts one there must find the frame: the
function's frame description entry (FDE) is made to begin at the padding.  The
frame there is what it is at the function's first instruction.

Nothing in .eh_frame can grow, so an entry is changed only where it has room:
in the operand of its first DW_CFA_advance_loc, or in the DW_CFA_nop that fill
it up.  A function with a language-specific data area (a C++ function that
catches or cleans up) is left as it is: its tables count from the beginning of
the FDE.

Sources: DWARF 5, section 6.4 (call frame information); LSB Core, chapter 10.6
(.eh_frame, .eh_frame_hdr).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Sequence

from ..abi import PAD_BEFORE
from ..errors import BadElf
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    import builtins

    from .image import ElfImage
    from .patchable import PatchableFunction

_PE_OMIT = 0xFF
_PE_UDATA4 = 0x03
_PE_PCREL_SDATA4 = 0x1B
_PE_DATAREL_SDATA4 = 0x3B
# Bytes of an encoded pointer by the low four bits of its encoding; uleb128 and sleb128 have no fixed size.
_POINTER_SIZES = {0x0: 8, 0x2: 2, 0x3: 4, 0x4: 8, 0xA: 2, 0xB: 4, 0xC: 8}

# More than any program has; a table of more would take all the memory that a worker may use.
_MOST_ENTRIES = 1 << 21
# Bytes: decoding a longer one takes seconds.
_LONGEST_ENTRY = 1 << 16

_CFA_NOP = 0x00
_CFA_SET_LOC = 0x01
_CFA_ADVANCE_LOC = 0x40  # the delta is in the low six bits
_CFA_LONG_ADVANCES = {0x02: "<B", 0x03: "<H", 0x04: "<I"}
_LARGEST_SHORT_ADVANCE = 0x3F

# The operands of every other instruction: u is an (un)signed LEB128 number, b a block that begins with its length.
_CFA_OPERANDS = {
    0x05: "uu", 0x06: "u", 0x07: "u", 0x08: "u", 0x09: "uu", 0x0A: "", 0x0B: "", 0x0C: "uu", 0x0D: "u", 0x0E: "u",
    0x0F: "b", 0x10: "ub", 0x11: "uu", 0x12: "uu", 0x13: "u", 0x14: "uu", 0x15: "uu", 0x16: "ub", 0x2E: "u",
}


class EntryError(Exception):
    """An entry cannot be extended in place, or is of a kind that is not understood."""


class _Table(NamedTuple):
    """The sorted search table of .eh_frame_hdr; addresses are link-time."""

    base: int
    first: int
    functions: array[int]
    entries: array[int]


def extend_over_padding(image: ElfImage, data: bytearray, functions: list[PatchableFunction]) -> list[str]:
    """Make the FDEs of functions begin at their padding.

    :param image: ElfImage of the library before any change.
    :param data: bytearray with all bytes of the file, changed in place.
    :param functions: list of patchable.PatchableFunction.
    :return: the labels of the functions that have unwind information which could not be extended.
    """
    table = search_table(image)
    if table is None:
        return []
    gaps = []
    for function in functions:
        index = bisect_left(table.functions, function.address)
        if index == len(table.functions) or table.functions[index] != function.address:
            # Extended before, or compiled without unwind information.
            continue
        try:
            _extend(image, data, table, index)
        except (EntryError, BadElf):
            # An entry that cannot be changed for sure stays as it is; the caller reports it.
            gaps.append(function.label)
    return gaps


class DescribedCode:
    """Where the functions that have unwind information begin and end."""

    def __init__(self, image: ElfImage) -> None:
        """
        :param image: ElfImage.
        """
        self._image = image
        self._table = search_table(image)

    def starts(self) -> Sequence[int]:
        """Where they begin, ascending."""
        return [] if self._table is None else self._table.functions

    def at(self, address: int) -> tuple[int, int] | None:
        """(start, end) of the function that link-time ``address`` lies in, in bytes, or None.

        Where an entry is of a kind that is not understood, the function ends where the next one begins.
        """
        if self._table is None:
            return None
        index = bisect_right(self._table.functions, address) - 1
        if index < 0 or not self._image.is_executable_address(address):
            return None
        start = self._table.functions[index]
        end = self._image.end_of_segment(address)
        try:
            end = min(end, start + _described_size(self._image, start, self._table.entries[index]))
        except (EntryError, BadElf):
            if index + 1 < len(self._table.functions):
                end = min(end, self._table.functions[index + 1])
        return (start, end) if address < end else None


def _described_size(image: ElfImage, function: int, address: int) -> int:
    """The bytes that the FDE at ``address`` covers from ``function`` on."""
    fields = _Cursor(read_entry(image, address).body)
    begin, size = fields.take("<i"), fields.take("<I")
    if address + 8 + begin != function:
        raise EntryError("the entry is not that of the function")
    return size


def search_table(image: ElfImage) -> _Table | None:
    segment = next((segment for segment in image.segments if segment.type == "PT_GNU_EH_FRAME"), None)
    if segment is None or segment.filesz < 12:
        return None
    base = segment.vaddr
    header = image.read(base, segment.filesz)
    if header[0] != 1 or header[1] == _PE_OMIT or header[2:4] != bytes((_PE_UDATA4, _PE_DATAREL_SDATA4)):
        return None
    first = 4 + (_POINTER_SIZES.get(header[1] & 0x0F) or len(header)) + 4
    if first > len(header):
        return None
    count = struct.unpack_from("<I", header, first - 4)[0]
    if count * 8 > len(header) - first:
        return None
    image.require_few(count, _MOST_ENTRIES, "functions with unwind information")
    numbers = array("i", header[first:first + count * 8])
    functions = array("q", (base + function for function in numbers[::2]))
    if any(after < before for before, after in zip(functions, functions[1:])):
        return None
    return _Table(base, base + first, functions, array("q", (base + entry for entry in numbers[1::2])))


def _extend(image: ElfImage, data: bytearray, table: _Table, index: int) -> None:
    """Extend one FDE and its place in the search table."""
    function, address = table.functions[index], table.entries[index]
    if index and table.functions[index - 1] > function - PAD_BEFORE:
        raise EntryError("another entry covers the padding")
    entry = read_entry(image, address)
    common_address = address + 4 - entry.number
    common = _CommonEntry(read_entry(image, common_address))
    fields = _Cursor(entry.body)
    begin, size = fields.take("<i"), fields.take("<I")
    if common.pointer_encoding != _PE_PCREL_SDATA4 or address + 8 + begin != function:
        raise EntryError("the entry is not that of the function")
    if common.augmented:
        augmentation_end = fields.leb128() + fields.position
        if common.lsda_encoding != _PE_OMIT and any(fields.bytes(_pointer_size(common.lsda_encoding))):
            raise EntryError("the entry has a language-specific data area")
        fields.position = augmentation_end
    program = _extend_program(entry.body[fields.position:], common)
    if size + PAD_BEFORE > 0x7FFFFFFF or min(begin, function - table.base) - PAD_BEFORE < -0x80000000:
        raise EntryError("the range is too large")
    offset = image.offset_of(address, 8 + len(entry.body)) + 8
    place = image.offset_of(table.first + 8 * index, 4)
    struct.pack_into("<iI", data, offset, begin - PAD_BEFORE, size + PAD_BEFORE)
    data[offset + fields.position:offset + len(entry.body)] = program
    struct.pack_into("<i", data, place, function - PAD_BEFORE - table.base)


class _Entry(NamedTuple):
    """A record of .eh_frame: the word behind its length (CIE: 0; FDE: distance to its CIE), and what follows."""

    number: int
    body: bytes


def read_entry(image: ElfImage, address: int) -> _Entry:
    length = struct.unpack("<I", image.read(address, 4))[0]
    if not 4 <= length <= _LONGEST_ENTRY:
        raise EntryError("the entry has no length, a 64-bit one, or one that no function needs")
    number = struct.unpack("<I", image.read(address + 4, 4))[0]
    return _Entry(number, image.read(address + 8, length - 4))


class _CommonEntry:
    """What a common information entry (CIE) says about the FDEs that refer to it."""

    def __init__(self, entry: _Entry) -> None:
        if entry.number != 0:
            raise EntryError("the entry refers to no common entry")
        fields = _Cursor(entry.body)
        version = fields.take("<B")
        augmentation = fields.string()
        if version not in (1, 3) or not (augmentation == b"" or augmentation.startswith(b"z")):
            raise EntryError("the common entry is of an unknown kind")
        self.code_alignment = fields.leb128()
        fields.leb128()  # the data alignment
        # The return address register.
        if version == 1:
            fields.take("<B")
        else:
            fields.leb128()
        self.augmented = bool(augmentation)
        self.pointer_encoding = 0
        self.lsda_encoding = _PE_OMIT
        if self.augmented:
            fields.leb128()
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                self.pointer_encoding = fields.take("<B")
            elif letter == "L":
                self.lsda_encoding = fields.take("<B")
            elif letter == "P":
                fields.bytes(_pointer_size(fields.take("<B")))
            elif letter not in "SB":
                raise EntryError("the common entry has an unknown augmentation")


def _extend_program(program: bytes, common: _CommonEntry) -> bytes:
    """The instructions of an FDE, as many bytes as before, that begin PAD_BEFORE bytes earlier."""
    if common.code_alignment != 1:
        raise EntryError("the code alignment is not 1")
    fields = _Cursor(program)
    advance = None
    meaningful = 0  # the end of the last instruction that is not a nop
    while fields.position < len(program):
        start = fields.position
        opcode = fields.take("<B")
        if opcode & 0xC0:
            if opcode & 0xC0 == _CFA_ADVANCE_LOC and advance is None:
                advance = start
            elif opcode & 0xC0 == 0x80:
                fields.leb128()
        elif opcode in _CFA_LONG_ADVANCES:
            fields.take(_CFA_LONG_ADVANCES[opcode])
            advance = start if advance is None else advance
        elif opcode == _CFA_SET_LOC:
            raise EntryError("an instruction names an address")
        elif opcode != _CFA_NOP:
            fields.skip_operands(opcode)
        if opcode != _CFA_NOP:
            meaningful = fields.position
    if advance is None:
        return program
    return _lengthen_advance(program, advance) or _insert_advance(program, meaningful)


def _lengthen_advance(program: bytes, position: int) -> bytes | None:
    """The program with a longer first advance, or None when its operand has no room."""
    longer = bytearray(program)
    opcode = program[position]
    if opcode in _CFA_LONG_ADVANCES:
        operand = struct.Struct(_CFA_LONG_ADVANCES[opcode])
        delta = operand.unpack_from(program, position + 1)[0] + PAD_BEFORE
        if delta >= 1 << (8 * operand.size):
            return None
        operand.pack_into(longer, position + 1, delta)
    else:
        delta = (opcode & _LARGEST_SHORT_ADVANCE) + PAD_BEFORE
        if delta > _LARGEST_SHORT_ADVANCE:
            return None
        longer[position] = _CFA_ADVANCE_LOC | delta
    return bytes(longer)


def _insert_advance(program: bytes, meaningful: int) -> bytes:
    """The program with one more advance at its beginning, in place of a nop at its end."""
    if meaningful >= len(program):
        raise EntryError("the entry is full")
    return bytes((_CFA_ADVANCE_LOC | PAD_BEFORE,)) + program[:-1]


def _pointer_size(encoding: int) -> int:
    size = _POINTER_SIZES.get(encoding & 0x0F)
    if size is None:
        raise EntryError("a pointer has no fixed size")
    return size


class _Cursor:
    """Reads one field after the other; running over the end is EntryError."""

    def __init__(self, data: builtins.bytes) -> None:
        self.data = data
        self.position = 0

    def bytes(self, size: int) -> builtins.bytes:
        """The next ``size`` bytes."""
        end = self.position + size
        if end > len(self.data):
            raise EntryError("the entry ends early")
        part = self.data[self.position:end]
        self.position = end
        return part

    def take(self, field_format: str) -> int:
        """The next number, by its struct format."""
        return struct.unpack(field_format, self.bytes(struct.calcsize(field_format)))[0]

    def leb128(self) -> int:
        """The next unsigned LEB128 number."""
        value = shift = 0
        while True:
            byte = self.take("<B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def string(self) -> builtins.bytes:
        """The next NUL-terminated string."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise EntryError("a string does not end")
        value = self.data[self.position:end]
        self.position = end + 1
        return value

    def skip_operands(self, opcode: int) -> None:
        """Skip the operands of a call frame instruction."""
        if opcode not in _CFA_OPERANDS:
            raise EntryError("an instruction is not known")
        for operand in _CFA_OPERANDS[opcode]:
            length = self.leb128()
            if operand == "b":
                self.bytes(length)
