# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that cannot be patched get one sentence that names them, and go on as if nobody had asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import snapshot
from harness.command import Ulp
from harness.library import run
from harness.paths import COMMAND, RUNTIME
from harness.polling import DEADLINE, wait_until
from harness.variant import PADDING
from harness.victim import Victim

NOBODY = 65534
PTRACE_ATTACH = 16
PTRACE_SEIZE = 0x4206


@pytest.fixture
def build(mode_variant, target):
    return target("blocked", mode_variant)


def state_of(pid):
    """The letter that procfs has for what the process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# What a revert says of a process, whatever keeps the runtime out of it.
NOTHING_TO_REVERT = "runs without the livepatch runtime, so that there is nothing to revert"


def refuse_process(ulp, pid, ulp_file, naming=None, reverting=None):
    """Neither apply, revert nor check does anything but say why not."""
    ulp.refuse("trigger", "-p", pid, ulp_file, naming=naming or pid)
    ulp.refuse("trigger", "-p", pid, ulp_file, "--revert", naming=reverting or naming or pid)


def refuse_victim(ulp, victim, ulp_file, naming=None, reverting=None):
    before = snapshot.of_process(victim)
    refuse_process(ulp, victim.pid, ulp_file, naming, reverting)
    assert snapshot.of_process(victim) == before
    assert victim.number("version") == 1


def test_without_the_runtime(build, ulp_file, start, ulp):
    """Guards the look for the runtime among the process's mappings: seen to fail (a traceback) without it."""
    victim = start(build, preload=())
    refuse_victim(ulp, victim, ulp_file,
                  naming=f"{victim.pid} ({victim.name}) was started without the livepatch runtime",
                  reverting=f"{victim.pid} ({victim.name}) {NOTHING_TO_REVERT}")


def test_without_the_library(build, ulp_file, ulp):
    """The runtime is there, but not the library: nothing to patch.

    Seen to fail (the runtime is asked, and finds the request malformed) with every process taken for one that has it.
    """
    with subprocess.Popen(["sleep", "infinity"], env=dict(os.environ, LD_PRELOAD=str(RUNTIME))) as process:
        try:
            wait_until(lambda: "libpulp" in Path(f"/proc/{process.pid}/maps").read_text(), "runtime is mapped")
            refuse_process(ulp, process.pid, ulp_file,
                           naming=f"{process.pid} (sleep) has not loaded {build.hazard.soname}")
        finally:
            process.kill()


@pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-tools")
def test_on_musl(ulp, tmp_path):
    """To preload the runtime would end such a program, so nobody is told to.

    Seen to fail (restart it with LD_PRELOAD) without runs_on_musl().
    """
    library, patch, program = tmp_path / "libonmusl.so", tmp_path / "patch.so", tmp_path / "on_musl"
    source, replacement, main = tmp_path / "library.c", tmp_path / "patch.c", tmp_path / "main.c"
    source.write_text("int version(void) { return 1; }\n")
    replacement.write_text("int version_new(void) { return 2; }\n")
    main.write_text("#include <unistd.h>\nint version(void);\nint main(void) { for (;; version()) pause(); }\n")
    shared = ("musl-gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id")
    run([*shared, PADDING, "-Wl,-soname,libonmusl.so", source, "-o", library])
    run([*shared, replacement, "-o", patch])
    run(["musl-gcc", "-O2", main, library, f"-Wl,-rpath,{tmp_path}", "-o", program])
    description, ulp_file = tmp_path / "musl.dsc", tmp_path / "musl.ulp"
    description.write_text(f"{patch}\n@{library}\nversion:version_new\n")
    ulp.succeed("pack", description, "-o", ulp_file)
    with subprocess.Popen([program]) as process:
        try:
            wait_until(lambda: "libonmusl" in Path(f"/proc/{process.pid}/maps").read_text(), "library is mapped")
            refuse_process(ulp, process.pid, ulp_file, naming=f"{process.pid} (on_musl) runs on musl",
                           reverting=f"{process.pid} (on_musl) {NOTHING_TO_REVERT}")
        finally:
            process.kill()


