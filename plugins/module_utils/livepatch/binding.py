# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a patch library that stand for something of its target, and what the runtime puts there.

The runtime fills them before it publishes anything, in every process anew, so that each has the values of the very
library that is patched there.  New code then shares the variables of the old code, calls the functions that the
target itself would call, and needs no constructor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

from .. import abi
from ..arch.address_space import END_OF_LINKED_SPACE
from ..named_tuple import NamedTuple
from .members import Members

if TYPE_CHECKING:
    from ..elf.image import ElfImage

# What a word gets.  ``offset`` and ``name`` of a Binding mean something else in each.
ADDRESS = "address"  # an address in the target: its load bias + offset
WORD = "word"  # what a word of the target holds, such as one of its GOT: the word at its load bias + offset
SYMBOL = "symbol"  # what the loader finds for name and version, in the scope of the target
TLS = "tls"  # two words, a tls_index: the target's module ID, and offset in its thread-local storage
TLS_WORDS = "tls_words"  # two words: those that the target holds at its load bias + offset, a tls_index

KINDS = {
    ADDRESS: abi.BIND_ADDRESS,
    WORD: abi.BIND_WORD,
    SYMBOL: abi.BIND_SYMBOL,
    TLS: abi.BIND_TLS,
    TLS_WORDS: abi.BIND_TLS_WORDS,
}
_PAIRS = (TLS, TLS_WORDS)

WORD_SIZE = 8
_LARGEST = END_OF_LINKED_SPACE - 1
_LONGEST_NAME = 4096


class Binding(NamedTuple):
    """A word of the patch library, or two for thread-local storage, and what it stands for in the target.

    ``slot`` is the word's link-time address in the patch library; ``offset`` is an offset in bytes from the target's
    load bias, or in its TLS image; ``addend`` in bytes is added to the value, or to the second word of a pair.
    ``name`` is what messages call it, and what a SYMBOL is looked up by, with ``version`` ("" for any).
    """

    slot: int
    kind: str
    name: str
    version: str = ""
    offset: int = 0
    addend: int = 0

    @property
    def size(self) -> int:
        """How many bytes of the patch library are filled."""
        return WORD_SIZE * (2 if self.kind in _PAIRS else 1)


MEMBERS = Members(
    "a binding", {"slot": int, "kind": str, "name": str, "version": str, "offset": int, "addend": int}, {})


def fault_of(binding: Binding, image: ElfImage) -> str | None:
    """What is wrong with a Binding of the patch library ``image`` that somebody else has written; or None.

    The slot must lie in memory of the patch library that is writable, or was while the loader filled it in
    (PT_GNU_RELRO).
    """
    if binding.kind not in KINDS:
        return f"the binding {binding.name} is of an unknown kind"
    if any("\0" in text or len(text) > _LONGEST_NAME for text in (binding.name, binding.version)) or not binding.name:
        return "the name of a binding is malformed"
    if not 0 <= binding.offset <= _LARGEST or not -_LARGEST <= binding.addend <= _LARGEST:
        return f"the offset of the binding {binding.name} is out of range"
    if binding.slot % WORD_SIZE or not image.is_writable_range(binding.slot, binding.size):
        return f"the binding {binding.name} fills no word of its data"
    return None


class Filled(NamedTuple):
    """Words of a patch library that are filled for ``name``: ``size`` bytes at the link-time address ``slot``."""

    slot: int
    size: int
    name: str


def overlap_of(filled: Iterable[Binding | Filled]) -> str | None:
    """What two of ``filled``, in any order, fill one word; a sentence, or None."""
    ordered = sorted(filled, key=lambda each: each.slot)
    for one, other in zip(ordered, ordered[1:]):
        if other.slot < one.slot + one.size:
            return f"{one.name} and {other.name} fill the same word"
    return None
