# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program may call itself anything, and who reads a report must not be fooled by that."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from harness.command import Ulp
from harness.modules import ANSIBLE_PLAYBOOK, TIMEOUT
from harness.victim import Victim

# Clears the screen, in both encodings of the sequence's start, and forges a row of a table.
NAME = "\x1b[2J\x9b2J\n9 web"
SHOWN = "?[2J?2J?9 web"
STATUS = "libpulp.livepatch.livepatch_status"


@pytest.fixture
def victim(build, tmp_path):
    """A victim with that name, and a directory in the way to its library whose name is no better."""
    directory = tmp_path / "\x1b[31mlib"
    directory.symlink_to(build.directory)
    program = tmp_path / NAME
    program.symlink_to(build.program())
    victim = Victim([program], libraries=[directory])
    yield victim
    victim.finish()


def rogue_characters(text):
    return sorted({character for character in text if not character.isprintable() and character not in "\n\t"})


def test_command_shows_no_control_characters(victim, ulp_file, ulp, tmp_path):
    """Guards that names are made printable where they are read.

    Seen to fail with ``printable`` as the identity: by the escape characters, and by a line that begins with ``9 web``.
    """
    ledger = tmp_path / "ledger"
    tmp_path.chmod(0o755)
    answers = [
        ulp.succeed("list"),
        ulp.succeed("list", "-p", victim.pid, "--json"),
        ulp.succeed("dispatch", "patch", ulp_file, victim.pid, "--ledger", ledger),
        ulp.succeed("dispatch", "check", ulp_file, victim.pid, "--json"),
        ulp.run("dispatch", "patch", ulp_file, victim.pid, "--exclude", "name=?*web"),
        ulp.succeed("messages", "-p", victim.pid),
        ulp.succeed("trigger", "--revert", "-p", victim.pid, ulp_file, "--ledger", ledger),
        ulp.refuse("check", "-p", victim.pid, ulp_file, naming=SHOWN),
    ]
    for answer in answers:
        assert rogue_characters(answer.output + answer.errors) == [], repr(answer)
        assert not any(line.startswith("9 web") for line in answer.output.splitlines()), repr(answer)
    assert answers[1].json()["processes"][0]["name"] == answers[3].json()[0]["name"] == SHOWN
    assert "excluded" in answers[4].output
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [entry["name"] for entry in entries] == [SHOWN, SHOWN]
    assert rogue_characters(ledger.read_text()) == []


def test_status_playbook_shows_no_control_characters(victim, ulp_file, ulp):
    """Guards the same for what people read most. Seen to fail as above."""
    bare = subprocess.Popen([b"\xff\x1b[2J", b"infinity"], executable="/bin/sleep")
    ulp.succeed("dispatch", "patch", ulp_file, victim.pid)
    variables = json.dumps({"ansible_python_interpreter": sys.executable, "livepatch_become": False})
    try:
        done = subprocess.run(
            [ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", STATUS, "-e", variables],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False,
            env=dict(os.environ, ANSIBLE_NOCOLOR="1"))
    finally:
        bare.kill()
        bare.wait()
    ulp.succeed("dispatch", "revert", ulp_file, victim.pid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rogue_characters(done.stdout) == []
    # Nor such as JSON writes them.
    assert "\\u" not in done.stdout, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if f'"{victim.pid} ' in line]
    assert SHOWN in line
    assert " patched " in line


def test_output_that_cannot_hold_a_name(build, tmp_path):
    """Guards against a traceback where the locale knows no such letter; seen to fail with UnicodeEncodeError."""
    program = tmp_path / "naïve"
    program.symlink_to(build.program())
    victim = Victim([program], libraries=[build.directory])
    try:
        answer = Ulp(wrap=("env", "PYTHONIOENCODING=ascii")).succeed("list", "-p", victim.pid)
    finally:
        victim.finish()
    assert f"{victim.pid} na\\xefve: " in answer.output
