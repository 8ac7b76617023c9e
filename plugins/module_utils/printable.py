# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be shown of text that others wrote.

A program may call itself anything: escape sequences that a terminal obeys,
line ends that forge a line of a report, characters that turn the direction of
writing.  What comes from processes and files is made printable where it is
read, so that nobody who shows it has to think of that.
"""

from __future__ import annotations

_INDENTED = "\n  "


def printable(text: object) -> str:
    """``text`` on one line, with ``?`` for every character that is not printable in Unicode's sense."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def printable_lines(text: object) -> str:
    """The same of a sentence that ends with indented lines, which stay lines: none can pass for a line of a report."""
    return _INDENTED.join(printable(line) for line in str(text).split(_INDENTED))


def some(names: list[str], most: int = 10) -> str:
    """``names`` (list of str) in a sentence: all, or the first ``most`` and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
