# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do callers rely on registers that a function leaves alone, although a call may change them?

With ``-fipa-ra`` gcc lets a caller keep values in such registers across a call of a function whose code it has seen.
A replacement that changes one of them would change the caller's values.  So what a replacement changes, and the old
function does not, must not be needed after any call: of the function itself, and of functions that call it.

What cannot be seen: a value that the caller has got as an argument, uses nowhere itself, and hands on behind the call,
as one of the last arguments, to a function of another library.
"""

from __future__ import annotations

from typing import Container, Iterator

from ..arch.disassembly import direct_target, instructions, is_jump, loaded_address, operation
from ..arch.elf_format import R_GLOB_DAT, R_JUMP_SLOT, R_TLSDESC
from ..arch.register_use import (
    ALL,
    ARGUMENTS,
    DESCRIPTOR_REGISTER,
    NUMBERS,
    RESULTS,
    SYSTEM_CALL_CHANGES,
    SYSTEM_CALLS,
    VECTOR_ARGUMENTS,
    Effect,
)
from ..elf.frames import FrameDescriptions
from ..elf.slots import slot_uses
from ..named_tuple import NamedTuple
from .code import Code, Extent

# How many callers up, and how many callees down, anybody looks.
_DEEPEST = 8
_LONGEST_CHAIN = 150
_STUBS = ".plt"
# What a call by a TLS descriptor is called here: it changes no register but its result's, as compilers know.
_DESCRIPTOR = "tlsdesc"
# Functions of other libraries that take no argument, as far as they are common (their manual pages; LSB Core).
_WITHOUT_ARGUMENTS = {
    "__stack_chk_fail", "__chk_fail", "__fortify_fail", "abort", "__errno_location", "__h_errno_location", "getpid",
    "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "pthread_self", "sched_yield", "fork", "vfork",
    "pause", "clock", "rand", "random", "getpagesize", "localeconv", "__ctype_b_loc", "__ctype_tolower_loc",
    "__ctype_toupper_loc", "__ctype_get_mb_cur_max", "__cxa_rethrow", "__cxa_end_catch", "_ZSt9terminatev",
}


class Reliance(NamedTuple):
    """A ``register`` that the code at link-time address ``caller`` needs after a call at ``place``."""

    register: str
    caller: int
    place: int


class _Step(NamedTuple):
    """An instruction of a function, as far as registers go; ``target`` of a direct jump or call."""

    name: str
    effect: Effect
    target: int | None
    following: int


class RegisterUse:
    """What the functions of one file do to registers."""

    def __init__(self, code: Code) -> None:
        """
        :param code: Code.
        """
        self._code = code
        self._frames = FrameDescriptions(code.image)
        self._steps: dict[int, dict[int, _Step]] = {}
        self._changed: dict[tuple[int, bool], frozenset[str]] = {}
        self._needed: dict[int, frozenset[str]] = {}
        self._stubs = [
            (section.address, section.address + section.size)
            for section in code.image.code_sections() if section.name.startswith(_STUBS)]
        imports = code.image.dynamic_symbols()
        self._descriptors = {
            relocation.offset for relocation in code.image.relocations() if relocation.type == R_TLSDESC}
        # {address in a stub: the name of what it leads to}
        self._imports = slot_uses(code.image, {
            relocation.offset: imports[relocation.symbol].name for relocation in code.image.relocations()
            if relocation.type in (R_GLOB_DAT, R_JUMP_SLOT) and relocation.symbol < len(imports)}).stubs

    def changed(self, address: int) -> frozenset[str]:
        """The registers that a call of the function at ``address`` may change: perhaps too many, never too few."""
        return self._changes_of(address, True)

    def kept(self, address: int) -> frozenset[str]:
        """Those that callers that have seen its code may take for unchanged."""
        return ALL - self._changes_of(address, False)

    def reliance(self, address: int, changed: frozenset[str], replaced: Container[int] = ()) -> Reliance | None:
        """A register that somebody relies on after a call that leads to a function, or None.

        :param address: the function's link-time address.
        :param changed: the registers that its replacement changes.
        :param replaced: callers that need not be asked: who calls the replacement is their replacement.
        """
        waiting = [(address, changed & self.kept(address), 0)]
        seen: dict[int, frozenset[str]] = {}
        while waiting:
            callee, risk, depth = waiting.pop(0)
            if not risk or risk <= seen.get(callee, frozenset()):
                continue
            seen[callee] = seen.get(callee, frozenset()) | risk
            for place in self._code.entering(callee):
                caller = self._code.at(place)
                if caller is None or caller.start == callee or caller.start in replaced:
                    continue
                step = self._of(caller).get(place)
                if step is None:
                    continue
                if step.name == "call":
                    needed = sorted(self._needed_behind(caller, place, step, risk))
                    if needed:
                        return Reliance(needed[0], caller.start, place)
                if depth < _DEEPEST:
                    waiting.append((caller.start, risk & self.kept(caller.start), depth + 1))
        return None

    # ------------------------------------------------------------ changes

    def _changes_of(self, address: int, careful: bool) -> frozenset[str]:
        key = (address, careful)
        if key not in self._changed:
            self._changed[key] = self._changes(address, careful, {}, 0)
        return self._changed[key]

    def _changes(
        self, address: int, careful: bool, known: dict[int, frozenset[str]], depth: int,
    ) -> frozenset[str]:
        """As changed(); not ``careful``: what is not known counts as unchanged, but for calls of other files.

        :param known: dict that takes what was found of functions on the way.
        """
        if address in known:
            return known[address]
        if self._is_stub(address):
            return ALL
        extent = self._code.at(address)
        if extent is None or extent.start != address or depth > _LONGEST_CHAIN:
            return ALL if careful else frozenset()
        # Of a function that calls itself, what else it does.
        known[address] = frozenset()
        parts = self._code.parts(extent)
        found: frozenset[str] = frozenset()
        for part in parts:
            for step in self._of(part).values():
                found |= self._changes_by(step, part, parts, careful, known, depth)
                if found == ALL:
                    break
        if careful and not all(map(self._of, parts)):
            found = ALL
        known[address] = found - self._saved(extent)
        return known[address]

    def _changes_by(
        self, step: _Step, part: Extent, parts: list[Extent], careful: bool, known: dict[int, frozenset[str]],
        depth: int,
    ) -> frozenset[str]:
        """The registers that one instruction may change, with all that it calls."""
        if step.name in SYSTEM_CALLS:
            return step.effect.changes | SYSTEM_CALL_CHANGES
        if step.target is not None:
            if any(each.start <= step.target < each.end for each in parts):
                return step.effect.changes
            return step.effect.changes | self._changes(step.target, careful, known, depth + 1)
        if step.name == "call" or (careful and is_jump(step.name) and not self._code.table_targets(part)):
            return ALL
        return step.effect.changes

    def _saved(self, extent: Extent) -> frozenset[str]:
        """The registers that a function saves and restores, as its unwind information says."""
        saved: set[str] = set()
        for address in self._of(extent):
            frame = self._frames.at(address)
            if frame is not None:
                saved.update(NUMBERS[number] for number in frame.saved if number in NUMBERS)
        return frozenset(saved)

    # ------------------------------------------------------------- needs

    def _needed_behind(self, caller: Extent, place: int, step: _Step, risk: frozenset[str]) -> frozenset[str]:
        """Those of ``risk`` whose value from before the call at ``place`` is used behind it."""
        given = self._given(caller, place) | self._needs(caller.start, 0)
        return self._walk(caller, step.following, 0, given, risk) & risk

    def _needs(self, address: int, depth: int) -> frozenset[str]:
        """The registers that a function reads before it sets them: its arguments."""
        if address in self._needed:
            return self._needed[address]
        extent = self._code.at(address)
        if extent is None or extent.start != address or depth > _DEEPEST:
            return frozenset(ARGUMENTS)
        self._needed[address] = frozenset()
        self._needed[address] = self._walk(extent, address, depth + 1, frozenset(), ALL)
        return self._needed[address]

    def _walk(
        self, extent: Extent, start: int, depth: int, given: frozenset[str], wanted: frozenset[str],
    ) -> frozenset[str]:
        """The registers that are read from ``start`` on before they are set, on any way through a function.

        :param given: those that a call of another file may get as its last arguments.
        :param wanted: of no other ones anybody asks.
        """
        parts = self._code.parts(extent)
        steps = {address: step for part in parts for address, step in self._of(part).items()}
        found: frozenset[str] = frozenset()
        seen: dict[int, frozenset[str]] = {}
        waiting = [(start, ALL)]
        while waiting:
            address, pending = waiting.pop()
            while pending & wanted:
                before = seen.get(address, frozenset())
                step = steps.get(address)
                if step is None or pending <= before:
                    break
                seen[address] = before | pending
                found |= step.effect.reads & pending
                pending -= step.effect.sets
                inside = step.target is not None and any(part.start <= step.target < part.end for part in parts)
                if step.name == "call" or (is_jump(step.name) and not inside and not self._stays(step, extent)):
                    found |= self._passed(step, pending, given, depth)
                if step.name == "call":
                    pending = pending & self.kept(step.target) if step.target is not None else frozenset()
                if step.name.startswith("ret"):
                    found |= pending & RESULTS & given
                    break
                if is_jump(step.name):
                    waiting.extend((target, pending) for target in self._targets(step, inside, extent))
                    if step.name == "jmp":
                        break
                address = step.following
        return found

    def _passed(self, step: _Step, pending: frozenset[str], given: frozenset[str], depth: int) -> frozenset[str]:
        """The registers that a call, or a jump to another function, hands over as they are."""
        if step.target is not None and not self._is_stub(step.target):
            return self._needs(step.target, depth) & pending
        if step.target is not None and self._imports.get(step.target) in _WITHOUT_ARGUMENTS:
            return frozenset()
        vectors = pending & given & frozenset(VECTOR_ARGUMENTS)
        ordered = [register for register in ARGUMENTS if register not in pending]
        if not ordered:
            return vectors | (pending & {ARGUMENTS[0]}) | (pending & given & frozenset(ARGUMENTS))
        # Arguments are given in order: who sets the second one needs the first.
        last = ARGUMENTS.index(ordered[-1])
        return vectors | (pending & frozenset(ARGUMENTS[:last])) | (pending & given & frozenset(ARGUMENTS[last:]))

    def _given(self, caller: Extent, place: int) -> frozenset[str]:
        """The registers that a function has set for later when it comes to the call at ``place``.

        In the order of its code, and without those that it has read since: these have served.
        """
        found: frozenset[str] = frozenset()
        for address, step in self._of(caller).items():
            if address >= place:
                break
            if step.name == "call":
                found &= self.kept(step.target) if step.target is not None else frozenset()
            found = found - step.effect.reads | step.effect.changes
        return found

    # -------------------------------------------------------------- code

    def _of(self, extent: Extent) -> dict[int, _Step]:
        """The instructions of an Extent, by address, ascending."""
        if extent.start not in self._steps:
            self._steps[extent.start] = dict(self._decoded(extent))
        return self._steps[extent.start]

    def _decoded(self, extent: Extent) -> Iterator[tuple[int, _Step]]:
        described = False
        for instruction in instructions(*self._code.read(extent)):
            following = instruction.address + instruction.size
            name = operation(instruction.mnemonic)
            target = direct_target(instruction.op_str) if name == "call" or is_jump(name) else None
            effect = Effect(instruction)
            if name == "call" and described and target is None:
                name = _DESCRIPTOR
                effect.changes |= {DESCRIPTOR_REGISTER}
                effect.sets |= {DESCRIPTOR_REGISTER}
            if DESCRIPTOR_REGISTER in effect.changes:
                described = loaded_address(instruction.mnemonic, instruction.op_str, following) in self._descriptors
            yield instruction.address, _Step(name, effect, target, following)

    def _is_stub(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._stubs)

    def _stays(self, step: _Step, extent: Extent) -> bool:
        """Whether a jump that is computed is that of a switch."""
        return step.target is None and bool(self._code.table_targets(extent))

    def _targets(self, step: _Step, inside: bool, extent: Extent) -> list[int]:
        """Where in the function a jump may lead."""
        if step.target is None:
            return sorted(self._code.table_targets(extent))
        return [step.target] if inside else []
