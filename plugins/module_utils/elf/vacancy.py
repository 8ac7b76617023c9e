# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of a loaded file's pages that belong to nothing in it.

A segment is mapped in whole pages.  What follows its last byte in the last
page is there, too: readable and executable, or writable, like the segment.

Source: System V gABI, "Program Loading".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arch.address_space import PAGE_SIZE
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from .headers import ProgramHeader
    from .image import ElfImage

_PF_X = 1
_PF_W = 2


class Vacancy(NamedTuple):
    """Unused bytes."""

    start: int  # link-time address
    size: int  # bytes


def vacant_code(image: ElfImage) -> Vacancy | None:
    """The largest vacancy behind a segment that is code and cannot be written; None: there is none."""
    found = [_behind(image, segment) for segment in image.executable_segments() if not segment.flags & _PF_W]
    return max((vacancy for vacancy in found if vacancy is not None), default=None, key=_size)


def _size(vacancy: Vacancy | None) -> int:
    return vacancy.size if vacancy is not None else 0


def vacant_data(image: ElfImage) -> Vacancy | None:
    """The vacancy behind the last segment that can be written and is no code; None: there is none."""
    segments = [
        segment for segment in image.segments
        if segment.type == "PT_LOAD" and segment.flags & _PF_W and not segment.flags & _PF_X
    ]
    return _behind(image, segments[-1]) if segments else None


def _behind(image: ElfImage, segment: ProgramHeader) -> Vacancy | None:
    start = segment.vaddr + segment.memsz
    end = -(-start // PAGE_SIZE) * PAGE_SIZE
    for other in image.segments:
        # The loader makes what is only relocated unwritable, page by page; and two segments may share a page.
        if other.type in ("PT_LOAD", "PT_GNU_RELRO") and other.vaddr < end and other.vaddr + other.memsz > start:
            return None
    return Vacancy(start, end - start) if start < end else None
