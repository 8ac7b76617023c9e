# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that was started without the runtime is given it, and patched; whatever it was doing goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness.apart import in_root
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import RUNTIME
from harness.variant import PADDING_ONLY, Variant

VARIANT = Variant(PADDING_ONLY)


@pytest.fixture
def ulp_file(target):
    return version_patch(target("blocked", VARIANT), 2)


@pytest.fixture
def victim(target, start):
    return start(target("blocked", VARIANT), preload=())


# As a user who may do nothing to the process: keep whoever wants to from locking what it may open.
LOCKS = """
import fcntl, os, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
locked = []
for name in (".", "mem", "maps", "exe", "ns/pid", "stat"):
    try:
        descriptor = os.open(f"/proc/{sys.argv[1]}/{name}", os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        locked.append(name)
    except PermissionError:
        pass
print(*locked, flush=True)
sys.stdin.read()
"""


def is_inside(pid):
    return RUNTIME.name in Path(f"/proc/{pid}/maps").read_text()


def row_of(answer):
    return answer.json()


def test_a_process_without_runtime_is_given_it(victim, ulp_file, preforked):
    """Seen to fail before there was the option: *was started without the livepatch runtime*."""
    assert victim.number("version") == 1

    answer = preforked.succeed("trigger", "--json", "-p", victim.pid, ulp_file, "--attach", "--runtime", RUNTIME)

    row = row_of(answer)
    assert (row["outcome"], row["attached"], row["reason"]) == ("patched", True, "")
    assert victim.number("version") == 2
    assert preforked.run("check", "-p", victim.pid, ulp_file).status == APPLIED

    row = row_of(preforked.succeed("trigger", "--json", "-p", victim.pid, ulp_file, "--revert"))

    assert (row["outcome"], row["attached"]) == ("reverted", True)
    assert "stays there, dormant" in row["reason"]
    assert victim.number("version") == 1
    assert preforked.run("check", "-p", victim.pid, ulp_file).status == NOT_APPLIED


def test_another_user_keeps_it_from_nobody(victim, ulp_file, preforked):
    """Seen to fail (*another tool is loading the runtime*, of any process of the host) with the lock on /proc/PID."""
    with subprocess.Popen([sys.executable, "-c", LOCKS, str(victim.pid)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        try:
            assert "." in other.stdout.readline().split()
            answer = preforked.succeed(
                "trigger", "--json", "-p", victim.pid, ulp_file, "--attach", "--runtime", RUNTIME)
            assert row_of(answer)["attached"]
        finally:
            other.kill()
    assert victim.number("version") == 2


def test_nothing_is_left_but_the_runtime(victim, ulp_file, preforked):
    """The unused bytes that held the code are zero again.  Seen to fail without clear()."""
    before = code_of_c_library(victim.pid)

    preforked.succeed("trigger", "-p", victim.pid, ulp_file, "--attach", "--runtime", RUNTIME)

    assert code_of_c_library(victim.pid) == before


def code_of_c_library(pid):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split()
        if fields[1] == "r-xp" and fields[-1].endswith("/libc.so.6"):
            start, end = (int(word, 16) for word in fields[0].split("-"))
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                return memory.read(end - start)
    raise AssertionError("no C library")


@pytest.mark.parametrize("options", [("--no-attach",), ("--attach", "--runtime=/nowhere/libpulp.so")])
def test_it_is_left_alone(options, victim, ulp_file, preforked):
    preforked.refuse("trigger", "-p", victim.pid, ulp_file, *options,
                     naming="was started without the livepatch runtime")
    assert not is_inside(victim.pid)


def test_a_rule_forbids_attaching_alone(victim, target, start, ulp_file, preforked, tmp_path):
    """Who has the runtime is patched as ever, and the other one is told which rule keeps it from that.

    Seen to fail, both patched, with a rule whose *forbid* is passed over.
    """
    rule = tmp_path / "hold"
    rule.write_text("forbid=attach name=*-app\n")
    preloaded = start(target("blocked", VARIANT))
    answer = preforked.run("dispatch", "--json", "patch", ulp_file, victim.pid, preloaded.pid, "--hold-file", rule,
                           "--runtime", RUNTIME)
    rows = {row["pid"]: row for row in answer.json()}
    assert rows[preloaded.pid]["outcome"] == "patched" and rows[victim.pid]["outcome"] == "not_patchable"
    assert f"loading that into it is forbidden by {rule}" in rows[victim.pid]["reason"]
    assert not is_inside(victim.pid)
    assert (victim.number("version"), preloaded.number("version")) == (1, 2)


def test_what_would_be_done(victim, ulp_file, preforked):
    answer = preforked.succeed(
        "dispatch", "--json", "patch", "--dry-run", ulp_file, victim.pid, "--attach", "--runtime", RUNTIME)
    (row,) = answer.json()
    assert row["outcome"] == "patched" and "would attach" in row["reason"]
    assert not is_inside(victim.pid)


def test_another_root(target, start, ulp_file, preforked, tmp_path):
    """A process that does not see the file of the runtime is given its bytes."""
    build = target("blocked", VARIANT)
    victim = start(build, preload=(), wrap=in_root(
        tmp_path, [build.directory], f"umount $root{RUNTIME}; mkdir $root/proc; mount -t proc proc $root/proc"))
    assert Path(f"/proc/{victim.pid}/root{RUNTIME}").stat().st_size == 0

    row = row_of(preforked.succeed("trigger", "--json", "-p", victim.pid, ulp_file, "--attach", "--runtime", RUNTIME))

    assert row["attached"]
    assert "/memfd:libpulp.so" in Path(f"/proc/{victim.pid}/maps").read_text()
    assert victim.number("version") == 2
