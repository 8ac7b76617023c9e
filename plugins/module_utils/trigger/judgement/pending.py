# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of threads that do not have the livepatch yet: what they wait for, and whether that will ever come."""

from __future__ import annotations

from ...counted import counted
from ...elf.ranges import joined
from ...errors import UlpError
from ...process.maps import is_loader, mapping_at, read_code_maps
from ...process.procfs import read_system_call
from ...process.unwinder import unwind_as_far_as_told
from ...process.words import lies_in

# How many to look at: their frames are read one by one.
MOST_LOOKED_AT = 64
_C_LIBRARY = "libc.so.6"
# Its function that starts a std::thread stands between the C library's and what that is for.
_CPLUSPLUS_LIBRARY = "/libstdc++.so."


def about_pending(subject, found, patch, files):
    """A sentence, without a full stop.

    :param subject: process.subject.Subject.
    :param found: process.migration.Migration, with threads that are pending.
    :param patch: process.runtime.LoadedPatch, of that process.
    :param files: process.mapped.MappedFiles.
    """
    change = "livepatch" if patch.applied else "revert"
    who = f"{len(found.pending)} of {counted(found.threads, 'thread')} of process {subject.pid} ({subject.name})"
    if found.unsettled:
        again = "apply the livepatch again" if patch.applied else "revert it again"
        return f"{who} may not take the {change} on the next entry, although outside the library; {again}"
    if len(found.running) == len(found.pending):
        return (
            f"{who} kept running whenever we looked, so nobody can tell whether they are inside the library; they"
            f" take the {change} when they next enter it from outside"
        )
    said = f"{who} may still be inside the library; they take the {change} when they have left it and enter it again"
    if found.running:
        said += f"; {len(found.running)} of them kept running whenever we looked"
    held, untold, born = _looked_at(subject, found, patch, files)
    if untold:
        said += (
            f"; the frames of {untold} of them cannot all be told, as those of code compiled at run time, so a word"
            " that an earlier call left on the stack may count: check again while the program works, and restart the"
            " process if they stay"
        )
    if held:
        said += (
            f"; {held} of them will never take it while the call lasts in which the library has called the program"
            " back, as a main loop or start code does; restart the process unless that call ends"
        )
    if born:
        said += (
            f"; {born} of them began in the library, as its own threads do, and will never take it, for they leave it"
            " only when they end; restart the process unless they do"
        )
    return said


def _looked_at(subject, found, patch, files):
    """How many of the pending threads the library has called back: the caller's code is also farther in.

    And of how many it cannot be told whether they are inside; and how many began there.
    """
    ranges = [extent for library in subject.state.libraries if library.domain == patch.domain
              for extent in library.inside]
    ranges += [(each.text_start, each.text_end) for each in subject.state.patches if each.domain == patch.domain]
    inside = tuple(joined(ranges))
    held = untold = born = 0
    for tid in found.pending[:MOST_LOOKED_AT]:
        try:
            where = read_system_call(subject.pid, tid)
            if where is None:
                continue
            mappings = read_code_maps(subject.proc_tid)
            told = unwind_as_far_as_told(subject.proc_tid, where, files, mappings)
        except UlpError:
            # It has ended, or is not to be seen: what is known is said.
            continue
        if told.untold is None:
            held += _is_between(told.frames, inside, mappings)
            born += _began_in(told.frames, inside, mappings)
        elif not any(lies_in(address, inside) for address in told.frames):
            untold += 1
    return held, untold, born


def _place(address, mappings):
    """The path of the file whose code lies there; None for the loader, the C library, and what belongs to no file."""
    mapping = mapping_at(mappings, address)
    if mapping is None or not mapping.inode or is_loader(mapping) or mapping.path.endswith(_C_LIBRARY):
        return None
    return mapping.path


def _began_in(frames, inside, mappings):
    """Whether the outermost of a thread's frames is the library's, but for those that start each thread."""
    for address in reversed(frames):
        if lies_in(address, inside):
            return True
        place = _place(address, mappings)
        if place is not None and _CPLUSPLUS_LIBRARY not in place:
            return False
    return False


def _is_between(frames, inside, mappings):
    """Whether code of one file, not the C library's, is both farther in and farther out than the library's frames."""
    library = [
        index for index, address in enumerate(frames) if lies_in(address, inside)
    ]
    if not library:
        return False
    farther_in = {_place(address, mappings) for address in frames[:library[0]]}
    farther_out = {_place(address, mappings) for address in frames[library[0] + 1:]}
    return bool((farther_in & farther_out) - {None})
