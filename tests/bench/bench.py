# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What patching costs: a call, a held thread, everybody else, and reading the state.

Prints medians, and ratios to the same call in a library that was built without anything. Writes all samples
as JSON. Asserts nothing: a number depends on the machine, a test must not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ULP = ROOT / "build" / "ulp"
RUNTIME = ROOT / "build" / "libpulp.so"
TRM = ROOT / "build" / "trm.o"
PADDING = ["-fpatchable-function-entry=16,14"]
MODES = {"padding only": False, "post-processed": True}


def run(*command, accept=(0,)):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode not in accept:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def ulp(*arguments, accept=(0,)):
    return json.loads(run(ULP, *arguments, "--json", accept=accept) or "null")


class Scene:
    """A folder with a library in one form, the programs that use it, and a livepatch for each of its functions."""

    def __init__(self, folder, flags=(), post_processed=False):
        self.folder = Path(folder)
        self.library = self.folder / "libbench.so"
        extra = [TRM] if post_processed else []
        run("gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-Wl,-soname,libbench.so", *flags,
            HERE / "library.c", *extra, "-o", self.library)
        if post_processed:
            run(ULP, "post", self.library)
        for program in ("calls", "gaps"):
            run("gcc", "-O2", "-pthread", HERE / f"{program}.c", "-o", self.folder / program, self.library,
                f"-Wl,-rpath,{self.folder}")

    def pack(self, function):
        patch = self.folder / "libpatch.so"
        run("gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", HERE / "patch.c", "-o", patch)
        description = self.folder / f"{function}.dsc"
        description.write_text(f"{patch}\n@{self.library}\n{function}:new_{function}\n")
        run(ULP, "pack", description, "-o", self.folder / f"{function}.ulp")
        return self.folder / f"{function}.ulp"

    @contextlib.contextmanager
    def start(self, program, *arguments, preload=True, wrap=()):
        environment = dict(os.environ, **({"LD_PRELOAD": str(RUNTIME)} if preload else {}))
        process = subprocess.Popen([*wrap, self.folder / program, *map(str, arguments)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, bufsize=1, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().split()


def trigger(process, container, *options):
    """Apply or revert, and how long the diverted thread was held, in microseconds."""
    run(ULP, "trigger", "-p", process.pid, container, *options)


def measure_calls(rounds):
    """Nanoseconds per call, by state of the library."""

    def sample(process):
        return [float(word) for word in ask(process, str(rounds))]

    result = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(folder)
        with scene.start("calls", preload=False) as process:
            result["plain"] = sample(process)
    for mode, post_processed in MODES.items():
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder, PADDING, post_processed)
            beside, measured = scene.pack("beside"), scene.pack("measured")
            with scene.start("calls") as process:
                result[f"{mode}, never patched"] = sample(process)
                trigger(process, beside)
                result[f"{mode}, another function patched"] = sample(process)
                trigger(process, measured)
                result[f"{mode}, patched"] = sample(process)
                trigger(process, measured, "--revert")
                result[f"{mode}, reverted"] = sample(process)
    return result


def measure_gaps(thread_counts, applies):
    """The longest gap that any spinning thread saw, in microseconds, while a command ran that patches the process.

    For comparison, while the same command only looked at it: the command itself needs a processor, too, and
    with more threads than processors they take turns anyway.
    """
    result = {}
    for threads in thread_counts:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder, PADDING, True)
            container = scene.pack("measured")
            with scene.start("gaps", threads, wrap=("nice", "-n", "19")) as process:
                time.sleep(0.5)
                sample = {"looking": [], "patching": [], "held": []}
                for index in range(applies):
                    verb = "revert" if index % 2 else "patch"
                    for name, what in (("looking", "check"), ("patching", verb)):
                        ask(process, "reset")
                        answer = ulp("dispatch", what, container, process.pid, accept=(0, 1, 3))
                        sample[name].append(max(float(word) for word in ask(process, "report")))
                    sample["held"] += [row["held_us"] for row in rows_of(answer) if row.get("held_us") is not None]
                result[str(threads)] = sample
    return result


def rows_of(answer):
    return answer["processes"] if isinstance(answer, dict) else answer


def measure_listing(count):
    """Seconds to list the state of so many patchable processes, command start included."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scene = Scene(folder, PADDING, True)
        for _each in range(count):
            stack.enter_context(scene.start("calls"))
        time.sleep(0.5)
        samples = []
        for _each in range(5):
            start = time.monotonic()
            ulp("list")
            samples.append(time.monotonic() - start)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--applies", type=int, default=12)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--processes", type=int, default=200)
    options = parser.parse_args()

    calls = measure_calls(options.rounds)
    plain = statistics.median(calls["plain"])
    print(f"{'call of a function':42} {'median ns':>10} {'ratio':>7}")
    for name, samples in calls.items():
        median = statistics.median(samples)
        print(f"{name:42} {median:10.2f} {median / plain:7.2f}")

    gaps = measure_gaps(options.threads, options.applies)
    print(f"\n{'spinning threads':>16} {'gap, looking':>14} {'gap, patching':>14} {'held':>9}   us, medians")
    for threads, sample in gaps.items():
        looking, patching = statistics.median(sample["looking"]), statistics.median(sample["patching"])
        held = statistics.median(sample["held"]) if sample["held"] else float("nan")
        print(f"{threads:>16} {looking:14.1f} {patching:14.1f} {held:9.1f}")

    listing = measure_listing(options.processes)
    seconds = statistics.median(listing)
    print(f"\nlist the state of {options.processes} processes: {seconds:.3f} s, command start included")

    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"calls_ns": calls, "gaps_us": gaps, "list_s": listing}, indent=1) + "\n")
    print(f"\nall samples: {options.output}")


if __name__ == "__main__":
    main()
