# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the report of a rollout over hosts that there are not: report-preview.py DIRECTORY [HOSTS...].

For whoever changes the page. Every status of a host and every outcome of a process occurs.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from itertools import cycle
from pathlib import Path

import jinja2

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.libpulp.livepatch.plugins.filter.rollout import FilterModule
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.host import hosts_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.report import report
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import BREAKPOINT_SET

SIZES = (3, 40, 400)
PATCH_ID = "9e3e1f8b2c7d4a5b" * 4
NAME = "cve-2026-0001-9e3e1f8b2c7d4a5b"
ON_HOST = [{"path": f"/var/lib/libpulp/livepatches/{NAME}.ulp", "patch_id": PATCH_ID, "labels": {}, "retracted": False}]
NOW = datetime(2026, 11, 24, 12, 30, tzinfo=timezone.utc)
# One host after the other is as one of these; most are well.
KINDS = (
    "well", "stuck", "unreachable", *("well",) * 9, "inside", "held", "unconcerned", "gone on", *("well",) * 9,
    "kept", "probed", "late", *("well",) * 9, "failed", "sick", "in a container", "by hand", "stuck", *("well",) * 9,
)
PROBED = (
    "process {pid} ({name}): function inflate of libz.so.1 cannot be hooked, " + BREAKPOINT_SET + "; remove that, then"
    " apply the livepatch again"
)
STUCK = "process {pid} ({name}) was started without the livepatch runtime; restart it with LD_PRELOAD set to libpulp.so"


def row(pid, name, outcome, reason="", **fields):
    return {
        "pid": pid, "name": name, "outcome": outcome, "reason": reason.format(pid=pid, name=name), "threads": 2,
        "threads_pending": 0, "held_us": 60.0 + pid % 90 if outcome in ("patched", "pending") else None,
        "container": None, "coroutines": 0, "runs_ansible": False, "attached": False, "attached_now": False,
        "unit": f"{name}.service" if outcome == "not_patchable" and "container" not in fields else "",
        "patch_id": PATCH_ID, **fields,
    }


def host(kind, number):
    """The facts of a host as the role sets them."""
    first = 1000 + 7 * number
    rows = [row(first + index, "nginx", "patched") for index in range(12)]
    more = {
        "stuck": [row(first + 40, "postgres", "not_patchable", STUCK)],
        "inside": [row(first + 40, "php-fpm8.2", "pending", threads=16, threads_pending=1)],
        "gone on": [row(first + 40, "cron", "already_fixed_on_disk", "process {pid} ({name}) runs another build")],
        "kept": [row(first + 40, "matching-engine", "excluded", "process {pid} ({name}) is left alone by hold line 2"),
                 row(first + 41, "sshd-session", "not_patchable", STUCK, runs_ansible=True)],
        "probed": [row(first + 40, "redis-server", "failed", PROBED)],
        "failed": [row(first + 40, "haproxy", "failed", "no thread of process {pid} ({name}) could be borrowed: all its"
                       " threads sleep in the kernel")],
        "in a container": [row(first + 40, "java", "not_patchable", STUCK, container="3f9c2d1e8b7a")],
        "by hand": [row(first + 40, "batch-job", "not_patchable", STUCK, unit="")],
        "late": [
            row(first + 40 + index, "dbus-daemon", "patched", attached=True, attached_now=True) for index in range(3)
        ],
    }.get(kind, [])
    facts = {"status": {"held": "held", "unreachable": "unreachable"}.get(kind, "planned")}
    if kind == "held":
        facts["held"] = "closing of the quarter, until Monday"
    elif kind == "unreachable":
        facts["trouble"] = ["Failed to connect to the host via ssh: No route to host"]
    else:
        gates = [{"name": name, "passed": True, "said": ""} for name in ("front page", "nginx.service")]
        if kind == "sick":
            gates[0] = {"name": "front page", "passed": False, "said": "HTTP Error 503: Service Unavailable"}
        facts.update(
            stage=1 if number < 2 else 2 if number < 20 else 3, gates_before=gates, gates_after=gates,
            plan={"processes": [], "livepatches": ON_HOST},
            result={"processes": [] if kind == "unconcerned" else rows + more, "livepatches": ON_HOST},
        )
    return {"__ulp_livepatch_" + name: value for name, value in facts.items()}


def document(size):
    """The report of a rollout over ``size`` hosts."""
    facts = {f"web{number + 1:03}.example.org": host(kind, number) for number, kind in zip(range(size), cycle(KINDS))}
    stages = [
        {"number": number, "hosts": [name for name, its in facts.items() if its.get("__ulp_livepatch_stage") == number],
         "began": f"2026-11-24T12:{10 * number:02}:00Z", "ended": f"2026-11-24T12:{10 * number + 4:02}:07Z", "harm": []}
        for number in (1, 2, 3)
    ]
    run = {"__ulp_livepatch_run": "20261124T120000Z", "__ulp_livepatch_stages": [its for its in stages if its["hosts"]],
           "__ulp_livepatch_stop": ""}
    livepatches = [{"file": "cve-2026-0001.ulp", "name": NAME}]
    return report(hosts_of(facts, list(facts), "present"), run, livepatches, "present", None, NOW)


def main(directory, sizes):
    """Write a page for each of ``sizes`` to ``directory``."""
    # As Ansible's own module template has it.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(CHECKOUT / "roles" / "ulp_livepatch" / "templates"), trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update({"libpulp.livepatch." + name: its for name, its in FilterModule().filters().items()})
    page = environment.get_template("report.html.j2")
    directory.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        path = directory / f"report-{size}.html"
        path.write_text(page.render(__ulp_livepatch_document=document(size)), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: report-preview.py DIRECTORY [HOSTS...]")
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or SIZES)
