# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of one source file and who uses them, from the debug information of its object.

Source: the DWARF standard, version 5, chapters 3.3 (subroutines), 4.1 (data objects) and 5 (types); what version 4
and earlier have in other attributes is noted where it is read.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, Iterator

from ..arch.object_relocations import ADDRESSES
from ..errors import BadElf, MissingDependency
from ..named_tuple import NamedTuple
from ..printable import printable
from .objects import ObjectFile

_AGGREGATES = {
    "DW_TAG_structure_type": "structure", "DW_TAG_class_type": "class", "DW_TAG_union_type": "union",
}
# They stand for another type, and have its layout.
_TRANSPARENT = {
    "DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type", "DW_TAG_atomic_type",
    "DW_TAG_shared_type", "DW_TAG_immutable_type",
}
_POINTERS = {"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"}
# Scopes within a function.
_BLOCKS = {"DW_TAG_lexical_block", "DW_TAG_inlined_subroutine", "DW_TAG_try_block", "DW_TAG_catch_block"}
# What no diff of a source changes, and what a unit has thousands of types from.
_SYSTEM_NAMESPACES = {"std", "__gnu_cxx", "__cxxabiv1", "__gnu_debug"}
_FLOATS = {3, 4, 0x0F}  # DW_ATE_complex_float, DW_ATE_float, DW_ATE_decimal_float
# Operations of DWARF expressions (DWARF 5, 7.7.1).
_OP_ADDR, _OP_PLUS_UCONST, _OP_PIECE, _OP_FORM_TLS_ADDRESS, _OP_ADDRX = 0x03, 0x23, 0x93, 0x9B, 0xA1
_OP_GNU_PUSH_TLS_ADDRESS = 0xE0
_DEPTH = 12
_REFERRING = (".debug_info", ".debug_str_offsets")


class Field(NamedTuple):
    """One field or base of a structure.

    ``offset`` and ``size`` are in bytes, but in bits where ``is_bits``; ``offset`` is a text where it is computed while
    a program runs, as for virtual base classes. ``shape`` is what its bits mean, where that tells types apart.
    """

    name: str
    offset: int | str
    size: int | None
    is_bits: bool
    shape: str

    def placed(self) -> str:
        """Where it lies, for a message."""
        unit = "bit" if self.is_bits else "offset"
        size = "" if self.size is None else f", size {self.size}" + (" bits" if self.is_bits else "")
        return f"{unit} {self.offset}{size}"


class Aggregate(NamedTuple):
    """A structure, class or union.

    ``size`` is in bytes, and so is ``alignment``, the strictest of what the source demands and what its fields have;
    ``slots`` are its virtual functions by place in the vtable.
    """

    kind: str
    name: str
    size: int | None
    fields: tuple[Field, ...]
    slots: tuple[tuple[str, int], ...]
    alignment: int


class Enumeration(NamedTuple):
    """An enumeration; ``values`` are those of its constants, in order.

    ``is_typed`` tells whether it has a name, so that variables can be of this type.
    """

    name: str
    size: int | None
    values: tuple[tuple[str, int], ...]
    is_typed: bool


class Prototype(NamedTuple):
    """What a caller of a function must know: the shapes of its result and parameters, and whether more may follow."""

    result: str
    parameters: tuple[str, ...]
    is_variadic: bool


class Use(NamedTuple):
    """One use of a type, by a function or by a variable with static storage, whose symbol's name is ``where``.

    ``is_direct`` tells whether it has the type, a type that contains it, or a pointer to one of these, and does not
    just lead there by further objects; ``is_object``, whether a function has an object of the type among its local
    variables; ``is_interface``, whether its result or a parameter leads to one.
    """

    where: str
    is_variable: bool
    is_direct: bool
    is_object: bool
    is_interface: bool


