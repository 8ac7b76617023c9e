# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same for every process that a livepatch is applied to, reverted in or looked for."""

from __future__ import annotations

from ..livepatch.livepatch import Livepatch
from ..named_tuple import NamedTuple
from ..process.mapped import MappedFiles
from .options import Options
from .source import Source


class Job(NamedTuple):
    """A livepatch, what was read of the libraries that it is for, and how hard to try."""

    source: Source
    files: MappedFiles
    options: Options
    companions: tuple[Livepatch, ...] = ()  # the other livepatches of the same run
    # Patch IDs: what would have been applied to the process by then, or reverted, if this were no dry run.
    presumed: frozenset[str] = frozenset()

    @property
    def livepatch(self):
        """The livepatch itself, a livepatch.livepatch.Livepatch."""
        return self.source.livepatch

    @property
    def all_targets(self):
        """The livepatch.target.Target of all livepatches of the run, this one's first."""
        return [target for livepatch in (self.livepatch, *self.companions) for target in livepatch.targets]

    @property
    def resolute(self):
        """The same with Options.resolute."""
        return self._replace(options=self.options.resolute)

    def patch_in(self, subject):
        """What the runtime of a process (process.subject.Subject) knows of the livepatch: LoadedPatch, or None.

        Where the process has loaded the target several times, that is for the copy that this Job is about.
        """
        return self.source.patch_in(subject)
