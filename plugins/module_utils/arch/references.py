# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How instructions of an object refer to things, and how that is changed, where livepatches are made (``build``).

Each function takes the bytes of the object and where in them a relocation applies, changes the instruction there, and
says whether it was one that it knows; the docstrings in x86_64/ say which.  ``THUNK`` is text for the assembler: the
function ``{thunk}``, which goes where the word ``{slot}`` says.
"""

from __future__ import annotations

from .x86_64.references import (
    THUNK,
    add_instead,
    drop_descriptor_call,
    goes_there,
    is_descriptor,
    load_instead,
    load_whole_address,
    move_instead,
    set_distance,
)

__all__ = [
    "THUNK", "add_instead", "drop_descriptor_call", "goes_there", "is_descriptor", "load_instead",
    "load_whole_address", "move_instead", "set_distance",
]
