# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts over several hosts: each is this machine, and has a process of its own that it is restricted to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import jsonschema
import pytest
from harness.library import Build
from harness.modules import ANSIBLE_PLAYBOOK
from harness.paths import CHECKOUT, COMMAND, RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL
from harness.victim import Victim

PAIRS = {"make": "make_new", "use": "use_new"}
# The exit status of ansible-playbook when a task failed.
FAILED = 2
# Ansible starts hundreds of processes for each run.
pytestmark = pytest.mark.timeout(1200)


class Run(NamedTuple):
    """How a run of ansible-playbook ended, and the report that it wrote."""

    status: int
    output: str
    changed: int
    directory: Path

    @property
    def report(self) -> dict[str, Any]:
        assert (self.directory / "report.json").exists(), self.output
        report = json.loads((self.directory / "report.json").read_text())
        jsonschema.validate(report, json.loads((CHECKOUT / "docs" / "report.schema.json").read_text()))
        return report

    def host(self, name: str) -> dict[str, Any]:
        return next(host for host in self.report["hosts"] if host["name"] == name)


class Page(HTMLParser):
    """Whether a page is well formed, and what it would load from elsewhere."""

    VOID = ("meta", "br", "link", "img", "input")

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

    def __init__(self, directory: Path, build: Build, start: Callable[..., Victim], ulp_file: Path) -> None:
        self.directory = directory
        self.build = build
        self.start = start
        self.ulp_file = ulp_file
        self.hosts: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.victims: dict[str, Victim] = {}
        self.others: dict[str, Victim] = {}  # of the victims, those that nobody else ends
        # How far a long task is would depend on how busy the machine is.
        self.environment = {"ULP_ROLLOUT_PROGRESS_SECONDS": "3600"}
        self.runs = 0

    def add(self, name: str, preload: bool = True, victims: int = 1, source: str = "app.c", **variables: Any) -> Victim:
        """A host with a victim made of ``source``; a second one, a program of its own, is NAME-2. Returns the first."""
        names = [name, *(f"{name}-{number}" for number in range(2, victims + 1))]
        self.victims[name] = self.start(self.build, source, **({} if preload else {"preload": ()}))
        for each in names[1:]:
            program = shutil.copy(self.build.program(), self.directory / each)
            self.victims[each] = self.others[each] = Victim([program], libraries=[self.build.directory])
        self.hosts[name] = {
            "ulp_livepatch_pids": [self.victims[each].pid for each in names],
            "ulp_livepatch_directory": str(self.directory / name / "livepatches"),
            **variables,
        }
        return self.victims[name]

    def lose(self, name: str, once_patched: str) -> None:
        """Let host ``name`` be out of reach as soon as the livepatch has been copied to host ``once_patched``."""
        program = self.directory / f"ssh-to-{name}"
        program.write_text(SSH.format(marks=self.directory / once_patched / "livepatches" / "*.ulp"))
        program.chmod(0o755)
        self.hosts[name].update(
            ansible_connection="ssh", ansible_host=name, ansible_ssh_executable=str(program), ansible_ssh_use_tty=False,
            ansible_ssh_transfer_method="piped")

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def answers(self) -> dict[str, int]:
        """What the function that the livepatch replaces gives on each host: 1 old, 2 new."""
        return {name: victim.number("call") for name, victim in self.victims.items()}

    def play(self, *options: str, playbook: str = "apply_livepatch", callback: str = "ansible.builtin.default",
             **variables: Any) -> Run:
        self.runs += 1
        report = self.directory / f"report-{self.runs}"
        inventory = self.directory / "inventory.json"
        inventory.write_text(json.dumps({"all": {
            "hosts": self.hosts,
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "livepatch_become": False,
                "ulp_livepatch_gate_retries": 0, "ulp_livepatch_allowed_signers": ""},
            "children": {group: {"hosts": {name: {} for name in names}} for group, names in self.groups.items()},
        }}))
        variables = {"livepatch": str(self.ulp_file), "ulp_livepatch_report_dir": str(report),
                     "ulp_livepatch_attach": False, **variables}
        wrap = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
        done = subprocess.run(
            [*wrap, str(ANSIBLE_PLAYBOOK), "-i", str(inventory), f"libpulp.livepatch.{playbook}", *options,
             "-e", json.dumps(variables)],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, env=dict(os.environ, ANSIBLE_FORKS="4", ANSIBLE_STDOUT_CALLBACK=callback, **self.environment),
        )
        changed = sum(int(number) for number in re.findall(r"\schanged=(\d+)", done.stdout))
        return Run(done.returncode, done.stdout, changed, report)


