# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health gates: what one measures, what reports call it, and what came of it."""

from __future__ import annotations

import json
import os

from .faults import failure, real_path

# What a gate can measure: the key that says so, and what its name begins with where it is given none.
_MEASURES = {"url": "", "command": "", "unit": "unit ", "port": "port ", "tasks": "tasks "}


def gate_faults(gates):
    """What is wrong with health gates, dicts: a list of sentences.

    One that can't pass would count as sick before, and then never stop anything.
    """
    found = []
    for gate in gates:
        if len(_measured_by(gate)) != 1:
            found.append(
                f"the health gate {json.dumps(gate)} of ulp_livepatch_gates must have exactly one of url, command,"
                " unit, port and tasks"
            )
        elif "tasks" in gate and not os.path.isfile(real_path(gate["tasks"])):
            found.append(f"the task file of a health gate, {real_path(gate['tasks'])}, is not there")
    return found


def measures(gate):
    """What a sound gate, a dict, measures: a key of it."""
    return _measured_by(gate)[0]


def _measured_by(gate):
    return [key for key in _MEASURES if key in gate]


def gate_row(gate, answer, failed):
    """The row of a gate that was measured: a dict with name, passed and said.

    :param gate: a dict, one of ``ulp_livepatch_gates``.
    :param answer: what the task that measured it has returned, or the one that failed.
    :param failed: whether one did.
    """
    if failed:
        return {"name": _name(gate), "passed": False, "said": _what_failed(gate, answer)}
    # Ansible goes on with the next task then, which measures nothing either.
    gone = bool(answer.get("unreachable"))
    return {"name": _name(gate), "passed": not gone, "said": "the host could not be reached" if gone else ""}


def _name(gate):
    what = measures(gate)
    value = gate[what]
    words = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return gate.get("name") or f"{_MEASURES[what]}{words}"


def _what_failed(gate, answer):
    # The module says of an answer that lacks the text how the request went.
    if "contains" in gate and str(answer.get("msg", "")).startswith("OK "):
        return f"the answer does not contain {json.dumps(gate['contains'], ensure_ascii=False)}"
    return failure(answer)
