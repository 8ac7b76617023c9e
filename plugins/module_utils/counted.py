# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of things, as sentences have them."""

from __future__ import annotations


def counted(number, noun, plural="s"):
    """``number`` of ``noun``: "1 function", "2 functions"; ``plural`` is what the noun then ends with."""
    return f"{number} {noun}{'' if number == 1 else plural}"
