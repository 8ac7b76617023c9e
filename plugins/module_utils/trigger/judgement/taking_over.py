# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that an earlier livepatch has brought into a process: a later one that has them as well goes on with them.

A livepatch stays loaded after it was reverted, and threads may still be in its functions, so its variables are there
for as long as the process.  Whichever livepatch brought one first, all share it.
"""

from __future__ import annotations

import re
import struct

from ...elf.symbols import Symbol
from ...errors import UlpError
from ...livepatch.binding import ADDRESS, Binding
from ...livepatch.new_data import ANEW, WORD_SIZE, NewVariable
from ...livepatch.reference import FILE_SEPARATOR, places
from ...livepatch.target import Target
from ...named_tuple import NamedTuple
from ...process.maps import mapping_at
from ...process.memory import read_memory
from ...process.runtime import LoadedPatch
from .neighbours import livepatch_of

_SIGNED = struct.Struct("<q")
_UNSIGNED = struct.Struct("<Q")
_SCOPE = "::"


class TakenOver(NamedTuple):
    """The targets of a livepatch with what else the runtime has to fill in, and what a row says of it, or ""."""

    libraries: list
    reason: str


class _Earlier(NamedTuple):
    """An earlier livepatch of the process, as far as it is for one target."""

    patch: LoadedPatch
    base: int  # load bias of its patch library
    target: Target
    symbols: list[Symbol]  # of one that does not tell which variables it brought; else empty
    image: object  # elf.image.ElfImage


def taken_over(job, subject, libraries):
    """Lead the new variables of the livepatch to those of earlier ones.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param libraries: list of request.ResolvedLibrary.
    :return: TakenOver.
    :raises UlpError: the process has a variable of that name that it cannot go on with, or nobody can tell.
    """
    # Once it was loaded its words lead where they lead: threads may still be in its functions.
    if job.patch_in(subject) is not None:
        return TakenOver(libraries, "")
    found = []
    shared = {}
    for library in libraries:
        wanted = [variable for variable in library.target.variables if variable.start != ANEW]
        earlier = list(_earlier(job, subject, library)) if wanted else []
        bindings = list(library.target.bindings)
        for variable in wanted:
            for each in earlier:
                theirs = _theirs(job, subject, each, variable)
                if theirs is None:
                    continue
                _require_alike(job, subject, each, variable, theirs)
                address = _address(subject, each, theirs)
                bindings.extend(_bindings(variable, address - library.library.base))
                shared.setdefault(each.patch.name, []).append(variable.name)
                break
        bindings.sort(key=lambda binding: binding.slot)
        found.append(library._replace(target=library.target._replace(bindings=tuple(bindings))))
    return TakenOver(found, "; ".join(
        f"goes on with {' and '.join(names)} of {name}" for name, names in shared.items()))


def _earlier(job, subject, library):
    """The _Earlier for a library: first those that are applied, then those that were reverted, the newest first."""
    target = library.target
    # All that this copy of the library was ever patched by is of one domain; another copy has variables of its own.
    domains = {hooked.domain for hooked in subject.state.libraries if hooked.base == library.library.base}
    known = [patch for patch in subject.state.patches if patch.domain in domains]
    for patch in sorted(known, key=lambda patch: (patch.applied, patch.universe), reverse=True):
        other = livepatch_of(subject, patch)
        if other is None:
            raise UlpError(
                f"{job.livepatch.path} brings variables along, and nobody can tell whether the livepatch {patch.name}"
                f" has brought them into process {subject.pid} ({subject.name}) before: it is not mapped any more where"
                " it was loaded; restart the process")
        for theirs in other.targets:
            if theirs.build_id == target.build_id:
                mapping = mapping_at(subject.mappings, patch.text_start)
                image = job.files.image(subject.proc_tid, mapping)
                yield _Earlier(patch, patch.text_start - other.image_text[0], theirs,
                               [] if theirs.variables else image.symbols(), image)


def _theirs(job, subject, earlier, variable):
    """The NewVariable of an earlier livepatch that has the name of ``variable``, or None."""
    told = earlier.target.variables
    found = [each for each in told if each.name == variable.name] or [
        each for each in told if _may_be_the_same(each, variable)]
    if found:
        return found[0]
    # One that does not tell of its variables: an older tool has made it, or ulp pack.
    file, _separator, name = variable.name.rpartition(FILE_SEPARATOR)
    plain = name.rpartition(_SCOPE)[2]
    spelling = re.compile(rf"(?:\w+\.)?{re.escape(plain)}(?:\.\d+)?")
    named = {
        place.symbol.value: place.symbol for place in places(earlier.symbols)
        if place.file == file and place.symbol.type in ("STT_OBJECT", "STT_TLS")
        and spelling.fullmatch(place.symbol.name)
        and (place.symbol.type == "STT_TLS" or earlier.image.is_writable_range(place.symbol.value, place.symbol.size))
    }
    if not named:
        return None
    symbol = next(iter(named.values()))
    obstacle = "several variables have that name" if len(named) > 1 else (
        "it is thread-local" if symbol.type == "STT_TLS" else "")
    return NewVariable(variable.name, symbol.value, symbol.size, "", (), obstacle)


def _may_be_the_same(one, other):
    """Whether they have one name but for that of their function, which one of them lacks as nobody could tell it."""
    return any(
        unclear.obstacle and unclear.name == _without_function(unclear.name) == _without_function(known.name)
        for unclear, known in ((one, other), (other, one)))


def _without_function(name):
    file, separator, inner = name.rpartition(FILE_SEPARATOR)
    return file + separator + inner.rpartition(_SCOPE)[2]


def _require_alike(job, subject, earlier, variable, theirs):
    obstacle = theirs.obstacle or variable.obstacle
    if not obstacle and theirs.size != variable.size:
        obstacle = f"it has {theirs.size} bytes there, and {variable.size} here"
    if not obstacle and theirs.type and variable.type and theirs.type != variable.type:
        obstacle = "it is of another type there, or of a source file in another directory"
    if obstacle:
        raise UlpError(
            f"{job.livepatch.path} brings the variable {variable.name} along, which process {subject.pid}"
            f" ({subject.name}) has from the livepatch {earlier.patch.name} already, and cannot go on with that one:"
            f" {obstacle}; give it another name, or build the livepatch with --anew {variable.name}, so that it starts"
            " anew")


def _address(subject, earlier, theirs):
    """Where the variable that an earlier livepatch uses lies: its own one, or that of a still earlier one."""
    if not theirs.words:
        address = earlier.base + theirs.address
    else:
        word = theirs.words[0]
        value, = _UNSIGNED.unpack(read_memory(subject.proc_tid, earlier.base + word.slot, WORD_SIZE))
        address = value - word.addend
    # What a process says of itself may be nonsense.
    for byte in (address, address + theirs.size - 1):
        read_memory(subject.proc_tid, byte, 1)
    return address


def _bindings(variable, distance):
    """What makes the words of a variable lead to one that lies ``distance`` bytes from the target's load bias."""
    for word in variable.words:
        addend, = _SIGNED.unpack(_UNSIGNED.pack((distance + word.addend) % (1 << 64)))
        yield Binding(word.slot, ADDRESS, variable.name, addend=addend)
