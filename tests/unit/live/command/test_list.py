# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ulp list``: what it shows, what it leaves out, in which order, and how often."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command import listing
from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.hooks import hooks_of

NO_PID = 2 ** 22 + 1
SECONDS = 60


@pytest.fixture(name="sleeper")
def fixture_sleeper():
    """A process that no livepatch could be for."""
    process = subprocess.Popen(["/bin/sleep", "infinity"])
    yield process
    process.kill()
    process.wait()


def heads(output):
    """The PIDs of the processes that are shown, in their order."""
    return [int(line.split()[0]) for line in output.splitlines() if re.match(r"\d+ \S+: ", line)]


def test_what_has_nothing_to_do_with_livepatches_is_left_out(padded, start, sleeper, ulp, runtime):
    """Seen to fail before there was --all: what can't be patched was never shown, what has only the runtime always."""
    victim, bare = start(padded), start(padded, preload=False)
    idle = subprocess.Popen(["/bin/sleep", "infinity"], env={"LD_PRELOAD": str(runtime / "libpulp.so")})
    try:
        status, output, _errors = ulp("list")
        assert status == 0
        assert {victim.pid, bare.pid} <= set(heads(output))
        assert not {sleeper.pid, idle.pid} & set(heads(output))
        # The reason stands with what it is about.
        reason = f"  process {bare.pid} (app) was started without the livepatch runtime, which an apply loads"
        assert f"{bare.pid} app: by attaching\n{reason}\n" in output
        assert f"  {padded.library} was built for livepatching" in output

        everything = ulp("list", "--all")[1]
        assert {victim.pid, bare.pid, sleeper.pid, idle.pid} <= set(heads(everything))
        assert f"  process {sleeper.pid} (sleep) was started without" in everything

        facts = json.loads(ulp("list", "--json")[1])
        found = {process["pid"]: process for process in facts["unpatchable"]}
        assert found[bare.pid]["libraries"] == [str(padded.library)]
        assert found[sleeper.pid]["libraries"] == []
        assert not found[bare.pid]["forbidden"]
    finally:
        idle.kill()
        idle.wait()


def test_names_wildcards_and_pids(padded, start, sleeper, ulp):
    """Seen to fail without is_meant() in the worker: every process was shown."""
    victim, other = start(padded), start(padded)
    assert heads(ulp("list", victim.pid)[1]) == [victim.pid]
    assert sorted(heads(ulp("list", victim.pid, "-p", other.pid)[1])) == sorted([victim.pid, other.pid])
    by_name = ulp("list", "slee?", victim.pid)
    assert by_name[0] == 0
    assert {victim.pid, sleeper.pid} <= set(heads(by_name[1]))
    assert other.pid not in heads(by_name[1])
    assert ulp("list", "no such*") == (0, "nothing to show: no process is called no such*\n", [])

    status, output, errors = ulp("list", NO_PID, victim.pid)
    assert (status, heads(output)) == (1, [victim.pid])
    assert errors == [f"ulp: process {NO_PID} does not exist, or it has ended"]
    assert ulp("list", "0")[0] == ulp("list", 2 ** 40)[0] == 2
    assert ulp("list", "-p", 2 ** 40)[0] == 2


def test_what_an_apply_would_attach_to_is_not_refused(padded, start, ulp):
    """Seen to fail with exit status 1, and the advice to restart the process with the runtime preloaded."""
    bare = start(padded, preload=False)
    status, output, errors = ulp("list", bare.pid)
    assert (status, heads(output), errors) == (0, [bare.pid], [])
    assert output.startswith(f"{bare.pid} app: by attaching\n")


def test_nothing_to_show(monkeypatch, capsys):
    """Seen to fail with an empty output, of which nobody could say whether it was one."""
    nothing = {"processes": [], "runtime_versions": [], "unpatchable": []}
    stranger = {"pid": 1, "name": "init", "patchable": "no", "reason": "none", "libraries": [], "forbidden": False}
    monkeypatch.setattr(listing, "gather", lambda *_arguments: dict(nothing, unpatchable=[stranger]))
    assert main(["list"]) == 0
    assert capsys.readouterr().out.startswith("nothing to show: ")
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unpatchable"] == [stranger]