# Stands in for ssh: the host is this machine, until one of the files is there.
SSH = """#!/bin/sh
for argument; do
\t[ "$argument" != -O ] || exit 0 # control of a shared connection, which there is none
\tprevious=$last
\tlast=$argument
done
[ "$previous" != -o ] || exit 0 # a question whether an option is known
for mark in {marks}; do
\t[ ! -e "$mark" ] || {{ echo "no route to host" >&2; exit 255; }}
done
exec /bin/sh -c "$last"
"""


@pytest.fixture
def fleet(target, start, tmp_path) -> Iterator[Fleet]:
    build = target("contract", USUAL[0])
    fleet = Fleet(tmp_path, build, start, build.patch("layout", PAIRS))
    yield fleet
    for victim in fleet.others.values():
        victim.finish()


def statuses(run: Run) -> dict[str, str]:
    return {host["name"]: host["status"] for host in run.report["hosts"]}


def outcomes(run: Run) -> dict[str, list[str]]:
    return {host["name"]: [row["outcome"] for row in host["processes"]] for host in run.report["hosts"]}


def allow_signature(fleet: Fleet, preforked) -> dict[str, str]:
    """Sign the fleet's livepatch; the settings with which that is verified."""
    key = fleet.directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
    fleet.ulp_file = Path(shutil.copy(fleet.ulp_file, fleet.directory / "signed.ulp"))
    preforked.succeed("sign", fleet.ulp_file, "-k", key)
    line = "release@example.org " + key.with_suffix(".pub").read_text()
    return {"ulp_livepatch_allowed_signers": fleet.write("signers", line)}


