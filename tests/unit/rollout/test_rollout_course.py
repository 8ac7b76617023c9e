# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a run takes, and what keeps it from beginning."""

from __future__ import annotations

import pytest
from test_rollout import done, facts, planned, row

from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.course import (
    BY_NUMBER,
    course,
    readiness,
    rest_of_stage,
    soak,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.faults import (
    failure,
    faults,
    on_hosts,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.gates import gate_faults, gate_row, measures
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.host import hosts_of

NOTHING = {"gates": False, "soak": False, "persist": False, "revert_earlier": False, "restart": False, "retract": False}


@pytest.mark.parametrize("answer, held, gates, by_number, status, trouble", [
    ({"processes": []}, "", [], True, "planned", []),
    ({"processes": []}, "quarter", ["bad gate"], True, "held", []),
    ({"unreachable": True, "msg": "no route"}, "", [], False, "unreachable", ["no route"]),
    ({"msg": "not signed"}, "", ["bad gate"], False, "error", ["bad gate", "not signed"]),
    ({}, "", [], False, "error", ["it failed without a message"]),
    ({"processes": [row(7, "not_patchable")]}, "", [], False, "planned", []),
    ({"processes": [row(7, "not_patchable")]}, "", [], True, "error", [BY_NUMBER]),
])
def test_readiness(answer, held, gates, by_number, status, trouble):
    assert readiness(answer, held, gates, by_number) == {"status": status, "trouble": trouble}


def test_a_plain_stage_has_no_file_that_nobody_needs():
    """Ansible prints a line for each that is skipped. Seen to be 55 tasks for each stage."""
    hosts = hosts_of({"b": planned(row(1, "patched")), "a": planned(), "held": facts("held")}, ["b", "a", "held"],
                     "present")
    assert course(hosts, ["a", "b", "held"], "present") == {
        "stop": "", "order": ["a", "b"], "canaries": 0, "steps": ["apply", "ping", "judge"],
        "measures": ["ping", "judge"], "later": NOTHING}


def test_what_one_host_wants_all_of_the_stage_go_through():
    wants = dict.fromkeys(("gates", "soak", "persist", "revert_earlier"), True)
    hosts = {
        "a": planned(), "retracted": planned(row(7, "reverted"), direction="absent"),
        "first": planned(row(8, "not_patchable"), canary=True, wants=wants, consent=True),
    }
    its = course(hosts_of(hosts, list(hosts), "present"), list(hosts), "present")
    assert (its["order"], its["canaries"]) == (["first", "a", "retracted"], 1)
    assert its["steps"] == [
        "gates_before", "apply", "retract", "restart", "ping", "gates_after", "judge", "soak"]
    assert its["measures"] == ["ping", "gates_after", "judge"]
    assert its["later"] == dict.fromkeys(NOTHING, True)


def test_revert_measures_nothing_and_is_never_refused():
    wants = {"gates": True, "soak": True, "persist": True}
    hosts = {"a": planned(direction="absent", wants=wants), "b": facts("error")}
    its = course(hosts_of(hosts, list(hosts), "absent"), ["a", "b"], "absent")
    assert (its["stop"], its["steps"], its["order"]) == ("", ["retract", "judge"], ["a"])


def test_rest_of_a_stage():
    def steps(facts_of, later=(), ends_play=True, direction="present"):
        hosts = hosts_of({"a": facts_of}, ["a"], direction)
        return rest_of_stage(hosts, ["a"], dict(NOTHING, **dict.fromkeys(later, True)), ends_play)["steps"]

    well = done(row(7, "patched"))
    assert steps(well) == ["end_stage"]
    assert steps(done(row(7, "pending", threads_pending=1))) == ["look_again", "end_stage"]
    assert steps(well, ["soak"]) == ["look_again", "end_stage"]
    # It may fail.
    assert steps(well, ["persist"]) == ["persist", "take_back", "end_stage", "stop"]
    harmed = done(row(7, "patched"), trouble=["sick"])
    assert steps(harmed, ["persist", "soak"]) == ["take_back", "end_stage", "stop"]
    assert steps(harmed, ends_play=False) == ["take_back", "end_stage"]
    assert steps(dict(harmed, __ulp_livepatch_direction="absent"), direction="absent") == ["end_stage", "stop"]


@pytest.mark.parametrize("number, seconds", [(1, 1800), (2, 300), (3, 300)])
def test_the_longest_watch_counts(number, seconds):
    hosts = {"a": planned(soaks=[1800, 300]), "b": planned(soaks=[0]), "gone": facts("unreachable", soaks=[9000])}
    assert soak(hosts_of(hosts, list(hosts), "present"), number) == seconds


def test_a_host_that_was_lost_before_its_stage_is_left_out():
    (host,) = hosts_of({"a": planned(result={"unreachable": True, "untouched": True, "msg": "no route"}, stage=1)},
                       ["a"], "present")
    assert (host.status, host.planned, host.reason) == ("unreachable", False, "no route")
    for register in ("result", "ping"):
        lost = {register: {"unreachable": True, "msg": "no route"}}
        (host,) = hosts_of({"a": planned(stage=1, **lost)}, ["a"], "present")
        assert (host.status, host.reason) == ("failed", "it could not be reached any more: no route")


def test_where_it_is_retracted_the_second_answer_counts():
    asked = planned(row(7, "excluded"), direction="absent")
    again = {"processes": [row(7, "reverted")]}
    (host,) = hosts_of({"a": dict(asked, __ulp_livepatch_plan_of_revert=again)}, ["a"], "present")
    assert (host.plan, host.readiness) == (again, "planned")
    (host,) = hosts_of({"a": dict(asked, __ulp_livepatch_plan_of_revert={"msg": "no space"})}, ["a"], "present")
    assert (host.readiness, host.trouble) == ("error", ["no space"])


def test_faults(tmp_path):
    there = tmp_path / "fix.ulp"
    there.write_bytes(b"livepatch")
    assert faults(str(there), "", "") == faults(str(there), "/etc/signers", str(there)) == []
    assert faults("", "", "") == ["Say which livepatch: -e livepatch=FILE.ulp"]
    (missing, signers) = faults(str(tmp_path / "none.ulp"), "", "signers")
    assert str(tmp_path) in missing and "where to put it" in signers
    assert faults(str(tmp_path), "", "") == []
    (empty,) = faults([str(there), "/proc/sys"], "", "")
    assert "the directory /proc/sys has no livepatch in it" in empty
    assert "lists who may sign" in faults(str(there), "/etc/signers", str(tmp_path / "none"))[0]
    for given in (str(there), [str(there)], str(tmp_path)):
        (livepatch,) = on_hosts(given, "/var/lib")
        assert livepatch["name"].startswith("fix-") and len(livepatch["name"]) == len("fix-") + 16
        assert (livepatch["file"], livepatch["path"]) == (str(there), f"/var/lib/{livepatch['name']}.ulp")


@pytest.mark.parametrize("sizes, wrong", [
    ("", []), ("1,10%,100%", []), ("1, 10%", []), (5, []), (["1", "20%", 3], []), ([[1, "2"], "100%"], []),
    ("foo", ["foo"]), ("1,,5", [""]), ("10.5%,0,0%", ["10.5%", "0", "0%"]), (-1, ["-1"]), (["1", "many"], ["many"]),
    (True, ["True"]), ("1,5%%", ["5%%"]), ("5 %", ["5 %"]), (["1,2"], ["1,2"]),
])
def test_sizes_of_stages(tmp_path, sizes, wrong):
    """Guards --check, which succeeded where Ansible would have given up between plan and first stage."""
    there = tmp_path / "fix.ulp"
    there.write_bytes(b"livepatch")
    found = faults(str(there), "", "", sizes)
    assert len(found) == len(wrong)
    assert all(f"ulp_livepatch_serial has {size!r}" in sentence for size, sentence in zip(wrong, found))


@pytest.mark.parametrize("soaks, wrong", [
    (0, []), ("0", []), (600, []), ("60, 600", []), ([60, "600"], []), ("", []),
    ("10m", ["10m"]), ("60,ten", ["ten"]), (-1, ["-1"]), ("1.5", ["1.5"]), (None, ["None"]), ("60,", [""]),
])
def test_how_long_stages_are_watched(tmp_path, soaks, wrong):
    """Guards a stage that is watched for no time at all: what was no number counted as 0."""
    there = tmp_path / "fix.ulp"
    there.write_bytes(b"livepatch")
    found = faults(str(there), "", "", soaks=soaks)
    assert found == [f"ulp_livepatch_soak_seconds has {soak!r}: give a number of seconds" for soak in wrong]


def test_canaries_that_are_no_group(tmp_path):
    """Guards who comes first; seen to begin with other hosts, and nobody was told."""
    there = tmp_path / "fix.ulp"
    there.write_bytes(b"livepatch")
    groups = {"all": [], "first": []}
    assert faults(str(there), "", "", "", "first", groups) == faults(str(there), "", "", "", "", groups) == []
    (fault,) = faults(str(there), "", "", "", "fist", groups)
    assert "ulp_livepatch_canary_group is fist, which is no group" in fault


def test_one_of_several_is_retracted():
    """Guards that a host does not begin where one livepatch would have to go while the others come."""
    answer = {"processes": [], "retracted": True, "livepatches": [
        {"path": "/var/lib/a.ulp", "retracted": False}, {"path": "/var/lib/b.ulp", "retracted": True}]}
    stands = readiness(answer, "", [], False, True)
    assert stands["status"] == "error" and "b.ulp is retracted here" in stands["trouble"][0]
    assert readiness(answer, "", [], False, False)["status"] == "planned"
    both = dict(answer, livepatches=answer["livepatches"][1:])
    assert readiness(both, "", [], False, True)["status"] == "planned"


@pytest.mark.parametrize("result, said", [
    ({"failed": True, "msg": "no space"}, "no space"),
    ({"failed": True}, "it failed without a message"),
    ({"failed": True, "msg": "One or more items failed", "results": [
        {"msg": "well"}, {"failed": True, "msg": "a did not start\n"}, {"failed": True, "msg": "b did not start"}]},
     "a did not start; b did not start"),
    ({"failed": True, "msg": "One or more items failed", "results": [{"failed": True}]}, "it failed without a message"),
])
def test_failure_of_a_loop_is_that_of_its_items(result, said):
    """Seen to be "One or more items failed", of which nobody knows which unit does not start."""
    assert failure(result) == said


def test_gates_that_measure_nothing(tmp_path):
    (tmp_path / "gate.yml").touch()
    well = [{"url": "http://127.0.0.1/"}, {"tasks": str(tmp_path / "gate.yml")}]
    assert gate_faults(well) == []
    found = gate_faults([*well, {"name": "nothing"}, {"unit": "a", "port": 1}, {"tasks": str(tmp_path / "none.yml")}])
    assert ["exactly one of url" in line for line in found] == [True, True, False]
    assert "is not there" in found[2]


@pytest.mark.parametrize("gate, what, name", [
    ({"url": "http://127.0.0.1/", "status": 204}, "url", "http://127.0.0.1/"),
    ({"command": ["test", "-e", "/a b"]}, "command", "test -e /a b"), ({"command": "true"}, "command", "true"),
    ({"unit": "nginx.service"}, "unit", "unit nginx.service"), ({"port": 443, "host": "::1"}, "port", "port 443"),
    ({"tasks": "gate.yml"}, "tasks", "tasks gate.yml"), ({"tasks": "gate.yml", "name": "own"}, "tasks", "own"),
])
def test_a_gate_has_a_name(gate, what, name):
    assert measures(gate) == what
    assert gate_row(gate, {}, False) == {"name": name, "passed": True, "said": ""}


def test_what_came_of_a_gate():
    gate = {"url": "http://127.0.0.1/", "contains": "w\u00f6rd", "name": "page"}
    assert gate_row(gate, {"unreachable": True, "msg": "no route"}, False) == {
        "name": "page", "passed": False, "said": "the host could not be reached"}
    for answer, said in (
        ({"msg": "OK (12 bytes)"}, 'the answer does not contain "w\u00f6rd"'),
        ({"msg": "HTTP Error 503"}, "HTTP Error 503"),
        ({}, "it failed without a message"),
        ({"msg": "One or more items failed", "results": [{"failed": True, "msg": "no"}]}, "no"),
    ):
        assert gate_row(gate, answer, True) == {"name": "page", "passed": False, "said": said}
