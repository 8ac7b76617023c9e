# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words through which the code of a patch library reaches what belongs to its target.

The runtime fills them in when a livepatch is applied (livepatch.binding).  They make an assembler file of their own:
the words themselves, and for each function that is called a *thunk*, a jump through its word, so that a call works at
any distance.
"""

from __future__ import annotations

from ..arch.references import THUNK
from ..livepatch.binding import TLS, TLS_WORDS, Binding
from ..named_tuple import NamedTuple
from .target_library import Reference

_WORDS = '.section .data.rel.ro.ulp_slots,"aw",@progbits\n.balign 8\n'
_THUNKS = '.section .text.ulp_thunks,"ax",@progbits\n'


class Bound(NamedTuple):
    """A word that is filled in: the symbol that stands there, and what for."""

    symbol: str
    reference: Reference


class Slots:
    """All of them; ``bound`` are those that the runtime fills in, words within data of the patch library included."""

    def __init__(self) -> None:
        self.bound: list[Bound] = []
        self._slots: dict[Reference, str] = {}
        self._own: dict[str, str] = {}
        self._thunks: dict[str, str] = {}

    def slot(self, reference: Reference) -> str:
        """The name of the word for a Reference; of two words, for something thread-local."""
        if reference not in self._slots:
            name = f"__ulp_slot_{len(self._slots)}"
            self._slots[reference] = name
            self.bound.append(Bound(name, reference))
        return self._slots[reference]

    def own_slot(self, symbol: str) -> str:
        """The name of a word with the address of something that the patch library itself has.

        :param symbol: its name; a distance may follow, as ``name + 8``.
        """
        return self._own.setdefault(symbol, f"__ulp_own_{len(self._own)}")

    def thunk(self, reference: Reference) -> str:
        """The name of the thunk that jumps to what a Reference means."""
        slot = self.slot(reference)
        return self._thunks.setdefault(slot, slot.replace("__ulp_slot_", "__ulp_thunk_"))

    def word(self, symbol: str, reference: Reference) -> None:
        """Have a word of the patch library's own data, where ``symbol`` stands, filled in as well."""
        self.bound.append(Bound(symbol, reference))

    def assembly(self) -> str:
        """The text of the assembler file."""
        lines = [_WORDS]
        for reference, name in self._slots.items():
            count = 2 if reference.kind in (TLS, TLS_WORDS) else 1
            lines.append(f".globl {name}\n.hidden {name}\n{name}: .fill {count}, 8, 0\n")
        for symbol, name in self._own.items():
            lines.append(f".globl {name}\n.hidden {name}\n{name}: .quad {symbol}\n")
        lines.append(_THUNKS)
        lines.extend(THUNK.format(thunk=thunk, slot=slot) for slot, thunk in self._thunks.items())
        lines.append('.section .note.GNU-stack,"",@progbits\n')
        return "".join(lines)

    def bindings(self, addresses: dict[str, int]) -> list[Binding]:
        """The Bindings, by slot.

        :param addresses: {symbol: its link-time address in the patch library}; what is not there, the linker left out.
        """
        found = [Binding(addresses[bound.symbol], *_ordered(bound.reference)) for bound in self.bound
                 if bound.symbol in addresses]
        return sorted(found, key=lambda binding: binding.slot)


def _ordered(reference: Reference) -> tuple[str, str, str, int, int]:
    return reference.kind, reference.name, reference.version, reference.offset, reference.addend