def test_what_needs_attention_comes_first(padded, start, trigger, look, ulp):
    """Seen to fail with the order of PIDs."""
    well, bare, pending, undone = (
        start(padded), start(padded, preload=False), start(padded), start(padded),
    )
    for victim in (well, undone):
        trigger(padded).apply(victim.pid)
    pending.start_thread("inside", 0)
    trigger(padded).apply(pending.pid)
    pending.wait_for_threads(2)
    hook_is_gone(look(undone))
    order = heads(ulp("list", well.pid, pending.pid, undone.pid)[1])
    assert order == [undone.pid, pending.pid, well.pid]
    everything = heads(ulp("list")[1])
    mine = [pid for pid in everything if pid in (well.pid, bare.pid, pending.pid, undone.pid)]
    assert mine == [undone.pid, pending.pid, bare.pid, well.pid]


def hook_is_gone(subject):
    (library,) = subject.state.libraries
    hook = hooks_of(subject.proc_tid, subject.state, library)[0]
    # As a debugger does.
    with open(f"/proc/{subject.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(hook.function)
        memory.write(b"\x66\x90")


def test_processes_of_others_are_mentioned(padded, start, as_nobody, monkeypatch):
    """Seen to fail with silence; a list without other users' processes looked complete."""
    victim = start(padded)

    def listed(*arguments):
        with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()) as output:
            status = main(["list", *arguments])
        return f"{status}\n{output.getvalue()}{errors.getvalue()}"

    said = as_nobody(listed)
    assert said.startswith("0\nnothing to show: ")
    assert "ulp: processes of other users that this user may not examine were left out: " in said
    everything = as_nobody(listed, "--all")
    assert "were left out" not in everything
    assert f"process {victim.pid} may not be examined by this user" in everything
    assert f"process {victim.pid} may not be examined by this user" in as_nobody(listed, "ap?")


# -------------------------------------------------------------------- watch


def read_until(stream, wanted, text=b""):
    """What comes from ``stream`` until ``wanted(text)``."""
    deadline = time.monotonic() + SECONDS
    while not wanted(text):
        assert select.select([stream], [], [], max(deadline - time.monotonic(), 0))[0], text
        text += os.read(stream, 65536)
    return text


def interrupted(process):
    """(exit status, what it said on standard error) after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, errors


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_goes_on_until_it_is_interrupted(padded, start, command, as_json):
    """Seen to fail with a traceback of KeyboardInterrupt, outside of termination.raising()."""
    victim = start(padded)
    words = ["list", str(victim.pid), "--watch", "0.05", *(["--json"] if as_json else [])]
    process = subprocess.Popen([sys.executable, command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    head = b'"pid": ' if as_json else b" app: "
    text = read_until(process.stdout.fileno(), lambda text: text.count(head) >= 3 and text.endswith(b"\n"))
    assert interrupted(process) == (130, b"")
    assert b"\x1b" not in text
    if as_json:
        assert all(json.loads(line)["processes"][0]["pid"] == victim.pid for line in text.splitlines())


def test_watching_ends_with_what_was_watched(padded, start, command):
    victim = start(padded)
    process = subprocess.Popen([sys.executable, command, "list", "-p", str(victim.pid), "--watch=0.05"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    read_until(process.stdout.fileno(), lambda text: b" app: " in text)
    victim.kill()
    _output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert f"process {victim.pid} " in errors.splitlines()[-1]


def test_watching_on_a_terminal_redraws(padded, start, command):
    """Seen to fail with output that scrolls: no home, no erasing, more lines than the terminal has."""
    victims = [start(padded) for _each in range(4)]
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 30, 0, 0))
    process = subprocess.Popen(
        [sys.executable, command, "list", *[str(victim.pid) for victim in victims], "--watch", "0.05"],
        stdout=follower, stderr=subprocess.PIPE, env=dict(os.environ, TERM="xterm"))
    os.close(follower)
    text = read_until(leader, lambda text: text.count(b"\x1b[J") >= 3)
    assert interrupted(process) == (130, b"")
    os.close(leader)
    frame = text.split(b"\x1b[H")[2]
    lines = frame.split(b"\r\n")
    assert len(lines) <= 6
    assert all(len(line.replace(b"\x1b[K", b"")) <= 30 for line in lines[:-1])
    assert b"more lines" in frame


def test_dump_is_for_people_unless_json_is_asked_for(padded, ulp):
    """Seen to fail with JSON always."""
    status, output, errors = ulp("dump", padded.livepatch)
    assert (status, errors) == (0, [])
    fields = json.loads(ulp("dump", "--json", padded.livepatch)[1])
    assert output.splitlines()[0] == f"{padded.livepatch}: patch ID {fields['patch_id']}, format 1"
    (target,) = fields["targets"]
    assert f"  for libvictim.so with build ID {target['build_id']}, built as {target['path']}" in output
    assert "    answer is replaced by new_answer" in output
