# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the code that is to be hooked in a process the code that its file has?

Where a probe or a debugger has a breakpoint, a hook would take its place, and whoever takes the breakpoint off would
undo the hook.  The runtime makes sure of that, too, but it can't name the function.
"""

from __future__ import annotations

from ..abi import PAD_BEFORE, PAD_ENTRY
from ..errors import UlpError
from ..process.hooks import difference, hooks_of
from ..process.memory import read_present
from .undone import describe


def require_untouched(subject, resolved, sites):
    """Make sure that nobody else has changed the code at the entries that are to be hooked.

    Those that are hooked already are another matter; see undone.undoing().

    :param subject: process.subject.Subject.
    :param resolved: request.ResolvedLibrary.
    :param sites: what request.sites() gave.
    :raises UlpError: somebody has.
    """
    base = resolved.library.base
    known = {
        hook.function
        for library in subject.state.libraries if library.base == base
        for hook in hooks_of(subject.via, subject.state, library)
    }
    by_address = {function.address: function for function in resolved.functions}
    wanted = [by_address[address] for address, _flags in sites if base + address not in known]
    memory = read_present(
        subject.via, [(base + function.address - PAD_BEFORE, _size(function)) for function in wanted]
    )
    for function, code in zip(wanted, memory):
        found = difference(code, resolved.image.read(function.address - PAD_BEFORE, _size(function)))
        if found is not None:
            raise UlpError(
                f"process {subject.pid} ({subject.name}): function {function.label} of {resolved.library.name} cannot"
                f" be hooked, {describe(found)}; remove that, then apply the livepatch again"
            )


def _size(function):
    return PAD_BEFORE + function.entry - function.address + PAD_ENTRY
