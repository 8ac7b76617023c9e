# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules have in common that deal with livepatches in running processes."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(libpulp.livepatch.processes)."""

    DOCUMENTATION = r"""
options:
  patch:
    description:
      - The livepatch on the host.
      - It can also be a list of several, or the path of a directory, which stands for every file in it whose name ends
        in C(.ulp). If they are the same fix for several builds of a library, each process gets the one for the build
        that it runs. If two replace the same function of one build, one has to depend on the other or replace it.
    type: raw
    required: true
  pids:
    type: list
    elements: int
    default: []
notes:
  - Run it as root, or as the owner of the processes.
"""
