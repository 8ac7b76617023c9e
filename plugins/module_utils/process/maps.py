# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory map of a process: /proc/PID/maps, proc(5)."""

from __future__ import annotations

import os
import re
from functools import cached_property, lru_cache

from ..named_tuple import NamedTuple
from .procfs import read_long, text_lines

_LINE = rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)"
# The kernel writes a newline in a file name as \012 and nothing else so.
_ESCAPE = re.compile(rb"\\012")
_DELETED = b" (deleted)"
# Bytes: the kernel allows 65,530 mappings unless it is told otherwise, of which a large program's names take 10 MB.
MOST_BYTES = 1 << 25
RUNTIME_NAME = "libpulp.so"
# How many lines of maps to remember: a worker deals with 32 processes side by side, and reads each map ten times.
_LINES_KEPT = 4096
# The same for whole maps, of which few change while a process is dealt with; no longer ones than these, in bytes.
_MAPS_KEPT = 64
_LONGEST_KEPT = 1 << 14


class Mapping(NamedTuple):
    """One line of the map."""

    start: int
    end: int
    permissions: str  # as in the file: r w x, then p or s
    offset: int  # bytes into the file
    device: int
    inode: int  # 0: no file
    path: str  # "" for anonymous memory; [stack] and the like
    deleted: bool  # the file has no name any more, or another file has it

    @property
    def readable(self):
        return self.permissions[0] == "r"

    @property
    def writable(self):
        return self.permissions[1] == "w"

    @property
    def executable(self):
        return self.permissions[2] == "x"


@lru_cache(maxsize=1024)
def _file(major, minor, inode, path):
    """The last four fields of a Mapping; processes share most of their files."""
    deleted = path.endswith(_DELETED)
    if deleted:
        path = path[:-len(_DELETED)]
    if b"\\" in path:
        path = _ESCAPE.sub(b"\n", path)
    return _device(major, minor), int(inode), os.fsdecode(path), deleted


@lru_cache(maxsize=256)
def _device(major, minor):
    return os.makedev(int(major, 16), int(minor, 16))


# The map of a process is read several times while it is dealt with, and most lines stay as they are.
@lru_cache(maxsize=_LINES_KEPT)
def _mapping(line):
    """The Mapping that a line is about, or None: it is about none."""
    match = re.fullmatch(_LINE, line)
    if match is None:
        return None
    start, end, permissions, offset, *file = match.groups()
    return Mapping(int(start, 16), int(end, 16), permissions.decode("ascii"), int(offset, 16), *_file(*file))


def _is_executable(line):
    """Whether the mapping that a line is about is executable; a quarter of what it takes to parse the line."""
    permission = line.find(b" ") + 3
    return line[permission:permission + 1] == b"x"


class _Parsed:
    """The bytes of a maps file, parsed as far as somebody asks; nobody changes the lists."""

    def __init__(self, data):
        self.data = data

    @cached_property
    def lines(self):
        return text_lines(self.data)

    @cached_property
    def code(self):
        return self._mappings(filter(_is_executable, self.lines))

    @cached_property
    def mappings(self):
        return self._mappings(self.lines)

    @staticmethod
    def _mappings(lines):
        return [mapping for mapping in map(_mapping, lines) if mapping is not None]


_kept = lru_cache(maxsize=_MAPS_KEPT)(_Parsed)


def _parsed(data):
    return _kept(data) if len(data) <= _LONGEST_KEPT else _Parsed(data)


def parse_maps(data, executable_only=False) -> list[Mapping]:
    """The mappings in the bytes of a maps file, ascending by address; not to be changed."""
    return _parsed(data).code if executable_only else _parsed(data).mappings


def read_map(pid, tid=None) -> bytes:
    """The map of ``pid`` as the kernel writes it, for parse_maps(); otherwise as read_maps()."""
    return read_long(pid, "maps" if tid is None else f"task/{tid}/maps", MOST_BYTES)


class MemoryMap:
    """One reading of the map of a process, parsed as far as somebody asks.

    ``data``: as the kernel writes it.
    """

    def __init__(self, pid):
        """Raises as read_maps()."""
        self.data = read_map(pid)
        self._parsed = _parsed(self.data)

    @property
    def lines(self):
        """For end_of_mapping() and its kin, a list of bytes."""
        return self._parsed.lines

    @property
    def code(self):
        """The executable mappings, a list of Mapping."""
        return self._parsed.code

    def around(self, address):
        """The lines of the mapping that contains ``address``, and of the next one; None: there is none."""
        index = _line_with(self.lines, address)
        return None if index is None else self.lines[index:index + 2]


def read_maps(pid, tid=None) -> list[Mapping]:
    """The mappings of ``pid``, ascending; empty for a kernel thread or a zombie; not to be changed.

    :param tid: ask through this thread: the map of a process whose main thread
        has ended is empty except through the others.
    :raises ProcessGone: there is no such process.
    :raises ProcessForbidden: it belongs to somebody else.
    :raises TakesTooLong: it is longer than MOST_BYTES.
    """
    return parse_maps(read_map(pid, tid))


def read_code_maps(pid) -> list[Mapping]:
    """Only the executable mappings of ``pid``: a quarter of the work; otherwise as read_maps."""
    return parse_maps(read_map(pid), executable_only=True)


