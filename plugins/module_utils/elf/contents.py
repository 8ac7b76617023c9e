# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of a file that somebody else wrote, read where they are asked for, up to a limit.

A file's size says nothing: one with holes may be larger than all memory, and a
header may ask for all of it a thousand times.  And it may become shorter while
it is read.
"""

from __future__ import annotations

import os
from typing import Callable

from ..errors import BadElf

# The kernel's offsets are signed (off_t).
LARGEST_OFFSET = (1 << 63) - 1
# Bytes: more than the code of any library, and less than what the whole tool may use.
LARGEST_PIECE = 1 << 27
# Bytes read of one file for one process; the code of a large library is read several times.
MOST_BYTES = 1 << 30
# Short pieces come from one longer piece, which is kept.
_KEPT = 1 << 16


def read_piece(descriptor: int, offset: int, size: int) -> bytes:
    """The ``size`` bytes at ``offset`` of an open file, fewer at its end.

    Offsets and sizes come out of files, so any number may be given.

    :raises ValueError: no file has an offset like that, or the piece is longer than LARGEST_PIECE.
    :raises OSError: it cannot be read.
    """
    if not 0 <= offset <= LARGEST_OFFSET - LARGEST_PIECE or not 0 <= size <= LARGEST_PIECE:
        raise ValueError(f"{size} bytes at offset {offset}")
    return os.pread(descriptor, size, offset)


class FileContents:
    """What ElfImage wants of a file's bytes: their number, and slices of them.

    Whatever goes wrong is BadElf, as with a damaged file.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        """
        :param descriptor: of a regular file, open for reading; this closes it when nobody uses it any more.
        :param name: what messages call the file.
        """
        self._descriptor = descriptor
        self._name = name
        self._size = os.fstat(descriptor).st_size
        self._left = MOST_BYTES
        self._reader: object = None
        self._kept = 0, b""

    # Taken now: at the interpreter's end the module may have been emptied before.
    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self._descriptor)

    def read_for(self, reader: object) -> None:
        """What is read from now on is read for ``reader``, which another one's reads do not count against.

        Most processes share their libraries: what one makes us read of them must not leave the others without.
        """
        if reader != self._reader:
            self._reader = reader
            self._left = MOST_BYTES

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, end, _step = part.indices(self._size)
        if start >= end:
            return b""
        if end - start > _KEPT // 2:
            return self._read(start, end - start)
        first, kept = self._kept
        if not first <= start <= end <= first + len(kept):
            first, kept = self._kept = start, self._read(start, min(_KEPT, self._size - start))
        return kept[start - first:end - first]

    def _read(self, offset: int, size: int) -> bytes:
        self._left -= size
        if size > LARGEST_PIECE or self._left < 0:
            what = f"has a part of {size}" if size > LARGEST_PIECE else f"makes us read more than {MOST_BYTES}"
            raise BadElf(f"{self._name} takes too long to examine: it {what} bytes")
        try:
            data = read_piece(self._descriptor, offset, size)
        except OSError as error:
            raise BadElf(f"{self._name} cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise BadElf(f"{self._name} was truncated while it was read")
        return data
