# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes: a victim program, its library in both layouts, and the runtime."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.victim import Victim

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger
from ansible_collections.libpulp.livepatch.roles.ulp_runtime.files.build_ulp import build
from ansible_collections.libpulp.livepatch.roles.ulp_runtime.files.compile_ulp import compile_archive

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent.parent
PADDING = ("-fpatchable-function-entry=16,14",)
OLD, NEW = 20, 5001
# Waiting for a victim ends early when all is well: on a busy machine its thread may wait long for a processor.
ANSWER_SECONDS = 60
# PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h.
FIRST_PID_NAMESPACE = "pid:[4026531836]"

BUSY_PYTHON = """
import ctypes, mmap, struct, sys
answer = ctypes.CDLL(sys.argv[1]).answer
with open(sys.argv[2], "r+b") as file:
    shown = mmap.mmap(file.fileno(), 4096)
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)
rounds = 0
while True:
    if fibonacci(12) != 144 or len([bytes(size) for size in range(200)]) != 200:
        sys.exit(1)
    rounds += 1
    shown[:16] = struct.pack("<2q", answer(1), rounds)
"""


class Layout(NamedTuple):
    """One way to build the victim's library, with the livepatch for it."""

    name: str
    directory: Path
    library: Path
    livepatch: Path
    app: Path


def compiled(*arguments):
    subprocess.run(["gcc", "-O2", "-g", *map(str, arguments)], check=True)


