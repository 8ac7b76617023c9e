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
from types import MappingProxyType
from typing import Any, Callable, Iterator, Mapping, Sequence

from ..errors import UlpError
from ..named_tuple import NamedTuple
from .build import BuildResult, build
from .ordering import Order, request_for, work_directory
from .refusals import MISMATCH

# The kind of what is refused since a build failed.
FAILED = "failed build"


class Part(NamedTuple):
    """What came of one variant: ``result``, or why there is none.

    ``place`` is the root or the image that it was built in, as {"root": PATH} or {"image": NAME}, empty where that is
    the build host itself.
    """

    command: str | None
    running: str | None
    result: BuildResult | None
    error: str | None
    place: Mapping[str, str] = MappingProxyType({})

    @property
    def where(self) -> str:
        """How a sentence about it begins: with the root or image; empty where that is the build host itself."""
        return "".join(f"in the {kind} {name}: " for kind, name in self.place.items())

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
    if len({*commands}) < 2 and len({*running}) < 2:
        way, file = next(iter(commands), None), next(iter(running), None)
        return build(request_for(order._replace(build=way, running=file), progress, check), progress)
    require_directory(order)
    return together(list(variants(order, commands, running, progress, check)))


def require_directory(order: Order) -> None:
    """See that several livepatches can be written to where the order wants them.

    :raises UlpError: it is one file.
    """
    if order.output.endswith(".ulp") and not os.path.isdir(order.output):
        raise UlpError(f"there are several builds to make a livepatch for; name a directory instead of {order.output}")


def variants(order: Order, commands: Sequence[str], running: Sequence[str], progress: Callable[[str], None],
             check: bool = False, tell_apart: bool = True) -> Iterator[Part]:
    """What came of each variant, as soon as it is known; arguments as for build_variants().

    :param tell_apart: have the build ID in the names of livepatches even if there is one variant alone.
    """
    ways: list[str | None] = [*dict.fromkeys(commands)] or [None]
    files: list[str | None] = [*dict.fromkeys(running)] or [None]
    work = work_directory(order)
    tell_apart = tell_apart or len(ways) > 1 or len(files) > 1
    for file in files:
        tried = []
        for way in ways:
            part = _part(order, work, way, file, len(ways) > 1, tell_apart, progress, check)
            tried.append(part)
            if file is None:
                yield part
            elif not part.is_other_build and part.error is None:
                break
        if file is not None:
            yield _best(tried)


def _part(order: Order, work: str, command: str | None, running: str | None, separate: bool, tell_apart: bool,
          progress: Callable[[str], None], check: bool) -> Part:
    if separate:
        work = os.path.join(work, f"build-{hashlib.sha256(str(command).encode()).hexdigest()[:12]}")
    of = label(command if separate else None, running)
    order = order._replace(build=command, running=running, work=work)

    def say(step: str) -> None:
        progress(f"{of}: {step}" if separate or running is not None else step)

    try:
        request = request_for(order, say, check)._replace(tell_apart=tell_apart)
        return Part(command, running, build(request, say), None)
    except UlpError as error:
        return Part(command, running, None, str(error))


def _best(tried: list[Part]) -> Part:
    """The part that counts for a file that runs: that of the command which has built it.

    Where there is none, a command that failed counts before those that have built something else: it may be the one.
    """
    return min(tried, key=lambda part: (part.is_other_build, part.result is None))


def label(command: str | None, running: str | None, place: Mapping[str, str] = MappingProxyType({})) -> str:
    """What to call a variant; ``place`` as of a Part."""
    where = "".join(f"the {kind} {name}" for kind, name in place.items())
    return ": ".join(filter(None, (where, " for ".join(filter(None, (command, running)))))) or "the build"


def together(parts: Sequence[Part]) -> BuildResult:
    """One result of several variants.

    :raises UlpError: none could be built, all for the same reason.
    """
    errors = {part.where + str(part.error) if part.error is not None else None for part in parts}
    if len(errors) == 1 and None not in errors:
        raise UlpError(str(errors.pop()))
    fields: dict[str, Any] = {"sources": [], "warnings": [], "refused": [], "targets": [], "left": [], "builds": []}
    for part in parts:
        its = part.result.fields if part.result is not None else {
            "sources": [], "warnings": [], "targets": [], "left": [],
            "refused": [{"kind": FAILED, "name": label(part.command, part.running, part.place), "reason": part.error,
                         "can_be_allowed": False}]}
        changed = part.result is not None and part.result.changed
        fields["builds"].append(
            {"build": part.command, "running": part.running, "root": part.place.get("root"),
             "image": part.place.get("image"), "error": part.error, "changed": changed, **its})
        refused = [dict(refusal, reason=part.where + str(refusal["reason"])) for refusal in its["refused"]]
        for key, values in {**its, "refused": refused}.items():
            if key in fields:
                fields[key] += [each for each in values if each not in fields[key]]
    fields["test"] = None
    results = [part.result for part in parts if part.result is not None]
    return BuildResult(
        fields, any(result.changed for result in results), "".join(result.before for result in results),
        "".join(result.after for result in results))
