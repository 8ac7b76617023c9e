# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts over several hosts: each is this machine, and has a process of its own that it is restricted to."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
from harness.library import Build
from harness.paths import CHECKOUT, COMMAND
from harness.variant import USUAL
from harness.victim import Victim

PAIRS = {"make": "make_new", "use": "use_new"}
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


class Run(NamedTuple):
    """How a run of ansible-playbook ended, and the report that it wrote."""

    status: int
    output: str
    changed: int
    directory: Path

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.directory / "report.json").read_text())

    def host(self, name: str) -> dict[str, Any]:
        return next(host for host in self.report["hosts"] if host["name"] == name)


class Page(HTMLParser):
    """Whether a page is well formed, and what it would load from elsewhere."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[tuple] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.foreign += [(tag, name) for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class Fleet:
    """Hosts of an inventory, a victim on each, and the playbooks run on all of them."""

    def __init__(self, directory: Path, build: Build, start: Callable[..., Victim]) -> None:
        self.directory = directory
        self.build = build
        self.start = start
        self.hosts: dict[str, dict[str, Any]] = {}
        self.victims: dict[str, Victim] = {}
        self.runs = 0

    def add(self, name: str, preload: bool = True, **variables: Any) -> Victim:
        victim = self.start(self.build, **({} if preload else {"preload": ()}))
        self.victims[name] = victim
        self.hosts[name] = {
            "ulp_livepatch_pids": [victim.pid],
            "ulp_livepatch_directory": str(self.directory / name / "livepatches"),
            **variables,
        }
        return victim

    def answers(self) -> dict[str, int]:
        """What the function that the livepatch replaces gives on each host: 1 old, 2 new."""
        return {name: victim.number("call") for name, victim in self.victims.items()}

    def play(self, *options: str, playbook: str = "apply_livepatch", **variables: Any) -> Run:
        self.runs += 1
        report = self.directory / f"report-{self.runs}"
        inventory = self.directory / "inventory.json"
        inventory.write_text(json.dumps({"all": {
            "hosts": self.hosts,
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "children": {"first": {"hosts": {name: {} for name in self.hosts if name == "canary"}}},
        }}))
        variables = {
            "livepatch": str(self.build.patch("layout", PAIRS)), "livepatch_become": False,
            "ulp_livepatch_report_dir": str(report), "ulp_livepatch_gate_retries": 0,
            "ulp_livepatch_allowed_signers": "", **variables,
        }
        wrap = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
        done = subprocess.run(
            [*wrap, str(ANSIBLE_PLAYBOOK), "-i", str(inventory), f"libpulp.livepatch.{playbook}", *options,
             "-e", json.dumps(variables)],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=240, check=False, env=dict(os.environ, ANSIBLE_FORKS="4", ANSIBLE_PIPELINING="true"),
        )
        changed = sum(int(number) for number in re.findall(r"\schanged=(\d+)", done.stdout))
        return Run(done.returncode, done.stdout, changed, report)


@pytest.fixture
def fleet(target, start, tmp_path) -> Fleet:
    return Fleet(tmp_path, target("contract", USUAL[0]), start)


def test_good_livepatch_reaches_all_in_stages(fleet, tmp_path):
    """Nothing before the whole plan is agreed to, then the canary group first."""
    fleet.add("web1")
    fleet.add("frozen", ulp_livepatch_hold="quarter end closing")
    stuck = fleet.add("legacy", preload=False)
    fleet.add("canary")
    # web1 is sick already, which is none of our doing.
    gates = [{"command": "test {{ inventory_hostname }} != web1", "name": "not web1"}]
    settings = {"ulp_livepatch_canary_group": "first", "ulp_livepatch_serial": [1, "100%"],
                "ulp_livepatch_gates": gates}

    # Nobody said what is to become of the process that can't be patched.
    refused = fleet.play(**settings)
    assert refused.status != 0
    assert refused.changed == 0, refused.output
    assert re.search(rf'"{stuck.pid} .*restart with .*end process {stuck.pid}', refused.output), refused.output
    assert re.search(rf'"{fleet.victims["web1"].pid} .*would be patched"', refused.output), refused.output
    assert "frozen: held, left out: quarter end closing" in refused.output
    assert not list(tmp_path.glob("*/livepatches"))
    assert "ulp_livepatch_restart" in refused.report["message"]
    assert refused.report["state"] == "refused"
    assert set(fleet.answers().values()) == {1}

    fleet.hosts["gone"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    done = fleet.play(ulp_livepatch_restart=False, **settings)
    assert fleet.answers() == {"web1": 2, "frozen": 1, "legacy": 1, "canary": 2}, done.output
    assert done.status != 0, "one host could not be reached"
    assert "could not be reached: gone" in done.output
    report = done.report
    assert report["state"] == "incomplete"
    assert [stage["hosts"] for stage in report["stages"]] == [["canary"], ["web1"], ["legacy"]]
    assert {host["name"]: host["status"] for host in report["hosts"]} == {
        "web1": "patched", "frozen": "held", "legacy": "partly", "canary": "patched", "gone": "unreachable"}
    assert done.host("web1")["sick_before"] == ["not web1"]
    assert done.host("canary")["sick_before"] == []
    assert [row["pid"] for row in report["still_vulnerable"]] == [stuck.pid]
    assert str(stuck.pid) in report["still_vulnerable"][0]["restart"]
    assert done.host("frozen")["processes"] == []
    row = done.host("web1")["processes"][0]
    assert (row["outcome"], row["pid"], row["threads_pending"]) == ("patched", fleet.victims["web1"].pid, 0)
    assert row["held_us"] > 0
    page = Page((done.directory / "report.html").read_text())
    assert page.foreign == []
    assert {"frozen", "legacy", "sick before", "unreachable"} <= {word.strip() for word in page.text}
    assert re.search(r"stage 2: 1 host \(web1\), 1 processes patched", done.output), done.output


def gate_that_fails_once_patched(tmp_path: Path, host: str) -> dict[str, str]:
    """A task file that passes on every host until ``host`` has got the livepatch."""
    path = tmp_path / "gate.yml"
    path.write_text(json.dumps([{
        "name": "Look", "ansible.builtin.command": {"cmd": f"test ! -e {tmp_path}/{host}/livepatches"},
        "changed_when": False}]))
    return {"tasks": str(path), "name": "trap"}


def test_harm_at_the_canary_stops_and_is_taken_back(fleet, tmp_path):
    fleet.add("other")
    fleet.add("canary")
    done = fleet.play(ulp_livepatch_canary_group="first",
                      ulp_livepatch_gates=[gate_that_fails_once_patched(tmp_path, "canary")])
    assert done.status != 0, done.output
    assert fleet.answers() == {"other": 1, "canary": 1}, done.output
    report = done.report
    assert report["state"] == "stopped"
    assert [stage["harm"] for stage in report["stages"]] == [["canary: health gate failed: trap"]]
    assert {host["name"]: host["status"] for host in report["hosts"]} == {"other": "untouched", "canary": "reverted"}
    assert done.host("canary")["processes"][0]["outcome"] == "reverted"
    assert done.host("canary")["left"] == []
    assert not (tmp_path / "other").exists(), "a host of a later stage was touched"
    assert not list((tmp_path / "canary").glob("**/*.ulp")), "the container was left on a host that has no use for it"
    assert {row["outcome"] for row in report["still_vulnerable"]} == {"reverted", "not_reached"}
    Page((done.directory / "report.html").read_text())


def test_harm_at_a_later_stage_takes_earlier_ones_back_if_wanted(fleet, tmp_path):
    fleet.add("a")
    fleet.add("b")
    settings = {"ulp_livepatch_serial": "1", "ulp_livepatch_gates": [gate_that_fails_once_patched(tmp_path, "b")]}
    done = fleet.play(ulp_livepatch_revert_earlier=True, **settings)
    assert done.status != 0, done.output
    assert [stage["passed"] for stage in done.report["stages"]] == [True, False]
    assert {host["name"]: host["status"] for host in done.report["hosts"]} == {"a": "reverted", "b": "reverted"}
    assert fleet.answers() == {"a": 1, "b": 1}, done.output


def test_the_timer_patches_what_started_later(target, tmp_path):
    """The command line that the role writes for systemd, with its quoting, run as systemd would run it."""
    build = target("contract", USUAL[0])
    program = tmp_path / "later-app"
    shutil.copy(build.program(), program)
    (tmp_path / "etc").mkdir()
    (tmp_path / "livepatches").mkdir()
    shutil.copy(build.patch("layout", PAIRS), tmp_path / "livepatches" / "fix-1.ulp")
    role = CHECKOUT / "roles" / "ulp_livepatch"
    variables = {
        "ansible_python_interpreter": sys.executable, "ulp_livepatch_name": "fix-1",
        "ulp_livepatch_command": str(COMMAND),
        "ulp_livepatch_directory": str(tmp_path / "livepatches"), "ulp_livepatch_processes": ["later*"],
        "ulp_livepatch_exclude": ["100%", {"name": "two words", "user": "root"}], "ulp_livepatch_allowed_signers": "",
        **{f"ulp_livepatch_{name}": str(tmp_path / "etc" / name)
           for name in ("kill_switch", "hold_file", "retracted_file")},
    }
    playbook = tmp_path / "render.json"
    playbook.write_text(json.dumps([{
        "hosts": "all", "gather_facts": False, "vars_files": [str(role / "defaults" / "main.yml")],
        "tasks": [{"ansible.builtin.template": {"src": str(role / "templates" / "persist.conf.j2"),
                                                "dest": str(tmp_path / "fix.conf")}}]}]))
    done = subprocess.run([ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", playbook, "-e", json.dumps(variables)],
                          cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in (tmp_path / "fix.conf").read_text().splitlines() if line.startswith("ExecStart=-")]
    assert len(lines) == 1
    command = [word.replace("%%", "%") for word in shlex.split(lines[0].partition("=-")[2])]
    assert "name='two words' user=root" in command
    assert "100%" in command

    victim = Victim([program], libraries=[build.directory])
    try:
        assert victim.number("call") == 1
        switch = tmp_path / "etc" / "kill_switch"
        switch.touch()
        subprocess.run([sys.executable, *command], check=False, capture_output=True)
        assert victim.number("call") == 1, "the kill switch was not heeded"
        switch.unlink()
        ran = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True)
        assert victim.number("call") == 2, ran.stdout + ran.stderr
    finally:
        victim.finish()


def test_only_what_is_signed_is_rolled_out(fleet, tmp_path, preforked):
    fleet.add("a")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
    signers = tmp_path / "signers"
    signers.write_text("release@example.org " + key.with_suffix(".pub").read_text())
    container = tmp_path / "signed.ulp"
    shutil.copy(fleet.build.patch("layout", PAIRS), container)
    settings = {"livepatch": str(container), "ulp_livepatch_allowed_signers": str(signers)}
    refused = fleet.play(**settings)
    assert refused.status != 0
    assert refused.report["state"] == "refused"
    assert "sign" in refused.report["message"]
    assert fleet.answers() == {"a": 1}
    preforked.succeed("sign", container, "-k", key)
    done = fleet.play(**settings)
    assert done.status == 0, done.output
    assert fleet.answers() == {"a": 2}
    assert (tmp_path / "a" / "ledger.jsonl").exists()
