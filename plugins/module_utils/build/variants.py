# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fix for several builds of a library, in one run: a livepatch for each, and one report.

The same tree may be built in several ways, with padding and without, and several files that were built from it may run.
What can't be done for one of them keeps nobody from the others.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Callable, Sequence

from ..errors import UlpError
from ..named_tuple import NamedTuple
from .build import BuildResult, build, default_work_directory
from .ordering import Order, request_for
from .refusals import MISMATCH

# The kind of what is refused since a build failed.
FAILED = "failed build"


class _Part(NamedTuple):
    """What came of one variant: ``result``, or why there is none."""

    command: str | None
    running: str | None
    result: BuildResult | None
    error: str | None

    @property
    def is_other_build(self) -> bool:
        """Whether the file that runs was not built so."""
        return self.result is not None and any(
            refusal["kind"] == MISMATCH for refusal in self.result.fields["refused"])


def build_variants(order: Order, commands: Sequence[str], running: Sequence[str], progress: Callable[[str], None],
                   check: bool = False) -> BuildResult:
    """Build livepatches for one library as it is built in several ways, or as it runs in several builds.

    :param order: what is the same for all of them.
    :param commands: the commands that build the source tree, each in its way; none for a source package.
    :param running: the files that run; for each the command is found that has built it. None: what is built here.
    :param check: write no livepatch.
    :return: BuildResult. Where there are several variants, its fields have all that came of them, and under ``builds``
        a dict for each: its ``build`` and ``running``, ``error`` (why nothing came of it, or None), ``changed``, and
        its own report.
    :raises UlpError: as build(); where there are several variants, only if none can be built, for the same reason.
    """
    ways: list[str | None] = [*dict.fromkeys(commands)] or [None]
    files: list[str | None] = [*dict.fromkeys(running)] or [None]
    if len(ways) == len(files) == 1:
        return build(request_for(order._replace(build=ways[0], running=files[0]), progress, check), progress)
    if order.output.endswith(".ulp") and not os.path.isdir(order.output):
        raise UlpError(f"there are several builds to make a livepatch for; name a directory instead of {order.output}")
    work = order.work or default_work_directory(str(order.source or order.debian or order.srpm))
    parts = []
    for file in files:
        tried = []
        for way in ways:
            tried.append(_part(order, work, way, file, len(ways) > 1, progress, check))
            if file is not None and not tried[-1].is_other_build and tried[-1].error is None:
                break
        parts += tried if file is None else [_best(tried)]
    errors = {part.error for part in parts}
    if len(errors) == 1 and None not in errors:
        raise UlpError(str(errors.pop()))
    return _together(parts)


def _part(order: Order, work: str, command: str | None, running: str | None, separate: bool,
          progress: Callable[[str], None], check: bool) -> _Part:
    if separate:
        work = os.path.join(work, f"build-{hashlib.sha256(str(command).encode()).hexdigest()[:12]}")
    of = label(command if separate else None, running)
    order = order._replace(build=command, running=running, work=work)

    def say(step: str) -> None:
        progress(f"{of}: {step}")

    try:
        request = request_for(order, say, check)._replace(tell_apart=True)
        return _Part(command, running, build(request, say), None)
    except UlpError as error:
        return _Part(command, running, None, str(error))


def _best(tried: list[_Part]) -> _Part:
    """The part that counts for a file that runs: that of the command which has built it.

    Where there is none, a command that failed counts before those that have built something else: it may be the one.
    """
    return min(tried, key=lambda part: (part.is_other_build, part.result is None))


def label(command: str | None, running: str | None) -> str:
    """What to call a variant."""
    return " for ".join(filter(None, (command, running))) or "the build"


def _together(parts: list[_Part]) -> BuildResult:
    fields: dict[str, Any] = {"sources": [], "warnings": [], "refused": [], "targets": [], "left": [], "builds": []}
    for part in parts:
        its = part.result.fields if part.result is not None else {
            "sources": [], "warnings": [], "targets": [], "left": [],
            "refused": [{"kind": FAILED, "name": label(part.command, part.running), "reason": part.error,
                         "can_be_allowed": False}]}
        changed = part.result is not None and part.result.changed
        fields["builds"].append(
            {"build": part.command, "running": part.running, "error": part.error, "changed": changed, **its})
        for key in ("sources", "warnings", "refused", "targets", "left"):
            fields[key] += [each for each in its[key] if each not in fields[key]]
    fields["test"] = None
    results = [part.result for part in parts if part.result is not None]
    return BuildResult(
        fields, any(result.changed for result in results), "".join(result.before for result in results),
        "".join(result.after for result in results))
