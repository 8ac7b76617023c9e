# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to restart the processes that can't be patched."""

from __future__ import annotations

import shlex

from .rows import rows_that


def restarts(rows):
    """What would restart each process that can't be patched: a list of dicts.

    What runs Ansible is not among them: it ends with the run.

    :param rows: list of dicts, as the module ``ulp_dispatch`` gives them.
    :return: dicts with pid, name, reason, unit (a systemd service that may be restarted, or "") and command (what an
        operator would do).
    """
    found = {}
    for row in rows_that(rows, "need_restart"):
        # One restart helps against whatever several livepatches say of it.
        found.setdefault(row["pid"], {
            "pid": row["pid"], "name": row["name"], "reason": row["reason"], "unit": row["unit"],
            "command": _command(row),
        })
    return list(found.values())


def _command(row):
    if row["container"]:
        return f"podman restart {row['container']}, or docker, whichever runs it"
    if row["unit"]:
        return f"systemctl restart {shlex.quote(row['unit'])}"
    return f"not a service of systemd: end process {row['pid']} and start it again the way it was started"
