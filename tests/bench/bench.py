# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What patching costs: a call, a held thread, attaching, everybody else, and reading the state.

Prints medians, and ratios to the same call in a library that was built without anything. Writes all samples
as JSON. Asserts nothing: a number depends on the machine, a test must not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attaching import measure_attaching, print_attaching
from building import measure_building, print_building
from sites import LIBRARIES, measure_debian_13, measure_sites, print_sites

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ULP = ROOT / "build" / "ulp"
RUNTIME = ROOT / "build" / "libpulp.so"
TRM = ROOT / "build" / "trm.o"
PADDING = ["-fpatchable-function-entry=16,14"]
REPEAT = ROOT / "tests" / "integration" / "harness" / "repeat.py"
# What is done while threads spin: nothing, for as long as an apply takes; a look at the process; a change; a stop.
DONE = ("nothing", "check", "apply", "revert", "stop")
STOPPED_US = 1000
STOPS = 4
# How the library is built: what is compiled with, and whether it is post-processed.
MODES = {
    "padding only": (PADDING, False),
    "post-processed": (PADDING, True),
    "stock": (["-fcf-protection=full"], False),
}


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def ulp(*arguments):
    return json.loads(run(ULP, *arguments, "--json"))


def processor_seconds(*command):
    """Seconds on a processor that a command takes, with what it has forked and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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


def trigger(process, ulp_file, *options):
    """Apply or revert."""
    run(ULP, "trigger", "-p", process.pid, ulp_file, *options)


def measure_calls(rounds):
    """Nanoseconds per call, by state of the library."""

    def sample(process):
        return [float(word) for word in ask(process, str(rounds))]

    result = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(folder)
        with scene.start("calls", preload=False) as process:
            result["plain"] = sample(process)
    for mode, (flags, post_processed) in MODES.items():
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder, flags, post_processed)
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


def measure_memory():
    """{state of a process: how many KB more of addresses and of memory than before, as (VmSize, VmRSS)}."""
    result = {}
    for mode, (flags, post_processed) in MODES.items():
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder, flags, post_processed)
            with scene.start("calls") as process:
                ask(process, "1")
                before = memory_of(process)
                for function in ("beside", "measured"):
                    trigger(process, scene.pack(function))
                    result[f"{mode}, {function} patched"] = [
                        now - then for now, then in zip(memory_of(process), before)]
    return result


def memory_of(process):
    """(VmSize, VmRSS) in KB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return [int(status.partition(name)[2].split()[0]) for name in ("VmSize:", "VmRSS:")]


def print_memory(found):
    print(f"\n{'a livepatch of one function, then another':42} {'KB of addresses':>16} {'in memory':>10}")
    for state, (size, resident) in found.items():
        print(f"{state:42} {size:16} {resident:10}")


