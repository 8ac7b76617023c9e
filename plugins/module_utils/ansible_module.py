# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of this collection do around their one call into the core."""

from __future__ import annotations

from .errors import UlpError
from .process.connection import connection


def run_module(module, function):
    """Call the core for a module and end the module.

    :param module: the AnsibleModule.
    :param function: takes ``module`` and returns the module's result, a dict; its key ``warnings`` is shown as
        warnings.  An UlpError that it raises fails the module with that one sentence.
    """
    try:
        result = function(module)
    except UlpError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


def marked(rows):
    """``rows``, dicts with the key ``pid``, each with ``runs_ansible``: whether the process is there only to run us."""
    own = connection()
    return [dict(row, runs_ansible=row["pid"] in own) for row in rows]
