# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests need: the collection under its name, signals as in a terminal, and what victims tell of a failure.

This checkout becomes importable as ansible_collections.libpulp.livepatch, whatever its folder is called.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Generator

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
COLLECTIONS = CHECKOUT / "build" / "collections"

_link = COLLECTIONS / "ansible_collections" / "libpulp" / "livepatch"
_link.parent.mkdir(parents=True, exist_ok=True)
if not _link.is_symlink():
    _link.symlink_to("../../../..")
sys.path.insert(0, str(COLLECTIONS))
# For the ansible commands that tests run.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
os.environ["ANSIBLE_CONFIG"] = str(CHECKOUT / "ansible.cfg")
# A quarter of the work of a playbook. How modules are sent without that is what harness/modules.py runs.
os.environ["ANSIBLE_PIPELINING"] = "true"

# A shell starts background jobs with SIGINT ignored, and so would be every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.path.insert(0, str(CHECKOUT / "tests" / "integration"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of the runtime in every victim that is alive when a test fails or its time is up."""
    from harness.runtime_log import logs_of_victims

    report = yield
    if report.failed:
        # The clock of pytest-timeout stands still meanwhile: what it raises would end the whole run from here.
        left, _interval = signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            report.sections.extend(logs_of_victims())
        finally:
            signal.setitimer(signal.ITIMER_REAL, left)
    return report
