# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a rollout, on canned facts of hosts as the role ulp_livepatch sets them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NO_SIGNERS
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.affiliation import parse_units, service_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.ending import ending
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.host import STATUSES, Host, hosts_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.judgement import harm, refusal
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.later import rows_now
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.report import report
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.restarts import restarts
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import outcome

CHECKOUT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((CHECKOUT / "docs" / "report.schema.json").read_text())
DOCUMENTED = jsonschema.Draft202012Validator(SCHEMA)
LIVEPATCH = {"file": "/root/fix.ulp", "name": "fix-0123456789abcdef"}
PATCH_ID = "ab" * 32
ON_HOST = [{"path": "/var/lib/fix-0123456789abcdef.ulp", "patch_id": PATCH_ID, "labels": {}, "retracted": False}]
NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def row(pid, result, reason="", **fields):
    return {
        "pid": pid, "name": "nginx", "outcome": result, "reason": reason, "threads": 2, "threads_pending": 0,
        "held_us": None, "container": None, "coroutines": 0, "runs_ansible": False, "attached": False,
        "attached_now": False, "unit": "", "patch_id": PATCH_ID, **fields,
    }


def facts(status="planned", **given):
    return {"__ulp_livepatch_" + name: value for name, value in {"status": status, **given}.items()}


def done(*rows, stage=1, **given):
    """The facts of a host that was dealt with."""
    result = {"processes": list(rows), "livepatches": ON_HOST}
    return facts(result=result, plan={"processes": [], "livepatches": ON_HOST}, stage=stage, **given)


def planned(*rows, livepatches=None, **given):
    plan = {"processes": list(rows), "livepatches": livepatches or ON_HOST, "stopped": False, "retracted": False}
    return facts(plan=plan, **given)


def reported(hosts, stages=(), stop="", direction="present", state=None, livepatches=(LIVEPATCH,)):
    """The report, which is as documented."""
    run = {
        "__ulp_livepatch_run": "20261124T120000Z", "__ulp_livepatch_stages": list(stages), "__ulp_livepatch_stop": stop,
    }
    document = report(hosts_of(hosts, list(hosts), direction), run, livepatches, direction, state, NOW)
    DOCUMENTED.validate(document)
    return document


def stage(number, *hosts, harm=()):
    return {"number": number, "hosts": list(hosts), "began": "2026-11-24T12:00:00Z", "ended": "2026-11-24T12:00:01Z",
            "harm": list(harm)}


def test_every_outcome_has_a_meaning():
    """Guards that none falls through in silence, as one that Jinja did not list did."""
    assert set(outcome.MEANINGS) == {*outcome.OUTCOMES, outcome.NOT_REACHED}
    assert not [word for word, meaning in outcome.MEANINGS.items() if meaning.applied and meaning.vulnerable]
    words = SCHEMA["$defs"]["outcome"]["enum"]
    assert set(words) == set(outcome.MEANINGS)


def test_every_field_of_a_row_is_documented():
    """Guards against fields that nobody can look up, as coroutines and patch_id were."""
    documented = SCHEMA["properties"]["hosts"]["items"]["properties"]["processes"]["items"]["properties"]
    assert set(documented) == {*outcome.Row(7, "nginx", "patched").as_dict(), "runs_ansible", "unit", "restart"}


def test_every_status_of_a_host_is_in_the_table():
    """Guards page and summary, of which each had a list of its own."""
    assert set(SCHEMA["$defs"]["status"]["enum"]) == set(STATUSES)


@pytest.mark.parametrize("word", outcome.MEANINGS)
def test_a_run_that_leaves_a_vulnerable_process_has_not_plainly_succeeded(word):
    """Guards state, stage and host for every outcome there is. Seen to be "succeeded" and passed for all of them."""
    document = reported({"web1": done(row(7, word))}, [stage(1, "web1")])
    (its,) = document["stages"]
    if outcome.MEANINGS[word].vulnerable:
        assert (document["state"], its["state"], document["hosts"][0]["status"]) == (
            "left_vulnerable", "left_vulnerable", "partly")
        assert [left["pid"] for left in document["still_vulnerable"]] == [7]
        assert document["summary"].endswith("left: 1 vulnerable process on 1 host")
    else:
        assert (document["state"], its["state"], document["still_vulnerable"]) == ("succeeded", "passed", [])
        assert document["summary"].endswith("left: nothing")


