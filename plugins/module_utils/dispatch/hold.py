# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files by which a host keeps livepatches away: kill switch, hold file, retracted livepatches.

They fail closed: a file that is there and cannot be read or understood stops
the operation, because it may say that nothing is to be done.  So does one that
another user could have changed or removed, because it may have said so.  Only
the kill switch counts whoever has made it: all that it can say is no.
"""

from __future__ import annotations

import os
import re

from ..atomic_file import read_file
from ..errors import FileProblem, UlpError
from ..livepatch.livepatch import is_patch_id
from ..trusted_path import require_unchangeable
from .rules import parse_rule

# Control characters but the tab, and what else some programs take for the end of a line.
_CONTROL = "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]"


def is_stopped(kill_switch):
    """Whether the kill switch is thrown: whether there is anything at all at path ``kill_switch``; None: no.

    :raises FileProblem: that cannot be told.
    """
    if not kill_switch:
        return False
    try:
        os.lstat(kill_switch)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise FileProblem("look for", kill_switch, error) from error
    return True


def require_lasting(path, what):
    """Make sure that no other user can have changed or removed what was at ``path``, or can do so.

    :param path: of a file that need not exist; then the nearest directory above it counts that does.  None: no file.
    :param what: what to call it in the message.
    :raises FileProblem: that cannot be told.
    :raises Untrusted: another user can.
    """
    if not path:
        return
    place = os.path.abspath(path)
    if not os.path.lexists(place):
        what = f"directory of the {what}"
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    require_unchangeable(place, what)


def read_hold(path):
    """The rules of the hold file, one a line; lines that begin with ``#`` are remarks.

    :param path: of the file; None, or one that does not exist: no rules.
    :return: tuple of rules.Rule.
    :raises FileProblem: it cannot be read.
    :raises Untrusted: another user could change or remove it.
    :raises UlpError: a line is no rule; the message names it.
    """
    return tuple(parse_rule(line, f"{path} line {number}") for number, line in _lines(path, "hold file"))


def read_retracted(path):
    """The livepatches that nobody shall apply any more.

    :param path: of a file with one patch ID a line, behind which anything may stand; lines that begin with ``#`` are
        remarks.  None, or one that does not exist: none.
    :return: {patch ID: where it stands}.
    :raises FileProblem: it cannot be read.
    :raises Untrusted: another user could change or remove it.
    :raises UlpError: a line does not begin with a patch ID; the message names it.
    """
    found: dict[str, str] = {}
    for number, line in _lines(path, "list of retracted livepatches"):
        patch_id = line.split()[0].lower()
        if not is_patch_id(patch_id):
            raise UlpError(
                f"{path} line {number} should begin with a patch ID, the 64 hex digits that ulp dump shows"
            )
        found.setdefault(patch_id, f"{path} line {number}")
    return found


def _lines(path, what):
    """(line number, text) of what is not empty and no remark."""
    if not path:
        return
    require_lasting(path, what)
    try:
        # A link that leads nowhere is not the same as no file: somebody wanted to say something.
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FileProblem("look for", path, error) from error
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UlpError(f"{path} is not text in UTF-8") from error
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        # Such as carriage returns alone: what is one line to us may be a remark and ten rules to whoever wrote it.
        if re.search(_CONTROL, stripped):
            raise UlpError(f"{path} line {number} has a control character in it; end lines with newlines")
        if stripped and not stripped.startswith("#"):
            yield number, stripped
