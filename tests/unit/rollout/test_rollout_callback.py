# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback rollout, in a playbook of its own: how far a long task is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


def played(directory, task, hosts, **environment):
    """(exit status, lines) of a playbook with one task."""
    playbook = directory / "play.yml"
    play = {"name": "Look", "hosts": "all", "gather_facts": False, "connection": "local", "tasks": [task]}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        [PLAYBOOK, "-i", hosts, "-e", f"ansible_python_interpreter={sys.executable}", playbook],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=dict(os.environ, ANSIBLE_STDOUT_CALLBACK="libpulp.livepatch.rollout", ANSIBLE_FORKS="1", **environment),
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("seconds, said", [
    ("0", ["Ask the processes: done on 1 of 3 hosts", "Ask the processes: done on 2 of 3 hosts"]), ("3600", []),
])
def test_a_long_task_says_how_far_it_is(tmp_path, seconds, said):
    """Guards against silence from the first of 400 hosts to the last."""
    ask = {"name": "Ask the processes", "ansible.builtin.command": {"argv": ["true"]}, "changed_when": False}
    status, lines = played(tmp_path, ask, "a,b,c,", ULP_ROLLOUT_PROGRESS_SECONDS=seconds)
    assert status == 0, lines
    assert [line for line in lines if "done on" in line] == said
    assert not any(line.startswith("ok: [") for line in lines)


@pytest.mark.parametrize("run_once, action", [(True, "fail"), (False, "assert")])
def test_why_a_run_does_not_begin_is_said_once(tmp_path, run_once, action):
    """Seen to be said twice, as a list in JSON, with the lines of the task file around the one that says it."""
    said = ["The rollout would not begin:", "the kill switch is set"]
    given = {"fail": {"msg": said}, "assert": {"that": False, "fail_msg": said, "quiet": True}}
    refuse = {"name": "Refuse", f"ansible.builtin.{action}": given[action], "run_once": run_once}
    status, lines = played(tmp_path, refuse, "web1,")
    assert status != 0
    expected = said if run_once else [f"web1: {line}" for line in said]
    assert lines[lines.index(expected[0]):][:2] == expected
    text = "\n".join(lines)
    assert (text.count("kill switch"), "[ERROR]" in text, "Origin:" in text) == (1, False, False)
    assert "failed=1" in text


def test_why_a_dispatch_failed_is_said_once(tmp_path):
    """Guards what an operator reads of a process that could not be dealt with; seen with its row as JSON, in full."""
    ask = {"name": "Revert", "libpulp.livepatch.ulp_dispatch": {
        "all_of": "libnone.so.1", "state": "absent", "pids": [2 ** 22 + 1], "ledger": ""}}
    status, lines = played(tmp_path, ask, "web1,")
    assert status != 0
    text = "\n".join(lines)
    assert f"web1: process {2 ** 22 + 1} does not exist, or it has ended" in lines
    assert (text.count("does not exist"), "threads_pending" in text, "Origin:" in text) == (1, False, False)