class DebugTypes:
    """The types of one object file.

    Attributes: ``aggregates`` and ``enumerations``, {name: ...}; ``prototypes``, {symbol name: Prototype} of the
    functions that the unit defines; ``variables``, {name: shape} of those with static storage that are no constants, a
    local one's name behind that of its function; ``alignments``, {name: alignment in bytes} of these.
    """

    def __init__(self, path: str) -> None:
        """
        :param path: of a relocatable object with debug information.
        :raises BadElf: its debug information cannot be read, or there is none.
        :raises FileProblem: it cannot be read.
        :raises MissingDependency: pyelftools is not installed.
        """
        self.aggregates: dict[str, Aggregate] = {}
        self.enumerations: dict[str, Enumeration] = {}
        self.prototypes: dict[str, Prototype] = {}
        self.variables: dict[str, str] = {}
        self.alignments: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._scopes: dict[int, str] = {}
        self._types: list[Any] = []
        self._functions: list[Any] = []
        self._variables: list[tuple[str, Any]] = []
        self._used_enumerations: set[int] = set()
        self._shapes: dict[int, str] = {}
        self._alignments: dict[int, int] = {}
        # {type: what it has within itself}, and {type: what else it leads to}.
        self._held: dict[str, set[str]] = {}
        self._led: dict[str, set[str]] = {}
        try:
            from elftools.common.exceptions import DWARFError, ELFError
            from elftools.elf.elffile import ELFFile
        except ImportError as error:
            raise MissingDependency("elftools (pyelftools)", "python3-pyelftools") from error
        contents = _relocated(ObjectFile(path))
        try:
            file = ELFFile(io.BytesIO(contents))
            if not file.has_dwarf_info():
                raise BadElf(f"{path} has no debug information")
            for unit in file.get_dwarf_info(relocate_dwarf_sections=False).iter_CUs():
                self._walk(unit.get_top_DIE(), "", False)
            self._read()
        except (ELFError, DWARFError, KeyError, ValueError, IndexError, AssertionError, AttributeError) as error:
            raise BadElf(f"the debug information of {path} cannot be read ({error})") from error

    def uses(self) -> dict[str, list[Use]]:
        """{type: its uses}."""
        found: dict[str, list[Use]] = {}
        for _scope, die in self._variables:
            direct, leading = self._reach([die])
            for name in direct | leading:
                found.setdefault(name, []).append(Use(_symbol_name(die), True, name in direct, False, False))
        for function in self._functions:
            name = _symbol_name(function)
            interface = [function, *(child for child in function.iter_children()
                                     if child.tag == "DW_TAG_formal_parameter")]
            local = list(_local_variables(function))
            direct, _leading = self._reach([*interface, *local])
            handed = set().union(*self._reach(interface))
            objects = self._within([die for die in local if die.tag == "DW_TAG_variable"])
            for each in direct | handed:
                found.setdefault(each, []).append(Use(name, False, each in direct, each in objects, each in handed))
        return found

    def fingerprints(self) -> dict[str, str]:
        """{name as in ``variables``: SHA-256 in hex of its type, and of all types with a name that it leads to}."""
        found = {}
        for scope, die in self._variables:
            name = scope + _symbol_name(die)
            if name not in self.variables:
                continue
            reached = sorted(set().union(*self._reach([die])))
            described: list[tuple[object, ...]] = [
                (each.kind, each.name, each.size, sorted(map(tuple, each.fields)), each.slots)
                for each in map(self.aggregates.get, reached) if each is not None]
            described += [
                (each.name, each.size, sorted(each.values))
                for each in map(self.enumerations.get, reached) if each is not None]
            found[name] = hashlib.sha256(repr((self.variables[name], described)).encode()).hexdigest()
        return found

    # -------------------------------------------------------------- walking

    def _walk(self, die: Any, scope: str, in_function: bool) -> None:
        """Collect types, functions and variables with static storage."""
        closures = 0
        for child in die.iter_children():
            tag = child.tag
            if tag in _AGGREGATES or tag == "DW_TAG_enumeration_type":
                self._scopes[child.offset] = scope
                name = _text(child, "DW_AT_name")
                if not name and _is_closure(child):
                    closures += 1
                    name = f"(lambda {closures})"
                if name:
                    self._names[child.offset] = scope + name
                if not _flag(child, "DW_AT_declaration"):
                    self._types.append(child)
                if tag in _AGGREGATES:
                    self._walk(child, f"{scope}{name or '(anonymous)'}::", in_function)
            elif tag == "DW_TAG_namespace":
                name = _text(child, "DW_AT_name")
                if scope or name not in _SYSTEM_NAMESPACES:
                    self._walk(child, f"{scope}{name or '(anonymous)'}::", in_function)
            elif tag == "DW_TAG_subprogram":
                if not _flag(child, "DW_AT_declaration"):
                    if "DW_AT_low_pc" in child.attributes or "DW_AT_ranges" in child.attributes:
                        self._functions.append(child)
                    self._walk(child, f"{scope}{_text(child, 'DW_AT_name')}()::", True)
            elif tag in _BLOCKS:
                self._walk(child, scope, in_function)
            elif tag == "DW_TAG_typedef":
                target = _referred(child, "DW_AT_type")
                if target is not None and "DW_AT_name" not in target.attributes:
                    self._names.setdefault(target.offset, scope + _text(child, "DW_AT_name"))
            elif tag == "DW_TAG_variable" and _is_static(child):
                self._variables.append((scope, child))

    def _read(self) -> None:
        for _scope, variable in self._variables:
            target = self._bare(_type_of(variable))
            if target is not None and target.tag in _AGGREGATES and not self._name(target):
                self._names.setdefault(target.offset, f"(type of {_symbol_name(variable)})")
        enumerations = []
        for die in self._types:
            if die.tag == "DW_TAG_enumeration_type":
                enumerations.append(die)
            elif die.offset in self._names:
                name = self._names[die.offset]
                slots = sorted({
                    (_symbol_name(child), place) for child in die.iter_children() if child.tag == "DW_TAG_subprogram"
                    and (place := _slot(child)) is not None}, key=lambda slot: (slot[1], slot[0]))
                aggregate = Aggregate(_AGGREGATES[die.tag], name, _number(die, "DW_AT_byte_size"),
                                      tuple(self._fields(die, "", 0, 0)), tuple(slots), self._alignment(die))
                self.aggregates.setdefault(name, aggregate)
                self._edges(name, die)
        for scope, variable in self._variables:
            if not _is_constant(_type_of(variable)):
                name = scope + _symbol_name(variable)
                self.variables[name] = self._shape(_type_of(variable))
                self.alignments[name] = self._alignment(variable)
        for function in self._functions:
            self.prototypes.setdefault(_symbol_name(function), self._prototype(function))
        for die in enumerations:
            values = tuple((_text(child, "DW_AT_name"), _number(child, "DW_AT_const_value") or 0)
                           for child in die.iter_children() if child.tag == "DW_TAG_enumerator")
            typed = die.offset in self._names or die.offset in self._used_enumerations
            name = self._enumeration_name(die)
            self.enumerations.setdefault(
                name, Enumeration(name, _number(die, "DW_AT_byte_size"), values, typed))

    def _fields(self, die: Any, prefix: str, base: int, depth: int) -> Iterator[Field]:
        for child in die.iter_children():
            if child.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or _flag(child, "DW_AT_external") or _flag(
                    child, "DW_AT_declaration"):
                continue
            target = _type_of(child)
            name = _text(child, "DW_AT_name")
            if child.tag == "DW_TAG_inheritance":
                name = f"base {self._shape(target)}"
            bits = _number(child, "DW_AT_bit_size")
            offset: int | str = _place(child)
            if bits is not None:
                yield Field(prefix + name, _bit_place(child, self._size(target)) + 8 * base, bits, True,
                            self._shape(target))
                continue
            if isinstance(offset, int):
                offset += base
            inner = self._bare(target)
            if (inner is not None and inner.tag in _AGGREGATES and not self._name(inner)
                    and isinstance(offset, int) and depth < _DEPTH and self._stripped(target) is inner):
                yield from self._fields(inner, f"{prefix}{name}." if name else prefix, offset, depth + 1)
                continue
            yield Field(prefix + name, offset, self._size(target), False, self._shape(target))

    def _prototype(self, function: Any) -> Prototype:
        children = list(_declared(function).iter_children())
        return Prototype(
            self._shape(_type_of(function)),
            tuple(self._shape(_type_of(child)) for child in children if child.tag == "DW_TAG_formal_parameter"),
            any(child.tag == "DW_TAG_unspecified_parameters" for child in children))

    # ---------------------------------------------------------------- types

    def _name(self, die: Any) -> str:
        return self._names.get(die.offset) or _text(die, "DW_AT_name")

    def _enumeration_name(self, die: Any) -> str:
        """Its own name, or one by its first constant."""
        first = next((child for child in die.iter_children() if child.tag == "DW_TAG_enumerator"), None)
        return self._name(die) or f"(of {_text(first, 'DW_AT_name') if first is not None else 'nothing'})"

    def _stripped(self, die: Any) -> Any:
        """The type behind typedefs and qualifiers."""
        while die is not None and die.tag in _TRANSPARENT:
            die = _referred(die, "DW_AT_type")
        return die

    def _bare(self, die: Any) -> Any:
        """The type of which ``die`` has one or, as an array, several."""
        die = self._stripped(die)
        while die is not None and die.tag == "DW_TAG_array_type":
            die = self._stripped(_referred(die, "DW_AT_type"))
        return die

    def _size(self, die: Any) -> int | None:
        die = self._stripped(die)
        if die is None:
            return None
        size = _number(die, "DW_AT_byte_size")
        if size is not None:
            return size
        if die.tag in _POINTERS:
            return 8
        if die.tag == "DW_TAG_array_type":
            each = self._size(_referred(die, "DW_AT_type"))
            count = 1
            for length in _lengths(die):
                count *= length or 0
            return each * count if each is not None else None
        return None

    def _alignment(self, die: Any, depth: int = 0) -> int:
        """The strictest alignment in bytes that the source demands of a type or variable, or that what is in it has.

        Source: DWARF 5, 2.24, for what is demanded (strict version 4 does not tell); psABI, 3.1.2, for scalar types.
        """
        if die is None or depth > _DEPTH:
            return 1
        if die.tag in _POINTERS or die.tag == "DW_TAG_ptr_to_member_type":
            return 8
        if die.offset not in self._alignments:
            inner = [child for child in die.iter_children() if child.tag in ("DW_TAG_member", "DW_TAG_inheritance")
                     and not _flag(child, "DW_AT_external")] if die.tag in _AGGREGATES else []
            own = [_number(each, "DW_AT_alignment") or 1 for each in _origins(die)]
            if die.tag in ("DW_TAG_base_type", "DW_TAG_enumeration_type"):
                own.append(_number(die, "DW_AT_byte_size") or 1)
            elif die.tag != "DW_TAG_subroutine_type":
                own += [self._alignment(each, depth + 1) for each in [*inner, _type_of(die)]]
            self._alignments[die.offset] = max(own)
        return self._alignments[die.offset]

    def _shape(self, die: Any, depth: int = 0) -> str:
        """What tells a type from others whose bits mean something else."""
        die = self._stripped(die)
        if die is None or depth > _DEPTH:
            return "void"
        if die.offset not in self._shapes:
            shape = self._new_shape(die, depth)
            if depth:
                return shape
            self._shapes[die.offset] = shape
        return self._shapes[die.offset]

    def _new_shape(self, die: Any, depth: int) -> str:
        if die.tag in _POINTERS:
            return "*" + self._shape(_referred(die, "DW_AT_type"), depth + 1)
        if die.tag == "DW_TAG_array_type":
            element = self._shape(_referred(die, "DW_AT_type"), depth + 1)
            return element + "".join(f"[{'' if length is None else length}]" for length in _lengths(die))
        if die.tag in _AGGREGATES:
            return self._name(die) or "{" + ", ".join(
                self._shape(_type_of(child), depth + 1) for child in die.iter_children()
                if child.tag == "DW_TAG_member") + "}"
        if die.tag == "DW_TAG_subroutine_type":
            parameters = [self._shape(_type_of(child), depth + 1) if child.tag == "DW_TAG_formal_parameter" else "..."
                          for child in die.iter_children()
                          if child.tag in ("DW_TAG_formal_parameter", "DW_TAG_unspecified_parameters")]
            return f"{self._shape(_referred(die, 'DW_AT_type'), depth + 1)}({', '.join(parameters)})"
        if die.tag == "DW_TAG_enumeration_type":
            self._used_enumerations.add(die.offset)
        size = _number(die, "DW_AT_byte_size")
        kind = "float" if _number(die, "DW_AT_encoding") in _FLOATS and die.tag == "DW_TAG_base_type" else "int"
        return f"{kind}{size}" if size is not None else _text(die, "DW_AT_name") or die.tag[7:]

    # ----------------------------------------------------------------- uses

    def _edges(self, name: str, die: Any) -> None:
        """Note what a type has within itself, and what it leads to."""
        if name in self._held:
            return
        held = self._held[name] = set()
        led = self._led[name] = set()
        for child in die.iter_children():
            if child.tag in ("DW_TAG_member", "DW_TAG_inheritance") and not _flag(child, "DW_AT_external"):
                self._note(_type_of(child), held, led)
            elif child.tag in ("DW_TAG_template_type_param", "DW_TAG_template_type_parameter"):
                # A container of the C++ library, which has them somewhere.
                self._note(_type_of(child), led, led)

    def _note(self, die: Any, held: set[str], led: set[str], depth: int = 0) -> None:
        die = self._bare(die)
        if die is None or depth > _DEPTH:
            return
        if die.tag in _POINTERS:
            self._note(_referred(die, "DW_AT_type"), led, led, depth + 1)
        elif die.tag == "DW_TAG_subroutine_type":
            self._note(_referred(die, "DW_AT_type"), led, led, depth + 1)
            for child in die.iter_children():
                if child.tag == "DW_TAG_formal_parameter":
                    self._note(_type_of(child), led, led, depth + 1)
        elif die.tag == "DW_TAG_enumeration_type":
            held.add(self._enumeration_name(die))
        elif die.tag in _AGGREGATES:
            name = self._name(die)
            if name:
                held.add(name)
                self._edges(name, die)
                return
            for child in die.iter_children():
                if child.tag in ("DW_TAG_member", "DW_TAG_inheritance"):
                    self._note(_type_of(child), held, led, depth + 1)

    def _within(self, dies: list[Any]) -> set[str]:
        """The types that objects of the types of ``dies`` have within themselves, their own included."""
        held: set[str] = set()
        for die in dies:
            self._note(_type_of(die), held, set())
        return _closure(held, [self._held])

    def _reach(self, dies: list[Any]) -> tuple[set[str], set[str]]:
        """(types that ``dies`` have or point to at once, types that these lead to)."""
        direct: set[str] = set()
        for die in dies:
            self._note(_type_of(die), direct, direct)
        direct = _closure(direct, [self._held])
        return direct, _closure(direct, [self._held, self._led])


