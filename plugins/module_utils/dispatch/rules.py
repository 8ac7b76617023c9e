# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that say which processes are left alone.

A rule is one or several conditions ``KEY=WILDCARD``, all of which must hold:
``name`` of the program, path of its ``exe``, ``user`` by name or number,
systemd ``unit`` or slice, short ID of the ``container`` it runs in, and
``patch``, a patch ID or the livepatch's file name.  Wildcards are those of a
shell: ``*``, ``?``, ``[...]``.  A rule with ``forbid=attach`` keeps nothing from
the processes but being given the runtime while they run; alone, it is about
every process.
"""

from __future__ import annotations

import os
import re
import shlex
from fnmatch import fnmatchcase

from ..errors import UlpError
from ..named_tuple import NamedTuple
from ..printable import printable
from ..process import affiliation
from ..process.affiliation import UNIT_SUFFIXES, executable, names, units, users

# Of a rule that keeps nothing from being done to a process but this.
FORBID = "forbid"
ATTACH = "attach"

KEYS = ("name", "exe", "user", "unit", "container", "patch")

_CONDITION = re.compile(rf"({'|'.join((*KEYS, FORBID))})=")
_OF_PROCESS = {
    "name": names,
    "exe": lambda pid: (executable(pid),),
    "user": users,
    "unit": units,
    "container": lambda pid: tuple(filter(None, (affiliation.container(pid),))),
}


class Rule(NamedTuple):
    """Processes to leave alone."""

    conditions: tuple[tuple[str, str], ...]  # (one of KEYS, wildcard)
    origin: str  # what a reason calls the place where it stands
    forbids: str = ""  # ATTACH: only that the runtime is loaded into a running process; "": everything

    def matches(self, pid, livepatch):
        """Whether it is about process ``pid`` and livepatch.livepatch.Livepatch ``livepatch``.

        :raises ProcessGone: there is no such process.
        :raises ProcessForbidden: the process may not be examined, so nobody can tell.
        """
        return all(_holds(key, pattern, pid, livepatch) for key, pattern in self.conditions)

    @property
    def text(self):
        """The rule as one would write it, printable."""
        words = ((FORBID, self.forbids), *self.conditions) if self.forbids else self.conditions
        return printable(" ".join(f"{key}={shlex.quote(pattern) if ' ' in pattern else pattern}"
                                  for key, pattern in words))


def _holds(key, pattern, pid, livepatch):
    of_patch = (livepatch.patch_id, os.path.basename(livepatch.path))
    return any(fnmatchcase(value, pattern) for value in (of_patch if key == "patch" else _OF_PROCESS[key](pid)))


def parse_rule(value, origin, bare_names=False):
    """The Rule that a user wrote.

    :param value: str ``KEY=WILDCARD ...``, quoted as in a shell, or a dict of the same.
    :param origin: where it stands.
    :param bare_names: take a str without any ``KEY=`` at its start for the wildcard of a name.
    :raises UlpError: it is no rule.
    """
    if isinstance(value, dict):
        # Absent and empty are the same to whoever fills in a template.
        conditions = tuple((str(key), str(pattern)) for key, pattern in value.items() if pattern not in (None, ""))
    elif not isinstance(value, str):
        raise UlpError(f"{origin} has a rule that is neither text nor a dictionary: {value!r}")
    elif bare_names and value and not _CONDITION.match(value):
        conditions = (("name", value),)
    else:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise UlpError(f"{origin}: quotes do not match in the rule {value!r}") from error
        conditions = tuple((key, pattern) for key, _sign, pattern in (word.partition("=") for word in words))
    forbids, conditions = _scope(conditions, value, origin)
    for key, pattern in conditions:
        if key not in KEYS or not pattern:
            raise UlpError(
                f"{origin}: the rule {value!r} should consist of KEY=WILDCARD, where KEY is one of {', '.join(KEYS)}"
            )
        why = _never_holds(key, pattern)
        if why is not None:
            raise UlpError(f"{origin}: the rule {value!r} would never hold: {why}")
    if not conditions and not forbids:
        raise UlpError(f"{origin} has an empty rule, which would be about every process")
    return Rule(conditions, origin, forbids)


def _scope(conditions, value, origin):
    """What the rule forbids, and its other conditions."""
    scopes = [pattern for key, pattern in conditions if key == FORBID]
    if any(scope != ATTACH for scope in scopes):
        raise UlpError(f"{origin}: the rule {value!r} should say {FORBID}={ATTACH}, or not say what it forbids")
    return scopes[0] if scopes else "", tuple(pair for pair in conditions if pair[0] != FORBID)


def _never_holds(key, pattern):
    """Why no process can ever match the condition, or None: a slip in a rule must not release what it should hold."""
    if key == "exe" and pattern[0] not in "/*?[":
        return f"exe is the whole path of the program; write exe=*/{pattern}"
    if key == "name" and pattern.startswith("/"):
        return f"name is the program's name without its path; write exe={pattern}"
    if key == "unit" and not pattern.endswith((*UNIT_SUFFIXES, "*", "?", "]")):
        return f"units have their type in their names; write unit={pattern}.service"
    return None


def parse_exclude(values):
    """The rules of an option ``exclude``: each a name's wildcard, a rule as text, or a dict; tuple of Rule."""
    return tuple(parse_rule(value, "the exclude list", bare_names=True) for value in values)
