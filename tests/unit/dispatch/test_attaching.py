# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger and the journal hear of an attach."""

from __future__ import annotations

import json
import os
import syslog
from typing import NamedTuple

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.attaching import invoking_user, write_down
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError

PATCH_ID, DIGEST = "ab" * 32, "cd" * 32


class _Livepatch(NamedTuple):
    path: str
    patch_id: str


@pytest.fixture(name="journal")
def fixture_journal(monkeypatch):
    """What is written to the journal."""
    found = []
    monkeypatch.setattr(syslog, "syslog", lambda _priority, text: found.append(text))
    return found


def test_both_have_who_what_and_for_what(tmp_path, journal):
    ledger = tmp_path / "ledger.jsonl"
    livepatch = _Livepatch("/srv/fix.ulp", PATCH_ID)
    write_down(str(ledger), livepatch, os.getpid(), "victim", DIGEST)
    (entry,) = map(json.loads, ledger.read_text(encoding="utf-8").splitlines())
    assert {key: entry[key] for key in ("operation", "patch_id", "patch", "pid", "name", "runtime", "user")} == {
        "operation": "attach", "patch_id": PATCH_ID, "patch": "fix.ulp", "pid": os.getpid(), "name": "victim",
        "runtime": DIGEST, "user": invoking_user()}
    (line,) = journal
    assert all(word in line for word in (DIGEST, str(os.getpid()), PATCH_ID, invoking_user()))


def test_a_ledger_that_cannot_be_written(tmp_path, journal):
    """Nothing may be done then, and nothing is said to have been."""
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(UlpError):
        write_down(str(tmp_path / "ledger.jsonl"), _Livepatch("/srv/fix.ulp", PATCH_ID), os.getpid(), "victim", DIGEST)
    assert not journal
