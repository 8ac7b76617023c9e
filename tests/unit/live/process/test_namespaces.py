# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that number processes, or see files, otherwise than we do."""

from __future__ import annotations

import os
import shutil

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import namespaces, procfs

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"
)


@pytest.fixture(name="start_apart")
def fixture_start_apart(start):
    """A function that starts a victim in namespaces of its own."""

    def start_apart(layout, *kinds, first=()):
        victim = start(layout, wrap=("unshare", *kinds, "--fork", "--kill-child", *first))
        children = procfs.read_bytes(victim.pid, f"task/{victim.pid}/children").split()
        victim.pid = int(children[0])
        return victim

    return start_apart


def test_process_with_its_own_process_numbers(layout, start_apart, trigger):
    victim = start_apart(layout, "--pid")
    assert procfs.read_status(victim.pid).namespace_pids == (victim.pid, 1)
    assert not namespaces.shares_pid_namespace(victim.pid)
    assert namespaces.shares_pid_namespace(os.getpid())
    tid = victim.start_thread("inside", 0)
    assert namespaces.inner_thread_id(victim.pid, tid) == 2
    row = trigger(layout).apply(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert victim.ask("release") == "20"
    assert victim.ask("answer") == "5001"
    row = trigger(layout).check(victim.pid)
    assert (row.outcome, row.threads_pending) == ("already_patched", 0)


def test_records_are_found_by_the_inner_number(padded, start_apart, trigger, look):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.process.migration import Inside, _Census

    victim = start_apart(padded, "--pid")
    trigger(padded).apply(victim.pid)
    assert victim.ask("answer") == "5001"
    subject = look(victim)
    census = _Census(subject, subject.state.patches[0], Inside((), frozenset))
    records = list(census.records(census.survivors()).values())
    assert [record.tid for record in records] == [1]


@pytest.mark.parametrize("ahead", [100000, -1])
def test_records_of_a_process_with_a_clock_of_its_own(padded, start_apart, trigger, look, ahead):
    """Guards that a record of an earlier thread with the same number is told from the thread's own.

    Seen to fail (the earlier one's is believed, the own one is not) with boot_time_ahead() always 0.
    """
    from ansible_collections.libpulp.livepatch.plugins.module_utils.process.migration import Inside, _Census

    victim = start_apart(padded, "--time", f"--boottime={ahead}")
    trigger(padded).apply(victim.pid)
    assert victim.ask("answer") == "5001"
    subject = look(victim)
    census = _Census(subject, subject.state.patches[0], Inside((), frozenset))
    threads = census.survivors()
    assert set(census.records(threads)) == {victim.pid}
    assert census.records({victim.pid: threads[victim.pid] + 100 * procfs.CLOCK_TICKS}) == {}


def test_file_that_the_process_does_not_see(padded, start_apart, trigger, tmp_path):
    """The livepatch lies in a directory that is mounted over in the victim's mount namespace: it gets the bytes."""
    here = tmp_path / "here"
    here.mkdir()
    livepatch = here / "victim.ulp"
    shutil.copy(padded.livepatch, livepatch)
    # The victim's own shell mounts an empty file system there, then becomes the victim.
    first = ("sh", "-c", f'mount -t tmpfs none {here} && exec "$@"', "sh")
    patch = trigger(padded._replace(livepatch=livepatch))
    victim = start_apart(padded, "--mount", first=first)
    before = os.listdir(f"/proc/{victim.pid}/fd")
    assert not namespaces.can_load(victim.pid, str(livepatch))
    assert patch.apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"
    assert os.listdir(f"/proc/{victim.pid}/fd") == before


def in_root(root, shown, script):
    """Words that run the victim with another root directory, in which the directories ``shown`` are those of ours."""
    lines = [f"root={root}"]
    for path in ("/usr", "/lib", "/lib64", *shown):
        lines.append(f"if test -e {path}; then mkdir -p $root{path}; mount --bind {path} $root{path}; fi")
    return ("unshare", "--mount", "sh", "-ec", "\n".join([*lines, script, 'exec chroot $root "$@"']), "sh")


@pytest.mark.parametrize(
    ("script", "sees"),
    [
        ("mkdir $root/proc; mount -t proc proc $root/proc", True),
        # Not mounted; mounted for other numbers; a link that leads to our own; something that waits for ever.
        ("mkdir $root/proc", False),
        ("ln -s /proc $root/proc", False),
        ("mkdir -p $root/proc/$$ $root/proc/1; mkfifo $root/proc/$$/stat $root/proc/1/stat", False),
        ("mkdir -p $root/proc/$$; echo nonsense > $root/proc/$$/stat", False),
    ],
    ids=["mounted", "empty", "link", "fifo", "nonsense"],
)
def test_process_sees_itself(padded, runtime, start, tmp_path, script, sees):
    """Guards against a tree that leads us out of it, or makes us wait."""
    victim = start(padded, wrap=in_root(tmp_path, (padded.directory, runtime), script))
    assert namespaces.sees_itself_in_proc(victim.pid) == sees
    assert not namespaces.shares_root(victim.pid)
