# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a build for people to read."""

from __future__ import annotations

from typing import Any

from ..counted import counted
from .new_variables import what_becomes
from .under_test import shown_counts
from .variants import label


def report_lines(fields: dict[str, Any], changed: bool) -> list[str]:
    """The lines that tell what came of a build.

    :param fields: BuildResult.fields.
    :param changed: BuildResult.changed.
    """
    lines = []
    builds = fields.get("builds", ())
    for part in builds:
        place = {kind: part[kind] for kind in ("root", "image") if part[kind] is not None}
        # What is the same for all of them tells none from the others.
        command = None if place and len({each["build"] for each in builds} - {None}) == 1 else part["build"]
        lines.append(f"{label(command, part['running'], place)}:")
        lines += [f"  {line}" for line in report_lines(part, part["changed"])] or ["  nothing was built"]
    if lines:
        return lines
    for target in fields["targets"]:
        if target["path"] is None:
            lines.append(f"{target['name']}: refused")
            continue
        done = "built" if changed else "unchanged"
        lines.append(f"{target['path']}: {done}, {counted(len(target['functions']), 'function')}, patch ID"
                     f" {target['patch_id']}")
        lines.extend(f"  replaces   {function['name']} ({function['source']}): {function['why']}"
                     for function in target["functions"])
        lines.extend(f"  guards     {name}: what is replaced jumps to it" for name in target["guards"])
        lines.extend(f"  binds      {name}" for name in sorted({binding["name"] for binding in target["bindings"]}))
        if target["copied"]:
            lines.append(f"  has itself {', '.join(target['copied'])}")
        lines.extend(f"  brings     {variable['name']}: {what_becomes(variable)}" for variable in target["variables"])
        if target["medium"]:
            lines.append(f"  compiled with the medium code model: {', '.join(target['medium'])}")
        lines.extend(f"  lays out   the {layout['kind']} {layout['name']} anew: {'; '.join(layout['differences'])}"
                     for layout in target["layouts"])
        lines.extend(f"  allowed    {refusal['reason']}" for refusal in target["allowed"])
        lines.append("  proved     " + (", ".join(target["proof"]) if target["proof"] else "no: try it yourself"))
    test = fields.get("test")
    if test:
        lines.append(f"test passed under the livepatch: {test['command']} ({shown_counts(test)})")
    return lines
