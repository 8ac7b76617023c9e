# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that have the library and are another one each moment (restless.c), beside honest ones, which are served.

What becomes of a restless one depends on the moment.  Whatever it is, it goes on.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from harness.blocked import version_patch
from harness.hostile import FOLDER, LARGEST_KB, Crowd, measured, staged
from harness.library import WARNINGS, run
from harness.paths import BUILD, RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_stat, read_status
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import has_ended

HONEST = 5
MODES = ("executes", "threads", "stopped", "traced")


@pytest.fixture(scope="module")
def build(hazards, preforked):
    return hazards("blocked").build(USUAL[0], preforked)


@pytest.fixture(scope="module")
def program(build):
    with tempfile.TemporaryDirectory(prefix="ulp-restless-", dir=BUILD) as directory:
        made = Path(directory) / "restless"
        run(["gcc", *WARNINGS, "-O2", "-pthread", "-o", made, FOLDER / "restless.c", build.library])
        yield made


@pytest.fixture(scope="module")
def crowd(build):
    crowd = Crowd(build, HONEST)
    yield crowd
    crowd.finish()


def goes_on(pid):
    """Whether the process is there and gets a processor."""
    def switches():
        with contextlib.suppress(ProcessError):
            return read_status(pid).switches
        return 0

    before = switches(), read_stat(pid).state
    wait_until(lambda: switches() != before[0] or read_stat(pid).state == "R", "it goes on")
    return not has_ended(pid)


@pytest.mark.parametrize("mode", MODES)
def test_restless_one_harms_nobody_and_is_not_harmed(mode, program, build, crowd, ulp):
    """Guards honest ones, and the restless one: no row of an honest one but the right one, and nobody is ended."""
    ulp_file = version_patch(build)
    with staged(build, ulp_file) as stage:
        pid = stage.start(program, mode, environment={
            "LD_LIBRARY_PATH": str(build.directory), "LD_PRELOAD": str(RUNTIME)})
        listed = measured(ulp, "list", "--json")
        assert {process["pid"] for process in listed.answer.json()["processes"]} >= set(crowd.pids)
        for operation, outcome, version in (
            ("patch", "patched", 2), ("check", "already_patched", 2), ("revert", "reverted", 1)
        ):
            policy = () if operation == "check" else ("--ledger", "", "--retries", "50", "--timeout", "5")
            done = measured(ulp, "dispatch", operation, ulp_file, *policy, "--json")
            assert done.largest_kb < LARGEST_KB
            rows = {row["pid"]: row for row in done.answer.json()}
            assert {each: rows[each]["outcome"] for each in crowd.pids} == dict.fromkeys(crowd.pids, outcome)
            assert crowd.versions() == {version}
            assert "fault of this tool" not in done.answer.output
            assert goes_on(pid), rows.get(pid)
