# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on the way from a diff to a livepatch."""

from __future__ import annotations

from ..errors import UlpError
from ..printable import printable_lines


class BuildFailed(UlpError):
    """A command of the build failed, or did not do what it must; the sentence may end with indented lines of a log."""

    def __str__(self) -> str:
        return printable_lines(Exception.__str__(self))


class BadDiff(UlpError):
    """A diff does not apply to the source."""
