# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, the line of a stage, and the rows that the role asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_rollout import LIVEPATCH, ON_HOST, PATCH_ID, done, facts, planned, reported, row, stage

from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.console import plan
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.console import stage as table_and_line
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.ending import ending
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.host import hosts_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.rows import QUESTIONS, ours, rows_that
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import outcome

CHECKOUT = Path(__file__).resolve().parents[3]


def test_plan():
    hosts = {
        "web1": planned(
            row(1, "patched"), row(2, "already_patched"),
            row(3, "not_patchable", "no\x1b runtime", unit="nginx.service"),
            row(4, "not_patchable", runs_ansible=True), row(5, "excluded", "hold line 2"),
            row(8, "patched", "would attach: from its file", attached=True, attached_now=True), row(9, "patched")),
        "held": facts("held", held="quarter"),
        "gone": facts("unreachable", trouble=["no route"]),
        "back": planned(row(6, "reverted"), direction="absent"),
    }
    assert plan(hosts_of(hosts, list(hosts), "present")) == [
        "web1: 3 to patch (1 will be attached to), 1 that can't be patched, 2 to leave as they are",
        "1        nginx            would be patched",
        "2        nginx            already_patched",
        "5        nginx            excluded               hold line 2",
        "9        nginx            would be patched",
        "8        nginx            will be attached to    would attach: from its file",
        "4        nginx            runs Ansible           ends with the run",
        "3        nginx            not_patchable          no? runtime",
        "3        nginx            restart with           systemctl restart nginx.service",
        "held: held, left out: quarter",
        "gone: unreachable, left out: no route",
        "back: 0 to patch, 1 to revert, 0 that can't be patched, 0 to leave as they are",
        "6        nginx            would be reverted",
        "2 hosts: 3 to patch (1 will be attached to), 1 to revert, 1 that can't be patched, 2 to leave as they are;"
        " 2 hosts left out",
    ]


def test_processes_that_are_alike_share_a_line_of_a_long_plan():
    """Guards against a line for each of the thousands of processes on 400 hosts."""
    workers = [row(pid, "patched") for pid in range(100, 130)]
    stuck = [row(pid, "not_patchable", f"process {pid} (nginx) has no runtime", unit="nginx.service")
             for pid in (7, 8)]
    hosts = {f"web{number}": planned(*workers, *stuck, row(9, "excluded")) for number in (1, 2)}
    lines = plan(hosts_of(hosts, list(hosts), "present"))
    assert lines[:5] == [
        "web1: 30 to patch, 2 that can't be patched, 1 to leave as they are",
        "30 times nginx            would be patched",
        "9        nginx            excluded",
        "2 times  nginx            not_patchable          the process has no runtime",
        "2 times  nginx            restart with           systemctl restart nginx.service",
    ]
    assert lines[-1] == "2 hosts: 60 to patch, 4 that can't be patched, 2 to leave as they are"


@pytest.mark.parametrize("word", outcome.OUTCOMES)
def test_every_outcome_is_counted_once_in_a_plan(word):
    (line, _row) = plan(hosts_of({"web1": planned(row(1, word), direction="absent")}, ["web1"], "absent"))
    assert sum(int(number) for number in re.findall(r"(\d+) t", line)) == 1


def test_table_of_a_stage():
    rows = row(1, "patched", held_us=70.4), row(2, "patched", attached=True, attached_now=True), row(
        3, "not_patchable", runs_ansible=True), row(4, "failed", "forged\nline")
    hosts = {"web1": done(*rows), "web2": done(row(9, "patched"), stage=2)}
    lines = table_and_line(reported(hosts, [stage(1, "web1")]))
    assert [line.split()[:4] for line in lines[:-1]] == [
        ["HOST", "PID", "NAME", "OUTCOME"], ["web1", "1", "nginx", "patched"], ["web1", "2", "nginx", "patched,"],
        ["web1", "3", "nginx", "runs"], ["web1", "4", "nginx", "failed"]]
    assert "70 us" in lines[1] and "attached" in lines[2] and lines[4].endswith("forged?line")
    assert "no process on these hosts" in table_and_line(reported({"web1": done()}, [stage(1, "web1")]))[0]


