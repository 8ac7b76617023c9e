# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unwind information says of frames, against another reader of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf import frames, unwind
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.frames import FrameDescriptions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadElf

REGISTERS = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)), "ra"]
SYSTEM = Path("/lib/x86_64-linux-gnu")


def dump(what, path):
    """What readelf prints; it complains of debug information that is not installed."""
    return subprocess.run(["readelf", "-W", f"--debug-dump={what}", path], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, errors="replace").stdout


def readelf(path):
    """{address: (base, offset, saved)} at the beginning of every row, as readelf decodes it; base None: expression."""
    found = {}
    names = in_fde = None
    for line in dump("frames-interp", path).splitlines():
        if " FDE cie=" in line or " CIE " in line:
            in_fde = " FDE " in line
        elif line.split()[:2] == ["LOC", "CFA"]:
            names = line.split()[2:]
        elif in_fde and re.match(r"[0-9a-f]{16} ", line):
            # A register that holds another one is named twice: r9 (r9).
            address, cfa, *values = re.sub(r" \(\w+\)", "", line).split()
            base = re.fullmatch(r"(r\w+)([+-]\d+)", cfa)
            rules = {REGISTERS.index(name): value for name, value in zip(names, values)}
            found[int(address, 16)] = (
                REGISTERS.index(base[1]) if base else None,
                int(base[2]) if base else 0,
                {number: int(value[1:]) for number, value in rules.items() if re.fullmatch(r"c[+-]\d+", value)},
            )
    return found


@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1",
                                  "libstdc++.so.6"])
def test_agrees_with_readelf(name):
    """Seen to fail with the row that follows an address instead of the last one up to it."""
    path = SYSTEM / name
    descriptions = FrameDescriptions(ElfImage.open(path))
    expected = readelf(path)
    assert len(expected) > 100
    for address, rule in expected.items():
        frame = descriptions.at(address)
        assert frame is not None, hex(address)
        assert (frame.base, frame.offset, frame.saved) == rule, hex(address)


def function_at(image, name):
    return next(symbol.value for symbol in image.symbols() if symbol.name == name)


def test_where_threads_and_programs_begin_there_is_no_caller(tmp_path):
    """Guards that the end of a stack is told from a place that is not described."""
    program = tmp_path / "program"
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], check=True, input=b"int main(void) { return 0; }\n")
    image = ElfImage.open(program)
    descriptions = FrameDescriptions(image)
    assert descriptions.at(function_at(image, "_start") + 2).outermost
    assert not descriptions.at(function_at(image, "main")).outermost
    last = max(descriptions._table.functions)
    assert descriptions.at(last + (1 << 20)) is None
    assert descriptions.at(0) is None


def test_signal_frame():
    """Guards that the kernel's way back from a handler is known for what it is."""
    image = ElfImage.open(SYSTEM / "libc.so.6")
    descriptions = FrameDescriptions(image)
    text = dump("frames-interp", SYSTEM / "libc.so.6")
    common = re.search(r'^(\w+) \w+ \w+ CIE "zRS"', text, re.MULTILINE)[1]
    starts = re.findall(rf"FDE cie={common} pc=(\w+)\.\.", text)
    assert starts
    for start in starts:
        assert descriptions.at(int(start, 16) + 1).signal


def test_damaged_entry_is_not_described(tmp_path):
    """Guards against whatever is in a file that somebody else can write: not known, and no traceback.

    Seen to fail (StopIteration, construct errors) without the catch in _decode().
    """
    library = tmp_path / "library.so"
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-x", "c", "-", "-o", library], check=True,
                   input=b"int f(int x) { volatile int y[9] = { x }; return y[x]; }\n")
    whole = library.read_bytes()
    image = ElfImage.open(library)
    address = function_at(image, "f")
    table = frames.search_table(image)
    entry = table.entries[table.functions.index(address)]
    offset = image.offset_of(entry, 24)
    assert FrameDescriptions(image).at(address) is not None
    for position in range(offset, offset + 24):
        for value in (0x00, 0x0E, 0x2F, 0x7F, 0xFF):
            data = bytearray(whole)
            data[position] = value
            damaged = FrameDescriptions(ElfImage.parse(bytes(data), "damaged"))
            for place in (address, address + 4):
                damaged.at(place)


def test_more_entries_than_any_program_has(monkeypatch):
    """Guards the memory of whoever looks at a file that somebody else made: the table may be 128 MB long.

    Seen to fail with the table decoded whatever its length.
    """
    image = ElfImage.open("/lib/x86_64-linux-gnu/libc.so.6")
    monkeypatch.setattr(unwind, "_MOST_ENTRIES", 1000)
    with pytest.raises(BadElf, match="too long to examine: it has [0-9]+ functions with unwind information, more"):
        FrameDescriptions(image)
