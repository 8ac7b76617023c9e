# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of the metadata of a livepatch: which there must be, and which may be left out."""

from __future__ import annotations

from typing import Any

from ..errors import BadLivepatch
from ..named_tuple import NamedTuple

FORMAT_VERSION = 1
# Of a livepatch with members of Members.later, and with those of Members.newest.
LATER_FORMAT_VERSION = 2
LATEST_FORMAT_VERSION = 3


class Members(NamedTuple):
    """The members of an object, with their types.

    ``later`` are those of format 2, and ``newest`` those of format 3, which are left out if empty.
    """

    what: str
    always: dict[str, type]
    later: dict[str, type]
    newest: dict[str, type] = {}

    def optional(self, version: int) -> dict[str, type]:
        """Those that may be left out in a livepatch of format ``version``."""
        return {
            **(self.later if version >= LATER_FORMAT_VERSION else {}),
            **(self.newest if version >= LATEST_FORMAT_VERSION else {}),
        }


def decode_members(path: object, value: object, members: Members, version: int) -> dict[str, Any]:
    """A copy of ``value``, checked to be a dict of these Members; those of a later format may be missing.

    :param path: what messages call the livepatch.
    :param version: its format version.
    :raises BadLivepatch: it is something else.
    """
    later = members.optional(version) if isinstance(value, dict) else {}
    present = {key: kind for key, kind in later.items() if key in value}  # type: ignore[operator]
    fields = dict(require_fields(path, value, members.what, {**members.always, **present}))
    for key in present:
        if not fields[key]:
            raise damaged(path, f"{key} of {members.what} is empty")
    return fields


def require_fields(path: object, value: object, what: str, kinds: dict[str, type]) -> dict[str, Any]:
    """``value``, checked to be a dict of exactly these keys with values of these types."""
    if not isinstance(value, dict) or set(value) != set(kinds):
        raise damaged(path, f"{what} should have exactly the keys {', '.join(sorted(kinds))}")
    for key, kind in kinds.items():
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            raise damaged(path, f"{key} of {what} is of the wrong type")
    return value


def damaged(path: object, what: str) -> BadLivepatch:
    """A BadLivepatch that says ``what`` is wrong with the livepatch at ``path``, to be raised by the caller."""
    return BadLivepatch(f"{path} is a damaged livepatch: {what}")


def leave_out_empty(fields: dict[str, Any], members: Members) -> None:
    """Remove what is empty of the members that may be left out from ``fields``, as a livepatch holds them."""
    for key in members.optional(LATEST_FORMAT_VERSION):
        if not fields[key]:
            del fields[key]


def is_integer(value: object) -> bool:
    """Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
