# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take new functions out of the objects that were compared, so that the patch runs the very code that was compared.

Each reference to what the target has is changed into one through a word that the runtime fills in:

========================================  =================================================
in the object                             becomes
========================================  =================================================
call, jump, conditional jump              to a thunk that jumps through the word
``lea x(%rip)``                           ``mov word(%rip)``
``mov x@GOTPCREL(%rip)`` and the like     the same instruction, with the word in place of the GOT's
``x@TLSGD``, ``x@TLSLD``                  the address of a pair of words
``x@GOTTPOFF(%rip)``                      the same instruction, with the word in place of the GOT's
``lea x@TLSDESC(%rip)``                   ``mov word(%rip)``: the address of the target's own descriptor
``x@TPOFF``, in code for a program        the distance, which is known
an address in data                        a word that the runtime fills in
========================================  =================================================

New variables are reached in the same ways, by words that lead to the patch library's own until the runtime makes them
lead to those of an earlier livepatch (livepatch.new_data).

Other instructions that access variables directly have no room for it.  Their unit is compiled once more
with the medium code model, where each such access first loads a distance from the GOT's address
(``movabs $x@GOTOFF, %r``).  The base is made 0 and the distance a word with the whole address.

The instructions are those of x86-64; arch.references knows them, and arch.object_relocations how they are referred to.
"""

from __future__ import annotations

from typing import Collection, cast

from ..arch.object_relocations import (
    DESCRIPTOR,
    DESCRIPTOR_CALL,
    DISTANCES,
    FROM_END,
    FROM_GOT,
    GENERAL_DYNAMIC,
    GOT_ADDRESS,
    INITIAL_EXEC,
    LARGE,
    LOCAL_DYNAMIC_DISTANCE,
    LOCAL_DYNAMIC_START,
    LOCAL_EXEC,
    NEAR,
    NOTHING,
    PREFIX,
    R_DISTANCE,
    R_NONE,
    SHORT_ADDRESSES,
    THROUGH_GOT,
    WORD,
)
from ..arch.references import (
    add_instead,
    drop_descriptor_call,
    goes_there,
    is_descriptor,
    load_instead,
    load_whole_address,
    move_instead,
    set_distance,
)
from ..elf.symbols import Symbol as TargetSymbol
from ..livepatch.binding import TLS
from ..named_tuple import NamedTuple
from .comparison import Difference, parent_of_cold
from .literals import Literals
from .meaning import Meaning, Place, is_made
from .objects import (
    SHN_COMMON,
    STB_LOCAL,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    STT_SECTION,
    STT_TLS,
    STV_DEFAULT,
    ObjectEditor,
    ObjectSection,
    Relocation,
    Symbol,
)
from .refusals import AMBIGUOUS, REFERENCE, Refusals
from .replacing import Replaced, UnitChange
from .slots import Slots
from .target_library import Ambiguous, Reference, TargetLibrary

_GOT = "_GLOBAL_OFFSET_TABLE_"
_WRAPPER, _REAL = "__wrap_", "__real_"
# Of the local-dynamic model.
_MODULE_BASE = "_TLS_MODULE_BASE_"
_LOCAL_DYNAMIC = (LOCAL_DYNAMIC_START, LOCAL_DYNAMIC_DISTANCE)
_DESCRIPTORS = (DESCRIPTOR, DESCRIPTOR_CALL)


class Source(NamedTuple):
    """A unit that functions are taken from; ``taken`` is how the object they are taken from differs from the first."""

    change: UnitChange
    taken: Difference

    @property
    def meaning(self) -> Meaning:
        """That of the object that functions are taken from."""
        return self.taken.after


class Extracted(NamedTuple):
    """The edited objects, {key of the unit: bytes}; ``names``, {name of a new function: its Replaced}.

    ``copied`` are the names of functions and constants that the patch library has for itself; ``brought``, what new
    variables it brings along.  ``direct`` are the keys of units that access variables directly, and have to be compiled
    with the medium code model: unless that is empty, the rest is worth nothing.
    """

    objects: dict[str, bytes]
    names: dict[str, Replaced]
    copied: list[str]
    direct: list[str]
    brought: list[Brought]


class Brought(NamedTuple):
    """A variable that is new in the unit ``key``: its ``symbol`` there, and the ``label`` that stands where it lies.

    ``words`` are {symbol of a word that leads to it: bytes added to its address}; ``obstacles`` are why code refers to
    it in a way that cannot be led elsewhere.
    """

    key: str
    symbol: Symbol
    label: str
    words: dict[str, int]
    obstacles: list[str]


class _Extraction:
    def __init__(self, sources: list[Source], replaced: list[Replaced], target: TargetLibrary, slots: Slots,
                 refusals: Refusals, wrapped: Collection[str]) -> None:
        self.sources = {source.change.key: source for source in sources}
        self.replaced = {(each.unit.key, each.name) for each in replaced}
        self.target = target
        self.slots = slots
        self.literals = Literals(target)
        self.refusals = refusals
        self.wrapped = wrapped
        self.editors = {key: ObjectEditor(source.meaning.file) for key, source in self.sources.items()}
        self.work: list[tuple[str, int]] = []
        self.seen: set[tuple[str, int]] = set()
        self.copied: set[str] = set()
        self.direct: set[str] = set()
        self.brought: dict[tuple[str, str], Brought] = {}
        # Who defines what only the new code has.
        self.defined: dict[str, tuple[str, Symbol]] = {}
        for key, source in self.sources.items():
            for name, symbol in [*source.meaning.functions.items(), *source.meaning.variables.items()]:
                if symbol.binding != STB_LOCAL and symbol.defined:
                    self.defined.setdefault(name, (key, symbol))

    # ------------------------------------------------------- whose is a name

    def of_target(self, source: Source, place: Place) -> TargetSymbol | None:
        """The Symbol of the target that a Place stands for; None for what the patch library has itself, or imports."""
        name = self.named(place)
        if name is None or name.startswith("DW.ref.") or is_made(name) or parent_of_cold(name):
            return None
        if place.section is not None and place.symbol.type in (STT_FUNC, STT_GNU_IFUNC) and place.offset:
            # A label of a function that is itself replaced.
            return None
        if self.holds_labels(source, place):
            # Asked of the first object: with the medium code model constants may stand among what is writable.
            first = source.change.difference.after
            if name not in first.variables or not first.section_of(first.variables[name]).is_constant:
                self.refusals.add(
                    REFERENCE, name, f"{name} of {source.change.source} is writable, and holds the addresses of labels"
                    " in a function that is replaced: new code would go on in the old code; make it const")
            return None
        taken = source.taken
        local = place.section is not None and place.symbol.binding == STB_LOCAL
        if local and name in (*taken.new, *taken.new_variables):
            return None
        # The patch library has changed constants itself.
        if any(name in each.change.difference.changed_constants for each in self.sources.values()
               if each is source or not local):
            return None
        owner, mine = source, place.symbol
        if place.section is None and name in self.defined:
            # Another unit tells what it was before the diff.
            key, mine = self.defined[name]
            owner = self.sources[key]
        try:
            return owner.change.find(self.target, owner.taken.renamed.get(name, name), mine)
        except Ambiguous as error:
            self.refusals.add(AMBIGUOUS, name, f"{name} of {source.change.source} cannot be told apart in"
                              f" {self.target.image.name}: {error}")
            return None

    def named(self, place: Place) -> str | None:
        """The name of a Place, as a linker takes it that was told to wrap some."""
        name = place.name
        if place.section is not None or name is None:
            return name
        if name in self.wrapped:
            return _WRAPPER + name
        return name[len(_REAL):] if name.startswith(_REAL) and name[len(_REAL):] in self.wrapped else name

    def holds_labels(self, source: Source, place: Place) -> bool:
        """Whether a variable holds the addresses of labels (``&&label``) in a function that is replaced."""
        if place.section is None or place.section.is_code:
            return False
        meaning = source.meaning
        for relocation in meaning.relocations(place.symbol):
            label = meaning.place(place.section, relocation)
            if label.offset and label.name is not None and label.section is not None and label.section.is_code and (
                    source.change.key, parent_of_cold(label.name) or label.name) in self.replaced:
                return True
        return False

    def refuse(self, source: Source, section: ObjectSection, relocation: Relocation, name: str | None) -> None:
        where = source.meaning.owner(section, relocation.offset)
        function = where.name if where else section.name
        self.refusals.add(
            REFERENCE, function, f"{function} of {source.change.source} refers to {name or 'a constant'} in a way that"
            f" is not understood ({PREFIX}{relocation.kind})")

    # -------------------------------------------------------------- walking

    def need(self, key: str, section: ObjectSection | int) -> None:
        index = section if isinstance(section, int) else section.index
        if (key, index) not in self.seen:
            self.seen.add((key, index))
            self.work.append((key, index))

    def walk(self) -> None:
        while self.work:
            key, index = self.work.pop()
            source = self.sources[key]
            section = source.meaning.file.sections[index]
            for table, _offset in source.meaning.exception_tables.get(index, ()):
                self.need(key, table)
            for relocation in section.relocations:
                self.edit(key, source, section, relocation)

    def edit(self, key: str, source: Source, section: ObjectSection, relocation: Relocation) -> None:
        if relocation.kind == NOTHING:
            return
        meaning = source.meaning
        place = meaning.place(section, relocation)
        if place.name == _GOT:
            self.edit_base(key, source, section, relocation)
            return
        if section.is_code and (relocation.kind in _LOCAL_DYNAMIC or place.name == _MODULE_BASE):
            self.edit_local_dynamic(key, source, section, relocation, place)
            return
        if not section.is_code and relocation.kind in DISTANCES:
            # Switch tables, and exception tables: distances within the patch library.
            if place.section is not None:
                self.need(key, place.section)
                variable = self.new_variable(key, source, place)
                if variable is not None:
                    variable.obstacles.append("data refer to it by a distance")
            elif self.of_target(source, place) is not None:
                self.refuse(source, section, relocation, place.name)
            return
        symbol = self.of_target(source, place)
        if symbol is None:
            self.edit_own(key, source, section, relocation, place)
        elif symbol.type == "STT_TLS":
            self.edit_thread_local(key, source, section, relocation, place, symbol)
        else:
            self.edit_reference(key, source, section, relocation, place, symbol)

    def edit_base(self, key: str, source: Source, section: ObjectSection, relocation: Relocation) -> None:
        """``lea _GLOBAL_OFFSET_TABLE_(%rip), %r``, of the medium code model, becomes ``mov $0, %r``."""
        data = source.meaning.file.data
        at = section.offset + relocation.offset
        if relocation.kind != GOT_ADDRESS or not move_instead(data, at, 0):
            self.refuse(source, section, relocation, _GOT)
            return
        self.editors[key].relocate(relocation, 0, R_NONE, 0)

    def edit_own(self, key: str, source: Source, section: ObjectSection, relocation: Relocation, place: Place) -> None:
        """A reference to what the patch library has itself, or imports."""
        if self.edit_string(key, source, section, relocation):
            return
        if place.section is not None:
            self.need(key, place.section)
            if place.name is not None and not is_made(place.name) and place.symbol.type != STT_SECTION:
                self.copied.add(place.name)
            if place.symbol.type == STT_TLS and relocation.kind not in (
                    GENERAL_DYNAMIC, LOCAL_DYNAMIC_DISTANCE, *_DESCRIPTORS):
                self.refuse(source, section, relocation, place.name)
        elif (name := self.named(place)) in self.defined:
            other, symbol = self.defined[str(name)]
            self.need(other, symbol.section)
            self.copied.add(str(name))
        variable = self.new_variable(key, source, place)
        if variable is not None and self.edit_new_variable(key, source, section, relocation, place, variable):
            return
        if relocation.kind == FROM_GOT:
            self.load_whole_address(key, source, section, relocation, self.slots.own_slot(
                self.label(key, relocation, place)))
        elif relocation.kind in (*SHORT_ADDRESSES, *LARGE):
            self.refuse(source, section, relocation, place.name)

    def edit_string(self, key: str, source: Source, section: ObjectSection, relocation: Relocation) -> bool:
        """Have the address of a string without a name be that of the target's; whether it has one, and this is it."""
        reference = self.literals.reference(source.change, source.meaning, section, relocation)
        if reference is None:
            return False
        editor = self.editors[key]
        if relocation.kind == FROM_GOT:
            self.load_whole_address(key, source, section, relocation, self.slots.slot(reference))
        elif relocation.kind == WORD and not section.is_code:
            number = list(self.sources).index(key)
            label = f"__ulp_word_{number}_{section.index}_{relocation.offset}"
            editor.symbol(label, section.index, relocation.offset)
            self.slots.word(label, reference)
            editor.relocate(relocation, 0, R_NONE, 0)
        elif relocation.kind in NEAR and section.is_code and load_instead(
                source.meaning.file.data, section.offset + relocation.offset):
            editor.relocate(relocation, editor.symbol(self.slots.slot(reference)), R_DISTANCE, FROM_END)
        else:
            # Code that reads the string at once.
            return False
        return True

    def new_variable(self, key: str, source: Source, place: Place) -> Brought | None:
        """The Brought of the new variable that a Place of the patch library's own is in; None where it is in none."""
        name = place.name
        symbol = place.symbol
        if place.section is not None and not place.section.is_code and (name is None or symbol.type == STT_SECTION):
            # Somewhere before or behind it, as in a loop that counts down: each variable has a section of its own.
            inside = [each for each in place.section.symbols if each.type in (STT_OBJECT, STT_TLS)]
            if len(inside) != 1:
                return None
            symbol = inside[0]
            name = symbol.name
        if name is None or name.startswith("DW.ref.") or is_made(name):
            return None
        if symbol.section == SHN_COMMON:
            return self.brought.setdefault((key, name), Brought(key, symbol, "", {}, []))
        if place.section is None:
            if name not in self.defined:
                return None
            key, symbol = self.defined[name]
            source = self.sources[key]
        # What takes no room has no value.
        if symbol.type not in (STT_OBJECT, STT_TLS) or not symbol.size:
            return None
        # Asked of the first object: with the medium code model constants may stand among what is writable.
        first = source.change.difference.after
        known = first.variables.get(name)
        was_constant = known is not None and known.defined and first.section_of(known).is_constant
        if was_constant or source.meaning.section_of(symbol).is_constant:
            return None
        if symbol.binding != STB_LOCAL and "@" not in name:
            # Several units may define it, of which the linker takes one.
            return self.brought.setdefault(("", name), Brought(key, symbol, name, {}, []))
        if (key, name) not in self.brought:
            label = f"__ulp_new_data_{len(self.brought)}"
            if symbol.type != STT_TLS:
                self.editors[key].symbol(label, symbol.section, symbol.value, symbol.size, STT_OBJECT)
            self.brought[key, name] = Brought(key, symbol, label, {}, [])
        return self.brought[key, name]

    def edit_new_variable(self, key: str, source: Source, section: ObjectSection, relocation: Relocation, place: Place,
                          variable: Brought) -> bool:
        """Have a reference go through a word; False where nothing can be done, or it has to be done as for others."""
        kind = relocation.kind
        editor = self.editors[key]
        data = source.meaning.file.data
        at = section.offset + relocation.offset
        if variable.symbol.type == STT_TLS or variable.symbol.section == SHN_COMMON:
            return False
        distance = place.offset
        if place.name is None and place.section is not None:
            # Counted from the start of its section.
            distance -= variable.symbol.value
        if kind in THROUGH_GOT:
            editor.relocate(relocation, editor.symbol(self.word_for(variable, 0)), R_DISTANCE)
        elif kind == FROM_GOT:
            self.load_whole_address(key, source, section, relocation, self.word_for(variable, distance))
        elif kind == WORD and not section.is_code:
            number = list(self.sources).index(key)
            label = f"__ulp_word_{number}_{section.index}_{relocation.offset}"
            editor.symbol(label, section.index, relocation.offset)
            variable.words[label] = distance
        elif kind in NEAR and section.is_code:
            if load_instead(data, at):
                editor.relocate(
                    relocation, editor.symbol(self.word_for(variable, distance)), R_DISTANCE, FROM_END)
            else:
                self.direct.add(key)
        elif kind in SHORT_ADDRESSES:
            self.direct.add(key)
        else:
            variable.obstacles.append("code refers to it in a way that cannot be led elsewhere")
            return False
        return True

    def word_for(self, variable: Brought, offset: int) -> str:
        """The name of a word that leads to a new variable, ``offset`` bytes from its start."""
        symbol = variable.label if not offset else f"{variable.label} + {offset}"
        slot = self.slots.own_slot(symbol)
        variable.words[slot] = offset
        return slot

    def label(self, key: str, relocation: Relocation, place: Place) -> str:
        """The name of a new symbol at a place of the patch library's own, with the relocation's addend."""
        editor = self.editors[key]
        number = list(self.sources).index(key)
        if place.section is None:
            return str(place.name)
        symbol = editor.file.symbols[relocation.symbol]
        value = symbol.value + relocation.addend
        name = f"__ulp_at_{number}_{place.section.index}_{value}"
        editor.symbol(name, place.section.index, value)
        return name

    # -------------------------------------------------------------- editing

    def edit_reference(self, key: str, source: Source, section: ObjectSection, relocation: Relocation, place: Place,
                       symbol: TargetSymbol) -> None:
        kind = relocation.kind
        editor = self.editors[key]
        data = source.meaning.file.data
        at = section.offset + relocation.offset
        reference = self.target.reference(_name_of(symbol), symbol, place.offset)
        if kind in THROUGH_GOT:
            editor.relocate(relocation, editor.symbol(self.slots.slot(reference)), R_DISTANCE)
        elif kind == FROM_GOT or (kind == WORD and section.is_code):
            # The second is the large code model's, of a program at a fixed address.
            self.load_whole_address(key, source, section, relocation, self.slots.slot(reference))
        elif kind == WORD:
            number = list(self.sources).index(key)
            label = f"__ulp_word_{number}_{section.index}_{relocation.offset}"
            editor.symbol(label, section.index, relocation.offset)
            self.slots.word(label, reference)
            editor.relocate(relocation, 0, R_NONE, 0)
        elif kind in NEAR and section.is_code:
            if goes_there(data, at):
                editor.relocate(relocation, editor.symbol(self.slots.thunk(reference)), R_DISTANCE, FROM_END)
            elif load_instead(data, at):
                editor.relocate(relocation, editor.symbol(self.slots.slot(reference)), R_DISTANCE, FROM_END)
            elif place.section is not None and place.section.is_constant and not place.section.is_code:
                # Its value is all that is used, and that never changes.
                self.edit_own(key, source, section, relocation, place)
            else:
                self.direct.add(key)
        elif kind in SHORT_ADDRESSES:
            # Code for a program at a fixed address: to be compiled anew, like what accesses variables directly.
            self.direct.add(key)
        else:
            self.refuse(source, section, relocation, place.name)

    def load_whole_address(self, key: str, source: Source, section: ObjectSection, relocation: Relocation,
                           slot: str) -> None:
        """``movabs $x@GOTOFF, %r`` becomes ``mov slot(%rip), %r``, and a nop of 3 bytes."""
        behind = load_whole_address(source.meaning.file.data, section.offset + relocation.offset)
        if behind is None:
            self.refuse(source, section, relocation, source.meaning.place(section, relocation).name or slot)
            return
        editor = self.editors[key]
        editor.relocate(relocation, editor.symbol(slot), R_DISTANCE, FROM_END, relocation.offset + behind)

    def edit_thread_local(self, key: str, source: Source, section: ObjectSection, relocation: Relocation, place: Place,
                          symbol: TargetSymbol) -> None:
        editor = self.editors[key]
        if relocation.kind == GENERAL_DYNAMIC:
            reference = self.target.reference(_name_of(symbol), symbol)
        elif relocation.kind in _DESCRIPTORS:
            self.edit_descriptor(key, source, section, relocation, place, symbol)
            return
        elif self.target.thread_distance(symbol) is not None:
            self.edit_thread_local_of_program(key, source, section, relocation, place, symbol)
            return
        elif relocation.kind == INITIAL_EXEC:
            found = self.target.thread_offset(_name_of(symbol), symbol)
            if found is None:
                self.refuse(source, section, relocation, place.name)
                return
            reference = found
        else:
            self.refuse(source, section, relocation, place.name)
            return
        editor.relocate(relocation, editor.symbol(self.slots.slot(reference)), R_DISTANCE, FROM_END)

    def edit_local_dynamic(self, key: str, source: Source, section: ObjectSection, relocation: Relocation,
                           place: Place) -> None:
        """Code that asks once for the start of thread-local storage, and adds distances: the target's, or its own."""
        editor = self.editors[key]
        own, theirs = self.local_dynamic(source, section)
        if own and theirs:
            # Their distances are counted from different places.
            where = source.meaning.owner(section, relocation.offset)
            function = where.name if where else section.name
            # gcc numbers static variables of functions.
            news = ", ".join(sorted({name.rstrip("0123456789").rstrip(".") for name in own}))
            self.refusals.add(
                REFERENCE, function, f"{function} of {source.change.source} finds {news}, which is new, and"
                f" {', '.join(sorted(theirs))}, which is not, by one address of thread-local storage; declare {news}"
                ' with __attribute__((tls_model("global-dynamic")))')
        elif own:
            if relocation.kind == LOCAL_DYNAMIC_DISTANCE:
                self.edit_own(key, source, section, relocation, place)
            elif relocation.kind == LOCAL_DYNAMIC_START:
                # The compiler may have named any variable of the file.
                editor.relocate(relocation, next(iter(own.values())).symbol)
        elif relocation.kind == LOCAL_DYNAMIC_START:
            editor.relocate(relocation, editor.symbol(self.slots.slot(
                Reference(TLS, "thread-local storage", "", 0, 0))), R_DISTANCE, FROM_END)
        elif place.name == _MODULE_BASE:
            self.edit_descriptor(key, source, section, relocation, place, None)
        else:
            symbol = cast(TargetSymbol, self.of_target(source, place))
            at = section.offset + relocation.offset
            set_distance(source.meaning.file.data, at, symbol.value + place.offset)
            editor.relocate(relocation, 0, R_NONE, 0)

    def local_dynamic(self, source: Source, section: ObjectSection) -> tuple[dict[str, Relocation], set[str]]:
        """({name: a distance to it} of new thread-local variables, names of the target's) of a function."""
        functions = source.meaning.functions
        mine = {parent_of_cold(name) or name for name, symbol in functions.items() if symbol.section == section.index}
        sections = {symbol.section for name, symbol in functions.items() if (parent_of_cold(name) or name) in mine}
        own: dict[str, Relocation] = {}
        theirs: set[str] = set()
        for index in sections:
            there = source.meaning.file.sections[index]
            for relocation in there.relocations:
                if relocation.kind != LOCAL_DYNAMIC_DISTANCE:
                    continue
                place = source.meaning.place(there, relocation)
                if self.of_target(source, place) is None:
                    own.setdefault(str(place.name), relocation)
                else:
                    theirs.add(str(place.name))
        return own, theirs

    def edit_descriptor(self, key: str, source: Source, section: ObjectSection, relocation: Relocation, place: Place,
                        symbol: TargetSymbol | None) -> None:
        """``lea x@TLSDESC(%rip), %rax`` and ``call *x@TLSCALL(%rax)``, which leave a distance in ``%rax``.

        They use the descriptor that the target has.  Where a linker has done without, as it does where the distance is
        known when the library is loaded or linked, so does this.  ``symbol``: None for the start of the storage.
        """
        editor = self.editors[key]
        data = source.meaning.file.data
        at = section.offset + relocation.offset
        distance = self.target.thread_distance(symbol) if symbol is not None else None
        descriptor = offset = None
        if symbol is None:
            descriptor = self.target.module_descriptor()
        elif distance is None:
            descriptor = self.target.thread_descriptor(_name_of(symbol), symbol)
            offset = self.target.thread_offset(_name_of(symbol), symbol)
        known = descriptor or offset
        if known is None and distance is None:
            self.refuse(source, section, relocation, place.name)
        elif relocation.kind == DESCRIPTOR_CALL:
            if descriptor is None:
                # The distance is there already.
                drop_descriptor_call(data, at)
            editor.relocate(relocation, 0, R_NONE, 0)
        elif not is_descriptor(data, at) or place.offset:
            self.refuse(source, section, relocation, place.name)
        elif known is None:
            move_instead(data, at, cast(int, distance))
            editor.relocate(relocation, 0, R_NONE, 0)
        else:
            load_instead(data, at)
            editor.relocate(relocation, editor.symbol(self.slots.slot(known)), R_DISTANCE, FROM_END)

    def edit_thread_local_of_program(self, key: str, source: Source, section: ObjectSection, relocation: Relocation,
                                     place: Place, symbol: TargetSymbol) -> None:
        """A distance that is known becomes an immediate operand, as when a linker relaxes such code."""
        data = source.meaning.file.data
        at = section.offset + relocation.offset
        distance = cast(int, self.target.thread_distance(symbol)) + place.offset
        if relocation.kind == INITIAL_EXEC:
            if not add_instead(data, at, distance):
                self.refuse(source, section, relocation, place.name)
                return
        elif relocation.kind == LOCAL_EXEC and section.is_code:
            set_distance(data, at, distance)
        else:
            self.refuse(source, section, relocation, place.name)
            return
        self.editors[key].relocate(relocation, 0, R_NONE, 0)