class Repeater:
    """Applies, reverts and checks one livepatch, which it has read before: little work beside what is measured."""

    def __init__(self, ulp_file, pid):
        self.pid = pid
        self.process = subprocess.Popen(
            [sys.executable, REPEAT, ULP, ulp_file, RUNTIME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what):
        """Microseconds that a thread was held, or None."""
        self.process.stdin.write(f"{what} {self.pid}\n")
        self.process.stdin.flush()
        outcome, reason, held = json.loads(self.process.stdout.readline())
        if outcome not in ("patched", "reverted", "already_patched", "pending"):
            sys.exit(f"{what}: {outcome}: {reason}")
        return held

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def stop_and_continue(pid):
    """What a tool does that stops a process, for a millisecond: it shows whether a stop is seen."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_US / 1e6)
    os.kill(pid, signal.SIGCONT)


def measure_gaps(thread_counts, repeats):
    """What spinning threads lose, by what is done meanwhile: see gaps.c.

    :return: for each number of threads and each of DONE a list of [longest gap, longest time not runnable, voluntary
        switches of all threads together], and under "held" the times that the diverted thread was held.  Microseconds.
    """
    result = {}
    for threads in thread_counts:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder, PADDING, True)
            ulp_file = scene.pack("measured")
            with scene.start("gaps", threads) as process, contextlib.closing(
                    Repeater(ulp_file, process.pid)) as repeater:
                sample = {name: [] for name in (*DONE, "held")}
                # The first loads the patch library, and so is another than all that follow; it is not in the medians.
                sample["first held"] = [repeater.do("apply")]
                repeater.do("revert")
                lasted = 0.02  # seconds
                for index in range(repeats):
                    change = "revert" if index % 2 else "apply"
                    for name in ("nothing", "check", change) + (("stop",) if index < STOPS else ()):
                        ask(process, "reset")
                        if name == "nothing":
                            time.sleep(lasted)
                        elif name == "stop":
                            stop_and_continue(process.pid)
                        elif name == "check":
                            repeater.do(name)
                        else:
                            begin = time.monotonic()
                            sample["held"].append(repeater.do(name))
                            lasted = time.monotonic() - begin
                        gap, lost, switches = ask(process, "report")
                        sample[name].append([float(gap), float(lost), int(switches)])
        result[str(threads)] = sample
    return result


def print_gaps(gaps):
    """One line for each number of threads and what was done: medians, and the worst."""
    print(f"\n{'spinning':>8} {'meanwhile':10} {'samples':>7} {'gap':>10} {'worst':>10} {'not runnable':>13}"
          f" {'worst':>8} {'switches':>9}   microseconds")
    for threads, sample in gaps.items():
        for name in DONE:
            columns = list(zip(*sample[name]))
            if not columns:
                continue
            gap, lost, switches = columns
            print(f"{threads:>8} {name:10} {len(gap):>7} {statistics.median(gap):10.0f} {max(gap):10.0f}"
                  f" {statistics.median(lost):13.0f} {max(lost):8.0f} {sum(switches):9}")
    print("gap: the longest time between two readings of the time-stamp counter, over all threads. With more threads"
          "\nthan processors that is mostly the turns of the others. not runnable: the longest time in which a thread"
          "\nneither ran nor waited for a processor. switches: how often threads slept or were stopped, in all samples"
          f"\ntogether. For comparison, stop: all threads stopped for {STOPPED_US} us (SIGSTOP), as other patchers do.")
    print(f"\n{'spinning':>8} {'held: median':>14} {'worst':>8} {'first':>8}   the diverted thread, microseconds")
    for threads, sample in gaps.items():
        print(f"{threads:>8} {statistics.median(sample['held']):14.0f} {max(sample['held']):8.0f}"
              f" {sample['first held'][0]:8.0f}")


# Workers look at the processes, so what they take counts, too.
FACTS = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.dispatch.facts import gather

def taken():
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return [time.monotonic(), sum(usage.ru_utime + usage.ru_stime for usage in both)]

samples = []
for _each in range(1 + int(sys.argv[2])):
    before = taken()
    gather()
    samples.append([after - then for after, then in zip(taken(), before)])
# The first one imports, too.
print(json.dumps(samples[1:]))
"""


@contextlib.contextmanager
def many_processes(count):
    """So many processes with a library, and a livepatch for them: gives the livepatch and the PID of one."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scene = Scene(folder, PADDING, True)
        ulp_file = scene.pack("measured")
        processes = [stack.enter_context(scene.start("calls")) for _each in range(count)]
        for process in processes:
            # It has started when it waits for a number: read(2) of standard input (x86-64).
            while not Path(f"/proc/{process.pid}/syscall").read_text().startswith("0 0x0 "):
                time.sleep(0.01)
        yield ulp_file, processes[0].pid


def measure_dispatch(count, runs):
    """Seconds on a processor to patch or to revert ``count`` processes, a list, beyond a dispatch that finds none."""
    with many_processes(count) as (ulp_file, _pid):
        def dispatched(operation, name):
            return processor_seconds(ULP, "dispatch", operation, ulp_file, "--name", name, "--ledger", "")

        samples = []
        for run_number in range(runs):
            operation = "revert" if run_number % 2 else "patch"
            nothing = dispatched(operation, "nobody")
            samples.append(dispatched(operation, "calls") - nothing)
    return samples


def measure_listing(count, runs):
    """What one look takes with ``count`` patched processes.

    :return: seconds on a processor to list them, a list, beyond those to list one of them; for the facts alone, without
        any start, a list of [seconds, of them on a processor].
    """
    with many_processes(count) as (ulp_file, pid):
        run(ULP, "dispatch", "patch", ulp_file, "--name", "calls", "--ledger", "")
        samples = []
        for _run in range(runs):
            one = processor_seconds(ULP, "list", "-p", pid)
            samples.append(processor_seconds(ULP, "list") - one)
        facts = json.loads(run(sys.executable, "-c", FACTS, ROOT, runs))
    return samples, facts


THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern int measured(int);
static void *sleeper(void *nothing) { pause(); return nothing; }
int main(int count, char **words)
{
    pthread_attr_t small;
    pthread_t thread;
    (void)count;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    for (int i = atoi(words[1]); i > 1; i--)
        if (pthread_create(&thread, &small, sleeper, 0))
            return 1;
    printf("%d\n", measured(1));
    fflush(stdout);
    for (;;)
        pause();
}
"""


def measure_examination(thread_counts):
    """Seconds on a processor for one look at a patched process, by the number of its threads.

    None of them has entered the library since, so that each is judged by its stack.
    """
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(folder, PADDING, True)
        ulp_file = scene.pack("measured")
        source = scene.folder / "threads.c"
        source.write_text(THREADS)
        run("gcc", "-O2", "-pthread", source, "-o", scene.folder / "threads", scene.library,
            f"-Wl,-rpath,{scene.folder}")
        for threads in thread_counts:
            with scene.start("threads", threads) as process:
                process.stdout.readline()
                trigger(process, ulp_file)
                result[str(threads)] = json.loads(run(sys.executable, "-c", LOOKS, ROOT, process.pid))
    return result


LOOKS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.process import migration
from plugins.module_utils.process.mapped import MappedFiles
from plugins.module_utils.process.subject import examine
from plugins.module_utils.trigger.judgement.progress import look
# As if the runtime had not been told yet of what was seen: then no thread has to be looked at.
migration._all_settled = lambda domain, universe: False
files = MappedFiles()
samples = []
for _each in range(4):
    start = time.process_time()
    subject = examine(int(sys.argv[2]), files)
    found = look(subject, 0, files)
    if hasattr(found, "send"):
        for _pause in found:
            pass
    samples.append(time.process_time() - start)
# The first one imports, too.
print(json.dumps(samples[1:]))
"""


def measure_functions(count):
    """CPU seconds to classify so many functions of a library; a list."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "many.c"), Path(folder, "libmany.so")
        functions = (f"int function{number}(int x) {{ return x + {number}; }}\n" for number in range(count))
        source.write_text("".join(functions))
        run("gcc", "-O1", "-shared", "-fPIC", "-falign-functions=16", *PADDING, source, "-o", library)
        return json.loads(run(sys.executable, "-c", FUNCTIONS, ROOT, library))


FUNCTIONS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.elf.image import ElfImage
from plugins.module_utils.elf.patchable import patchable_functions
samples = []
for _each in range(5):
    start = time.process_time()
    patchable_functions(ElfImage.open(sys.argv[2]))
    samples.append(time.process_time() - start)
# The first one imports, too.
print(json.dumps(samples[1:]))
"""


def measure_starts(runs):
    """CPU seconds of whole commands, one after the other, beside an interpreter that imports the three libraries."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(folder, PADDING, True)
        ulp_file = scene.pack("measured")
        with scene.start("calls") as process:
            time.sleep(0.5)
            trigger(process, ulp_file)
            commands = {
                "import of the three libraries": ("/usr/bin/python3", "-I", "-c", "import elftools, psutil, ptrace"),
                "ulp --version": (ULP, "--version"),
                "ulp --help": (ULP, "--help"),
                "ulp list -p": (ULP, "list", "-p", process.pid),
                "ulp check -p": (ULP, "check", "-p", process.pid, ulp_file),
                "ulp trigger, already patched": (ULP, "trigger", "-p", process.pid, ulp_file),
            }
            samples = {name: [] for name in commands}
            for _run in range(runs):
                for name, command in commands.items():
                    samples[name].append(processor_seconds(*command))
    return samples


ONCE = ["--rounds=1", "--applies=1", "--attaches=1", "--threads=1", "--examined=20", "--processes=3", "--listed=5",
        "--runs=1", "--functions=100", "--starts=1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--applies", type=int, default=20)
    parser.add_argument("--attaches", type=int, default=11)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--examined", type=int, nargs="*", default=[100, 500, 2000])
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--listed", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--functions", type=int, default=10000)
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--once", action="store_true",
                        help="everything once and as small as can be: whether it works at all, and no figures")
    options = parser.parse_args()
    if options.once:
        options = parser.parse_args(ONCE, options)

    calls = measure_calls(options.rounds)
    plain = statistics.median(calls["plain"])
    print(f"{'call of a function':42} {'median ns':>10} {'ratio':>7}")
    for name, samples in calls.items():
        median = statistics.median(samples)
        print(f"{name:42} {median:10.2f} {median / plain:7.2f}")

    memory = measure_memory()
    print_memory(memory)

    gaps = measure_gaps(options.threads, options.applies)
    print_gaps(gaps)

    dispatches = measure_dispatch(options.processes, options.runs)
    each = 1000 * statistics.median(dispatches) / options.processes
    print(f"\npatch or revert {options.processes} processes by one dispatch: {each:.1f} ms on a processor for each")
    listing, facts = measure_listing(options.listed, options.runs)
    print(f"\nlist {options.listed} patched processes: {statistics.median(listing):.3f} s on a processor beyond one")
    wall, processor = (statistics.median(column) for column in zip(*facts))
    print(f"their facts alone: {processor:.3f} s on a processor, {wall:.3f} s altogether")

    attaching = measure_attaching(options.attaches)
    print_attaching(attaching)

    sites = measure_sites(libraries=LIBRARIES[:1]) if options.once else measure_sites()
    print_sites(sites)
    sites_13 = None if options.once else measure_debian_13()
    print_sites(sites_13, "Debian 13")

    examination = measure_examination(options.examined)
    print(f"\n{'threads':>8} {'a look at them':>15} {'for each':>10}   seconds on a processor")
    for threads, samples in examination.items():
        median = statistics.median(samples)
        print(f"{threads:>8} {median:15.3f} {median / int(threads):10.6f}")

    functions = measure_functions(options.functions)
    print(f"\nclassify {options.functions} functions of a library: {statistics.median(functions):.3f} s on a processor")

    building = measure_building(ULP, RUNTIME, options.functions)
    print_building(building, options.functions)

    starts = measure_starts(options.starts)
    base = statistics.median(starts["import of the three libraries"])
    print(f"\n{'a whole command':42} {'median s':>10} {'ratio':>7}   seconds on a processor")
    for name, taken in starts.items():
        median = statistics.median(taken)
        print(f"{name:42} {median:10.3f} {median / base:7.2f}")

    options.output.parent.mkdir(parents=True, exist_ok=True)
    samples = {"calls_ns": calls, "memory_kb": memory, "gaps_us": gaps, "dispatch_s": dispatches, "list_s": listing,
               "facts_s": facts, "examination_s": examination, "functions_s": functions, "starts_s": starts,
               "sites": sites, "sites_debian_13": sites_13, "attaching": attaching, "building_s": building}
    options.output.write_text(json.dumps(samples, indent=1) + "\n")
    print(f"\nall samples: {options.output}")


if __name__ == "__main__":
    main()
