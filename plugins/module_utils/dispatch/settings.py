# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a caller has set, module or command, as the Options and the Policy of a dispatch.

Both call a setting by the same name; a verb that has not all of them leaves
the others as they are by default.
"""

from __future__ import annotations

from ..trigger.options import Options
from .policy import Policy
from .rules import parse_exclude

_LIMITS = ("timeout", "retries", "wait_migrated", "seccomp", "examine_timeout", "attach", "runtime", "replace")


def options_from(settings, *, check=False):
    """The trigger.options.Options that ``settings`` ({name: value}) ask for.

    :param check: whether no process is to be touched.
    """
    return Options(check=check, **{name: settings[name] for name in _LIMITS if name in settings})


def policy_from(settings):
    """The policy.Policy that ``settings`` ({name: value}) ask for; an empty path stands for no such file.

    :raises UlpError: a rule of ``exclude`` is none.
    """
    return Policy(
        # An empty one must not turn verification off: see policy.Guard.
        allowed_signers=settings["allowed_signers"],
        identity=settings["signer_identity"],
        kill_switch=settings["kill_switch"] or None,
        hold_file=settings["hold_file"] or None,
        retracted_file=settings["retracted_file"] or None,
        exclude=parse_exclude(settings.get("exclude", ())),
        ledger=settings.get("ledger") or None,
    )