def end_of_mapping(lines, address):
    """The end of the mapping that contains ``address``, or None; parses only the lines that it must.

    :param lines: MemoryMap.lines.
    """
    index = _line_with(lines, address)
    return None if index is None else _bounds(lines[index])[1]


def is_continued(lines, address):
    """Whether right behind the mapping that contains ``address`` there is one of the same kind of memory.

    What is one stack to a program is several mappings to the kernel where a part of it has other properties: locked
    by mlock(2), say, or kept from children or core dumps by madvise(2).

    :param lines: MemoryMap.lines.
    """
    index = _line_with(lines, address)
    if index is None or index + 1 == len(lines) or _bounds(lines[index + 1])[0] != _bounds(lines[index])[1]:
        return False
    _bounds_of, permissions, _offset, device, inode = lines[index + 1].split(None, 5)[:5]
    return permissions.startswith(b"r") and [device, inode] == lines[index].split(None, 5)[3:5]


def extent_around(lines, start, end, permissions, files=None):
    """The memory around ``start`` to ``end`` that is mapped with these permissions: (start, end), or None: not all is.

    :param lines: MemoryMap.lines.
    :param permissions: four bytes as in the file, a ``.`` for either.
    :param files: the only files that it may be of, pairs of device and inode; (0, 0) is no file.  None: any.
    """
    index = _line_with(lines, start) if start < end else None
    first = None
    while index is not None and index < len(lines):
        low, high = _bounds(lines[index])
        _bounds_of, found, _offset, device, inode = lines[index].split(None, 5)[:5]
        if low > start or not _permits(found, permissions):
            return None
        if files is not None and (_device(*device.split(b":")), int(inode)) not in files:
            return None
        first = low if first is None else first
        if high >= end:
            return first, high
        start = high
        index += 1
    return None


@lru_cache(maxsize=256)
def _permits(found, wanted):
    """Whether permissions, four bytes, are those that are wanted; a ``.`` there is for either."""
    return all(each in (46, actual) for each, actual in zip(wanted, found))


# A process's state block is held against its map piece by piece, and each time a search begins with the same lines.
@lru_cache(maxsize=_LINES_KEPT)
def _bounds(line):
    """(start, end) of the mapping that a line is about."""
    start, _hyphen, rest = line.partition(b"-")
    return int(start, 16), int(rest.partition(b" ")[0], 16)


def _line_with(lines, address):
    """The index of the line whose mapping contains ``address``, or None."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        start, end = _bounds(lines[middle])
        if address < start:
            high = middle
        elif address >= end:
            low = middle + 1
        else:
            return middle
    return None


def runtime_mapping(mappings):
    """The runtime's first executable mapping among ``mappings``, or None: it is not preloaded."""
    for mapping in mappings:
        if _is_runtime(mapping.path) and mapping.inode and mapping.executable:
            return mapping
    return None


# Processes share most of their files.
@lru_cache(maxsize=1024)
def _is_runtime(path):
    name = os.path.basename(path)
    # The latter where it was given to the process as bytes (memfd_create(2)).
    return name == RUNTIME_NAME or name.startswith(f"{RUNTIME_NAME}.") or name == f"memfd:{RUNTIME_NAME}"


def is_loader(mapping):
    """Whether ``mapping`` is of the dynamic loader, by its name: ld-linux-x86-64.so.2, or ld-2.35.so before that."""
    name = os.path.basename(mapping.path)
    return name.startswith("ld-") and ".so" in name


def runs_on_musl(mappings):
    """Whether a process has the C library musl, by the names of what it has mapped.

    That is one file with its loader: ld-musl-x86_64.so.1, or libc.so, which the GNU C library calls libc.so.6.
    """
    names = {os.path.basename(mapping.path) for mapping in mappings}
    return "libc.so.6" not in names and any(
        name == "libc.so" or name.startswith(("ld-musl-", "libc.musl-")) for name in names
    )


def runs_under_wine(mappings):
    """Whether a process runs a program of Windows, by the Unix side of Wine's lowest library."""
    return any(os.path.basename(mapping.path) == "ntdll.so" for mapping in mappings)


# What is mapped where a tool executes a translation of a program's code instead of the code itself.
_TRANSLATORS = {"vgpreload_": "valgrind", "libdynamorio.so": "DynamoRIO", "libpinvm": "Pin"}


def translator(mappings):
    """The name of the tool that executes a translation of the program's code, or None: it is executed itself."""
    return next(filter(None, (_translator(mapping.path) for mapping in mappings)), None)


# Processes share most of their files.
@lru_cache(maxsize=1024)
def _translator(path):
    base = os.path.basename(path)
    return next((name for start, name in _TRANSLATORS.items() if base.startswith(start)), None)


def mapping_at(mappings, address):
    """The mapping that contains ``address``, or None.  ``mappings`` ascend by address."""
    low, high = 0, len(mappings)
    while low < high:
        middle = (low + high) // 2
        mapping = mappings[middle]
        if address < mapping.start:
            high = middle
        elif address >= mapping.end:
            low = middle + 1
        else:
            return mapping
    return None