def test_good_livepatch_reaches_all_in_stages(fleet, tmp_path, preforked):
    """First only the plan; then the canary group, then the rest. What is held, sick or stuck is told apart."""
    fleet.add("web1")
    fleet.add("frozen", ulp_livepatch_hold="quarter end closing")
    fleet.add("kept", victims=3, ulp_livepatch_exclude=[{"exe": str(fleet.build.program())}, "kept-2"],
              ulp_livepatch_hold_file=fleet.write("hold", f"# batch\nuser={os.geteuid()} name=kept-3\n"))
    stuck = fleet.add("legacy", preload=False)
    fleet.add("canary", ulp_livepatch_hold="false")
    fleet.groups["first"] = ["canary"]
    # web1 is sick already, which is none of our doing.
    gates = [{"command": "test {{ inventory_hostname }} != web1", "name": "not web1"}]
    settings = {"ulp_livepatch_canary_group": "first", "ulp_livepatch_serial": "100%", "ulp_livepatch_gates": gates,
                **allow_signature(fleet, preforked)}

    plan = fleet.play("--check", **settings)
    assert plan.status == FAILED, "somebody has to decide about restarts first"
    assert plan.changed == 0, plan.output
    assert re.search(rf'"{stuck.pid} .*restart with .*end process {stuck.pid}', plan.output), plan.output
    assert re.search(rf'"{fleet.victims["web1"].pid} .*would be patched"', plan.output), plan.output
    assert "frozen: held, left out: quarter end closing" in plan.output
    assert re.search(r'The rollout would not begin:.*ulp_livepatch_restart', plan.output, re.DOTALL)
    assert not list(tmp_path.glob("*/livepatches"))
    assert not plan.directory.exists()
    assert set(fleet.answers().values()) == {1}
    decided = fleet.play("--check", ulp_livepatch_restart=False, **settings)
    assert decided.status == 0, decided.output
    assert "would not begin" not in decided.output
    assert "The rollout would begin. Nothing has been changed." in decided.output

    fleet.hosts["gone"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    done = fleet.play(ulp_livepatch_restart=False, **settings)
    patched = ("web1", "canary")
    assert fleet.answers() == {name: 2 if name in patched else 1 for name in fleet.victims}, done.output
    assert done.status != 0, "one host could not be reached"
    assert "could not be reached: gone" in done.output
    report = done.report
    assert report["state"] == "incomplete"
    assert [stage["hosts"] for stage in report["stages"]] == [["canary"], ["web1", "kept", "legacy"]]
    assert statuses(done) == {
        "web1": "patched", "frozen": "held", "kept": "partly", "legacy": "partly", "canary": "patched",
        "gone": "unreachable"}
    assert outcomes(done) == {
        "web1": ["patched"], "frozen": [], "kept": ["excluded"] * 3, "legacy": ["not_patchable"], "canary": ["patched"],
        "gone": []}
    assert done.host("web1")["sick_before"] == ["not web1"]
    assert done.host("canary")["sick_before"] == []
    assert "hold line 2" in done.host("kept")["processes"][2]["reason"]
    vulnerable = {row["host"]: row for row in report["still_vulnerable"]}
    assert set(vulnerable) == {"kept", "legacy"}
    assert vulnerable["legacy"]["pid"] == stuck.pid
    assert str(stuck.pid) in vulnerable["legacy"]["restart"]
    row = done.host("web1")["processes"][0]
    assert (row["outcome"], row["pid"], row["threads_pending"]) == ("patched", fleet.victims["web1"].pid, 0)
    assert row["held_us"] > 0
    assert (tmp_path / "web1" / "ledger.jsonl").exists()
    text = (done.directory / "report.html").read_text()
    page = Page(text)
    assert page.foreign == []
    # The policy of the page lets its script run, as Ansible has drawn it.
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text
    assert {"frozen", "legacy", "sick before", "unreachable"} <= {word.strip() for word in page.text}
    assert re.search(r"stage 1: 1 host \(canary\), 1 process patched", done.output), done.output


# The library, which the host's Python has loaded as a distribution's has its zlib; it runs Ansible's own in a child.
CONCERNED = """#!/bin/sh
exec {python} -c 'import ctypes, subprocess, sys
ctypes.CDLL("{library}")
sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)' "$@"
"""


def test_nobody_is_asked_about_what_runs_ansible(fleet):
    """It ends with the run, so it keeps no rollout from beginning, and is not left vulnerable.

    Seen not to begin before rows said ``runs_ansible``.
    """
    python = fleet.write("python", CONCERNED.format(python=sys.executable, library=fleet.build.library))
    Path(python).chmod(0o755)
    victim = fleet.add("host", ansible_python_interpreter=python)
    # All that have loaded the library.
    fleet.hosts["host"]["ulp_livepatch_pids"] = []
    done = fleet.play()
    assert done.status == 0, done.output
    assert fleet.answers() == {"host": 2}
    rows = {row["pid"]: row for row in done.host("host")["processes"]}
    assert rows.pop(victim.pid)["runs_ansible"] is False
    (own,) = rows.values()
    assert (own["outcome"], own["runs_ansible"]) == ("not_patchable", True)
    assert done.report["still_vulnerable"] == []
    assert re.search(rf'"\d+ +{own["name"]} +runs Ansible +ends with the run"', done.output), done.output


def shown_in_docs() -> str:
    """The run on two hosts in docs/operator.md."""
    text = (CHECKOUT / "docs" / "operator.md").read_text()
    (block,) = (its for its in text.split("```") if "PLAY RECAP" in its)
    return block


def shape(output: str) -> list[str]:
    """The lines of a run, without what is another time another number, and without padding."""
    output = output.replace(str(RUNTIME), "/usr/lib/libpulp/libpulp.so")
    return [re.sub(r"\d+", "#", re.sub(r"\*+| +", " ", line)).strip() for line in output.splitlines() if line.strip()]


def test_what_has_no_runtime_is_attached_to(fleet):
    """Guards the way of ulp_livepatch_attach through plan, console and report.

    Seen to be patched like any other, so that nobody could tell which processes were given the runtime.
    """
    fleet.add("web1")
    stock = fleet.add("web2", preload=False)
    settings = {"ulp_livepatch_attach": True, "ulp_livepatch_runtime": str(RUNTIME)}
    plan = fleet.play("--check", **settings)
    assert (plan.status, plan.changed) == (0, 0), plan.output
    assert "web2: 1 to patch (1 will be attached to), 0 that can't be patched" in plan.output
    assert "web1: 1 to patch, 0 that can't be patched" in plan.output
    assert re.search(rf"{stock.pid} .*will be attached to +would attach", plan.output), plan.output
    assert fleet.answers() == {"web1": 1, "web2": 1}

    done = fleet.play(callback="libpulp.livepatch.rollout", **settings)
    assert done.status == 0, done.output
    assert shape(done.output) == shape(shown_in_docs()), f"docs/operator.md shows another run:\n{done.output}"
    assert fleet.answers() == {"web1": 2, "web2": 2}
    assert [stage["attached"] for stage in done.report["stages"]] == [0, 1]
    assert done.report["summary"] == "succeeded: 2 processes patched (1 attached to), left: nothing"
    assert re.search(rf"{stock.pid} .*patched, attached", done.output), done.output
    again = fleet.play(**settings)
    assert len(again.output.splitlines()) <= DEFAULT_LINES, again.output
    assert again.report["summary"] == "succeeded: 2 processes patched, left: nothing"
    (row,) = again.host("web2")["processes"]
    assert (row["outcome"], row["attached"], row["attached_now"]) == ("already_patched", True, False)

    reverted = fleet.play(playbook="revert_livepatch")
    assert reverted.status == 0, reverted.output
    assert fleet.answers() == {"web1": 1, "web2": 1}
    assert "dormant" in reverted.host("web2")["processes"][0]["reason"]


# So many lines somebody reads; and so many may be Ansible's own way of saying it, for two hosts in two stages.
LINES = 60
DEFAULT_LINES = 150


def test_last_word_and_what_somebody_reads(fleet):
    """Guards the words of a run that leaves something, its exit status on request, and the length of its output.

    Seen to have succeeded and to have passed. Ansible's own callback, which a playbook can't replace, was seen to print
    538 lines.
    """
    fleet.add("web1")
    fleet.add("legacy", preload=False)
    settings = {"ulp_livepatch_restart": False, "ulp_livepatch_serial": "1"}
    done = fleet.play(callback="libpulp.livepatch.rollout", **settings)
    assert done.status == 0, done.output
    report = done.report
    assert (report["state"], [stage["state"] for stage in report["stages"]]) == (
        "left_vulnerable", ["passed", "left_vulnerable"])
    lines = done.output.splitlines()
    assert len(lines) <= LINES, done.output
    words, _line = (line for line in lines if line.startswith(("stage 1: ", "stage 2: ")))
    assert words.endswith(": passed")
    assert lines.index("left_vulnerable: 1 process patched, left: 1 vulnerable process on 1 host") > lines.index(words)
    assert any(re.match(rf"web1 +{fleet.victims['web1'].pid} +\S+ +patched ", line) for line in lines)

    again = fleet.play(ulp_livepatch_fail_on_vulnerable=True, **settings)
    assert again.status == FAILED, again.output
    assert len(again.output.splitlines()) <= DEFAULT_LINES, again.output
    assert again.report["state"] == "left_vulnerable"
    reverted = fleet.play(playbook="revert_livepatch", livepatch_hosts="web1", ulp_livepatch_fail_on_vulnerable=True)
    assert reverted.status == 0, reverted.output
    assert (reverted.report["state"], reverted.report["still_vulnerable"]) == ("succeeded", [])
    assert "vulnerable" not in reverted.output


class Site(http.server.ThreadingHTTPServer):
    """What the canary serves: a page, and another port, that are well until it is patched."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.directory = directory
        self.listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> Site:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self.shutdown()
        self.server_close()
        self.listener.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class SiteHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        patched = list(self.server.directory.glob("canary/livepatches/*.ulp"))
        if patched and self.path == "/page":
            self.server.listener.close()
        self.send_response(503 if patched and self.path == "/page" else 204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing on the terminal."""


def test_harm_of_every_kind_is_seen_and_taken_back(fleet, tmp_path):
    """Gates of each kind that fail once the canary is patched, beside some that failed before or that stay well."""
    patched = f"{tmp_path}/canary/livepatches"
    tasks = fleet.write("gate.yml", json.dumps([{
        "name": "Look", "ansible.builtin.command": {"cmd": f"test ! -e {patched}"}, "changed_when": False}]))
    with Site(tmp_path) as site:
        port = site.listener.getsockname()[1]
        fleet.add("early")
        fleet.add("canary", ulp_livepatch_gates=[
            {"url": site.url("elsewhere"), "status": [204], "contains": "welcome", "name": "greeting"},
            {"url": site.url("page"), "status": 204},
            # Closed by the one before.
            {"port": port, "timeout": 1},
            {"command": ["test", "!", "-e", patched], "name": "greeting"},
            {"command": "true"},
            {"tasks": tasks, "name": "own tasks"},
        ])
        fleet.groups["first"] = ["early"]
        done = fleet.play(ulp_livepatch_canary_group="first", ulp_livepatch_serial=1)
    assert done.status != 0, done.output
    # What is done is done, as nobody wanted it otherwise.
    assert fleet.answers() == {"early": 2, "canary": 1}, done.output
    report = done.report
    assert report["state"] == "stopped"
    assert [stage["harm"] for stage in report["stages"]] == [[], [
        f"canary: health gate failed: {site.url('page')}",
        f"canary: health gate failed: port {port}",
        "canary: health gate failed: greeting",
        "canary: health gate failed: own tasks"]]
    assert statuses(done) == {"early": "patched", "canary": "reverted"}
    assert outcomes(done)["canary"] == ["reverted"]
    assert done.host("canary")["left"] == []
    assert done.host("canary")["sick_before"] == ["greeting"]
    gates = done.host("canary")["gates"]
    assert [gate["after"] for gate in gates] == [False, False, False, False, True, False]
    # Once the livepatch is gone the page is well again.
    assert [gate["reverted"] for gate in gates] == [False, True, False, False, True, False]
    assert "welcome" in gates[0]["said"]
    assert not list(tmp_path.glob("canary/livepatches/*")), "the livepatch was left on a host that has no use for it"
    assert [row["outcome"] for row in report["still_vulnerable"]] == ["reverted"]
    Page((done.directory / "report.html").read_text())


# Stands in for systemd, of which there is none where tests run: it knows each unit by a file that says how to start it.
SYSTEMCTL = """#!/bin/sh
set -eu
case $1 in
show) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
restart)
\techo "$2" >>{units}/asked
\t. {units}/"$2"
\t;;
esac
"""
START_AGAIN = """kill -KILL {pid}
LD_PRELOAD={runtime} LD_LIBRARY_PATH={libraries} setsid {program} <{commands} >/dev/null 2>&1 &
"""


class Units:
    """Services that are in control groups of their own, as systemd would put them there."""

    def __init__(self, directory: Path, build: Build) -> None:
        self.directory = directory
        self.build = build
        self.undo = contextlib.ExitStack()
        # cgroups(7); systemd's own hierarchy is unified, or has its name.
        mounts = [line.split()[1:4] for line in Path("/proc/mounts").read_text().splitlines()]
        named = [place for place, kind, options in mounts if kind == "cgroup" and "name=systemd" in options]
        unified = [place for place, kind, _options in mounts if kind == "cgroup2"]
        if not named + unified:
            pytest.skip("no control groups are mounted")
        self.slice = Path((named + unified)[0], "system.slice")
        directory.mkdir()
        (directory / "systemctl").write_text(SYSTEMCTL.format(units=directory))
        (directory / "systemctl").chmod(0o755)

    def start(self, name: str) -> Victim:
        """A process of NAME.service that was started without the runtime."""
        program = shutil.copy(self.build.program(), self.directory / name)
        victim = Victim([program], libraries=[self.build.directory], preload=())
        self.undo.callback(victim.kill)
        group = self.slice / f"{name}.service"
        self.undo.callback(self._remove, group)
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            pytest.skip(f"no control group can be made: {error}")
        (group / "cgroup.procs").write_text(str(victim.pid))
        return victim

    def restarts(self, victim: Victim) -> None:
        """Let a restart of its unit start the program of ``victim`` again, with the runtime."""
        commands = self.directory / f"{victim.name}-commands"
        os.mkfifo(commands)
        # Its standard input does not end before the test.
        self.undo.callback(os.close, os.open(commands, os.O_RDWR))
        self.write(victim, START_AGAIN.format(
            pid=victim.pid, runtime=RUNTIME, libraries=self.build.directory, program=self.directory / victim.name,
            commands=commands))

    def write(self, victim: Victim, script: str) -> None:
        (self.directory / f"{victim.name}.service").write_text(script)

    @staticmethod
    def _remove(group: Path) -> None:
        def is_empty() -> bool:
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            return not (group / "cgroup.procs").read_text()

        wait_until(is_empty, f"{group} is empty")
        group.rmdir()


@pytest.fixture
def units(fleet) -> Iterator[Units]:
    found = Units(fleet.directory / "units", fleet.build)
    with found.undo:
        yield found


def test_units_are_restarted_with_consent(fleet, units):
    """Guards tasks/restart.yml without systemd: what comes of a restart is patched, and one that fails is harm.

    Seen to leave the old process vulnerable, which had ended and waited for its parent, and to give *One or more items
    failed* as the harm.
    """
    started = {name: units.start(f"ulp-{name}-{os.getpid()}") for name in ("good", "bad")}
    units.restarts(started["good"])
    units.write(started["bad"], "echo it does not start >&2; exit 1")
    for name, victim in started.items():
        fleet.hosts[name] = {
            "ulp_livepatch_processes": [victim.name],
            "ulp_livepatch_directory": str(fleet.directory / name / "livepatches"),
        }
    fleet.environment["PATH"] = f"{units.directory}:{os.environ['PATH']}"
    done = fleet.play(ulp_livepatch_restart=True, ulp_livepatch_serial="1")
    assert done.status == FAILED, done.output
    report = done.report
    names = {name: f"{victim.name}.service" for name, victim in started.items()}
    assert (units.directory / "asked").read_text().split() == [names["good"], names["bad"]]
    assert [stage["state"] for stage in report["stages"]] == ["passed", "stopped"]
    assert (done.host("good")["status"], done.host("good")["restarted"]) == ("patched", [names["good"]])
    (row,) = done.host("good")["processes"]
    assert (row["outcome"], row["name"]) == ("patched", started["good"].name)
    assert row["pid"] != started["good"].pid
    (harm,) = report["stages"][1]["harm"]
    assert names["bad"] in harm and "it does not start" in harm
    # Nobody has touched it.
    assert started["bad"].number("call") == 1
    assert [left["pid"] for left in report["still_vulnerable"]] == [started["bad"].pid]
    assert [action["command"] for action in report["actions"]] == [f"systemctl restart {names['bad']}"]


def test_run_that_was_interrupted_is_no_excuse(fleet, livepatch):
    """Guards the second run after one that was interrupted when the canary had been patched, and was sick of it.

    What was sick before does not count, but not where the livepatch was there before, too.  Seen to fail, with every
    host patched, without ulp_livepatch_suspects.
    """
    fleet.add("canary")
    fleet.add("rest")
    fleet.groups["first"] = ["canary"]
    livepatch(fleet.ulp_file).apply(fleet.victims["canary"])
    gates = [{"command": "test {{ inventory_hostname }} != canary", "name": "service"}]
    done = fleet.play(ulp_livepatch_canary_group="first", ulp_livepatch_serial="100%", ulp_livepatch_gates=gates)
    assert done.status != 0, done.output
    assert fleet.answers() == {"canary": 2, "rest": 1}, done.output
    (stage,) = done.report["stages"]
    (harm,) = stage["harm"]
    assert harm.startswith("canary: health gate failed: service, before this run as well"), harm
    assert statuses(done)["rest"] == "untouched"


def test_lost_hosts_and_earlier_stages(fleet, livepatch, tmp_path):
    """One host is lost before its stage, which is no harm; one when it is patched, which is. Stage 1 goes back as well.

    What was applied before the run stays applied, and nobody reverts what is excluded.
    """
    fleet.add("a", victims=3, ulp_livepatch_exclude=["a-3"])
    for name in ("a-2", "a-3"):
        livepatch(fleet.ulp_file).apply(fleet.victims[name])
    fleet.add("early")
    fleet.add("b")
    fleet.add("mid")
    fleet.lose("early", once_patched="a")
    fleet.lose("mid", once_patched="mid")
    fleet.groups["first"] = ["a"]
    done = fleet.play(ulp_livepatch_canary_group="first", ulp_livepatch_serial="100%",
                      ulp_livepatch_revert_earlier=True)
    assert done.status != 0, done.output
    assert [stage["state"] for stage in done.report["stages"]] == ["taken_back", "stopped"]
    (harm,) = done.report["stages"][1]["harm"]
    assert harm.startswith("mid: it could not be reached any more"), done.output
    assert statuses(done) == {"a": "reverted", "early": "unreachable", "b": "reverted", "mid": "revert_incomplete"}
    assert "until revert_livepatch is run on it" in done.host("mid")["left"][0]
    assert fleet.answers() == {"a": 1, "a-2": 2, "a-3": 2, "early": 1, "b": 1, "mid": 1}, done.output
    assert not list(tmp_path.glob("[ab]/livepatches/*"))


class LetGo(http.server.BaseHTTPRequestHandler):
    """A page that is always well; once the server's victim is patched, its parked thread leaves the library."""

    def do_GET(self) -> None:
        server = self.server
        if not server.left and server.victim.number("version") == 2:
            server.left = server.victim.numbers("release 0")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing on the terminal."""


def test_thread_that_leaves_and_filter_that_nobody_can_examine(target, start, tmp_path):
    """Guards the second look at the end of a stage, and the way of ulp_livepatch_seccomp through the role.

    A thread is inside the library when its process is patched, and leaves while the gates are measured: reported is
    how it is then. Seen to stay "pending" without tasks/look_again.yml.

    A service is under a filter, on a host whose root may not look at filters, as inside a container: it is left alone
    until somebody says that the filter does not kill. Seen to be left alone then, too, without ``seccomp`` in
    tasks/dispatch.yml.
    """
    build = target("blocked", USUAL[0])
    pairs = {name: f"patched_{name}" for name in ("version", "hidden_version", "pointed_version")}
    fleet = Fleet(tmp_path, build, start, build.patch("patch2", pairs, flags=("-DVERSION=2",)))
    without = "--bounding-set=-sys_admin --inh-caps=-sys_admin"
    blind = fleet.write("python", f'#!/bin/sh\nexec setpriv {without} {shlex.quote(sys.executable)} "$@"\n')
    Path(blind).chmod(0o755)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), LetGo) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        parked = site.victim = fleet.add(
            "parked", ulp_livepatch_gates=[{"url": f"http://127.0.0.1:{site.server_port}/"}])
        site.left = []
        assert parked.number("park 0 hold") == 1
        filtered = fleet.add("filtered", source="sandbox/app.c", ansible_python_interpreter=blind)
        # memfd_create(2), of which patching has no need, is denied with EPERM.
        assert filtered.ask("deny 319 0x50001") == "filtered"
        first = fleet.play(ulp_livepatch_serial="100%", ulp_livepatch_restart=False)
        site.shutdown()
    assert first.status == 0, first.output
    assert site.left, first.output
    assert outcomes(first) == {"parked": ["patched"], "filtered": ["not_patchable"]}, first.output
    assert statuses(first)["parked"] == "patched"
    (row,) = first.host("parked")["processes"]
    assert (row["threads_pending"], row["reason"]) == (0, "")
    # And so it was before.
    (entry,) = map(json.loads, (tmp_path / "parked" / "ledger.jsonl").read_text().splitlines())
    assert (entry["outcome"], entry["pid"]) == ("pending", parked.pid)
    assert "seccomp filter that cannot be examined" in first.host("filtered")["processes"][0]["reason"]
    assert (parked.number("version"), filtered.number("version")) == (2, 1)

    del fleet.hosts["parked"]["ulp_livepatch_gates"]
    second = fleet.play(ulp_livepatch_serial="100%", ulp_livepatch_seccomp="assume_errno")
    assert second.status == 0, second.output
    assert outcomes(second) == {"parked": ["already_patched"], "filtered": ["patched"]}, second.output
    assert filtered.number("version") == 2


def test_the_timer_patches_what_started_later(target, tmp_path):
    """The command line that the role writes for systemd, with its quoting, run as systemd would run it.

    It has the livepatches of all builds, and each of them can be taken out again.
    """
    build = target("contract", USUAL[0])
    program = tmp_path / "later-app"
    shutil.copy(build.program(), program)
    (tmp_path / "etc").mkdir()
    (tmp_path / "livepatches").mkdir()
    files = [{"file": str(its.patch("layout", PAIRS)), "name": name, "path": f"{tmp_path}/livepatches/{name}.ulp"}
             for name, its in (("fix-1", build), ("100% fix-2", target("contract", USUAL[1])))]
    for its in files:
        shutil.copy(its["file"], its["path"])
    role = CHECKOUT / "roles" / "ulp_livepatch"
    variables = {
        "ansible_python_interpreter": sys.executable, "__ulp_livepatch_files": files,
        "ulp_livepatch_command": str(COMMAND),
        "ulp_livepatch_directory": str(tmp_path / "livepatches"), "ulp_livepatch_processes": ["later*"],
        "ulp_livepatch_exclude": ["100%", {"name": "two words", "user": "root"}], "ulp_livepatch_allowed_signers": "",
        **{f"ulp_livepatch_{name}": str(tmp_path / "etc" / name)
           for name in ("kill_switch", "hold_file", "retracted_file")},
    }
    playbook = tmp_path / "render.json"
    playbook.write_text(json.dumps([{
        "hosts": "all", "gather_facts": False, "vars_files": [
            str(role / "defaults" / "main.yml"), str(role / "vars" / "main.yml")],
        "tasks": [{"ansible.builtin.copy": {"content": "{{ __ulp_livepatch_in_drop_in }}", "mode": "0644",
                                            "dest": str(tmp_path / "pattern")}},
                  {"ansible.builtin.template": {"src": str(role / "templates" / "persist.conf.j2"),
                                                "dest": str(tmp_path / "fix.conf")}}]}]))
    done = subprocess.run([ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", playbook, "-e", json.dumps(variables)],
                          cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in (tmp_path / "fix.conf").read_text().splitlines() if line.startswith("ExecStart=-")]
    assert len(lines) == 1
    command = [word.replace("%%", "%") for word in shlex.split(lines[0].partition("=-")[2])]
    assert "name='two words' user=root" in command
    assert "100%" in command
    assert [word for word in command if word.endswith(".ulp")] == [its["path"] for its in files]
    emptied = re.sub(" " + (tmp_path / "pattern").read_text(), "", lines[0])
    assert ".ulp" not in emptied
    assert shlex.split(emptied.replace("%%", "%").partition("=-")[2]) == [
        word for word in command if not word.endswith(".ulp")]

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


@pytest.mark.parametrize("kept_by", ["stopped", "unsigned", "stuck", "sizes"])
def test_check_fails_whatever_keeps_the_rollout_from_beginning(kept_by, fleet, tmp_path):
    """Guards the exit status of --check.

    Seen to be 0 for kill switch and undecided restart when only a host that could not be asked counted, and for sizes
    of stages that Ansible can't read.
    """
    fleet.add("host", preload=kept_by != "stuck", **{
        "stopped": {"ulp_livepatch_kill_switch": fleet.write("stop", "")},
        "unsigned": {"ulp_livepatch_allowed_signers": str(tmp_path / "missing")},
        "stuck": {}, "sizes": {},
    }[kept_by])
    asked = fleet.play("--check", **({"ulp_livepatch_serial": "1,10 percent"} if kept_by == "sizes" else {}))
    assert (asked.status, asked.changed) == (FAILED, 0), asked.output
    said = "ulp_livepatch_serial has '10 percent'" if kept_by == "sizes" else "The rollout would not begin:"
    assert said in asked.output


def test_rollout_brings_the_list_of_signers(fleet, preforked, tmp_path):
    """Guards ulp_livepatch_allowed_signers_source, and what is said without it.

    Seen to fail, with "cannot read .../allowed_signers" for each host and no word of what to do.
    """
    source = allow_signature(fleet, preforked)["ulp_livepatch_allowed_signers"]
    other = fleet.write("others", "nobody@example.org ssh-ed25519 AAAA\n")
    destination = tmp_path / "etc" / "libpulp" / "allowed_signers"
    fleet.add("one")
    fleet.add("two")
    settings = {"ulp_livepatch_allowed_signers": str(destination)}

    refused = fleet.play(**settings)
    assert refused.status != 0
    told, remedy = refused.report["message"].splitlines()
    assert told.startswith(f"one, two: there is no allowed-signers file {destination}, ")
    assert "ulp_livepatch_allowed_signers_source" in remedy
    missing = fleet.play(ulp_livepatch_allowed_signers_source=str(tmp_path / "none"), **settings)
    assert missing.status != 0
    assert "is not a file on the controller" in missing.output and missing.output.count("fatal:") == 1, missing.output
    by_others = fleet.play(ulp_livepatch_allowed_signers_source=other, **settings)
    assert "is not signed by anybody whom" in by_others.report["message"]
    planned = fleet.play("--check", ulp_livepatch_allowed_signers_source=source, **settings)
    assert (planned.status, planned.changed) == (0, 0), planned.output
    assert not destination.exists()
    assert set(fleet.answers().values()) == {1}

    done = fleet.play(ulp_livepatch_allowed_signers_source=source, **settings)
    assert done.status == 0, done.output
    assert destination.read_bytes() == Path(source).read_bytes()
    assert (destination.stat().st_mode & 0o777, set(fleet.answers().values())) == (0o644, {2})


def test_hosts_say_no_and_a_retracted_livepatch_goes(fleet, livepatch, ulp, tmp_path):
    """Kill switch, retracted list, missing signature, a useless gate and an undecided restart, before anything begins.

    Then the same fleet with all of that cleared away, but for the retracted list: there it is reverted where that is
    wanted, and elsewhere applied, and watched.
    """
    patch_id = ulp.succeed("dump", "--json", fleet.ulp_file).json()["patch_id"]
    switch = fleet.write("stop", "")
    fleet.add("stopped", victims=2, ulp_livepatch_kill_switch=switch)
    fleet.add("retracted", ulp_livepatch_retracted_file=fleet.write("list", f"{patch_id} it leaks\n"))
    fleet.add("unsigned", ulp_livepatch_allowed_signers=fleet.write("signers", "nobody@example.org ssh-ed25519 AAAA\n"))
    fleet.add("useless", ulp_livepatch_gates=[{"name": "nothing"}])
    stuck = fleet.add("stuck", preload=False)
    livepatch(fleet.ulp_file).apply(fleet.victims["retracted"])
    before = fleet.answers()
    refused = fleet.play()
    assert refused.status != 0
    assert refused.changed == 0, refused.output
    assert refused.report["state"] == "refused"
    reasons = dict(line.split(": ", 1) for line in refused.report["message"].splitlines() if ": " in line)
    assert reasons["stopped"] == "the kill switch is set"
    assert "retracted" in reasons["retracted"]
    assert "sign" in reasons["unsigned"]
    assert "exactly one of url" in reasons["useless"]
    assert f"stuck ({stuck.pid})" in reasons
    assert "Set ulp_livepatch_restart" in refused.report["message"]
    assert not list(tmp_path.glob("*/livepatches"))
    assert fleet.answers() == before

    for name in ("unsigned", "useless", "stuck"):
        del fleet.hosts[name]
    Path(switch).unlink()
    # A process that ends while its stage is watched.
    ended = fleet.others.pop("stopped-2")
    fleet.hosts["stopped"]["ulp_livepatch_gates"] = [{"command": [
        "sh", "-c", f"[ ! -e {tmp_path}/stopped/livepatches ] || kill -KILL {ended.pid}; true"]}]
    done = fleet.play(ulp_livepatch_revert_retracted=True, ulp_livepatch_serial="100%",
                      ulp_livepatch_soak_seconds="2,1", ulp_livepatch_soak_interval=1)
    assert done.status == 0, done.output
    del fleet.victims["stopped-2"]
    ended.kill()
    assert fleet.answers() == {**dict.fromkeys(fleet.victims, 1), "stopped": 2}
    assert statuses(done) == {"stopped": "patched", "retracted": "reverted"}
    assert outcomes(done) == {"stopped": ["patched", "not_applicable"], "retracted": ["reverted"]}
    assert done.host("stopped")["processes"][1]["reason"] == "it has ended since it was patched"
    assert re.findall(r"stage 1: watched for \d of 2 seconds", done.output) == [
        f"stage 1: watched for {seconds} of 2 seconds" for seconds in (0, 1)]
    assert [row["reason"] for row in done.report["still_vulnerable"]] == ["the livepatch was reverted"]


def test_revert_leaves_out_a_host_that_does_not_answer(fleet, livepatch):
    """Guards the other hosts of a revert: one that is out of reach is no harm.

    Seen to stop it, with "it failed", when the timer was looked for before the connection was tried.
    """
    victim = fleet.add("web1")
    livepatch(fleet.ulp_file).apply(victim)
    fleet.hosts["gone"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    done = fleet.play(playbook="revert_livepatch")
    assert done.status == FAILED, done.output
    assert fleet.answers() == {"web1": 1}
    assert (done.report["state"], done.report["stages"][0]["harm"]) == ("incomplete", [])
    assert statuses(done) == {"web1": "reverted", "gone": "unreachable"}
