# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a livepatch holds the sites of a function; elf.site says what these are."""

from __future__ import annotations

from typing import Any

from ..abi import LARGEST_OFFSET
from ..arch.code import JUMP_OPCODE, JUMP_SIZE, LONGEST_INSTRUCTION, OF_CALLER, SHORT_JUMP_OPCODE, SHORT_JUMP_SIZE
from ..elf.site import (
    INSTRUCTIONS,
    JUMP,
    KINDS,
    PLAIN,
    PUN,
    RETURN_ADDRESS,
    RIP_RELATIVE,
    SHORT,
    WORD,
    Gap,
    Site,
)
from .members import is_integer

# A function has hardly more places: endbr64 and six pushes, each with three kinds.
MOST_SITES = 64
_LARGEST_FRAME = 1 << 31  # bytes: what sub imm32 can take


def site_fields(site: Site) -> dict[str, Any]:
    """A Site as a JSON-able dict, as a livepatch holds it: bytes in hex, ``gap`` and ``overwrites`` only if needed."""
    fields: dict[str, Any] = dict(site._asdict(), original=site.original.hex())
    if site.gap is None:
        del fields["gap"]
    else:
        fields["gap"] = {"offset": site.gap.offset, "original": site.gap.original.hex()}
    if not site.overwrites:
        del fields["overwrites"]
    return fields


def decode_site(fields: Any) -> Site:
    """The Site that a JSON value stands for.

    :raises ValueError: it is none that ``site_fields`` could have given; the message says what is wrong.
    """
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if kind not in KINDS:
        raise ValueError(f"its kind is none of {', '.join(KINDS)}")
    expected = set(Site._fields) - {"overwrites"} if kind == SHORT else set(Site._fields) - {"gap", "overwrites"}
    if set(fields) - {"overwrites"} != expected:
        raise ValueError(f"it should have exactly the keys {', '.join(sorted(expected))}")
    # Absent where there is none: each site has one spelling.
    if fields.get("overwrites", OF_CALLER[0]) not in OF_CALLER:
        raise ValueError("it overwrites no register of the caller's")
    for key in ("offset", "length", "displacement", "cfa_before", "cfa_after"):
        if not is_integer(fields[key]):
            raise ValueError(f"its {key} is not a whole number")
    site = Site(**dict(
        fields, original=_decode_bytes(fields["original"]), gap=_decode_gap(fields["gap"]) if kind == SHORT else None))
    problem = _problem(site)
    if problem:
        raise ValueError(problem)
    return site


def _decode_bytes(value: object) -> bytes:
    try:
        if isinstance(value, str):
            decoded = bytes.fromhex(value)
            if decoded.hex() == value:
                return decoded
    except ValueError:
        pass
    raise ValueError("its original bytes are not in hexadecimal")


def _decode_gap(value: Any) -> Gap:
    if not isinstance(value, dict) or set(value) != set(Gap._fields) or not is_integer(value["offset"]):
        raise ValueError("its gap is malformed")
    gap = Gap(value["offset"], _decode_bytes(value["original"]))
    if not 0 <= gap.offset <= LARGEST_OFFSET - JUMP_SIZE or len(gap.original) != JUMP_SIZE:
        raise ValueError("its gap is out of range")
    return gap


def _problem(site: Site) -> str | None:
    """What does not fit together in a Site whose members have the right types, or None."""
    if not 0 <= site.offset <= LARGEST_OFFSET:
        return "its offset is out of range"
    if not 1 <= site.length <= LONGEST_INSTRUCTION:
        return "no instruction is as long as it says"
    if len(site.original) != (site.length if site.kind == SHORT else max(site.length, JUMP_SIZE)):
        return "its original bytes are too few or too many"
    if not (site.cfa_before >= RETURN_ADDRESS and site.cfa_after >= RETURN_ADDRESS
            and max(site.cfa_before, site.cfa_after) <= _LARGEST_FRAME):
        return "its canonical frame address is out of range"
    if site.cfa_before % 8 or site.cfa_after % 8:
        return "its canonical frame address is not aligned"
    if site.overwrites and (site.cfa_before == RETURN_ADDRESS or site.instruction == JUMP):
        return "it cannot overwrite what a push before it has saved"
    return _problem_of_instruction(site) or _problem_of_store(site)


def _problem_of_instruction(site: Site) -> str | None:
    if site.instruction == PLAIN:
        return "a plain instruction has no displacement" if site.displacement else None
    if site.instruction == RIP_RELATIVE:
        fits = 1 <= site.displacement <= site.length - 4
        return None if fits else "its displacement does not lie in the instruction"
    if site.instruction == JUMP:
        whole = {JUMP_OPCODE: (JUMP_SIZE, 1), SHORT_JUMP_OPCODE: (SHORT_JUMP_SIZE, 1)}.get(site.original[:1])
        return None if (site.length, site.displacement) == whole else "its instruction is not a jump"
    return f"its instruction is none of {', '.join(INSTRUCTIONS)}"


def _problem_of_store(site: Site) -> str | None:
    """What keeps the bytes that change from being written at once."""
    if site.kind == PUN:
        return None
    if site.length < SHORT_JUMP_SIZE:
        return "its instruction has a single byte"
    written = SHORT_JUMP_SIZE if site.gap is not None else min(site.length, JUMP_SIZE)
    if site.offset % WORD + written > WORD:
        return "what is written there crosses an aligned word"
    if site.gap is not None and not -128 <= site.gap.offset - (site.offset + SHORT_JUMP_SIZE) <= 127:
        return "its gap is out of reach"
    return None
