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
HOSTS = 3
PLAY = [{
    "name": "Look", "hosts": "all", "gather_facts": False, "connection": "local",
    "tasks": [{"name": "Ask the processes", "ansible.builtin.command": {"argv": ["true"]}, "changed_when": False}],
}]


@pytest.mark.parametrize("seconds, said", [
    ("0", ["Ask the processes: done on 1 of 3 hosts", "Ask the processes: done on 2 of 3 hosts"]), ("3600", []),
])
def test_a_long_task_says_how_far_it_is(tmp_path, seconds, said):
    """Seen to be silent from the first of 400 hosts to the last."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps(PLAY), encoding="utf-8")
    hosts = ",".join(f"host{number}" for number in range(HOSTS)) + ","
    done = subprocess.run(
        [PLAYBOOK, "-i", hosts, "-e", f"ansible_python_interpreter={sys.executable}", playbook],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=dict(os.environ, ANSIBLE_STDOUT_CALLBACK="libpulp.livepatch.rollout", ANSIBLE_FORKS="1",
                 ULP_ROLLOUT_PROGRESS_SECONDS=seconds),
    )
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if "done on" in line] == said
    assert "ok: [" not in done.stdout
