# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dynamic loader of a process has loaded, and into which of its namespaces: dlmopen(3) makes further ones.

That is the list which the loader keeps for debuggers: DT_DEBUG in the program's
dynamic section leads to a struct r_debug of <link.h>, that to one struct link_map
for each object, and since glibc 2.35 to the struct r_debug of the next namespace.
"""

from __future__ import annotations

import struct

from ..elf.headers import PROGRAM_HEADER_SIZE, decode_program_headers
from ..errors import UlpError
from .memory import read_memory
from .procfs import read_beginning

# include/uapi/linux/auxvec.h.
_AT_NULL, _AT_PHDR, _AT_PHNUM = 0, 3, 5
_ENTRY = struct.Struct("<QQ")
_DYNAMIC = struct.Struct("<qQ")
_DT_NULL, _DT_DEBUG = 0, 21
# r_version, r_map, r_brk, r_state, r_ldbase; from version 2 on r_next follows.
_LISTED = struct.Struct("<i4xQQi4xQ")
_NEXT = struct.Struct("<Q")
# l_addr, l_name, l_ld, l_next.
_OBJECT = struct.Struct("<QQQQ")
# A program has some 14, and a dynamic section some 40 entries.
_MOST_HEADERS = 128
_MOST_ENTRIES = 1024
# The lists are the process's own, and may lead in circles. The loader has 16 namespaces.
_MOST_OBJECTS = 1 << 13
_MOST_NAMESPACES = 64


def namespaces(pid):
    """The namespace of each object that the loader of a process has loaded, in the order of loading.

    :param pid: the process, or a thread of it that has not ended.
    :return: {load bias: number}; 0 is that of the program.  What was linked without the list has none.  One may be
        missing while the loader changes the list.
    """
    found: dict[int, int] = {}
    try:
        lists, left = _first_list(pid), _MOST_OBJECTS
        for number in range(_MOST_NAMESPACES):
            if not lists:
                break
            version, at, _brk, _state, _base = _LISTED.unpack(read_memory(pid, lists, _LISTED.size))
            while at and left:
                left -= 1
                base, _name, _dynamic, at = _OBJECT.unpack(read_memory(pid, at, _OBJECT.size))
                # The loader itself is in all of them.
                found.setdefault(base, number)
            lists = _NEXT.unpack(read_memory(pid, lists + _LISTED.size, _NEXT.size))[0] if version >= 2 else 0
    except UlpError:
        # It has ended, or what was read is changing.
        pass
    return found


def _first_list(pid):
    """The address of the program's struct r_debug, or 0."""
    vector = read_beginning(pid, "auxv")
    entries = {}
    for kind, value in _ENTRY.iter_unpack(vector[:len(vector) // _ENTRY.size * _ENTRY.size]):
        if kind == _AT_NULL:
            break
        entries[kind] = value
    address, count = entries.get(_AT_PHDR, 0), entries.get(_AT_PHNUM, 0)
    if not address or not 0 < count <= _MOST_HEADERS:
        return 0
    headers = {header.type: header for header in decode_program_headers(
        read_memory(pid, address, count * PROGRAM_HEADER_SIZE))}
    if not {"PT_PHDR", "PT_DYNAMIC"} <= headers.keys():
        return 0
    base = address - headers["PT_PHDR"].vaddr
    dynamic = headers["PT_DYNAMIC"]
    size = min(dynamic.memsz // _DYNAMIC.size, _MOST_ENTRIES) * _DYNAMIC.size
    for tag, value in _DYNAMIC.iter_unpack(read_memory(pid, base + dynamic.vaddr, size)):
        if tag in (_DT_NULL, _DT_DEBUG):
            return value if tag == _DT_DEBUG else 0
    return 0