def _relocated(file: ObjectFile) -> bytes:
    """The bytes of an object file, with references between sections of debug information filled in.

    Those to code and data are left out, as nobody asks for an address; there pyelftools would meet relocations for
    thread-local variables, which it does not know.
    """
    data = bytearray(file.data)
    for section in file.sections:
        if section.name not in _REFERRING:
            continue
        for relocation in section.relocations:
            symbol = file.symbols[relocation.symbol]
            if relocation.kind in ADDRESSES and symbol.defined and file.sections[symbol.section].name.startswith(
                    ".debug"):
                place = section.offset + relocation.offset
                value = (symbol.value + relocation.addend) % (1 << 8 * relocation.size)
                data[place:place + relocation.size] = value.to_bytes(relocation.size, "little")
    return bytes(data)


def _closure(names: set[str], edges: list[dict[str, set[str]]]) -> set[str]:
    found = set(names)
    work = list(names)
    while work:
        name = work.pop()
        for each in edges:
            more = each.get(name, set()) - found
            found |= more
            work.extend(more)
    return found


# ------------------------------------------------------------- attributes


def _number(die: Any, name: str) -> int | None:
    attribute = die.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, int) else None


def _text(die: Any, name: str) -> str:
    attribute = die.attributes.get(name)
    if attribute is None or not isinstance(attribute.value, bytes):
        return ""
    return printable(attribute.value.decode("utf-8", "replace"))


