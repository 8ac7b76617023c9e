# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the bootstrap code away again, once nobody can be in it."""

from __future__ import annotations

import contextlib
import os
import time

from ... import abi
from ...errors import UlpError
from ...process.errors import ProcessGone
from ...process.maps import mapping_at, read_maps
from ...process.memory import read_memory
from ...process.procfs import ENDED_STATES, PF_EXITING, read_stat, read_system_call, thread_ids
from ...process.safe_point import STACK_LIMIT
from ...process.words import lies_in, words_in
from ...tracee.errors import ThreadRefused
from ...tracee.glance import glance
from .layout import read_words

# So long, in seconds, threads may take to come out of it, and a running one to block.
_SECONDS = 1.0
_PATIENCE = 0.05
_PAUSE = 0.002
# More threads than these are not looked at.
_MOST_THREADS = 4096


def clear(subject, place, memory):
    """Zero the bootstrap code, unless a thread may be in it; a generator, as trigger.drive wants it.

    Every thread that there is must have been seen outside: where it executes, and by the words of its stack.  So must
    those that came meanwhile, for one that was inside may have started the worker before it left; the worker starts
    none in there.  The handlers of fork(2) are registered no longer by then, so that none comes back; where they may
    be, it is left.

    :param subject: process.subject.Subject.
    :param place: tracee.bootstrap.Place.
    :param memory: descriptor of /proc/PID/mem.
    :return: whether it was.
    """
    started = time.monotonic()
    ranges = ((place.address, place.address + len(place.code)),)
    known = set(thread_ids(subject.pid))
    inside = set(known)
    latecomers = None
    if len(inside) > _MOST_THREADS or is_called_at_fork(subject, place):
        return False
    while inside:
        patient = time.monotonic() - started < _PATIENCE
        mappings = read_maps(subject.proc_tid)
        for tid in sorted(inside):
            if _is_outside(subject.pid, tid, ranges, mappings, patient) or _has_ended(subject.pid, tid):
                inside.remove(tid)
            if not patient:
                # It may have taken long to stop; meanwhile other processes have their turn.
                yield 0
        if not inside and latecomers is None:
            inside = latecomers = set(thread_ids(subject.pid)) - known
            continue
        if inside and time.monotonic() - started > _SECONDS:
            return False
        if inside:
            yield _PAUSE
    with contextlib.suppress(OSError):
        # The head last: by that the next one knows what lies there, if we are ended in between.
        head, rest = abi.BOOTSTRAP.size, len(place.code) - abi.BOOTSTRAP.size
        return (
            os.pwrite(memory, bytes(rest), place.address + head) == rest
            and os.pwrite(memory, bytes(head), place.address) == head
        )
    return False


def is_called_at_fork(subject, place):
    """Whether the process was forked while the code was loading the runtime, so that its own forks may lead there.

    :param place: tracee.bootstrap.Place.
    """
    words = read_words(subject.proc_tid, abi.BOOTSTRAP.unpack(place.code[:abi.BOOTSTRAP.size]).words)
    if words.descriptor == abi.BOOTSTRAP_FORKED:
        return True
    return words.worker != 0 and words.claim >> 32 != subject.identity.start_ticks & 0xFFFFFFFF


def _is_outside(pid, tid, ranges, mappings, patient):
    try:
        where = read_system_call(pid, tid)
        if where is not None:
            pointer, instruction = where.stack_pointer, where.instruction_pointer
            stack = _stack(pid, pointer, mappings)
            if read_system_call(pid, tid) != where:
                return False
        elif patient:
            # Most will block in a moment.
            return False
        else:
            pointer, instruction, stack = glance(pid, tid, mappings)
    except ProcessGone:
        return True
    except (ThreadRefused, UlpError):
        return False
    return stack is not None and not lies_in(instruction, ranges) and not any(words_in(stack, ranges))


def _has_ended(pid, tid):
    """Whether thread ``tid`` executes nothing of the program any more: a main thread may end before the others do."""
    try:
        stat = read_stat(pid, tid)
    except ProcessGone:
        return True
    return stat.state in ENDED_STATES or bool(stat.flags & PF_EXITING)


def _stack(pid, pointer, mappings):
    mapping = mapping_at(mappings, pointer)
    if mapping is None or mapping.end - pointer > STACK_LIMIT:
        return None
    aligned = -pointer % 8
    return read_memory(pid, pointer + aligned, mapping.end - pointer - aligned)