def test_what_runs_ansible_is_not_left_vulnerable():
    hosts = {"web1": done(row(7, "patched"), row(8, "not_patchable", runs_ansible=True))}
    document = reported(hosts, [stage(1, "web1")])
    assert (document["stages"][0]["state"], document["stages"][0]["processes"]) == ("passed", {"patched": 1})
    assert (document["state"], document["hosts"][0]["status"], document["still_vulnerable"]) == (
        "succeeded", "patched", [])
    assert len(document["hosts"][0]["processes"]) == 2


def test_what_runs_ansible_is_in_no_total():
    """Seen to fail: 2 that can't be patched, or 1, as the connection happened to be there or not."""
    hosts = {"web1": done(row(7, "patched"), row(8, "not_patchable", runs_ansible=True), row(9, "not_patchable"))}
    assert reported(hosts)["totals"]["processes"] == {"patched": 1, "not_patchable": 1}


@pytest.mark.parametrize("status, state", [
    ("held", "left_vulnerable"), ("unreachable", "incomplete"), ("error", "left_vulnerable"),
])
def test_a_host_that_nobody_looked_at_is_not_counted_as_well(status, state):
    document = reported({"web1": done(row(7, "patched")), "web2": facts(status)})
    assert document["state"] == state
    assert "1 host " in document["summary"].partition("left: ")[2]


def test_stop_counts_more_than_what_was_not_reached():
    hosts = {
        "web1": done(row(7, "patched"), taken_back={
            "complete": True, "processes": [row(7, "reverted")], "left": []}),
        "web2": planned(row(8, "patched"), row(9, "already_patched")),
        "web3": facts(),
    }
    document = reported(hosts, [stage(1, "web1", harm=["web1: health gate failed: page"])], "stage 1 went wrong")
    assert document["state"] == "stopped"
    assert [host["status"] for host in document["hosts"]] == ["reverted", "untouched", "unreachable"]
    assert [(left["pid"], left["outcome"], left["reason"]) for left in document["still_vulnerable"]] == [
        (7, "reverted", "the patch was taken back"), (8, "not_reached", "the rollout did not come to this host")]
    said = ending(document, False)
    # The last line says what is left, of a run that has failed, too. It was why the run has failed.
    assert said["failure"] == ["stage 1 went wrong", "could not be reached: web3", document["summary"]]
    assert document["summary"] not in said["lines"]
    assert "1 host to which the run did not come" in document["summary"]


def test_stage_that_was_taken_back_later():
    hosts = {"web1": done(row(7, "patched"), taken_back={"complete": True, "processes": [], "left": []}),
             "web2": facts("held", stage=1)}
    assert reported(hosts, [stage(1, "web1", "web2")])["stages"][0]["state"] == "taken_back"


def test_lost_host():
    """What would have been done on a host whose stage came is not known to have been done."""
    hosts = {"web1": planned(row(7, "patched"), stage=1, trouble=["it could not be reached any more"])}
    document = reported(hosts)
    assert document["hosts"][0]["status"] == "failed"
    assert document["still_vulnerable"][0]["reason"] == "the host was lost: nobody knows whether it is patched"
    assert document["summary"].endswith("1 host where it failed")


def test_revert_that_was_asked_for_is_no_incident():
    """Seen, with every process that was reverted as asked, to list these as still vulnerable."""
    hosts = {"web1": facts(result={"processes": [row(7, "reverted"), row(8, "not_patchable")]}, stage=1)}
    document = reported(hosts, [stage(1, "web1")], direction="absent")
    assert (document["state"], document["still_vulnerable"], document["still_patched"]) == ("succeeded", [], [])
    assert (document["stages"][0]["state"], document["hosts"][0]["status"]) == ("passed", "reverted")
    assert document["summary"] == "succeeded: 1 process reverted, left: nothing"
    assert ending(document, True) == {"state": "succeeded", "lines": [document["summary"]], "failure": []}


@pytest.mark.parametrize("word", ["pending", "failed", "excluded"])
def test_revert_that_leaves_something(word):
    hosts = {"web1": facts(result={"processes": [row(7, "reverted"), row(8, word, "why")]}, stage=1)}
    document = reported(hosts, [stage(1, "web1")], direction="absent")
    assert (document["state"], document["stages"][0]["state"]) == ("left_patched", "left_patched")
    assert [left["pid"] for left in document["still_patched"]] == [8]
    assert "still patched: web1, nginx (8): why" in ending(document, False)["lines"]


