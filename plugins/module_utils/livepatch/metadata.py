# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata of a livepatch as text: canonical JSON in a section ``.ulp``, UTF-8, keys sorted, no white space."""

from __future__ import annotations

import json
from typing import Any

SECTION_NAME = ".ulp"
# Bytes of metadata, and how many lists and dictionaries may lie one in the other: a writer of JSON calls itself for
# each, and needs a stack.
LARGEST_METADATA = 1 << 24
DEEPEST_METADATA = 64
# Longer ones are no number that anybody needs, and cost the square of their length.
_MOST_DIGITS = 20


def canonical_json(value: object) -> bytes:
    """The one encoding of ``value`` that a livepatch may hold: UTF-8 bytes, keys sorted, no white space."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def parse_metadata(text: str) -> Any:
    """The value that ``text`` (str), metadata in JSON, stands for.

    :raises ValueError: it is no JSON, or more than anybody needs; the message says what.
    """
    try:
        value = json.loads(text, parse_int=_integer)
        if not _is_too_deep(value):
            return value
    except RecursionError:
        # How deep that is depends on the interpreter, and on what it was doing.
        pass
    raise ValueError(f"it is nested more than {DEEPEST_METADATA} deep")


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _depth in range(DEEPEST_METADATA):
        level = [
            inner for outer in level if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(inner, (dict, list)) for inner in level)


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)
