# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules have in common that look at running processes."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(libpulp.livepatch.examination)."""

    DOCUMENTATION = r"""
options:
  examine_timeout:
    description:
      - How many seconds one process may keep the others waiting while it is looked at. An ordinary process takes some
        milliseconds.
      - A process that takes longer is given up. A read of its files or memory may never return, as on a network file
        system that hangs, or if the process is hostile. Nobody can then tell whether the process runs the library, so
        it is reported, even if nobody asked for it.
    type: float
    default: 5
"""
