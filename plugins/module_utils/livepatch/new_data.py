# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that a livepatch brings along: its target does not have them, and a later livepatch goes on with them.

They belong to their name and the target.  New code reaches each through words of its patch library, which lead to its
own variable when it is loaded.  Where an earlier livepatch has brought the variable into a process, the words are made
to lead to that one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..arch.address_space import END_OF_LINKED_SPACE
from ..named_tuple import NamedTuple
from .members import Members, damaged, decode_members

if TYPE_CHECKING:
    from ..elf.image import ElfImage

WORD_SIZE = 8
_LONGEST_NAME = 4096
_TYPE = re.compile(r"(?:[0-9a-f]{64})?")


# How a variable starts in a process that has it from an earlier livepatch.
ANEW = "anew"


class Word(NamedTuple):
    """A word of the patch library, at its link-time address ``slot``, that holds the variable's address + ``addend``.

    ``addend`` is in bytes.
    """

    slot: int
    addend: int

    @property
    def size(self) -> int:
        """How many bytes of the patch library it takes."""
        return WORD_SIZE


class NewVariable(NamedTuple):
    """A variable that a livepatch brings along.

    ``name`` has the source file before it, with a slash, where it is static; ``address`` is link-time, in the patch
    library; ``size`` in bytes; ``type`` is the SHA-256, in hex, of what its bytes mean, and for a static one of its
    source file's path, or "" where that is not known.
    Without ``words`` the code cannot be led to another one, and ``obstacle`` says why.  ``start`` is ANEW where the
    author wants the livepatch's own one, whatever the process has, and else "".
    """

    name: str
    address: int
    size: int
    type: str
    words: tuple[Word, ...]
    obstacle: str = ""
    start: str = ""


_MEMBERS = Members(
    "a new variable",
    {"name": str, "address": int, "size": int, "type": str, "words": list, "obstacle": str, "start": str}, {})
_WORD_MEMBERS = Members("a word of a new variable", {"slot": int, "addend": int}, {})


def variable_fields(variable: NewVariable) -> dict[str, object]:
    """A NewVariable as a JSON-able dict."""
    return dict(variable._asdict(), words=[word._asdict() for word in variable.words])


def decode_variable(path: object, value: object, image: ElfImage, version: int) -> NewVariable:
    """The NewVariable that a member of the metadata stands for.

    :param path: what messages call the livepatch.
    :param value: the JSON value.
    :param image: ElfImage of the livepatch.
    :param version: its format version.
    :raises BadLivepatch: it is malformed.
    """
    fields = decode_members(path, value, _MEMBERS, version)
    words = tuple(Word(**decode_members(path, word, _WORD_MEMBERS, version)) for word in fields["words"])
    variable = NewVariable(**{**fields, "words": words})
    fault = fault_of(variable, image)
    if fault is not None:
        raise damaged(path, fault)
    return variable


def fault_of(variable: NewVariable, image: ElfImage) -> str | None:
    """What is wrong with a NewVariable of the patch library ``image`` that somebody else has written; or None."""
    name = variable.name
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        return "the name of a new variable is malformed"
    if not _TYPE.fullmatch(variable.type) or not variable.obstacle.isprintable() or variable.start not in ("", ANEW):
        return f"the new variable {name} is malformed"
    if bool(variable.words) == bool(variable.obstacle):
        return f"the new variable {name} should have words, or what stands in the way of any"
    if not 0 < variable.size < END_OF_LINKED_SPACE or not 0 <= variable.address < END_OF_LINKED_SPACE:
        return f"the place of the new variable {name} is out of range"
    if variable.words and not image.is_writable_range(variable.address, variable.size):
        return f"the new variable {name} does not lie in its data"
    for word in variable.words:
        if not -END_OF_LINKED_SPACE < word.addend < END_OF_LINKED_SPACE:
            return f"a word of the new variable {name} leads out of the variable"
        if word.slot % WORD_SIZE or not image.is_writable_range(word.slot, WORD_SIZE):
            return f"a word of the new variable {name} does not lie in its data"
    return None
