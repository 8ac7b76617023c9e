# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb ``build``."""

from __future__ import annotations

import sys
import time

from ..build.left_behind import sentence_on
from ..build.ordering import Order
from ..build.places import Places, build_livepatches
from ..build.report import report_lines
from .output import DONE, REFUSED, complain, show


def _build(arguments):
    progress = _Progress()
    result = build_livepatches(Order(
        output=arguments.output,
        build_timeout=arguments.build_timeout,
        build_space=arguments.build_space,
        source=arguments.source,
        prepare=arguments.prepare,
        debian=arguments.debian,
        srpm=arguments.srpm,
        diff=tuple(arguments.diff),
        without_patch=tuple(arguments.without_patch),
        strip=arguments.strip,
        target=tuple(arguments.target),
        allow=tuple(arguments.allow),
        guard=tuple(arguments.guard),
        anew=tuple(arguments.anew),
        label=tuple(arguments.label),
        work=arguments.work,
        runtime=None if arguments.no_proof else arguments.runtime,
        as_root=arguments.as_root,
        test=arguments.test,
    ), arguments.build, arguments.running, Places(arguments.root, arguments.image), progress)
    fields = result.fields
    for target in fields["targets"]:
        for warning in target.get("warnings", ()):
            complain(warning)
    for warning in fields["warnings"]:
        complain(warning)
    show(arguments, dict(fields, changed=result.changed), report_lines(fields, result.changed))
    for refusal in fields["refused"]:
        allow = f"; --allow '{refusal['name']}' goes on in spite of it" if refusal["can_be_allowed"] else ""
        complain(f"refused ({refusal['kind']}): {refusal['reason']}{allow}")
    if fields["left"]:
        complain(sentence_on(fields["left"]))
    return REFUSED if result.refused else DONE


class _Progress:
    """Says on standard error which step begins, and after how many seconds."""

    def __init__(self):
        self._start = time.monotonic()

    def __call__(self, step):
        sys.stderr.write(f"ulp build: {time.monotonic() - self._start:6.1f} s  {step}\n")
        sys.stderr.flush()


VERBS = {"build": _build}
