# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to load the runtime into a process that was started without it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "build" / "libpulp.so"
VICTIMS = {
    "blocked": ("/bin/sleep", "infinity"),
    "computing": ("/usr/bin/python3", "-c", "while True: pass"),
    "allocating": ("/usr/bin/python3", "-c", "while True: [bytes(size) for size in range(600, 1000)]"),
}
# For an interpreter to come to what it is to do.
START_SECONDS = 0.3
ATTACH = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.process.mapped import MappedFiles
from plugins.module_utils.process.subject import examine
from plugins.module_utils.trigger.attaching.attach import attach
from plugins.module_utils.trigger.drive import drive
from plugins.module_utils.trigger.job import Job
from plugins.module_utils.trigger.options import Options
from plugins.module_utils.trigger.attaching.runtime_file import read_runtime_file
class Source:
    def runtime(self, path):
        return read_runtime_file(path)
def memory(pid):
    with open(f"/proc/{pid}/status") as stream:
        return {line.split(":")[0]: int(line.split()[1]) for line in stream if line.startswith(("VmSize", "VmRSS"))}
files = MappedFiles()
for pid in map(int, sys.argv[3:]):
    before = memory(pid)
    attached = drive(attach(Job(Source(), files, Options(runtime=sys.argv[2])), examine(pid, files, True)))
    after = memory(pid)
    print(json.dumps({"held_us": attached.held_us, **{name: after[name] - before[name] for name in before}}))
"""


def measure_attaching(count):
    """{kind of process: list of dicts with ``held_us``, the longest stop, and ``VmSize`` and ``VmRSS`` in KB}."""
    found = {}
    for kind, command in VICTIMS.items():
        processes = [subprocess.Popen(command) for _each in range(count if kind == "blocked" else 1)]
        found[kind] = []
        try:
            while len(found[kind]) < count:
                time.sleep(START_SECONDS)
                done = subprocess.run(
                    [sys.executable, "-c", ATTACH, ROOT, RUNTIME, *(str(process.pid) for process in processes)],
                    check=True, capture_output=True, text=True,
                )
                found[kind] += map(json.loads, done.stdout.splitlines())
                if len(found[kind]) < count:
                    # One that computes at a time: they would wait for each other.
                    _end(processes)
                    processes = [subprocess.Popen(command)]
        finally:
            _end(processes)
    return found


def _end(processes):
    for process in processes:
        process.kill()
        process.wait()


def print_attaching(found):
    columns = f"{'held, median us':>16} {'most':>8} {'KB of addresses':>16} {'in memory':>10}"
    print(f"\n{'attach to a process that is':42} {columns}")
    for kind, samples in found.items():
        held = [each["held_us"] for each in samples]
        size, resident = (statistics.median(each[name] for each in samples) for name in ("VmSize", "VmRSS"))
        print(f"{kind:42} {statistics.median(held):16.0f} {max(held):8.0f} {size:16.0f} {resident:10.0f}")


if __name__ == "__main__":
    print_attaching(measure_attaching(9))
