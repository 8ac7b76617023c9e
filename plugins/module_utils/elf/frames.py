# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the frame of an instruction begins, and what its function has saved there.

pyelftools decodes the frame description entry (FDE) and runs its program; which
entry it is, the search table tells, so that no file's .eh_frame is ever read as
a whole.

Sources: DWARF 5, section 6.4 (call frame information); LSB Core, chapter 10.6
(.eh_frame, .eh_frame_hdr); arch.frames has the numbers of registers.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..arch.frames import RETURN_ADDRESS
from ..errors import BadElf, MissingDependency
from ..named_tuple import NamedTuple
from .unwind import EntryError, read_entry, search_table

if TYPE_CHECKING:
    from .image import ElfImage

_HEADER = struct.Struct("<II")

# It says how many bytes of arguments lie on the stack, not where the frame is; some pyelftools do not know it.
_GNU_ARGS_SIZE = 0x2E
# No compiler needs it here, and pyelftools takes the wrong factor for its offset.
_DEF_CFA_SF = 0x12


class Frame(NamedTuple):
    """How to get from a function's registers to its caller's.

    The canonical frame address (CFA) is the caller's stack pointer: what the register ``base`` holds plus ``offset``
    bytes.
    """

    base: int | None  # DWARF register number; None: an expression gives the CFA, which is not evaluated
    offset: int
    saved: dict[int, int]  # {register: where it lies, in bytes from the CFA}
    lost: frozenset[int]  # registers of which this does not tell the caller's value
    outermost: bool  # there is no caller
    signal: bool  # the caller was interrupted: its address is no return address


class FrameDescriptions:
    """The unwind information of one file."""

    def __init__(self, image: ElfImage) -> None:
        """
        :param image: image.ElfImage.
        """
        self._image = image
        self._table = search_table(image)
        self._decoded: dict[int, _Description | None] = {}

    def at(self, address: int) -> Frame | None:
        """The Frame at link-time ``address`` of an instruction, or None: it is not described."""
        found = self.around(address)
        return found[2] if found is not None else None

    def around(self, address: int) -> tuple[int, int, Frame] | None:
        """Between which link-time addresses (start, end) there is the same Frame as at ``address``, and the Frame."""
        if self._table is None:
            return None
        index = bisect_right(self._table.functions, address) - 1
        if index < 0:
            return None
        if index not in self._decoded:
            self._decoded[index] = self._decode(self._table.entries[index])
        description = self._decoded[index]
        if description is None or not description.start <= address < description.end:
            return None
        rows = description.rows
        last = sum(row["pc"] <= address for row in rows) - 1
        if last < 0:
            return None
        end = rows[last + 1]["pc"] if last + 1 < len(rows) else description.end
        return rows[last]["pc"], end, _frame(rows[last], description.signal)

    def is_start(self, address: int) -> bool:
        """Whether a function that is described begins at link-time ``address``."""
        if self._table is None:
            return False
        index = bisect_right(self._table.functions, address) - 1
        return index >= 0 and self._table.functions[index] == address

    def _decode(self, entry: int) -> _Description | None:
        """The _Description of the entry at that address, or None: it is not understood."""
        try:
            return _decode(self._image, entry)
        except (EntryError, BadElf):
            return None


class _Description(NamedTuple):
    """One FDE."""

    start: int
    end: int
    rows: list[dict]  # of pyelftools: {"pc": from where on, "cfa": rule, register: rule}, ascending
    signal: bool


@lru_cache(maxsize=None)
def _elftools() -> tuple[Any, Any]:
    """pyelftools' modules dwarf.callframe and dwarf.structs, which take long to import."""
    try:
        from elftools.dwarf import callframe, structs
    except ImportError as error:
        raise MissingDependency("elftools (pyelftools)", "python3-pyelftools") from error
    return callframe, structs


@lru_cache(maxsize=None)
def _structs() -> Any:
    """How pyelftools reads numbers; making it takes longer than decoding an entry."""
    return _elftools()[1].DWARFStructs(little_endian=True, dwarf_format=32, address_size=8)


def _decode(image: ElfImage, address: int) -> _Description:
    callframe = _elftools()[0]
    entry = read_entry(image, address)
    common = read_entry(image, address + _HEADER.size // 2 - entry.number)
    # The two alone, the common one first, as a section: relative addresses are what they were.
    before = _HEADER.pack(len(common.body) + 4, 0) + common.body
    section = before + _HEADER.pack(len(entry.body) + 4, len(before) + 4) + entry.body
    structs = _structs()
    try:
        information = callframe.CallFrameInfo(io.BytesIO(section), len(section), address - len(before), structs, True)
        found = next(entry for entry in information.get_entries() if isinstance(entry, callframe.FDE))
        if any(instruction.opcode == _DEF_CFA_SF for instruction in (*found.cie.instructions, *found.instructions)):
            raise EntryError("the entry has an instruction that is not decoded right")
        found.instructions = [instruction for instruction in found.instructions if instruction.opcode != _GNU_ARGS_SIZE]
        start = found.header["initial_location"]
        rows = found.get_decoded().table
        signal = b"S" in found.cie.header["augmentation"]
        return _Description(start, start + found.header["address_range"], rows, signal)
    except EntryError:
        raise
    except Exception as error:
        # pyelftools raises whatever damaged information happens to trip.
        raise EntryError("the entry cannot be decoded") from error


def _frame(row: dict, signal: bool) -> Frame:
    """The Frame of one row."""
    kinds = _elftools()[0].RegisterRule
    rule = row["cfa"]
    registers = {register: how for register, how in row.items() if isinstance(register, int)}
    return Frame(
        base=rule.reg,
        offset=rule.offset or 0,
        saved={register: how.arg for register, how in registers.items() if how.type == kinds.OFFSET},
        lost=frozenset(
            register for register, how in registers.items()
            if how.type not in (kinds.OFFSET, kinds.SAME_VALUE)
        ),
        outermost=RETURN_ADDRESS in registers and registers[RETURN_ADDRESS].type == kinds.UNDEFINED,
        signal=signal,
    )