def _flag(die: Any, name: str) -> bool:
    return bool(_number(die, name))


def _referred(die: Any, name: str) -> Any:
    return die.get_DIE_from_attribute(name) if name in die.attributes else None


def _origins(die: Any) -> Iterator[Any]:
    """``die``, and what it is an instance or the definition of."""
    for _step in range(4):
        if die is None:
            return
        yield die
        die = _referred(die, "DW_AT_abstract_origin") or _referred(die, "DW_AT_specification")


def _declared(die: Any) -> Any:
    """The last of the origins, which has the parameters as they are declared."""
    *_others, last = _origins(die)
    return last


def _type_of(die: Any) -> Any:
    for each in _origins(die):
        if "DW_AT_type" in each.attributes:
            return each.get_DIE_from_attribute("DW_AT_type")
    return None


def _symbol_name(die: Any) -> str:
    name = ""
    for each in _origins(die):
        linkage = _text(each, "DW_AT_linkage_name") or _text(each, "DW_AT_MIPS_linkage_name")
        if linkage:
            return linkage
        name = name or _text(each, "DW_AT_name")
    return name


def _is_constant(die: Any) -> bool:
    while die is not None and (die.tag in _TRANSPARENT or die.tag == "DW_TAG_array_type"):
        if die.tag == "DW_TAG_const_type":
            return True
        die = _referred(die, "DW_AT_type")
    return False


