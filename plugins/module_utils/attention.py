# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes need attention, by the facts of a host: for ``ulp list`` and the playbook livepatch_status.

Processes are dicts as dispatch.facts.gather() gives them, those that can be
patched under ``processes``, all others under ``unpatchable``.
"""

from __future__ import annotations

# Whether a process can be patched: as it is, once the runtime has been loaded into it, or not at all.
NOW, BY_ATTACHING, NOT = "now", "by attaching", "no"
# Livepatches that were undone, threads with old functions, processes that cannot be patched: then all that is well,
# and last what nobody can do anything about.
UNDONE, PENDING, REFUSED, WELL, UNCONCERNED = range(5)


def has_to_do(process):
    """Whether a process with the runtime has anything that was, or could be, patched."""
    return bool(process["libraries"] or process["patches"])


def concerns(process):
    """Whether a process that cannot be patched may have something that a livepatch could be for."""
    if process["libraries"] is None:
        return not process["forbidden"]
    return bool(process["libraries"])


def urgency(process):
    """How soon somebody has to see to a process with the runtime: one of the numbers above, the least first."""
    if any(patch["status"] == "undone" for patch in process["patches"]):
        return UNDONE
    return PENDING if process["threads_pending"] else WELL


def urgency_refused(process):
    """The same for a process that cannot be patched."""
    return REFUSED if concerns(process) else UNCONCERNED
