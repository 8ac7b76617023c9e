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
from ..build.debian_package import debian_package
from ..build.installed import installed_library
from ..build.page import page
from ..build.report import report_lines
from ..build.rpm_package import rpm_package
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
    progress = _Progress()
    work = arguments.work or default_work_directory(
        arguments.source or arguments.debian or arguments.srpm)
    recipe, diffs, origin = _source(arguments, work, progress)
    result = build(
        Request(
            recipe=recipe,
            diffs=diffs,
            output=arguments.output,
            work=work,
            strip=arguments.strip,
            targets=tuple(arguments.target),
            running=installed_library(arguments.running, arguments.target) if arguments.running else None,
            allow=tuple(arguments.allow),
            labels=tuple(arguments.label),
            runtime=runtime,
            origin=origin,
        ),
        progress,
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


def _source(arguments, work, progress):
    """(Recipe, paths of the diffs, what the metadata say of the source package)."""
    if arguments.source is not None:
        if arguments.build is None:
            raise UlpError(f"--build is missing: the command that builds {arguments.source}")
        if arguments.without_patch:
            raise UlpError("--without-patch is for a source package; of a source tree name the fix with --diff")
        if not arguments.diff:
            raise UlpError("--diff is missing: the fix to make a livepatch of")
        return Recipe(os.path.abspath(arguments.source), arguments.build, arguments.prepare or "",
                      arguments.build_timeout), arguments.diff, {}
    if arguments.build is not None or arguments.prepare is not None:
        raise UlpError("a source package is built by its own rules; leave out --build and --prepare, or unpack it and"
                       " name the directory with --source")
    if not arguments.diff and not arguments.without_patch:
        raise UlpError("the fix is missing: name it with --diff, or one of the package's own patches with"
                       " --without-patch")
    take, what = (debian_package, arguments.debian) if arguments.srpm is None else (rpm_package, arguments.srpm)
    package = take(what, tuple(arguments.without_patch), work, progress)
    diffs = [package.patch(diff) for diff in arguments.diff] or package.left_out
    return Recipe(package.directory, package.command, "", arguments.build_timeout, once=True,
                  inside=package.inside), diffs, package.origin


class _Progress:
    """Says on standard error which step begins, and after how many seconds."""

    def __init__(self):
        self._start = time.monotonic()

    def __call__(self, step):
        sys.stderr.write(f"ulp build: {time.monotonic() - self._start:6.1f} s  {step}\n")
        sys.stderr.flush()


VERBS = {"build": _build}
