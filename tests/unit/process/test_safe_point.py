# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames let a thread be started on top of them, if none of them waits."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.safe_point import Grounds, outside_from

OWN, LIBRARY, EXIT, LOADER, ALLOCATOR, VDSO = (number << 12 for number in range(1, 7))
GROUNDS = Grounds(
    c_library=((LIBRARY, LOADER),), loader=((LOADER, ALLOCATOR),), allocator=((ALLOCATOR, VDSO),),
    program_allocates=False, kernel=((VDSO, VDSO + 4096),), code=((OWN, VDSO + 4096),), lock_calls=(),
    exits=((EXIT, LOADER),), shared=((LIBRARY, VDSO + 4096),),
)


@pytest.mark.parametrize(
    ("frames", "outside"),
    [
        # main(), and a thread
        ([OWN, OWN, LIBRARY, LIBRARY, OWN], 0),
        ([OWN, OWN, LIBRARY, LIBRARY], 0),
        ([OWN, LIBRARY], 0),
        # from where on it is outside
        ([LIBRARY, OWN, LIBRARY, LIBRARY, OWN], 1),
        ([OWN, ALLOCATOR, OWN, LIBRARY, LIBRARY], 2),
        ([OWN, LOADER, OWN, OWN, LIBRARY, LIBRARY], 2),
        ([VDSO, OWN, LIBRARY, LIBRARY], 1),
        # called back, as by qsort
        ([OWN, LIBRARY, OWN, LIBRARY, LIBRARY, OWN], 2),
        # destructors and handlers of an end; a thread on its way into its function; a program that begins
        ([OWN, LIBRARY, LIBRARY, LIBRARY], None),
        ([OWN, EXIT, LIBRARY, OWN], None),
        ([LIBRARY, LIBRARY, LIBRARY], None),
        ([OWN], None),
    ],
)
def test_outside_from(frames, outside):
    """Seen to be 0 for the program that begins, of which nothing shows that the C library is ready."""
    assert outside_from(frames, GROUNDS) == outside
