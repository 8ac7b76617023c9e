# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch several times in one process: where that has loaded its target several times.

Each copy of the target has data of its own, so each gets an instance of the
patch library, with its words bound to that copy.  The runtime knows an instance
by an ID of 32 bytes.  The first has the patch ID itself.  That of another one
ends in the load bias of its copy, which is never unloaded once it is patched;
the 24 bytes before are still too many for two livepatches to share.
"""

from __future__ import annotations

# Hexadecimal digits.
_SHARED = 48


def instance_id(patch_id, base):
    """The ID of the instance for a further copy of the target.

    :param patch_id: of the livepatch, hexadecimal.
    :param base: load bias of the copy.
    """
    return patch_id[:_SHARED] + base.to_bytes(8, "little").hex()


def livepatches_of(instance_ids):
    """The patch ID that each of ``instance_ids`` belongs to, in the same order.

    :param instance_ids: as the runtime has them, in the order in which they came: the first one of each livepatch came
        with the patch ID itself.
    """
    first: dict[str, str] = {}
    return [first.setdefault(identifier[:_SHARED], identifier) for identifier in instance_ids]