def test_retracted_livepatch_in_a_rollout():
    """The host is vulnerable, as it has to be; where the run did not come to it, it has the livepatch still."""
    reverted = reported({"web1": done(row(7, "reverted"), direction="absent")})
    assert reverted["still_vulnerable"][0]["reason"] == "the livepatch was reverted"
    assert reverted["hosts"][0]["status"] == "reverted"
    untouched = reported({"web1": planned(row(7, "reverted"), direction="absent")})
    assert [left["outcome"] for left in untouched["still_patched"]] == ["not_reached"]
    # Each process stands in one list.
    assert untouched["still_vulnerable"] == []
    failed = reported({"web1": done(row(7, "failed", "why"), direction="absent")})
    assert (len(failed["still_patched"]), failed["still_vulnerable"]) == (1, [])


def test_failure_on_request():
    document = reported({"web1": done(row(7, "not_patchable", "no runtime"))})
    assert ending(document, False)["failure"] == []
    assert ending(document, True)["failure"] == [document["summary"]]
    assert ending(reported({"web1": done(row(7, "patched"))}), True)["failure"] == []


def test_console_names_no_more_than_anybody_reads():
    document = reported({"web1": done(*(row(pid, "not_patchable", "no runtime") for pid in range(1, 401)))})
    lines = ending(document, False)["lines"]
    assert len(lines) == 22
    assert "380 more" in lines[-2]


def test_refusal():
    """What is the same on several hosts is said once. Seen to be a line for each host and process."""
    def stuck(pid):
        return row(pid, "not_patchable", f"process {pid} (nginx) has no runtime", unit="nginx.service")

    hosts = {
        "broken": facts("error", trouble=["no signers", "no file"]),
        "stopped": planned(consent=True), "stopped2": planned(consent=True),
        "retracted": planned(consent=True),
        "undecided": planned(stuck(7), consent=None), "undecided2": planned(stuck(8), stuck(9), consent=None),
        "decided": planned(stuck(7), consent=False),
        "held": facts("held"),
    }
    for name, what in (("stopped", "stopped"), ("stopped2", "stopped"), ("retracted", "retracted")):
        hosts[name]["__ulp_livepatch_plan"][what] = True
    lines = refusal(hosts_of(hosts, list(hosts), "present"))
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "broken", "stopped, stopped2", "retracted", "undecided (7), undecided2 (8), undecided2 (9)"]
    assert lines[3].endswith(": nginx can't be patched, it has no runtime; systemctl restart nginx.service")
    assert "ulp_livepatch_restart" in lines[-1]
    del hosts["undecided"], hosts["undecided2"]
    assert "ulp_livepatch_restart" not in refusal(hosts_of(hosts, list(hosts), "present"))[-1]
    assert refusal(hosts_of(hosts, ["decided", "held"], "present")) == []


def test_signers_missing_on_all_hosts_is_one_message():
    """With the way out, once.  Seen to fail with a line for each of 400 hosts, and none that says what to do."""
    trouble = f"{NO_SIGNERS} /etc/libpulp/allowed_signers, which would list who may sign livepatches; create it"
    hosts = {f"web{number}": facts("error", trouble=[trouble]) for number in range(400)}
    hosts["other"] = facts("error", trouble=["no space left"])
    told, other, remedy = refusal(hosts_of(hosts, list(hosts), "present"))
    assert told.startswith("web0, web1, ") and told.endswith(f" and 390 more: {trouble}")
    assert other == "other: no space left"
    assert "ulp_livepatch_allowed_signers_source" in remedy
    assert refusal(hosts_of(hosts, ["other"], "present")) == [other]


def gate(name, passed, said=""):
    return {"name": name, "passed": passed, "said": said}


def test_harm():
    before = [gate("page", True), gate("port", False), gate("unit", True)]
    after = [gate("page", False), gate("port", False), gate("unit", True)]
    hosts = {
        "well": done(row(7, "patched"), gates_before=before, gates_after=before),
        "sick": done(row(7, "patched"), gates_before=before, gates_after=after),
        "lost": facts(trouble=["it could not be reached any more"]),
        "silent": facts(result={}),
        "switched": done(row(7, "excluded")),
        "held": facts("held"),
        "dropped": done(row(7, "patched")),
    }
    hosts["switched"]["__ulp_livepatch_result"].update(stopped=True, retracted=True)
    alive = [name for name in hosts if name != "dropped"]
    assert harm(hosts_of(hosts, list(hosts), "present"), alive) == [
        "sick: health gate failed: page", "lost: it could not be reached any more",
        "silent: it ended without an answer", "switched: the kill switch is set",
        "switched: the livepatch was retracted meanwhile", "dropped: it dropped out of the run"]
    assert harm([Host("switched", hosts["switched"], "absent")], ["switched"]) == []