def test_statically_linked(ulp_file, ulp, tmp_path):
    """Guards the reason: what such a program has of the library is in itself, so that "not loaded" is half the truth.

    Seen to fail, with that half, with is_statically_linked() always false.
    """
    source = tmp_path / "static.c"
    source.write_text("#include <unistd.h>\nint main(void) { pause(); return 0; }\n")
    run(["gcc", "-static", "-o", tmp_path / "static", source])
    with subprocess.Popen([tmp_path / "static"], env=dict(os.environ, LD_PRELOAD=str(RUNTIME))) as process:
        try:
            refuse_process(ulp, process.pid, ulp_file, naming="statically linked")
        finally:
            process.kill()


def test_another_build_of_the_library(build, ulp_file, start, ulp, tmp_path):
    """Guards the comparison of build IDs: the same soname, but not the library that the livepatch was made for.

    Seen to fail with resolve() comparing names instead: it is refused then, too, but with another reason.
    """
    other = tmp_path / build.library.name
    build_id = "5a" * 20
    run(["gcc", "-shared", "-Wl,--build-id=0x" + build_id, "-Wl,-soname," + build.hazard.soname,
         "-o", other, build.directory / "library.o"])
    victim = Victim([build.program()], libraries=[tmp_path])
    try:
        refuse_victim(ulp, victim, ulp_file,
                      naming=f"{victim.pid} ({victim.name}) runs {build.library.name} with build ID {build_id}")
    finally:
        victim.finish()


def test_no_such_process(ulp_file, ulp):
    """Seen to fail, with the operating system's words, with a file of /proc that is not there left unexplained."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    reason = f"process {process.pid} does not exist, or it has ended"
    refuse_process(ulp, process.pid, ulp_file, naming=reason)
    ulp.refuse("check", "-p", process.pid, ulp_file, naming=reason)
    ulp.refuse("messages", "-p", process.pid, naming=reason)


def test_zombie(ulp_file, ulp):
    """Seen to fail (told not to exist, or to have ended) without the look at the state in alive()."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        wait_until(lambda: state_of(pid) == "Z", "zombie")
        refuse_process(ulp, pid, ulp_file, naming="has ended already and is a zombie")
        # Who asks for a name asks for what runs; seen to be not_patchable, and left vulnerable by a rollout.
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        rows = ulp.run("dispatch", "patch", ulp_file, "--name", name, "--dry-run", "--json").json()
        assert pid not in {row["pid"] for row in rows}
    finally:
        os.waitpid(pid, 0)


