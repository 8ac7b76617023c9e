# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a process still have the code of its file where it is to be hooked?

Where a probe or a debugger has a breakpoint, a hook would take its place, and whoever takes the breakpoint off would
undo the hook.  The runtime makes sure of that, too, but it can't name the function.
"""

from __future__ import annotations

import time

from ...abi import PAD_BEFORE, PAD_ENTRY, STATE
from ...errors import UlpError
from ...process.hooks import difference, hooks_of
from ...process.memory import read_memory, read_present
from ..resolution.stock import stock_functions
from .progress import renewed
from .undone import describe

_PAUSE = 0.002  # seconds


def require_untouched(subject, resolved, sites, timeout):
    """Make sure that nobody else has changed the code at the entries that we will hook.

    Those that are hooked already are another matter; see undone.undoing().  A request of somebody else's may be under
    way, as of a tool that was killed: the runtime is hooking them just then.  That is waited for.

    A generator, as trigger.drive wants it.

    :param subject: process.subject.Subject.
    :param resolved: request.ResolvedLibrary.
    :param sites: what request.sites() gave.
    :param timeout: seconds to wait for such a request.
    :raises UlpError: somebody has.
    """
    deadline = time.monotonic() + timeout
    # Whether it was when the state was read; that of an examination is old.
    was_busy = True
    while True:
        found = _difference(subject, resolved, sites)
        if found is None:
            return
        if time.monotonic() > deadline or not (was_busy or _is_busy(subject)):
            break
        was_busy = _is_busy(subject)
        if was_busy:
            yield _PAUSE
        # What has been hooked until now is in there.
        subject = yield from renewed(subject)
    function, what = found
    raise UlpError(
        f"process {subject.pid} ({subject.name}): function {function.label} of {resolved.library.name} cannot"
        f" be hooked, {describe(what)}; remove that, then apply the livepatch again"
    )


def _is_busy(subject):
    """Whether the runtime carries out a request."""
    return any(read_memory(subject.proc_tid, subject.state.address + STATE.offsets["owner"], 4))


def _difference(subject, resolved, sites):
    """(PatchableFunction, hooks.Difference) of the first entry that is neither hooked nor as in the file, or None."""
    base = resolved.library.base
    if not subject.state.interface.shows_hooks and any(hooked.base == base for hooked in subject.state.libraries):
        # Which functions are hooked only the runtime knows, and it looks at their code itself.
        return None
    known = {
        hook.function
        for library in subject.state.libraries if library.base == base
        for hook in hooks_of(subject.proc_tid, subject.state, library) if hook.relied
    }
    if resolved.puns is not None:
        return _difference_of_stock(subject, resolved, known)
    by_address = {function.address: function for function in resolved.functions}
    wanted = [by_address[address] for address, _flags in sites if base + address not in known]
    memory = read_present(
        subject.proc_tid, [(base + function.address - PAD_BEFORE, _size(function)) for function in wanted]
    )
    for function, code in zip(wanted, memory):
        found = difference(code, resolved.image.read(function.address - PAD_BEFORE, _size(function)))
        if found is not None:
            return function, found
    return None


def _difference_of_stock(subject, resolved, known):
    """The same of functions without padding, all bytes of each: those that are hooked need their code, too."""
    by_address = {function.address: function for function in resolved.functions}
    base = resolved.library.base
    wanted = [each for each in stock_functions(resolved.target) if base + each.address not in known]
    memory = read_present(subject.proc_tid, [(base + each.address, each.size) for each in wanted])
    for each, code in zip(wanted, memory):
        found = difference(code, resolved.image.read(each.address, each.size))
        if found is not None:
            return by_address[each.address], found
    return None


def _size(function):
    return PAD_BEFORE + function.entry - function.address + PAD_ENTRY