@pytest.mark.parametrize("direction, well, bad", [("present", "patched", "pending"), ("absent", "reverted", "failed")])
def test_a_long_table_leaves_out_what_is_well(direction, well, bad):
    hosts = {f"web{number}": done(row(1, well), row(2, bad, "why")) for number in range(30)}
    lines = table_and_line(reported(hosts, [stage(1, *hosts)], direction=direction))
    assert [line.split()[3] for line in lines[1:-2]] == [bad] * 30
    assert lines[-2] == "30 processes more, which the report names"


def stage_line(document):
    return table_and_line(document)[-1]


def test_line_of_a_stage():
    rows = row(1, "patched"), row(2, "pending", threads_pending=1), row(3, "not_patchable", "why")
    hosts = {f"web{number}": done(*rows) for number in range(7)}
    assert stage_line(reported(hosts, [stage(1, *hosts)])) == (
        "stage 1: 7 hosts (web0, web1, web2, web3, web4, ...), 14 processes patched, 7 of them with threads still"
        " inside, 0 patched before, 7 that can't be patched: passed, with vulnerable processes left")
    attached = reported({"web1": done(row(1, "patched"), row(2, "patched", attached=True, attached_now=True),
                                      row(3, "already_patched", attached=True))}, [stage(1, "web1")])
    assert "2 processes patched (1 attached to), 0 of them with" in stage_line(attached)
    assert attached["summary"] == "succeeded: 3 processes patched (1 attached to), left: nothing"
    assert (attached["stages"][0]["attached"], attached["totals"]["attached"]) == (1, 1)
    stopped = reported({"web1": done(row(1, "patched"))}, [stage(1, "web1", harm=["web1: sick"])])
    assert stage_line(stopped).endswith(
        "1 process patched, 0 of them with threads still inside, 0 patched before, 0 that can't be patched: stopped,"
        " web1: sick")
    hosts = {"web1": facts(result={"processes": [row(7, "reverted")]}, stage=1)}
    assert stage_line(reported(hosts, [stage(1, "web1")], direction="absent")) == (
        "stage 1: 1 host (web1), 1 process reverted: passed")


def test_revert_in_check_mode():
    """Guards --check of a revert: nothing was reverted; seen to say that it was."""
    rows = row(7, "reverted", attached=True), row(8, "failed", "why"), row(9, "not_applicable")
    hosts = {"web1": facts(result={"processes": [*rows]}, stage=1)}
    document = reported(hosts, [stage(1, "web1")], direction="absent")
    *table, line = table_and_line(document, check=True)
    assert ["would be reverted" in each for each in table] == [False, True, False, False]
    assert line == "stage 1: 1 host (web1), 1 process would be reverted: nothing was changed"
    assert ending(document, False, check=True)["lines"] == [
        "would be still patched: web1, nginx (8): why",
        "nothing was changed: 1 process would be reverted, left: 1 still patched process on 1 host"]
    stopped = reported(hosts, [stage(1, "web1", harm=["web1: why"])], "stage 1 went wrong", direction="absent")
    assert table_and_line(stopped, check=True)[-1].endswith("1 process would be reverted: stopped, web1: why")


def test_rows_that_the_role_asks_for():
    rows = [row(1, "patched"), row(2, "not_patchable"), row(3, "not_patchable", runs_ansible=True), row(4, "failed"),
            row(5, "failed", runs_ansible=True), row(6, "pending"), row(7, "pending", threads_pending=1)]
    pids = {question: [its["pid"] for its in rows_that(rows, question)] for question in QUESTIONS}
    assert pids == {"need_restart": [2], "failed": [4, 6], "unfinished": [6, 7]}


