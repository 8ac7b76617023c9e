# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guard for what is reverted by the name of the library, and not of a livepatch."""

from __future__ import annotations

from ..livepatch.livepatch import Livepatch
from ..trigger.operations.revert_all import RevertAll
from .hold import read_hold
from .policy import held


class AllOf:
    """As policy.Guard, for reverting all livepatches of a library: only hold rules keep anybody from that."""

    applies = stopped = retracted = False
    contents = signer = None
    # What has no runtime has nothing to revert: nobody attaches.
    forbids_attaching = record_attaching = None

    def __init__(self, soname, policy):
        """
        :param soname: the library's name.
        :param policy: policy.Policy.
        :raises UlpError: a file of the policy is malformed.
        """
        self._rules = policy.exclude + read_hold(policy.hold_file)
        self._soname = soname
        # What the ledger says.
        self.livepatch = Livepatch(f"all of {soname}", 0, "", "", [], [], {}, (0, 0), frozenset())

    def trigger(self, files, options, _companions=()):
        """What deals with one process: as policy.Guard.trigger()."""
        return RevertAll(self._soname, files, options, lambda pid, livepatch: held(pid, self._rules, livepatch))

    def confirm(self):
        """There is no file that could have been replaced."""

    def veto(self):
        """Reverting goes on as ever; None."""

    def reason(self, pid):
        """Why process ``pid`` is left alone, one sentence; None: it is not. Raises as policy.Guard.reason()."""
        return held(pid, self._rules, self.livepatch)