def _is_closure(die: Any) -> bool:
    """Whether a type without a name is that of a lambda expression."""
    return die.tag in _AGGREGATES and "operator()" in (
        _text(child, "DW_AT_name") for child in die.iter_children() if child.tag == "DW_TAG_subprogram")


def _is_static(die: Any) -> bool:
    """Whether a variable has an address of its own, or an offset of thread-local storage."""
    for each in _origins(die):
        location = each.attributes.get("DW_AT_location")
        if location is not None and isinstance(location.value, list):
            value = location.value
            # clang leaves out fields that nobody uses.
            while len(value) > 2 and value[0] == _OP_PIECE:
                value = value[2:]
            return bool(value) and (
                value[0] in (_OP_ADDR, _OP_ADDRX) or value[-1] in (_OP_FORM_TLS_ADDRESS, _OP_GNU_PUSH_TLS_ADDRESS))
    return False


def _local_variables(function: Any) -> Iterator[Any]:
    """Those of a function, and of functions that were inlined into it, but for parameters of its own."""
    for child in function.iter_children():
        if child.tag == "DW_TAG_variable":
            yield child
        elif child.tag in _BLOCKS:
            yield from _local_variables(child)
            if child.tag == "DW_TAG_inlined_subroutine":
                yield from (each for each in child.iter_children() if each.tag == "DW_TAG_formal_parameter")