@pytest.fixture(scope="session", name="runtime")
def fixture_runtime(tmp_path_factory):
    """The directory with libpulp.so and trm.o: $ULP_TEST_BUILD, the checkout's build, or one made here."""
    built = Path(os.environ.get("ULP_TEST_BUILD") or CHECKOUT / "build")
    if (built / "libpulp.so").exists() and (built / "trm.o").exists():
        return built
    directory = tmp_path_factory.mktemp("native")
    subprocess.run(["meson", "setup", directory, CHECKOUT / "native"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["meson", "compile", "-C", directory], check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="session", name="layouts")
def fixture_layouts(tmp_path_factory, runtime):
    """Layout ``padded`` (padding only) and ``posted`` (trm.o linked, post-processed)."""
    found = {}
    for name in ("padded", "posted"):
        directory = tmp_path_factory.mktemp(name)
        library = directory / "libvictim.so"
        tracking = [runtime / "trm.o"] if name == "posted" else []
        compiled(
            "-fPIC", "-shared", *PADDING, "-Wl,--build-id,-soname,libvictim.so", HERE / "library.c", *tracking,
            "-o", library,
        )
        if name == "posted":
            post_process(library)
        patch = directory / "patch.so"
        compiled("-fPIC", "-shared", "-Wl,--build-id", HERE / "patch.c", "-o", patch)
        description = directory / "victim.dsc"
        description.write_text(f"{patch}\n@{library}\nanswer:new_answer\n", encoding="utf-8")
        livepatch = directory / "victim.ulp"
        pack(parse_description(description), livepatch)
        app = directory / "app"
        compiled("-pthread", HERE / "app.c", "-L", directory, "-lvictim", "-o", app)
        found[name] = Layout(name, directory, library, livepatch, app)
    return found


@pytest.fixture(params=["padded", "posted"], name="layout")
def fixture_layout(request, layouts):
    """Both layouts in turn."""
    return layouts[request.param]


@pytest.fixture(name="padded")
def fixture_padded(layouts):
    return layouts["padded"]


class LayoutVictim(Victim):
    """A victim with the library of a layout: app.c, and its commands."""

    def __init__(self, layout, mode, runtime, *arguments, wrap=(), besides=(), first="ready"):
        """
        :param besides: what else is preloaded.
        """
        preloaded = [*([runtime / "libpulp.so"] if runtime is not None else []), *besides]
        self.layout = layout
        super().__init__([*wrap, layout.app, mode, *arguments], [layout.directory], preloaded, first=first)
        self.name = layout.app.name

    def start_thread(self, command, number):
        """Have it start a thread, which then sleeps in system call ``number`` (None: it never sleeps)."""
        before = set(procfs.thread_ids(self.pid))
        self.ask(command)
        (tid,) = set(procfs.thread_ids(self.pid)) - before
        deadline = time.monotonic() + ANSWER_SECONDS
        while number is not None:
            where = procfs.read_system_call(self.pid, tid)
            if where is not None and where.number == number:
                break
            assert time.monotonic() < deadline, f"thread {tid} of victim {self.pid} is at {where}"
        return tid

    def wait(self, condition, what):
        """Wait until ``condition()`` is true; the test fails when it does not become so."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"victim {self.pid}: still not so: {what}"
            time.sleep(0.002)

    def goes_on(self):
        """Wait until it has made its call, or its computation, once more."""
        before = int(self.ask("count"))
        self.wait(lambda: int(self.ask("count")) > before, "it goes on")

    def end(self):
        """The exit status, 0 when nothing disturbed it, after telling it to stop."""
        self.process.stdin.close()
        return self.process.wait(ANSWER_SECONDS)


@pytest.fixture(name="start")
def fixture_start(runtime):
    """A function that starts a LayoutVictim; every one is killed at the end of the test."""
    started = []

    def start(layout, mode="commands", *arguments, preload=True, **options):
        victim = LayoutVictim(layout, mode, runtime if preload else None, *arguments, **options)
        started.append(victim)
        return victim

    yield start
    for victim in started:
        victim.kill()


class Busy:
    """A victim of which no thread ever waits (busy.c): so it shows what it does, and cannot be asked anything else."""

    def __init__(self, arguments, shown, threads, **options):
        self.process = subprocess.Popen([*map(str, arguments)], **options)
        self.pid = self.process.pid
        self.threads = threads
        self.path = shown

    def _shown(self):
        return struct.unpack_from(f"<{1 + self.threads}q", self.path.read_bytes())

    def ask(self, command):
        """The answer of the library in a round that is still to come."""
        assert command == "answer"
        self.goes_on()
        return str(self._shown()[0])

    def wait(self, condition, what):
        """As LayoutVictim.wait()."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not condition():
            assert self.process.poll() is None, f"victim {self.pid} has ended: {self.process.returncode}"
            assert time.monotonic() < deadline, f"victim {self.pid}: still not so: {what}"
            time.sleep(0.005)

    def goes_on(self):
        """Wait until each thread has come around twice, so that one round has begun meanwhile."""
        before = self._shown()[1:]
        self.wait(lambda: all(now > then + 1 for now, then in zip(self._shown()[1:], before)), "it goes on")

    def end(self):
        """0 if nothing disturbed it."""
        status = self.process.poll()
        self.kill()
        return 0 if status is None else status

    def kill(self):
        self.process.kill()
        self.process.wait()


class Calls:
    """Counts calls, also those in the workers, which are processes of their own."""

    def __init__(self, path):
        self.path = path
        self.path.touch()

    def note(self):
        with self.path.open("ab", buffering=0) as stream:
            stream.write(b".")
        return len(self)

    def __len__(self):
        return self.path.stat().st_size


@pytest.fixture(scope="session", name="busy_program")
def fixture_busy_program(layouts):
    directory = layouts["padded"].directory
    compiled("-pthread", HERE / "busy.c", "-L", directory, "-lvictim", "-o", directory / "busy")
    return directory / "busy"


@pytest.fixture(name="of_source")
def fixture_of_source(padded, tmp_path):
    """A function that starts a Busy victim of one of the sources here, built with flags, in one of its modes.

    It goes on when it is returned.
    """
    started = []

    def of_source(name, mode, *flags):
        program, shown = tmp_path / name, tmp_path / "shown"
        compiled("-pthread", *flags, HERE / f"{name}.c", "-L", padded.directory, "-lvictim", "-o", program)
        shown.write_bytes(bytes(4096))
        started.append(Busy([program, mode, 1, shown], shown, 1,
                            env=dict(os.environ, LD_LIBRARY_PATH=str(padded.directory))))
        started[-1].goes_on()
        return started[-1]

    yield of_source
    for victim in started:
        victim.kill()


@pytest.fixture(name="busy")
def fixture_busy(padded, busy_program, tmp_path):
    """A function that starts a Busy victim in a mode of busy.c's, or *python*; it goes on when it is returned."""
    started = []

    def busy(mode, threads=1, **environment):
        shown = tmp_path / f"shown-{len(started)}"
        shown.write_bytes(bytes(4096))
        arguments = [busy_program, mode, threads, shown]
        if mode == "python":
            arguments = ["/usr/bin/python3", "-c", BUSY_PYTHON, padded.library, shown]
        victim = Busy(arguments, shown, threads,
                      env=dict(os.environ, LD_LIBRARY_PATH=str(padded.directory), **environment))
        started.append(victim)
        victim.goes_on()
        return victim

    yield busy
    for victim in started:
        victim.kill()


@pytest.fixture(name="calls")
def fixture_calls(tmp_path):
    return Calls(tmp_path / "calls")


@pytest.fixture(name="files")
def fixture_files():
    return MappedFiles()


@pytest.fixture(name="trigger")
def fixture_trigger(files):
    """A function that gives the Trigger of a layout's livepatch."""

    def trigger(layout, **options):
        return Trigger(read_livepatch(layout.livepatch), files, Options(**options))

    return trigger


@pytest.fixture(name="look")
def fixture_look(files):
    """A function that examines a victim."""
    return lambda victim: examine(victim.pid, files)


@pytest.fixture(name="kernel_thread")
def fixture_kernel_thread():
    """(PID, name) of a kernel thread; only the machine's first PID namespace has any."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessGone):
            stat = procfs.read_stat(pid)
            if stat.flags & procfs.PF_KTHREAD:
                return pid, stat.name
    assert os.readlink("/proc/self/ns/pid") != FIRST_PID_NAMESPACE
    pytest.skip("there are no kernel threads in a PID namespace of its own")


@pytest.fixture(name="foreign_program")
def fixture_foreign_program(tmp_path):
    """A running statically linked program."""
    source = tmp_path / "static.c"
    source.write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n", encoding="utf-8")
    program = tmp_path / "static"
    compiled("-static", source, "-o", program)
    process = subprocess.Popen([program])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(name="as_nobody")
def fixture_as_nobody():
    """A function that calls another one as user nobody; str of its result, or ``Class: message`` of its exception."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def as_nobody(function, *arguments):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            try:
                said = str(function(*arguments))
            except Exception as error:  # noqa: BLE001 - told to the parent
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            said = stream.read()
        assert os.waitpid(child, 0)[1] == 0
        return said

    return as_nobody


@pytest.fixture(scope="session", name="command")
def fixture_command(tmp_path_factory):
    """The command as it is installed: one file, away from the checkout, with its byte code."""
    first = tmp_path_factory.mktemp("command") / "ulp.zip"
    second = first.with_name("again.zip")
    build(first)
    build(second)
    assert first.read_bytes() == second.read_bytes()
    assert os.access(first, os.X_OK)
    command = first.with_name("ulp")
    assert compile_archive(first, command)
    assert os.access(command, os.X_OK)
    return command


@pytest.fixture(name="ulp")
def fixture_ulp(command, tmp_path):
    """A function that runs it and gives (exit status, output, lines of errors)."""

    def ulp(*arguments):
        done = subprocess.run(
            [sys.executable, str(command), *map(str, arguments)],
            check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr.splitlines()

    return ulp
