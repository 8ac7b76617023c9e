# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to restart the processes that can't be patched."""

from __future__ import annotations

import re
import shlex

from .rows import rows_that

_UNIT = re.compile(r"/system\.slice/(?:[^/\n]+\.slice/)*([^/\n]+\.service)")


def restarts(rows, control_groups):
    """What would restart each process that can't be patched: a list of dicts.

    What runs Ansible is not among them: it ends with the run.

    :param rows: list of dicts, as the module ``ulp_dispatch`` gives them.
    :param control_groups: lines of cgroup files (cgroups(7)), each with the file's path before it:
        ``/proc/PID/cgroup:0::/PATH``.
    :return: dicts with pid, name, reason, unit (a systemd service that may be restarted, or "") and command (what an
        operator would do).
    """
    found = []
    for row in rows_that(rows, "need_restart"):
        own = "\n".join(line for line in control_groups if line.startswith(f"/proc/{row['pid']}/"))
        # What runs in a container is not restarted by the unit of the engine that runs it.
        unit = None if row["container"] else _UNIT.search(own)
        found.append({
            "pid": row["pid"], "name": row["name"], "reason": row["reason"], "unit": unit[1] if unit else "",
            "command": _command(row, unit),
        })
    return found


def _command(row, unit):
    if row["container"]:
        return f"podman restart {row['container']}, or docker, whichever runs it"
    if unit:
        return f"systemctl restart {shlex.quote(unit[1])}"
    return f"not a service of systemd: end process {row['pid']} and start it again the way it was started"