def _place(member: Any) -> int | str:
    attribute = member.attributes.get("DW_AT_data_member_location")
    if attribute is None:
        return 0
    value = attribute.value
    if isinstance(value, list):
        # Up to version 3: the offset in ULEB128.
        if value and value[0] == _OP_PLUS_UCONST:
            return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(value[1:]))
        return "found by " + " ".join(f"{byte:02x}" for byte in value)
    return int(value)


def _bit_place(member: Any, size: int | None) -> int:
    place = _number(member, "DW_AT_data_bit_offset")
    if place is not None:
        return place
    offset = _place(member)
    base = 8 * offset if isinstance(offset, int) else 0
    # Up to version 3: counted from the most significant bit of a unit of storage.
    old = _number(member, "DW_AT_bit_offset")
    if old is None:
        return base
    storage = _number(member, "DW_AT_byte_size") or size or 4
    return base + 8 * storage - old - (_number(member, "DW_AT_bit_size") or 0)


def _lengths(array: Any) -> list[int | None]:
    lengths: list[int | None] = []
    for child in array.iter_children():
        if child.tag == "DW_TAG_subrange_type":
            upper = _number(child, "DW_AT_upper_bound")
            lengths.append(_number(child, "DW_AT_count") if upper is None else upper + 1)
    return lengths


def _slot(function: Any) -> int | None:
    """The place of a virtual function in the vtable: DW_OP_constu and the number in ULEB128; -1 where none is told."""
    if not _number(function, "DW_AT_virtuality"):
        return None
    attribute = function.attributes.get("DW_AT_vtable_elem_location")
    if attribute is None or not isinstance(attribute.value, list) or len(attribute.value) < 2:
        return -1
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(attribute.value[1:]))
