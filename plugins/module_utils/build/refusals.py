# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can't be live-patched, and why.

Each refusal has a kind, a name, and a reason.  An author who knows better may allow it by the name; then it stands in
the metadata of the livepatch.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Iterable

from ..named_tuple import NamedTuple

LAYOUT = "layout"
SIGNATURE = "signature"
INITIAL_VALUE = "initial value"
THREAD_LOCAL = "thread-local variable"
CONSTANT = "constant"
IFUNC = "indirect function"
CONSTRUCTOR = "constructor"
ASSEMBLY = "assembly"
UNRECORDED = "unrecorded object"
GONE = "vanished function"
RENAMED = "renamed variable"
ALIAS = "alias"
RUNS_ONCE = "runs once"
REFERENCE = "reference"
AMBIGUOUS = "ambiguous name"
LTO = "link-time optimisation"
HOOK = "hook"
TRIAL = "trial process"
NEEDED = "needed library"
MISMATCH = "running library"
STRIPPED = "stripped"
NOTHING = "no change"

# Nothing can be made where they are met, whatever the author knows; of another build than the one that was compared,
# no address would be right; and what no process takes is of no use.
_FINAL = (REFERENCE, LTO, NEEDED, MISMATCH, STRIPPED, NOTHING, TRIAL)


class Refusal(NamedTuple):
    """One reason not to build; ``what`` is what to say of ``name``, a sentence that begins with the name."""

    kind: str
    name: str
    what: str

    @property
    def can_be_allowed(self) -> bool:
        """Whether an author may go on in spite of it."""
        return self.kind not in _FINAL


class Refusals:
    """The refusals met so far: ``refused``, and those that were ``allowed``."""

    def __init__(self, allow: Iterable[str]) -> None:
        """
        :param allow: names, or patterns as for fnmatch(3); either may begin with the kind and a colon.
        """
        self.patterns = list(allow)
        self.refused: list[Refusal] = []
        self.allowed: list[Refusal] = []

    def add(self, kind: str, name: str, what: str) -> bool:
        """Note a refusal; whether it is allowed."""
        refusal = Refusal(kind, name, what)
        allowed = refusal.can_be_allowed and any(_matches(refusal, pattern) for pattern in self.patterns)
        found = self.allowed if allowed else self.refused
        if refusal not in found:
            found.append(refusal)
        return allowed

    @property
    def unused(self) -> list[str]:
        """The patterns that allowed nothing."""
        return [pattern for pattern in self.patterns
                if not any(_matches(refusal, pattern) for refusal in self.allowed)]


def _matches(refusal: Refusal, pattern: str) -> bool:
    # Names of templates have brackets in them, so a name is itself before it is a pattern.
    return any(pattern == text or fnmatchcase(text, pattern) for text in (
        refusal.name, f"{refusal.kind}:{refusal.name}", f"{refusal.kind.replace(' ', '-')}:{refusal.name}"))
