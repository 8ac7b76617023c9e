# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test that fails shows what the runtime did in its victims."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness.paths import CHECKOUT, COMMAND, RUNTIME
from harness.runtime_log import logs_of_victims, runtime_log

# The victim is there already when the time of the test itself begins.
FAILING = """
import os
import subprocess
import sys
import time

import pytest

@pytest.fixture
def victim():
    process = subprocess.Popen([{program!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=dict(os.environ, LD_PRELOAD={runtime!r}, LD_LIBRARY_PATH={libraries!r}))
    assert process.stdout.readline() == b"ready\\n"
    subprocess.run([sys.executable, {command!r}, "trigger", "-p", str(process.pid), {ulp_file!r}], check=True)
    yield process
    process.kill()
    process.wait()

def test_wrong(victim):
    assert False

@pytest.mark.timeout(1, func_only=True)
def test_hanging(victim):
    while True:
        time.sleep(1)

def test_right(victim):
    pass

@pytest.fixture
def beginning(victim):
    assert False

def test_wrong_at_its_beginning(beginning):
    pass
"""


def test_a_failed_test_shows_the_log_of_its_victims(build, ulp_file, tmp_path):
    """Guards that a failure, a timeout and a failing fixture come with the log of the runtime, and a success without.

    Seen to fail with: no hook in tests/conftest.py; the hook looking at the phase ``call`` only.
    """
    inner = tmp_path / "test_inner.py"
    inner.write_text(FAILING.format(program=str(build.program()), runtime=str(RUNTIME), command=str(COMMAND),
                                    libraries=str(build.directory), ulp_file=str(ulp_file)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", "-rN", str(inner)],
        check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(CHECKOUT / "tests")))
    sections = done.stdout.split("log of the runtime in blocked-app")[1:]
    assert len(sections) == 3, done.stdout
    for section in sections:
        assert "apply " in section.partition("\n____")[0], done.stdout
    assert "2 failed, 1 passed, 1 error" in done.stdout


def test_a_log_that_takes_too_long(build, start, monkeypatch):
    """Guards that nobody waits for a log, and that the report says whose is missing.

    Seen to fail with: TimeoutExpired passed on.
    """
    victim = start(build)
    monkeypatch.setattr("harness.runtime_log.PATIENCE", 0)
    (log,) = (log for heading, log in logs_of_victims() if f"(PID {victim.pid})" in heading)
    assert f"messages -p {victim.pid}" in log


def test_the_logs_of_victims_that_do_not_run(build, start):
    """Guards that a victim which is stopped or dead keeps nobody from the other logs, and that no others are shown.

    Seen to fail with: programs without the runtime among the victims.
    """
    stopped, other = start(build), start(build)
    with subprocess.Popen(["sleep", "inf"]) as sleeping:
        os.kill(stopped.pid, signal.SIGSTOP)
        ended = subprocess.Popen(["true"])
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        try:
            headings = [heading for heading, _log in logs_of_victims()]
            assert str(ended.pid) in runtime_log(ended.pid)
        finally:
            ended.wait()
            os.kill(stopped.pid, signal.SIGCONT)
            sleeping.kill()
    for victim in (stopped, other):
        assert f"log of the runtime in {victim.name} (PID {victim.pid})" in headings
    assert not any("sleep" in heading for heading in headings)