def _name_of(symbol: TargetSymbol) -> str:
    return symbol.name.partition("@")[0]


def extract(
    sources: list[Source], replaced: list[Replaced], target: TargetLibrary, slots: Slots, refusals: Refusals,
    wrapped: Collection[str] = (),
) -> Extracted:
    """Edit the objects so that the functions to be replaced, and what only they use, can be linked by themselves.

    :param sources: the units with changes; the objects they were read from have no debug information, and are changed
        in memory.
    :param slots: takes what the runtime has to fill in.
    :param refusals: takes what is not understood.
    :param wrapped: names that the target was linked with wrappers for (``--wrap``).
    """
    extraction = _Extraction(sources, replaced, target, slots, refusals, wrapped)
    names: dict[str, Replaced] = {}
    for key, source in extraction.sources.items():
        for symbol in source.meaning.file.symbols:
            if symbol.defined and symbol.binding != STB_LOCAL:
                extraction.editors[key].hide(symbol)
                if "@" in symbol.name:
                    # No linker takes a symbol version without a version script, and nobody looks for it here.
                    extraction.editors[key].rename(symbol, symbol.name.replace("@", "."))
    for each in replaced:
        source = extraction.sources[each.unit.key]
        function = source.meaning.functions.get(each.name)
        if function is None:
            refusals.add(REFERENCE, each.name, f"{each.name} of {each.unit.source} is no function of its own in the"
                         " medium code model")
            continue
        name = _new_name(each.name, names)
        names[name] = each
        extraction.editors[each.unit.key].symbol(
            name, function.section, function.value, function.size, STT_FUNC, STV_DEFAULT)
        extraction.need(each.unit.key, function.section)
    extraction.walk()
    used = {key for key, _index in extraction.seen}
    replaced_names = {each.name for each in replaced}
    return Extracted(
        {key: extraction.editors[key].finish() for key in extraction.sources if key in used},
        names,
        sorted(extraction.copied - replaced_names),
        sorted(extraction.direct),
        list(extraction.brought.values()),
    )


def _new_name(old: str, taken: dict[str, Replaced]) -> str:
    name = f"__ulp_new_{old.partition('@')[0]}"
    number = 2
    while name in taken:
        name = f"__ulp_new_{old.partition('@')[0]}.{number}"
        number += 1
    return name
