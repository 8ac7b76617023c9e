# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that may have no more threads or memory, or are frozen: patched, or refused in words and as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import tempfile
import time
from pathlib import Path

import pytest
from harness.victim import Victim

# Fixtures are used by their names.  pylint: disable-next=unused-import
from test_stock import NEW, PYTHON, VICTIM, fixture_livepatch, fixture_packed  # noqa: F401

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import mapping_at, read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import thread_ids
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

OLD = "1.2.13 1013 7"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
CGROUPS = Path("/sys/fs/cgroup")
NO_THREAD = "could not start another thread"
NO_THREAD_TO_LOAD = "cannot start a thread to load the runtime"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and the distribution's python3")


@pytest.fixture(name="start")
def fixture_start(runtime):
    """A function that starts a Python with libz; with ``attached`` the runtime is to be loaded into it."""
    started = []

    def start(attached, wrap=()):
        preload = [] if attached else [runtime / "libpulp.so"]
        started.append(Victim([*wrap, PYTHON, "-I", "-c", VICTIM], preload=preload))
        return started[-1]

    yield start
    for victim in started:
        victim.kill()


@pytest.fixture(name="apply")
def fixture_apply(livepatch, files, runtime):
    """A function that applies the livepatch to a victim, and gives the row."""

    def apply(victim, **options):
        return Trigger(livepatch, files, Options(runtime=str(runtime / "libpulp.so"), **options)).apply(victim.pid)

    return apply


