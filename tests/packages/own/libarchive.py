# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write good.rar and wrong.rar: one file each, packed by RAR 3 with a filter that a fix of libarchive is about.

libarchive knows filters by the length and the checksum of their programs, which it doesn't run.  So a program here is
one of zeros, with an end that gives it the checksum.  Argument: the name of the fix.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

E8, DELTA, AUDIO = 0x35AD576887, 0x1D0E06077D, 0xD8BC85E701


class Bits:
    def __init__(self) -> None:
        self.text = ""

    def add(self, value: int, width: int) -> None:
        self.text += f"{value:0{width}b}"

    def number(self, value: int) -> None:
        """A number as RAR's machine reads it."""
        kind, width = next((kind, width) for kind, width in ((0, 4), (1, 8), (2, 16), (3, 32)) if value < 1 << width)
        self.add(kind, 2)
        self.add(value, width)

    def bytes(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return bytes(int(text[start:start + 8], 2) for start in range(0, len(text), 8))


def program(fingerprint: int) -> bytes:
    """Zeros but for the last five bytes, and the first, which is the exclusive or of all others."""
    length, wanted = fingerprint >> 32, fingerprint & 0xFFFFFFFF

    def with_end(end: int) -> bytes:
        tail = end.to_bytes(5, "big")
        first = 0
        for each in tail:
            first ^= each
        return bytes([first]) + bytes(length - 6) + tail

    # The checksum is linear in each bit: solve for those of the end.
    rest = zlib.crc32(with_end(0)) ^ wanted
    pivots: dict[int, tuple[int, int]] = {}
    for bit in range(40):
        effect, end = zlib.crc32(with_end(1 << bit)) ^ zlib.crc32(with_end(0)), 1 << bit
        while effect and effect.bit_length() in pivots:
            other, its_end = pivots[effect.bit_length()]
            effect, end = effect ^ other, end ^ its_end
        if effect:
            pivots[effect.bit_length()] = effect, end
    found = 0
    while rest:
        effect, end = pivots[rest.bit_length()]
        rest, found = rest ^ effect, found ^ end
    assert zlib.crc32(with_end(found)) == wanted
    return with_end(found)


def symbol(bits: Bits, value: int) -> None:
    """Literals to 253 have 8 bits, all other symbols to 257 have 9."""
    if value < 254:
        bits.add(value, 8)
    else:
        bits.add(value + 254, 9)


def packed(fingerprint: int, block: int, registers: dict[int, int], data: bytes, ends_there: bool) -> bytes:
    """A table of codes, a filter for the next ``block`` bytes, and bytes; then the end of the file, or nothing."""
    bits = Bits()
    bits.add(0, 2)
    codes = {0: 0, 1: 1, 8: 2, 9: 3, 16: 4, 17: 5, 18: 6, 19: 7}
    for value in range(20):
        bits.add(3 if value in codes else 0, 4)
    for value, more, width in ((8, 0, 0), (17, 127, 7), (17, 104, 7), (9, 0, 0), (9, 0, 0), (9, 0, 0), (9, 0, 0),
                               (19, 127, 7), (18, 5, 3)):
        bits.add(codes[value], 3)
        if width:
            bits.add(more, width)
    code = Bits()
    for value in (0, 0, block):  # of the program, of the first byte
        code.number(value)
    code.add(sum(1 << register for register in registers), 7)
    for register in sorted(registers):
        code.number(registers[register])
    text = program(fingerprint)
    code.number(len(text))
    for value in text:
        code.add(value, 8)
    symbol(bits, 257)
    bits.add(0x80 | 0x20 | 0x10 | 7, 8)
    bits.add(len(code.bytes()), 16)
    for value in code.bytes():
        bits.add(value, 8)
    for value in data:
        symbol(bits, value)
    if ends_there:
        symbol(bits, 256)
        bits.add(0, 2)
    # The reader looks ahead.
    return bits.bytes() + bytes(16)


def write(name: str, data: bytes, content: bytes, size: int) -> None:
    def header(kind: int, flags: int, rest: bytes) -> bytes:
        text = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(text) & 0xFFFF) + text

    entry = struct.pack("<IIBIIBBHI", len(data), size, 3, zlib.crc32(content), 0x58000000, 29, 0x33, 1, 0o100644)
    Path(name).write_bytes(b"Rar!\x1a\x07\0" + header(0x73, 0, bytes(6)) + header(0x74, 0x8000, entry + b"f") + data)


def main() -> None:
    fix = sys.argv[1]
    data = bytes(range(1, 41))
    if "e8" in fix or "copy_from" in fix or "5915" in fix:
        call = b"\xe8" + (1000).to_bytes(4, "little") + data
        # At offset 0 of the file, the address is one byte on.
        content = b"\xe8" + (999).to_bytes(4, "little") + data
        write("good.rar", packed(E8, len(call), {}, call, False), content, len(content))
        if "e8" in fix:
            # An instruction has 5 bytes.
            write("wrong.rar", packed(E8, 4, {}, data, False), data, len(data))
        elif "5915" in fix:
            # More than the window holds.
            write("wrong.rar", packed(E8, 1000, {}, data, False), data, len(data))
        else:
            # More comes out of the filter than was packed, and there the file ends.
            write("wrong.rar", packed(E8, 5, {4: 100}, data[:5], True), data, 1000)
        return
    kind = DELTA if "delta" in fix else AUDIO
    content = bytearray(len(data))
    nothing = bytes(10)
    if kind == DELTA:
        for channel in range(2):
            last = 0
            for position in range(channel, len(data), 2):
                last = content[position] = (last - data[position // 2 + channel * len(data) // 2]) & 0xFF
    write("good.rar", packed(kind, len(data), {0: 2}, data if kind == DELTA else bytes(len(data)), False),
          bytes(content), len(content))
    # As many channels as make a position wrap around; what is read behind the block is zeros, too.
    write("wrong.rar", packed(kind, 10, {0: 0xFFFFFFFF}, nothing, False), nothing, len(nothing))


if __name__ == "__main__":
    main()
