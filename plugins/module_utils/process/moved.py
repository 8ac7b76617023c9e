# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries whose code a program has moved out of the mapping of their file.

Programs do that for huge pages (MySQL, Node.js, Chromium, everything that uses iodlr): they copy the code to
anonymous memory, or to a file of their own, and move that to where the code was (mremap(2)).  Its addresses stay; the
map does not call it by the library's name any more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..arch.address_space import PAGE_SIZE
from ..named_tuple import NamedTuple
from .maps import Mapping
from .survey import Survey

# What is executable and belongs to the kernel.
_KERNELS = ("[vdso]", "[vsyscall]", "[uprobes]")
# More than any linker writes: four, and some tools add a few.
_MOST_SEGMENTS = 32


class Moved(NamedTuple):
    """A loaded file with at least a part of its code elsewhere."""

    base: int  # load bias
    mapping: Mapping  # one of the file, not executable
    survey: Survey


def is_strange(mapping):
    """Whether ``mapping``, which is executable and of no library's code, may be code that was moved there."""
    return mapping.path not in _KERNELS


class Loaded:
    """Where the files lie that a process has mapped, beside their code."""

    def __init__(self, mappings):
        """:param mappings: of the whole process (maps.Mapping), ascending."""
        self._data = [mapping for mapping in mappings if mapping.inode and not mapping.executable]
        self._starts = [mapping.start for mapping in self._data]

    def beside(self, code):
        """The mappings next to ``code``: the loader maps the parts of a file side by side."""
        index = bisect_left(self._starts, code.start)
        return self._data[max(index - 1, 0):index + 1]

    def is_at(self, seen, base, file):
        """Whether a file has this load bias: all of its data is where it must be then.

        :param seen: its survey.Survey.
        :param file: (device, inode).
        """
        return 0 < len(seen.data) <= _MOST_SEGMENTS and all(
            self._shows((base + segment.vaddr) & -PAGE_SIZE, segment.offset & -PAGE_SIZE, file) for segment in seen.data
        )

    def _shows(self, address, offset, file):
        """Whether the byte at ``offset`` of a file is mapped at ``address``."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return False
        found = self._data[index]
        return (address < found.end and (found.device, found.inode) == file
                and found.offset + address - found.start == offset)


def moved_files(loaded, strange, survey):
    """The loaded files with code in memory that is not theirs.

    :param loaded: Loaded.
    :param strange: mappings that are executable and of no library's code.
    :param survey: function of a Mapping that gives its file's Survey, or None.
    :return: list of Moved, one for each load bias.
    """
    found = {}
    for code in strange:
        for beside in loaded.beside(code):
            seen = survey(beside)
            file = beside.device, beside.inode
            for base in _biases(seen, beside) if seen is not None and seen.native else ():
                if base not in found and holds(seen, base, code) and loaded.is_at(seen, base, file):
                    found[base] = Moved(base, beside, seen)
    return list(found.values())


def _biases(seen, mapping):
    """The load biases that a file may have by one of its mappings: a page of the file may be in two segments."""
    return {
        mapping.start - mapping.offset + segment.offset - segment.vaddr for segment in seen.data[:_MOST_SEGMENTS]
        if segment.offset & -PAGE_SIZE <= mapping.offset < segment.offset + segment.memsz
    }


def holds(seen, base, mapping):
    """Whether ``mapping`` lies where a file (survey.Survey) with this load bias has code."""
    return any(
        mapping.start < base + segment.vaddr + segment.memsz and base + segment.vaddr < mapping.end
        for segment in seen.segments
    )