def kernel_threads():
    """PIDs whose command line is empty and that have PF_KTHREAD; none in a PID namespace of its own."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    flags = int(file.read().rpartition(")")[2].split()[6])
            except OSError:
                continue  # ended meanwhile
            if flags & 0x00200000:
                found.append(int(name))
    return found


def test_kernel_thread(ulp_file, ulp):
    """Seen to fail (told not to exist, or to have ended) without the look at the flags in alive().

    Where it is not skipped, that is: outside of PID namespaces.
    """
    threads = kernel_threads()
    if not threads:
        pytest.skip("no kernel thread can be seen from this PID namespace")
    refuse_process(ulp, threads[0], ulp_file, naming="is a kernel thread")


def test_process_of_another_user(build, ulp_file, start, ulp, tmp_path_factory):
    """An ordinary user gets a sentence, not a traceback, about somebody else's process.

    Seen to fail, with the operating system's words, where EACCES is an error like any other in process/procfs.py.
    """
    if os.geteuid() != 0:
        refuse_process(ulp, 1, ulp_file, naming="process 1 may not be examined by this user")
        return
    victim = start(build)
    open_to_all = tmp_path_factory.mktemp("open")
    for directory in (open_to_all, open_to_all.parent, open_to_all.parent.parent):
        directory.chmod(directory.stat().st_mode | 0o055)
    command = shutil.copy(COMMAND, open_to_all / "ulp")
    copy = shutil.copy(ulp_file, open_to_all / ulp_file.name)
    os.chmod(command, 0o755)
    os.chmod(copy, 0o644)
    as_nobody = Ulp(("/usr/bin/python3", str(command)),
                    wrap=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
    refuse_victim(as_nobody, victim, copy, naming=f"process {victim.pid} may not be examined by this user")
    # The other way round it works: root patches a process of nobody.
    ulp.succeed("trigger", "-p", victim.pid, ulp_file)
    assert victim.number("version") == 2
    ulp.succeed("trigger", "-p", victim.pid, ulp_file, "--revert")


@pytest.mark.parametrize("request_number", [PTRACE_ATTACH, PTRACE_SEIZE], ids=["attached", "seized"])
def test_stopped_by_a_debugger(request_number, build, ulp_file, start, ulp):
    """Guards the look at TracerPid: there can be only one tracer, and ours must not disturb the other.

    Seen to fail without that look: the kernel refuses then, and nobody hears of the debugger.
    """
    victim = start(build)
    before = snapshot.of_process(victim)
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(request_number), str(victim.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert tracer.stdout.readline() == "traced\n"
        refuse_process(ulp, victim.pid, ulp_file)
        ulp.refuse("trigger", "-p", victim.pid, ulp_file, naming=f"is traced by process {tracer.pid}, a debugger")
    finally:
        tracer.communicate(timeout=DEADLINE)
    assert tracer.returncode == 0
    assert snapshot.of_process(victim) == before
    assert victim.number("version") == 1
    # And once the debugger is gone it can be patched.
    ulp.succeed("trigger", "-p", victim.pid, ulp_file)
    assert victim.number("version") == 2
    ulp.succeed("trigger", "-p", victim.pid, ulp_file, "--revert")
    assert victim.number("version") == 1


# Traces a process until its standard input ends.
TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
request, pid = int(sys.argv[1]), int(sys.argv[2])
if libc.ptrace(request, pid, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
if request == 16:
    os.waitpid(pid, 0x40000000)
print("traced", flush=True)
sys.stdin.read()
if request == 0x4206:
    libc.ptrace(0x4207, pid, None, None)
    os.waitpid(pid, 0x40000000)
if libc.ptrace(17, pid, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


def test_stopped_by_a_signal(build, ulp_file, start, ulp):
    """A process in a job-control stop is refused with the reason, and never set going by us.

    Seen to fail without the look at the state in require_available(): no thread can be borrowed then, and nobody hears
    of the stop.  Not seen to be set going, even with the looks in trigger/borrowing/threads.py and tracee/custody.py
    taken out, too: the kernel keeps it stopped, and the request is taken back.
    """
    victim = start(build)
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(victim.pid) == "T", "stopped")
        before = snapshot.of_process(victim)
        ulp.refuse("trigger", "-p", victim.pid, ulp_file, "--timeout", 3,
                   naming=f"process {victim.pid} ({victim.name}) is stopped by a signal; continue it first")
        assert state_of(victim.pid) == "T"
        assert snapshot.of_process(victim) == before
    finally:
        os.kill(victim.pid, signal.SIGCONT)
    assert victim.number("version") == 1
    # And once it goes on it can be patched.
    ulp.succeed("trigger", "-p", victim.pid, ulp_file)
    assert victim.number("version") == 2
    ulp.succeed("trigger", "-p", victim.pid, ulp_file, "--revert")
    assert victim.number("version") == 1


def test_ends_meanwhile(build, ulp_file, ulp, start):
    """Guards every step of a trigger against a process that is killed just then: a sentence, and no hang.

    Not seen to fail with UlpError not caught in trigger.operations.attempt: then command/main.py says the sentence.
    """
    begin = time.monotonic()
    ulp.succeed("trigger", "-p", start(build).pid, ulp_file)
    usual = time.monotonic() - begin
    refused = 0
    rounds = 16
    for step in range(rounds):
        victim = Victim([build.program()], libraries=[build.directory])
        killer = os.fork()
        if killer == 0:
            time.sleep(usual * step / rounds)
            os.kill(victim.pid, signal.SIGKILL)
            os._exit(0)
        answer = ulp.run("trigger", "-p", victim.pid, ulp_file, "--timeout", 10)
        os.waitpid(killer, 0)
        victim.kill()
        assert answer.status in (0, 1), str(answer)
        if answer.status:
            refused += 1
            assert str(victim.pid) in answer.errors, str(answer)
            assert len(answer.errors.splitlines()) == 1, str(answer)
    assert refused
