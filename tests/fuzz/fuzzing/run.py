# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trying targets for some time, or with some inputs.

A failing input is made as small as can be, and left in build/fuzz/. Put it into tests/fuzz/corpus/TARGET/ under a name
that says what it is; the unit tests try everything there.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from .files import TARGETS as OF_FILES
from .oracle import bounded, limit_memory
from .process import TARGETS as OF_PROCESSES
from .procfs import TARGETS as OF_PROC

BATCH = 200
TARGETS = (*OF_FILES, *OF_PROC, *OF_PROCESSES)
FAILURES = Path(__file__).resolve().parents[3] / "build" / "fuzz"


def batch(target, count, number):
    """Try ``count`` inputs, those that follow from the seed ``number``.

    :return: how many were tried, and how many of them were accepted.
    :raises: what did not hold, for the smallest such input, which was then kept in FAILURES.
    """
    outcomes = []
    last = [b""]

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False)
    @given(target.strategy(target.sound()))
    def examples(data):
        last[0] = data
        with bounded():
            outcomes.append(target.check(data))

    try:
        examples()
    except BaseException as error:
        keep(target, last[0])
        # Hypothesis would show all bytes of it.
        error.__notes__ = []
        raise
    return len(outcomes), sum(outcomes)


def keep(target, data):
    path = FAILURES / target.name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{target.name}: this input failed: {path}", file=sys.stderr)


def run(target, examples, seconds):
    """Try a target with so many inputs or, where that is None, for so many seconds.

    :return: whether all held.
    """
    started = time.monotonic()
    tried = accepted = 0
    try:
        for data in target.sound():
            with bounded():
                assert target.check(data), "a sound input was refused"
        if examples is not None:
            tried, accepted = batch(target, max(examples // target.cost, 1), 0)
        while examples is None and time.monotonic() - started < seconds:
            more = batch(target, max(BATCH // target.cost, 1), random.getrandbits(64))
            tried, accepted = tried + more[0], accepted + more[1]
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the other targets are tried all the same
        traceback.print_exc()
        return False
    finally:
        target.close()
        print(f"{target.name}: {tried} inputs, {accepted} of them accepted, in {time.monotonic() - started:.1f} s",
              flush=True)
    return True


def main():
    targets = {target.name: target for target in TARGETS}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--seconds", type=float, help="for all targets together")
    kind.add_argument("--examples", type=int, help="for the cheapest target; costly ones get fewer")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(targets))
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in targets]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(targets)}")
    chosen = options.targets or list(targets)
    limit_memory()
    share = None if options.seconds is None else options.seconds / len(chosen)
    failed = [name for name in chosen if not run(targets[name], options.examples, share)]
    if failed:
        sys.exit(f"something does not hold for: {', '.join(failed)}")
