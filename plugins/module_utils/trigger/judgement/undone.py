# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks that somebody else has undone: which functions, and what to do about it, in words."""

from __future__ import annotations

from ...errors import MissingDependency, UlpError
from ...named_tuple import NamedTuple
from ...process.hooks import BREAKPOINT, ORIGINAL, UNMAPPED, undone_hooks
from ..outcome import BREAKPOINT_SET, BREAKPOINTS_SET, PROBES

# How many functions one sentence names.
_NAMED = 3
# Of one function, and of several.
_FOUND = {
    BREAKPOINT: (BREAKPOINT_SET, BREAKPOINTS_SET),
    ORIGINAL: (
        f"its old code is back, as it is when {PROBES} has taken a breakpoint off its entry, or the program has"
        " restored its code",
        f"their old code is back, as it is when {PROBES} has taken breakpoints off their entries, or the program has"
        " restored its code",
    ),
    UNMAPPED: (
        "the memory of its entry cannot be read any more",
        "the memory of their entries cannot be read any more",
    ),
}
_CHANGED = "something else has changed the code at its entry", "something else has changed the code at their entries"


class Undoing(NamedTuple):
    """What is wrong with the hooks of a domain, and whether it can be put right."""

    functions: tuple[str, ...]  # those of which ``found`` is true, each as "f of lib.so.1"
    found: str  # what keeps them from being put right, or what will be; see process.hooks
    repairable: bool  # an apply puts all hooks back

    @property
    def who(self):
        """The functions, in words."""
        more = len(self.functions) - _NAMED
        named = " and ".join(self.functions[:_NAMED])
        kind = "function" if len(self.functions) == 1 else "functions"
        return f"{kind} {named}" + (f" and {more} more" if more > 0 else "")

    @property
    def reason(self):
        """What has happened, in words."""
        are = "is not as we left it" if len(self.functions) == 1 else "are not as we left them"
        return f"{self.who} {are}: {describe(self.found, len(self.functions))}"

    @property
    def repaired(self):
        """What has been done about it, in words."""
        was, its = ("was", "its hook") if len(self.functions) == 1 else ("were", "their hooks")
        return f"{self.who} {was} hooked again; most likely {PROBES} had undone {its}"

    @property
    def remedy(self):
        """What to do about it, in words."""
        if self.repairable:
            return "apply the livepatch again"
        if self.found == BREAKPOINT:
            return "remove that, then apply the livepatch again"
        return "restart the process"


def describe(found, functions=1):
    """What was found at the entries of so many functions (see process.hooks), in words."""
    return _FOUND.get(found, _CHANGED)[functions != 1]


def undoing(subject, domain, files):
    """What is wrong with the hooks of a domain of a process: an Undoing, or None where nothing is.

    :param subject: process.subject.Subject.
    :param domain: index of the domain.
    :param files: process.mapped.MappedFiles.
    :raises: as process.hooks.undone_hooks().
    """
    found = undone_hooks(subject.proc_tid, subject.state, domain)
    if not found:
        return None
    # What can't be put right is told; of that, what somebody can do something about.
    worst = [undone for undone in found if not undone.repairable] or found
    kind = BREAKPOINT if any(undone.found == BREAKPOINT for undone in worst) else worst[0].found
    shown = [undone for undone in worst if undone.found == kind]
    names = _names(subject, {undone.library.base for undone in shown}, files)
    return Undoing(
        tuple(
            f"{names.get(undone.function, f'at {undone.function - undone.library.base:#x}')} of {undone.library.name}"
            for undone in shown
        ),
        kind,
        all(undone.repairable for undone in found),
    )


def _names(subject, bases, files):
    """{absolute address: name} of the functions of the libraries with these load biases, as far as they can be read."""
    names = {}
    for library in files.libraries(subject.proc_tid, subject.mappings):
        if library.base not in bases:
            continue
        try:
            for function in files.functions(subject.proc_tid, library.mapping):
                if function.names:
                    names[library.base + function.address] = function.names[0]
            # In a library without padding there are none.
            for symbol in files.image(subject.proc_tid, library.mapping).dynamic_symbols():
                if symbol.defined:
                    names.setdefault(library.base + symbol.value, symbol.name)
        except MissingDependency:
            raise
        except UlpError:
            # The file was damaged after it was mapped; the functions go by their addresses.
            continue
    return names
