# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger, as real files with several real writers."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
from types import SimpleNamespace

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import ledger
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.ledger import (
    LIMIT,
    append,
    entries_of,
    is_kept,
    read_last,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import FileProblem, Untrusted
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import Row

LIVEPATCH = SimpleNamespace(patch_id="ab" * 32, path="/var/lib/libpulp/livepatches/cve-1.ulp")
ROWS = [
    Row(1, "one", "patched", held_us=71.5, changed=True),
    Row(2, "two", "already_patched"),
    Row(3, "three", "failed", "process 3 (three): it is so"),
    Row(4, "four", "excluded", "held"),
    Row(5, "five", "not_patchable", "no runtime"),
    Row(6, "six", "pending", "1 of 2", 2, 1, 60.0, changed=True),
]


@pytest.fixture(name="path")
def fixture_path(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path / "ledger.jsonl"


def lines(path):
    """The entries, every line of which must be whole."""
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_entries_are_what_changed_or_failed():
    other = SimpleNamespace(patch_id="cd" * 32, path="/root/cve-2.ulp")
    rows = [row._replace(patch_id=LIVEPATCH.patch_id) for row in ROWS]
    entries = entries_of([*rows, ROWS[0]], [LIVEPATCH, other], "patch")
    # Of one that is about none in particular, all are named.
    assert (entries[-1]["patch_id"], entries.pop()["patch"]) == ("", "cve-1.ulp, cve-2.ulp")
    assert [entry["pid"] for entry in entries] == [1, 3, 6]
    assert list(entries[0]) == [
        "time", "operation", "patch_id", "patch", "pid", "name", "outcome", "reason", "held_us", "container"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entries[0].pop("time"))
    assert entries[0] == {
        "operation": "patch", "patch_id": LIVEPATCH.patch_id, "patch": "cve-1.ulp", "pid": 1, "name": "one",
        "outcome": "patched", "reason": "", "held_us": 71.5, "container": None}


def test_append_and_read(path):
    assert read_last(path, 50) == []
    assert read_last(None, 50) == []
    append(path, [{"n": 1}, {"n": 2}])
    append(path, [{"n": 3, "name": "näme\n\udcff"}])
    assert [entry["n"] for entry in lines(path)] == [1, 2, 3]
    assert [entry["n"] for entry in read_last(path, 2)] == [2, 3]
    assert [entry["n"] for entry in read_last(path, 50)] == [1, 2, 3]
    assert read_last(path, 0) == []
    assert path.stat().st_mode & 0o022 == 0


def test_oldest_lines_go(path):
    filler = "x" * 1000
    for start in range(0, 1500, 100):
        append(path, [{"n": number, "filler": filler} for number in range(start, start + 100)])
        assert path.stat().st_size <= LIMIT
    numbers = [entry["n"] for entry in lines(path)]
    assert numbers == list(range(numbers[0], 1500))
    # No more went than had to.
    assert path.stat().st_size > LIMIT - 2000
    mode = path.stat().st_mode
    append(path, [{"n": number, "filler": filler} for number in range(3000)])
    numbers = [entry["n"] for entry in lines(path)]
    assert numbers == list(range(numbers[0], 3000))
    assert path.stat().st_size <= LIMIT
    assert path.stat().st_mode == mode
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.lock"]
    assert (path.parent / f"{path.name}.lock").stat().st_mode & 0o777 == 0o600


def test_limit_is_exact(path, monkeypatch):
    line = len(b'{"n": 1}\n')
    monkeypatch.setattr(ledger, "LIMIT", 3 * line)
    for number in range(1, 4):
        append(path, [{"n": number}])
    assert [entry["n"] for entry in lines(path)] == [1, 2, 3]
    append(path, [{"n": 4}])
    assert [entry["n"] for entry in lines(path)] == [2, 3, 4]
    monkeypatch.setattr(ledger, "LIMIT", 3 * line - 1)
    append(path, [{"n": 5}])
    assert [entry["n"] for entry in lines(path)] == [4, 5]


def write_many(path, writer):
    for number in range(50):
        append(path, [{"writer": writer, "n": number, "part": part, "filler": "x" * 300} for part in (0, 1)])


def test_writers_at_the_same_time(path, monkeypatch):
    """Guards that none is lost or torn, also while the file is being replaced by a shorter one."""
    context = multiprocessing.get_context("fork")
    for limit in (LIMIT, 40_000):
        monkeypatch.setattr(ledger, "LIMIT", limit)
        writers = [context.Process(target=write_many, args=(path, writer)) for writer in range(4)]
        for process in writers:
            process.start()
        for process in writers:
            process.join(60)
            assert process.exitcode == 0
        entries = lines(path)
        assert path.stat().st_size <= limit
        if limit == LIMIT:
            assert len(entries) == 400
        for writer in range(4):
            own = [(entry["n"], entry["part"]) for entry in entries if entry["writer"] == writer]
            assert own == sorted(own)
        # Whole batches: the two parts stand together.
        whole = entries[1:] if entries[0]["part"] else entries
        for first, second in zip(whole[::2], whole[1::2]):
            assert (first["writer"], first["n"], first["part"], second["part"]) == (
                second["writer"], second["n"], 0, 1)
    assert {(entry["n"], entry["part"]) for entry in entries} >= {(49, 0), (49, 1)}


def test_whoever_may_read_the_ledger_cannot_block_it(path):
    """Guards that a lock on the ledger, which every user can take, keeps nobody from writing.

    Seen to hang when writers locked the ledger itself.
    """
    append(path, [{"n": 1}])
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        append(path, [{"n": 2}])
    assert [entry["n"] for entry in lines(path)] == [1, 2]


def test_a_writer_that_does_not_come_to_an_end(path, monkeypatch):
    """Guards that a stopped writer does not stop everybody: seen to hang without the limit."""
    append(path, [{"n": 1}])
    monkeypatch.setattr(ledger, "_PATIENCE", 0.1)
    with path.with_name(f"{path.name}.lock").open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(FileProblem, match=r"ledger\.jsonl: another process has held .*\.lock locked for too long"):
            append(path, [{"n": 2}])
    append(path, [{"n": 3}])
    assert [entry["n"] for entry in lines(path)] == [1, 3]


def test_half_a_line_costs_only_itself(path):
    append(path, [{"n": 1}])
    with path.open("ab") as stream:
        stream.write(b'{"n": 2, "na')
    append(path, [{"n": 3}])
    assert [entry["n"] for entry in read_last(path, 50)] == [1, 3]
    with path.open("ab") as stream:
        stream.write(b"7\n\xff\n")
    assert [entry["n"] for entry in read_last(path, 50)] == [1, 3]


def test_where_a_ledger_is_kept(path, tmp_path):
    assert is_kept(path)
    assert not is_kept(None)
    assert not is_kept(tmp_path / "missing" / "ledger.jsonl")
    assert not is_kept("/proc/sys/ledger.jsonl") or os.geteuid() == 0


def test_a_ledger_is_not_led_elsewhere(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious\n", encoding="utf-8")
    path.symlink_to(victim)
    with pytest.raises(FileProblem, match=r"ledger\.jsonl"):
        append(path, [{"n": 1}])
    assert victim.read_text(encoding="utf-8") == "precious\n"
    path.unlink()
    tmp_path.chmod(0o777)
    with pytest.raises(Untrusted, match="the directory of the ledger"):
        append(path, [{"n": 1}])
    assert not path.exists()
    tmp_path.chmod(0o755)
    path.mkdir()
    with pytest.raises(FileProblem, match=r"ledger\.jsonl"):
        append(path, [{"n": 1}])