@pytest.fixture(name="group")
def fixture_group():
    """A function that puts a victim into a control group of its own: of version 1, of a controller, or of version 2."""
    made = []

    def group(victim, controller):
        parent = CGROUPS / controller if controller else next(
            (place for place in (CGROUPS, CGROUPS / "unified") if (place / "cgroup.procs").exists()), CGROUPS)
        try:
            place = Path(tempfile.mkdtemp(prefix="ulp-test-", dir=parent))
            made.append((parent, place))
            (place / "cgroup.procs").write_text(str(victim.pid))
        except OSError:
            pytest.skip(f"no control group can be made in {parent}")
        return place

    yield group
    for parent, place in made:
        # What is frozen cannot even be killed.
        for switch, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (place / switch).exists():
                (place / switch).write_text(thawed)
        for pid in (place / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        end = time.monotonic() + 30
        while place.exists() and time.monotonic() < end:
            with contextlib.suppress(OSError):
                place.rmdir()


def is_as_it_was(victim, row, reason):
    assert (row.outcome, row.changed) == ("failed", False), row
    assert reason in row.reason
    assert len(thread_ids(victim.pid)) == 1
    return victim.ask("?") == OLD


@pytest.mark.parametrize("attached", [False, True])
def test_no_process_more_for_the_user(attached, start, apply):
    """RLIMIT_NPROC, which is nothing to root: EAGAIN gives up the claim, and the next attempt is well."""
    victim = start(attached, NOBODY)
    assert victim.ask("processes no more") == "limited"
    reason = NO_THREAD_TO_LOAD if attached else NO_THREAD
    assert is_as_it_was(victim, apply(victim), reason)
    assert victim.ask("processes more") == "limited"
    assert apply(victim).outcome == "patched"
    assert victim.ask("?") == NEW


@pytest.mark.parametrize("attached", [False, True])
def test_no_thread_more_for_the_control_group(attached, start, apply, group):
    """pids.max, as containers have it."""
    victim = start(attached)
    place = group(victim, "pids")
    (place / "pids.max").write_text("1")
    assert is_as_it_was(victim, apply(victim), NO_THREAD_TO_LOAD if attached else NO_THREAD)
    (place / "pids.max").write_text("max")
    assert apply(victim).outcome == "patched"
    assert victim.ask("?") == NEW


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("attached", [False, True])
def test_frozen(attached, version, start, apply, group):
    """Seen to send a thread off, which ran when it was thawed, and to say that it *did not run within 3 seconds*."""
    victim = start(attached)
    place = group(victim, "freezer" if version == 1 else "")
    switch, frozen, thawed = (
        ("freezer.state", "FROZEN", "THAWED") if version == 1 else ("cgroup.freeze", "1", "0"))
    (place / switch).write_text(frozen)
    end = time.monotonic() + 30
    while "frozen 1" not in (place / "cgroup.events").read_text() if version == 2 else (
            (place / switch).read_text() != "FROZEN\n"):
        assert time.monotonic() < end
    before = Path(f"/proc/{victim.pid}/stat").read_text()
    row = apply(victim)
    assert (row.outcome, row.changed) == ("failed", False)
    assert f"is frozen, with all of the control group /{place.name}; thaw that first" in row.reason
    assert Path(f"/proc/{victim.pid}/stat").read_text() == before
    (place / switch).write_text(thawed)
    assert victim.ask("?") == OLD
    assert apply(victim).outcome == "patched"
    assert victim.ask("?") == NEW


def test_memory_that_is_locked(start, apply):
    """mlockall(2) with MCL_FUTURE: landings, cells and stubs are locked, too.  Refused in words, or patched."""
    victim = start(False, ("setpriv", "--bounding-set=-ipc_lock"))
    assert victim.ask("lock memory") == "locked"
    hard = resource.prlimit(victim.pid, resource.RLIMIT_MEMLOCK)[1]
    reasons = set()
    for room in (1 << 17, 5 << 18, hard):
        resource.prlimit(victim.pid, resource.RLIMIT_MEMLOCK, (room, hard))
        row = apply(victim)
        if row.outcome == "patched":
            break
        assert is_as_it_was(victim, row, "")
        reasons.add(row.reason)
    assert row.outcome == "patched" and any(NO_THREAD in reason for reason in reasons), reasons
    assert victim.ask("?") == NEW


@pytest.mark.parametrize("attached", [False, True])
def test_memory_of_the_control_group_is_used_up(attached, start, apply):
    """At its limit: the kernel ends a process that touches a page more.  Seen to end so, by SIGKILL."""
    parent = CGROUPS / "memory" if (CGROUPS / "memory" / "cgroup.procs").exists() else CGROUPS
    try:
        place = Path(tempfile.mkdtemp(prefix="ulp-test-", dir=parent))
    except OSError:
        pytest.skip(f"no control group can be made in {parent}")
    limit = next((place / name for name in ("memory.limit_in_bytes", "memory.max") if (place / name).exists()), None)
    if limit is None:
        place.rmdir()
        pytest.skip(f"no control group limits memory in {parent}")
    # What it reads of files has been read before, and counts elsewhere; its own memory counts there, from the start.
    start(attached)
    victim = start(attached, ("sh", "-c", f'echo $$ >{place}/cgroup.procs && exec "$@"', "sh"))
    try:
        assert victim.ask("?") == OLD
        used = int((place / ("memory.current" if limit.name == "memory.max" else "memory.usage_in_bytes")).read_text())
        limit.write_text(str(used + (1 << 17)))
        for options in ({"check": True}, {}):
            row = apply(victim, **options)
            assert is_as_it_was(victim, row, f"by the limit of the control group /{place.name}, and needs up to")
        limit.write_text(str(used + (16 << 20)))
        assert apply(victim).outcome == "patched"
        assert victim.ask("?") == NEW
    finally:
        victim.kill()
        end = time.monotonic() + 30
        while place.exists() and time.monotonic() < end:
            with contextlib.suppress(OSError):
                place.rmdir()


def test_kernel_that_lets_nobody_write_to_code(start, apply, monkeypatch):
    """proc_mem.force_override: the tracer writes the code of the bootstrap, and it stays, as the row says."""
    victim = start(True)
    write = os.pwrite

    def pwrite(descriptor, data, address):
        mapping = mapping_at(read_maps(victim.pid), address)
        if mapping is not None and not mapping.writable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(descriptor, data, address)

    monkeypatch.setattr(os, "pwrite", pwrite)
    row = apply(victim)
    assert (row.outcome, row.attached) == ("patched", True), row
    assert "stays behind the C library's code" in row.reason
    assert victim.ask("?") == NEW


@pytest.mark.parametrize("attached", [False, True])
def test_no_file_may_grow(attached, start, apply):
    """Guards a process that may write to no file, as in sandboxes (RLIMIT_FSIZE, setrlimit(2)): SIGXFSZ ends it."""
    victim = start(attached, wrap=("prlimit", "--fsize=0"))
    row = apply(victim)
    assert (row.outcome, row.changed) == ("failed", attached), row
    assert os.strerror(errno.EFBIG) in row.reason
    assert victim.ask("version") == OLD