def test_what_a_stage_takes_back():
    applied = [row(1, "already_patched"), row(2, "already_patched"), row(3, "pending", threads_pending=1),
               row(4, "already_patched"), row(5, "already_patched", name="cron"), row(6, "not_patchable")]
    before = [row(1, "patched"), row(2, "already_patched"), row(4, "patched"), row(6, "not_patchable")]
    known = [row(1, "patched"), row(2, "already_patched"), row(3, "patched"), row(4, "excluded")]
    now = {"processes": applied, "livepatches": ON_HOST}

    def taken(*arguments):
        return [(its["path"], its["pids"]) for its in ours(now, before, *arguments)]

    path = ON_HOST[0]["path"]
    assert taken(known, False) == [(path, [1, 3, 5])]
    # Whoever patched a process that the run is not for, it was not this run.
    assert taken(known, True) == [(path, [1, 3])]
    assert taken(None, False) == [(path, [1, 3, 4, 5])]
    assert taken(None, True) == ours({}, before, known, False) == []


def test_what_a_stage_takes_back_of_several():
    """Guards that each livepatch is taken from the processes that this run gave it, the last one first."""
    other = "cd" * 32
    now = {"livepatches": [*ON_HOST, {"path": "/var/lib/other.ulp", "patch_id": other}],
           "processes": [row(1, "already_patched"), row(1, "already_patched", patch_id=other),
                         row(2, "already_patched"), row(3, "already_patched", patch_id=other),
                         row(4, "already_patched")]}
    before = [row(1, "already_patched"), row(1, "patched", patch_id=other), row(3, "patched", patch_id=other)]
    known = [row(4, "excluded", patch_id="")]
    assert ours(now, before, known, False) == [
        {"path": "/var/lib/other.ulp", "pids": [1, 3]}, {"path": ON_HOST[0]["path"], "pids": [2]}]


def test_a_process_that_several_livepatches_are_for():
    """Guards that it counts once, as what is worst of it, and that each row says which livepatch it is about."""
    other = {"path": "/var/lib/other-0123456789abcdef.ulp", "patch_id": "cd" * 32, "labels": {"cve": ["CVE-1"]}}
    rows = [row(1, "patched"), row(1, "pending", "inside", threads_pending=1, patch_id=other["patch_id"])]
    answer = {"processes": rows, "livepatches": [*ON_HOST, other]}
    document = reported({"web1": facts(plan=answer, result=answer, stage=1)}, [stage(1, "web1")], livepatches=[
        LIVEPATCH, {"file": "/root/other.ulp", "name": "other-0123456789abcdef"}])
    assert document["totals"]["processes"] == document["stages"][0]["processes"] == {"pending": 1}
    assert [(its["file"], its["patch_id"], its["labels"]) for its in document["livepatches"]] == [
        ("fix.ulp", PATCH_ID, {}), ("other.ulp", other["patch_id"], {"cve": ["CVE-1"]})]
    assert [(its["pid"], its["patch_id"]) for its in document["still_vulnerable"]] == [(1, other["patch_id"])]
    stuck = [row(1, "not_patchable", "static"), row(1, "not_patchable", "static", patch_id=other["patch_id"])]
    (action,) = reported({"web1": done(*stuck)}, [stage(1, "web1")])["actions"]
    assert [its["pid"] for its in action["hosts"][0]["processes"]] == [1]
    lines = table_and_line(document)
    assert lines[1].endswith("livepatch fix-0123456789abcdef")
    assert lines[2].endswith("livepatch other-0123456789abcdef; inside")
    assert "1 process patched, 1 of them with threads still inside" in lines[3]
    planned_lines = plan(hosts_of({"web1": planned(*rows, livepatches=answer["livepatches"])}, ["web1"], "present"))
    assert planned_lines[0] == "web1: 0 to patch, 0 that can't be patched, 1 to leave as they are"
    assert "livepatch fix-0123456789abcdef" in planned_lines[1]


def test_the_role_names_no_outcome():
    """Guards the one table: an outcome that is named in YAML or Jinja is missing there when a new one comes."""
    role = CHECKOUT / "roles" / "ulp_livepatch"
    words = "|".join(word for word in outcome.MEANINGS if word not in ("patched", "reverted", "pending", "failed"))
    named = re.compile(rf"outcome'|'({words})'|(equalto|in|==)[', \[]+'(patched|reverted|pending|failed)'")
    found = [
        f"{path.name}: {line}" for part in ("tasks", "templates") for path in sorted((role / part).iterdir())
        for line in path.read_text().splitlines() if named.search(line)
    ]
    assert found == []
