# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves to do, grouped by action."""

from __future__ import annotations

import pytest
from test_rollout import done, facts, gate, planned, reported, row

from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.actions import KINDS
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import outcome


def kinds(document):
    return [action["kind"] for action in document["actions"]]


def test_one_unit_on_many_hosts_is_one_action():
    hosts = {
        f"web{number}": done(row(number, "not_patchable", f"process {number} (nginx) was started without the runtime",
                                 unit="nginx.service"))
        for number in range(1, 38)
    }
    (action,) = reported(hosts)["actions"]
    assert (action["kind"], action["words"], action["command"]) == (
        "restart_unit", "Restart nginx.service", "systemctl restart nginx.service")
    assert action["reasons"] == ["the process was started without the runtime"]
    assert [host["name"] for host in action["hosts"]] == list(hosts)
    assert action["hosts"][4]["processes"] == [
        {"pid": 5, "name": "nginx", "restart": "systemctl restart nginx.service"}]


def test_the_most_urgent_comes_first():
    hosts = {
        "excluded": done(row(1, "excluded", "process 1 (nginx) is left alone by hold line 2")),
        "unit": done(row(2, "not_patchable", "why", unit="a.service")),
        "units": done(row(3, "not_patchable", "why", unit="b.service")),
        "units2": done(row(4, "not_patchable", "why", unit="b.service")),
        "broken": done(row(5, "failed", "why")),
        "held": facts("held", held="closing of the quarter"),
        "gone": facts("unreachable", trouble=["no route"]),
    }
    document = reported(hosts)
    assert kinds(document) == ["reach", "examine", "restart_unit", "restart_unit", "release", "decide"]
    assert [host["name"] for action in document["actions"] for host in action["hosts"]] == [
        "gone", "broken", "units", "units2", "unit", "held", "excluded"]
    assert document["actions"][0]["hosts"][0]["reason"] == "no route"


@pytest.mark.parametrize("status", ["planned", "held", "unreachable", "error"])
@pytest.mark.parametrize("direction", ["present", "absent"])
@pytest.mark.parametrize("word", outcome.MEANINGS)
def test_whatever_is_left_is_in_an_action(word, direction, status):
    """Guards that a new outcome or status does not fall through."""
    for its in (
        done(row(7, word), status=status), planned(row(7, word), status=status),
        planned(row(7, word), status=status, stage=1, trouble=["lost"]),
        done(row(7, word), status=status, taken_back={"complete": False, "processes": [], "left": ["process 7"]}),
    ):
        document = reported({"web1": its}, direction=direction)
        assert set(kinds(document)) <= set(KINDS)
        left = document["still_vulnerable"] + document["still_patched"]
        in_actions = [host["name"] for action in document["actions"] for host in action["hosts"]]
        well = document["hosts"][0]["status"] in ("patched", "reverted", "unconcerned")
        assert bool(in_actions) == (bool(left) or not well), (document["hosts"], document["actions"])


@pytest.mark.parametrize("words", [outcome.BREAKPOINT_SET, outcome.BREAKPOINTS_SET])
def test_probe_is_not_cured_by_a_restart(words):
    reason = f"process %d (nginx): function f of libz.so.1 cannot be hooked, {words}; remove that"
    document = reported({
        "web1": done(row(7, "failed", reason % 7)),
        "web2": done(row(8, "not_patchable", reason % 8, unit="nginx.service")),
    })
    (action,) = document["actions"]
    assert action["kind"] == "remove_probe"
    assert len(action["hosts"]) == 2


def test_reasons_that_differ_in_numbers_are_one():
    reason = "process {pid} (nginx): no memory at 0x7f{pid:x}, after {pid} tries"
    hosts = {f"web{pid}": done(row(pid, "failed", reason.format(pid=pid))) for pid in range(1, 9)}
    (action,) = reported(hosts)["actions"]
    assert (len(action["hosts"]), len(action["reasons"])) == (8, 1)
    hosts = {f"web{pid}": done(row(pid, "not_patchable", "x" * pid, unit="nginx.service"))
             for pid in range(1, 9)}
    (action,) = reported(hosts)["actions"]
    assert action["reasons"] == ["x", "xx", "xxx", "and 5 other reasons"]


def test_what_is_restarted_by_hand():
    hosts = {"web1": done(
        row(7, "not_patchable", container="3f9c2d1e8b7a"), row(8, "not_patchable", name="cron"),
        row(9, "not_patchable"))}
    document = reported(hosts)
    assert [action["words"] for action in document["actions"]] == [
        "Restart the containers that run nginx", "End cron, and start it again the way it was started",
        "End nginx, and start it again the way it was started"]
    # Each has a command of its own.
    assert [action["command"] for action in document["actions"]] == [""] * 3
    assert document["actions"][0]["hosts"][0]["processes"][0]["restart"].startswith("podman restart 3f9c2d1e8b7a")


def test_stages_that_are_still_to_come_are_no_trouble():
    hosts = {"web1": done(row(7, "patched")), "web2": planned(row(8, "patched"))}
    assert kinds(reported(hosts, state="running")) == ["wait"]
    assert kinds(reported(hosts, state="refused")) == ["run_again"]


def test_sick_hosts_and_what_is_left_of_a_revert():
    hosts = {
        "sick": done(row(7, "patched"), gates_before=[gate("page", False)]),
        "left": done(row(8, "patched"), taken_back={
            "complete": False, "processes": [], "left": ["process 8", "a timer"]}),
    }
    first, second = reported(hosts)["actions"]
    assert (first["kind"], first["hosts"][0]["reason"]) == ("revert_again", "process 8; a timer")
    assert (second["kind"], second["hosts"][0]["reason"]) == ("sick", "health gate failed before: page")


def test_nothing_is_left():
    assert reported({"web1": done(row(7, "patched"), row(8, "not_patchable", runs_ansible=True))})["actions"] == []
