# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb ``build``."""

from __future__ import annotations

import os
import sys
import time

from ..atomic_file import replace_file
from ..build.build import Request, build, default_work_directory
from ..build.page import page
from ..build.report import report_lines
from ..build.work_tree import Recipe
from ..errors import UlpError
from .output import DONE, REFUSED, complain, show


def _build(arguments):
    if os.geteuid() == 0 and not arguments.as_root:
        raise UlpError(
            "a build runs whatever commands the source has, and should not run as root; run it as another user, or say"
            " --as-root where that is meant, in a container made for it, say")
    runtime = None if arguments.no_proof else arguments.runtime
    if runtime is not None and not os.path.isfile(runtime):
        raise UlpError(
            f"the runtime {runtime} does not exist, and without it no livepatch can be proved; name another with"
            " --runtime, or leave the proof out with --no-proof")
    result = build(
        Request(
            recipe=Recipe(os.path.abspath(arguments.source), arguments.build, arguments.prepare or "",
                          arguments.build_timeout),
            diffs=arguments.diff,
            output=arguments.output,
            work=arguments.work or default_work_directory(arguments.source),
            strip=arguments.strip,
            targets=tuple(arguments.target),
            running=arguments.running,
            allow=tuple(arguments.allow),
            labels=tuple(arguments.label),
            runtime=runtime,
        ),
        _Progress(),
    )
    fields = result.fields
    for target in fields["targets"]:
        if target["path"] is not None:
            replace_file(os.path.splitext(target["path"])[0] + ".html", page(fields, target).encode())
        for warning in target.get("warnings", ()):
            complain(warning)
    for warning in fields["warnings"]:
        complain(warning)
    show(arguments, dict(fields, changed=result.changed), report_lines(fields, result.changed))
    for refusal in fields["refused"]:
        allow = f"; --allow '{refusal['name']}' goes on in spite of it" if refusal["can_be_allowed"] else ""
        complain(f"refused ({refusal['kind']}): {refusal['reason']}{allow}")
    return REFUSED if result.refused else DONE


class _Progress:
    """Says on standard error which step begins, and after how many seconds."""

    def __init__(self):
        self._start = time.monotonic()

    def __call__(self, step):
        sys.stderr.write(f"ulp build: {time.monotonic() - self._start:6.1f} s  {step}\n")
        sys.stderr.flush()


VERBS = {"build": _build}