def test_gate_that_failed_before_with_the_livepatch_applied():
    sick = done(row(7, "already_patched"), gates_before=[gate("page", False)], gates_after=[gate("page", False)])
    assert harm([Host("web1", sick, "present")], ["web1"]) == []
    sick["__ulp_livepatch_plan"]["processes"] = [row(7, "already_patched")]
    (reason,) = harm([Host("web1", sick, "present")], ["web1"])
    assert reason.startswith("web1: health gate failed: page, before this run as well")


def test_gates_in_the_report():
    hosts = {"web1": done(gates_before=[gate("page", True), gate("port", False, "refused")],
                          gates_after=[gate("page", False, "503")], gates_reverted=[gate("page", True)])}
    (host,) = reported(hosts)["hosts"]
    assert host["sick_before"] == ["port"]
    assert [(its["after"], its["reverted"], its["said"]) for its in host["gates"]] == [
        (False, True, "503"), (None, None, "refused")]


def test_restarts():
    rows = [
        row(7, "not_patchable", "why", unit="nginx.service"), row(8, "not_patchable", container="3f9c2d1e8b7a"),
        row(9, "not_patchable", runs_ansible=True), row(10, "patched"), row(11, "not_patchable"),
    ]
    assert [(its["pid"], its["unit"], its["command"]) for its in restarts(rows)] == [
        (7, "nginx.service", "systemctl restart nginx.service"),
        (8, "", "podman restart 3f9c2d1e8b7a, or docker, whichever runs it"),
        (11, "", "not a service of systemd: end process 11 and start it again the way it was started")]


@pytest.mark.parametrize("path, name", [
    ("system.slice/nginx.service", "nginx.service"),
    ("system.slice/system-getty.slice/getty@tty1.service/sub", "getty@tty1.service"),
    ("system.slice/docker-3f9c.scope/system.slice/cron.service", "cron.service"),
    ("system.slice/docker-3f9c.scope", ""),
    ("user.slice/user-0.slice/session-3.scope", ""),
    ("user.slice/user-0.slice/user@0.service/app.slice/own.service", ""),
    ("", ""),
])
def test_service_to_restart(path, name):
    assert service_of(parse_units(f"1:name=systemd:/{path}\n".encode())) == name


def test_rows_at_the_end_of_a_stage():
    would_attach = {"attached": True, "attached_now": True}
    known = [row(1, "patched", held_us=70.0, attached=True, attached_now=True), row(2, "pending"),
             row(3, "already_patched"), row(4, "patched"), row(5, "patched"), row(6, "not_patchable", "why"),
             row(7, "patched")]
    now = [row(1, "already_patched", attached=True), row(2, "already_patched"), row(3, "already_patched"),
           row(4, "patched", **would_attach), row(6, "already_patched"), row(7, "pending", "inside"),
           row(8, "patched", **would_attach), row(9, "not_patchable"),
           row(10, "not_patchable", runs_ansible=True), row(11, "already_patched")]
    rows = rows_now(known, now, True)
    assert [(its["pid"], its["outcome"]) for its in rows] == [
        (1, "patched"), (2, "patched"), (3, "already_patched"), (4, "failed"), (5, "not_applicable"),
        (6, "not_patchable"), (7, "pending"), (8, "failed"), (9, "not_patchable")]
    assert (rows[0]["held_us"], rows[0]["attached_now"]) == (70.0, True)
    # What would be attached to was not.
    assert [its["pid"] for its in rows if its["attached"] or its["attached_now"]] == [1]
    assert rows[4]["reason"] == "it has ended since it was patched"
    assert len(rows_now(known, now, False)) == len(known)


def test_page_that_is_drawn_for_a_preview(tmp_path):
    subprocess.run([sys.executable, CHECKOUT / "tools" / "report-preview.py", tmp_path, "40"], check=True)
    page = (tmp_path / "report-40.html").read_text()
    for words in ("left vulnerable processes", "systemctl restart postgres.service", "Run Ansible: 1", "off hold"):
        assert words in page
