# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of this collection does around its one call into the core."""

from __future__ import annotations

import os

from .errors import UlpError
from .faults import listen, listeners
from .process.connection import connection
from .termination import Terminated, raising


def run_module(module, function):
    """Call the core for a module and end the module.

    :param module: the AnsibleModule.
    :param function: takes ``module`` and returns the module's result, a dict; its key ``warnings`` is shown as
        warnings.  An UlpError that it raises fails the module with that one sentence, and so does a signal that asks
        it to end.  Tracebacks of what ended in the row of a process go to the system's log, and into a failed
        module's ``exception``, which Ansible shows with -vvv.
    """
    listen()
    faults = []

    def keep(text):
        faults.append(text)
        module.log(text)

    listeners.append(keep)
    try:
        with raising():
            result = function(module)
    except (UlpError, Terminated) as error:
        module.fail_json(msg=str(error))
    if result.get("failed") and faults:
        result["exception"] = "\n".join(faults)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


def marked(rows):
    """``rows``, dicts with the key ``pid``, each with ``runs_ansible``: whether the process is there only to run us."""
    own = connection()
    return [dict(row, runs_ansible=row["pid"] in own) for row in rows]


def livepatches_of(module):
    """The module's parameter ``patch``, a path or a list of such, as a list; fails the module if it is neither.

    ``~`` and variables are expanded, as Ansible does for an option that is a path.
    """
    given = module.params["patch"]
    paths = given if isinstance(given, list) else [given]
    if not all(isinstance(path, str) and path for path in paths):
        module.fail_json(msg="patch must be the path of a livepatch, that of a directory with livepatches, or a list")
    return [os.path.expanduser(os.path.expandvars(path)) for path in paths]


def examine_timeout_of(module):
    """The module's parameter ``examine_timeout``, seconds, if it makes sense; fails the module otherwise."""
    seconds = module.params["examine_timeout"]
    if not 0 < seconds < 1e6:
        module.fail_json(msg="examine_timeout must be a positive number of seconds")
    return seconds
