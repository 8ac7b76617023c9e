# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that end `ulp build` and `ulp pack`: at once, with all that they have started, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from harness.command import TIMEOUT, Ulp
from harness.library import WARNINGS, run
from harness.paths import RUNTIME
from harness.polling import wait_until

OLD = "int fix(int v) { return v * 3 + 1; }\n"
NEW = "int fix(int v) { return v < 0 ? 0 : v * 3 + 1; }\n"
MAKE = "gcc -O2 -g -fPIC -fpatchable-function-entry=16,14 -c fix.c && gcc -shared -Wl,--build-id -o libfix.so fix.o"
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()


@pytest.fixture(name="build")
def fixture_build(tmp_path):
    """The words of a build that works."""
    tree = tmp_path / "source"
    tree.mkdir()
    (tree / "fix.c").write_text(OLD)
    (tmp_path / "fix.patch").write_text(f"--- a/fix.c\n+++ b/fix.c\n@@ -1 +1 @@\n-{OLD}+{NEW}")
    return ["build", "--source", tree, "--build", MAKE, "--diff", tmp_path / "fix.patch", "--work", tmp_path / "work",
            "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out"]


def interrupted(words, number, begun):
    """Start the command, and send it a signal when ``begun()`` is true; it must end by that, with one last sentence."""
    process = subprocess.Popen([*Ulp().command, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: begun(process.pid), "it is at work")
        process.send_signal(number)
        _output, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert f"interrupted by {number.name}" in errors.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("option", ["--build", "--test"])
def test_while_a_command_of_the_source_runs(build, tmp_path, option, number):
    """Guards the end of what the build has started, and its work directory.

    Seen to fail, with what the shell had started left running, when the shell alone was ended.
    """
    pids = tmp_path / "pids"
    slow = f"sleep 1000 & echo $! $$ >{pids}.new; mv {pids}.new {pids}; wait"
    words = [*build[:4], slow, *build[5:]] if option == "--build" else [*build, "--test", slow]
    interrupted(words, number, lambda _pid: pids.exists())
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"process {pid} has ended, too")
    assert not list(tmp_path.glob("out/*"))
    Ulp().succeed(*build)
    assert list(tmp_path.glob("out/*.ulp"))


@pytest.mark.parametrize("option", ["--build", "--test"])
def test_that_fills_the_disk(build, tmp_path, option):
    """A command of the source that writes without end is ended, with all that it has started.

    Seen to fail (the disk fills until the time is over) without a look at the disk.
    """
    pids = tmp_path / "pids"
    writing = (f"{{ while :; do head -c 1048576 /dev/zero; sleep 0.01; done >much & }}; echo $! $$ >{pids}; wait")
    words = [*build[:4], writing, *build[5:]] if option == "--build" else [*build, "--test", writing]
    answer = Ulp().run(*words, "--build-space", "0.05", "--build-timeout", "300")
    assert answer.status == 1
    assert f"took more than 0.05 GiB of the disk in {tmp_path / 'work'} (--build-space)" in answer.errors
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"process {pid} has ended, too")
    assert not list(tmp_path.glob("out/*"))


def test_while_a_library_without_padding_is_looked_at(tmp_path):
    """Guards the end of what reads all code of a large library; and nothing half is left."""
    (tmp_path / "patch.c").write_text("int new_gethostname(char *name, unsigned long size)\n"
                                      "{\n\treturn size ? *name = 0 : -1;\n}\n")
    run(["gcc", "-O2", *WARNINGS, "-fPIC", "-shared", "-Wl,--build-id", "-Wno-missing-prototypes", "-o",
         tmp_path / "patch.so", tmp_path / "patch.c"])
    description = tmp_path / "patch.dsc"
    description.write_text(f"{tmp_path}/patch.so\n@{LIBC}\ngethostname:new_gethostname\n")
    before = set(tmp_path.iterdir())
    # What decodes instructions is only loaded for that.
    interrupted(["pack", description, "-o", tmp_path / "patch.ulp"], signal.SIGTERM,
                lambda pid: "capstone" in Path(f"/proc/{pid}/maps").read_text())
    assert set(tmp_path.iterdir()) == before
    Ulp().succeed("pack", description, "-o", tmp_path / "patch.ulp")
