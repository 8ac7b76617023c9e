# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that mean ill, each beside twenty honest ones, which are all served.

A kind of hostile process is a function that starts one on a harness.hostile.Stage and gives its PID.  It stands in
KINDS with what the tools have to say of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from harness.blocked import version_patch
from harness.command import TIMEOUT, Ulp
from harness.hostile import FOLDER, LARGEST_KB, Crowd, Stage, measured, staged
from harness.paths import RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch


def fifo_in_its_place(stage: Stage) -> int:
    """Its file is no more, and where it was there is a FIFO that nobody writes to.

    Seen to hang with the file opened by its path.
    """
    path = stage.copy_of_library()
    pid = stage.start_mapping(path)
    path.unlink()
    os.mkfifo(path)
    return pid


def leased_file(stage: Stage) -> int:
    """Its own file, which cannot be opened as long as it has a lease on it.

    Seen to fail: each open(2) takes 45 seconds, in each run, and there are several of them.
    """
    return stage.start_script("leases_file.py", stage.copy_of_library("libpulp.so"))


def silent_file_system(stage: Stage) -> int:
    """Its file is on a file system of a user (FUSE), which gives an answer to nobody.

    Seen to fail: the command never ends, and cannot be killed.
    """
    file, server = silent_fuse(stage, stage.build.library)
    pid = stage.start_mapping(file)
    os.kill(server, signal.SIGUSR1)
    return pid


def silent_fuse(stage: Stage, shown: Path) -> tuple[Path, int]:
    """A file system with one file, which shows what is in ``shown``: the file and the PID of who serves it."""
    mounted = stage.directory / "mounted"
    mounted.mkdir()
    server = stage.start(stage.compile("silent_fuse.c"), mounted, shown)
    stage.undo.callback(subprocess.run, ["umount", "--lazy", mounted], check=True)
    return mounted / "libpulp.so", server


def silent_memory(stage: Stage) -> int:
    """Its state block is memory of a file on such a file system.

    Seen to fail: the command never ends.
    """
    library = silent_library(stage)
    file, server = silent_fuse(stage, stage.file("zeros", bytes(1 << 24)))
    return stage.start_preloaded(library, SILENT=str(file), SERVER=str(server))


def kept_faults(stage: Stage) -> int:
    """Its state block is memory whose page faults it wants to serve itself, userfaultfd(2), and does not.

    Seen to fail: the command never ends.
    """
    return stage.start_preloaded(silent_library(stage), SILENT="userfaultfd")


def silent_library(stage: Stage) -> Path:
    made = stage.compile("silent_memory.c", "-shared", "-fPIC")
    return made.rename(made.with_name("libpulp.so"))


def elf_file(segments: list[tuple], offset: int = 64, sections: int = 0, section_count: int = 0) -> bytes:
    """The headers of a shared library for x86-64, with program headers (type, offset, bytes in the file)."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 3, 62, 1, 0, offset, sections, 0, 64, 56,
        len(segments), 64, section_count, 0)
    return header + b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, start, start % (1 << 64), 0, size, size, 4096)
        for kind, start, size in segments)


PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
MANY_NOTES = elf_file([(PT_NOTE, 0, 1 << 24)] * 65535)


def sparse(stage: Stage, name: str, contents: bytes) -> Path:
    """A file that has holes for most of its gigabyte."""
    path = stage.file(name, contents)
    os.truncate(path, 1 << 30)
    return path


def absurd_headers(stage: Stage) -> int:
    """Files whose headers lead beyond every file, or refer to more than there can be.

    Seen to fail with ``OverflowError``, and with minutes of work.
    """
    return stage.start_mapping(*(sparse(stage, f"{number}.so", contents) for number, contents in enumerate((
        elf_file([(PT_LOAD, 0, 4096)] * 3, offset=1 << 63),
        elf_file([(PT_LOAD, 0, 4096)], sections=(1 << 64) - 64, section_count=3),
        elf_file([(PT_NOTE, (1 << 64) - 1, 64), (PT_DYNAMIC, 1 << 63, 1 << 16)]),
        elf_file([(PT_LOAD, 0, 1 << 30), (PT_DYNAMIC, 0, 1 << 30)]),
        MANY_NOTES,
        bytes(100),
        b"\x7fELF",
    ))))


def changed_library(stage: Stage, change: Callable[[bytearray, ElfImage], bytes]) -> Path:
    """The library that the livepatch is for, by its build ID, as ``change`` changes it; what that gives is added."""
    data = bytearray(stage.build.library.read_bytes())
    behind = change(data, ElfImage.parse(bytes(data), stage.build.library))
    return stage.file(stage.build.library.name, bytes(data) + behind)


SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL_SIZE = 24
# More than are read of one table, and just as many.
MANY_SYMBOLS, MOST_SYMBOLS = 1 << 20, 1 << 19


def endless_symbols(count: int) -> Callable[[Stage], int]:
    """The kind whose symbol tables have so many entries.

    Seen to take 300 and 590 MB without the limits for the number of symbols and for a worker's memory.
    """
    def change(data: bytearray, image: ElfImage) -> bytes:
        for section in image.sections:
            place = image.header.sections + section.index * SECTION.size
            if section.type in ("SHT_SYMTAB", "SHT_DYNSYM"):
                fields = list(SECTION.unpack_from(data, place))
                fields[4:6] = len(data), count * SYMBOL_SIZE
                SECTION.pack_into(data, place, *fields)
            elif section.type == "SHT_GNU_versym":
                # Nobody counts its versions.
                struct.pack_into("<I", data, place + 4, 1)
        return struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 4096, 16) * count

    def start(stage: Stage) -> int:
        return stage.start_mapping(changed_library(stage, change))

    return start


def endless_jumps(stage: Stage) -> int:
    """The same with code of 64 MB, of which every byte may begin a jump.

    Seen not to end in two minutes with an hour for each process.
    """
    size = 1 << 26

    def change(data: bytearray, image: ElfImage) -> bytes:
        end = len(data) + size
        for index, segment in enumerate(image.segments):
            if segment.type == "PT_LOAD" and segment.flags & 1:
                place = image.header.segments + index * 56
                struct.pack_into("<QQ", data, place + 32, end - segment.offset, end - segment.offset)
        for section in image.sections:
            if section.name == ".text":
                place = image.header.sections + section.index * SECTION.size
                struct.pack_into("<Q", data, place + 32, end - section.offset)
        return b"\xe9" * size

    return stage.start_mapping(changed_library(stage, change))


def named_like_the_target(stage: Stage) -> int:
    """Such a file that may be the library that the livepatch is for.

    Seen to fail: no row said that nobody knows.
    """
    return stage.start_mapping(sparse(stage, stage.build.library.name, MANY_NOTES))


def flipping_map(stage: Stage) -> int:
    """Its map is another one by the time that anybody looks, and a FIFO is where its file was.

    Seen to hang with the file opened by its path.
    """
    file = stage.copy_of_library(stage.build.library.name)
    os.truncate(file, max(file.stat().st_size, 1 << 15))
    return stage.start(stage.compile("flips_map.c"), file)


def many_mappings(stage: Stage) -> int:
    """As many mappings as the kernel allows, half of them of code."""
    return stage.start_script("maps_much.py", stage.copy_of_library())


def many_files(stage: Stage) -> int:
    """More files of code than any program has. Seen to fail: each of them was looked at, whatever time that took."""
    return stage.start_script("maps_much.py", stage.file("small.so", bytes(8192)), 4200)


def odd_control_group(stage: Stage) -> int:
    """It is in a control group whose name has what Python takes for ends of lines.

    Seen to fail with ``ValueError``, where a rule asks for units.
    """
    groups = next((line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
                   if line.split()[2] in ("cgroup2", "cgroup")), None)
    if groups is None:
        pytest.skip("no control groups are mounted")
    group = Path(groups) / "ulp\x0bodd\x1c\x85\u2028.slice"
    try:
        group.mkdir(exist_ok=True)
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    stage.undo.callback(group.rmdir)
    pid = stage.start_mapping(stage.copy_of_library())
    (group / "cgroup.procs").write_text(str(pid))
    return pid


def endless_arguments(stage: Stage) -> int:
    """It says of its arguments that they are a terabyte long.

    Seen to fail: whoever wanted its whole name read them, a gigabyte until the time was over.
    """
    return stage.start(stage.compile("endless_arguments.c"))


def false_state(what: str) -> Callable[[Stage], int]:
    """The kind whose state block is false about that; see false_state.c."""
    def start(stage: Stage) -> int:
        library, environment = false_runtime(stage, what)
        return stage.start_preloaded(library, **environment)

    return start


def false_runtime(stage: Stage, what: str) -> tuple[Path, dict[str, str]]:
    """The library with such a state block, and the variables that it wants."""
    made = stage.compile("false_state.c", "-shared", "-fPIC")
    patch = read_livepatch(str(stage.ulp_file)).patch_id
    return made.rename(made.with_name("libpulp.so")), {
        "FALSE": what, "TARGET": stage.build.library.name, "PATCH": patch}


def flipping_buffer(stage: Stage) -> int:
    """Where the request goes there is, now and then, a file of somebody else's, which it has mapped to read it."""
    precious = stage.file("precious", b"precious" * 512)

    def is_as_it_was() -> None:
        assert precious.read_bytes() == b"precious" * 512

    stage.undo.callback(is_as_it_was)
    library, environment = false_runtime(stage, "flip")
    return stage.start_preloaded(library, PRECIOUS=str(precious), **environment)


def false_memory_file(stage: Stage) -> int:
    """It claims to be patched, and to have been attached to: its runtime lies in a file in memory, as it does then."""
    library, environment = false_runtime(stage, "nothing")
    return stage.start(
        sys.executable, FOLDER / "false_memory_file.py", stage.build.library, library, environment=environment)


class Kind(NamedTuple):
    """One kind of hostile process."""

    start: Callable[[Stage], int]
    # Words that stand in the reason of its row, in a dispatch over the whole host; None: it has no row.
    row: str | None = None
    # Words that stand in the reason why the facts call it unpatchable; None: any.
    unpatchable: str | None = None
    # Words that stand in the reason of its row when it is to be given the runtime and the livepatch; None: it is not.
    refused: str | None = None


# So long, in seconds, one that does not answer keeps the others waiting at most.
PATIENCE = 1
LATE = "takes too long to examine"

KINDS = {
    "leased file": Kind(leased_file, None, "holds a lease on it"),
    "silent file system": Kind(silent_file_system, LATE, LATE),
    "silent memory": Kind(silent_memory, "cannot be where it says", "cannot be where it says"),
    "kept faults": Kind(kept_faults, LATE, LATE),
    "absurd headers": Kind(absurd_headers, None, "without the livepatch runtime"),
    "named like the target": Kind(named_like_the_target, LATE, "without the livepatch runtime"),
    "too many symbols": Kind(endless_symbols(MANY_SYMBOLS), "", refused="symbols, more than"),
    "most symbols": Kind(endless_symbols(MOST_SYMBOLS), "", refused="takes too"),
    "endless jumps": Kind(endless_jumps, "", refused="takes too"),
    # Either look may come first.
    "flipping map": Kind(flipping_map, ""),
    "many mappings": Kind(many_mappings, LATE),
    "many files": Kind(many_files, LATE, "without the livepatch runtime"),
    "odd control group": Kind(odd_control_group, "without the livepatch runtime", "without the livepatch runtime"),
    "endless arguments": Kind(endless_arguments, None, "without the livepatch runtime"),
    "false request buffer": Kind(false_state("request"), *2 * ("its request buffer cannot be",)),
    "false entry": Kind(false_state("entry"), *2 * ("its entry for requests cannot be",)),
    "false code": Kind(false_state("code"), *2 * ("its code of library cannot be",)),
    "false bodies": Kind(false_state("bodies"), *2 * ("its program cannot be",)),
    "lock never settles": Kind(false_state("lock"), *2 * ("does not come to rest",)),
    # It could as well have patched itself. The thread that is to revert that never comes back.
    "claims to be patched": Kind(false_state("nothing"), ""),
    "claims to be attached to": Kind(false_memory_file, ""),
    "flipping buffer": Kind(flipping_buffer, ""),
    "fifo in its place": Kind(fifo_in_its_place, "without the livepatch runtime", "without the livepatch runtime"),
}


@pytest.fixture(scope="module")
def build(hazards, preforked):
    return hazards("blocked").build(USUAL[0], preforked)


@pytest.fixture(scope="module")
def ulp_file(build):
    return version_patch(build)


@pytest.fixture(scope="module")
def everybody(build):
    crowd = Crowd(build)
    yield crowd
    crowd.finish()


@pytest.fixture
def crowd(everybody, ulp_file, ulp):
    """The honest ones, without the livepatch: one test that fails does not make all others fail."""
    if everybody.versions() != {1}:
        ulp.run("dispatch", "revert", ulp_file, *everybody.pids, "--ledger", "")
    return everybody


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def hostile(kind, build, ulp_file):
    """The PID of the hostile process."""
    with staged(build, ulp_file) as stage:
        yield kind.start(stage)


def rows(ulp, *words):
    """{PID: row} of a run over the whole host."""
    run = measured(ulp, *words, "--json", "--examine-timeout", PATIENCE)
    assert "\\u001b" not in run.answer.output
    assert run.largest_kb < LARGEST_KB, run
    return {row["pid"]: row for row in run.answer.json()}


def test_honest_ones_are_served(kind, hostile, crowd, ulp_file, ulp):
    """Guards everybody else: list, facts, dispatch and check."""
    run = measured(ulp, "list", "--json", "--examine-timeout", PATIENCE)
    # As JSON writes an escape character: whoever shows such a word must not have to think of that.
    assert "\\u001b" not in run.answer.output
    facts = run.answer.json()
    assert run.largest_kb < LARGEST_KB, run
    assert {process["pid"] for process in facts["processes"]} >= set(crowd.pids)
    reasons = {process["pid"]: process["reason"] for process in facts["unpatchable"]}
    assert kind.unpatchable is None or kind.unpatchable in reasons[hostile]

    for operation, outcome, version in (
        ("patch", "patched", 2), ("check", "already_patched", 2), ("revert", "reverted", 1)
    ):
        # The rule has everybody's control groups looked at.
        policy = () if operation == "check" else ("--ledger", "", "--exclude", "unit=ulp-test-none.service")
        is_given = operation == "patch" and kind.refused is not None
        policy += ("--runtime", RUNTIME) if is_given else ()
        found = rows(ulp, "dispatch", operation, ulp_file, *policy)
        assert {pid: found[pid]["reason"] for pid in crowd.pids if found[pid]["outcome"] != outcome} == {}
        assert crowd.versions() == {version}
        if kind.row is None:
            assert hostile not in found, found[hostile]
        else:
            assert kind.row in found[hostile]["reason"]
        assert not is_given or kind.refused in found[hostile]["reason"]


# Of process_vm_readv(2).
READS_MEMORY = "310 "
VERBS = {
    "list": ("list",),
    "messages": ("messages", "-p", "PID"),
    "explain": ("explain", "-p", "PID", "FILE.ulp"),
    "check": ("check", "-p", "PID", "FILE.ulp"),
    "dispatch check": ("dispatch", "check", "FILE.ulp"),
    "dry run": ("dispatch", "patch", "FILE.ulp", "--dry-run"),
    "dispatch patch": ("dispatch", "patch", "FILE.ulp", "PID", "--ledger", ""),
    "trigger": ("trigger", "-p", "PID", "FILE.ulp", "--ledger", ""),
}


def reading(pid):
    """The PIDs of the children of ``pid`` that sit in the read of somebody's memory."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/syscall").read_text().startswith(READS_MEMORY):
                found.append(int(child))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_signal_while_a_read_never_returns(verb, number, build, ulp_file, ulp):
    """Guards the end of every verb where nothing is being patched; seen to fail: only SIGKILL ended the command."""
    with staged(build, ulp_file) as stage:
        values = {"PID": kept_faults(stage), "FILE.ulp": ulp_file}
        words = [str(values.get(word, word)) for word in VERBS[verb]]
        process = subprocess.Popen([*ulp.command, *words, "--examine-timeout", "3600"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            (worker,) = wait_until(lambda: reading(process.pid), "a worker reads what never comes")
            process.send_signal(number)
            _output, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 128 + number
        assert errors.count("\n") == 1 and f"interrupted by {number.name}" in errors, errors
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker has ended, too")


# Of pause(2): where false_state.c keeps threads.
PAUSES = "34 "
# Of poll(2) and nanosleep(2): a worker that has nothing to do, or waits for a process.
RESTS = ("7 ", "35 ", "230 ", "running")


def sitting(pid):
    """(PID, system call) of each child of ``pid`` that is in another call than one of those in which workers rest."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            call = Path(f"/proc/{child}/syscall").read_text()
            if not call.startswith(RESTS):
                found.add((int(child), call))
    return found


def stuck(pid):
    """The children of ``pid`` that were in the same call for a while; as sitting()."""
    before = sitting(pid)
    time.sleep(1)
    return before & sitting(pid)


@pytest.mark.parametrize("verb", ["list", "dispatch patch"])
def test_signal_while_a_file_system_never_answers(verb, build, ulp_file, ulp):
    """Guards the end of the command where its worker outlives SIGKILL, as the kernel waits for the file system.

    Seen to fail, for ever, with the worker waited for after it was killed.
    """
    with staged(build, ulp_file) as stage:
        silent_file_system(stage)
        words = {"list": ["list"], "dispatch patch": ["dispatch", "patch", str(ulp_file), "--ledger", ""]}[verb]
        process = subprocess.Popen([*ulp.command, *words, "--examine-timeout", "3600"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            (worker, _call), *_others = wait_until(lambda: stuck(process.pid), "a worker waits for the file system")
            process.send_signal(signal.SIGTERM)
            # The end of its output, too: the worker keeps nothing open.
            _output, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 128 + signal.SIGTERM
        assert errors.count("\n") == 1 and "interrupted by SIGTERM" in errors, errors
    # What is left of it goes with the file system.
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker has ended, too")


def test_signal_while_a_thread_never_begins(build, ulp_file, ulp):
    """Guards the end of the command where a thread was sent off that never comes to the request.

    Seen to fail (the command waits for all of ``--timeout``) with nothing but the end of that time taking it back.
    """
    with staged(build, ulp_file) as stage:
        pid = false_state("nothing")(stage)
        process = subprocess.Popen(
            [*ulp.command, "dispatch", "revert", str(ulp_file), str(pid), "--ledger", "", "--timeout", "3600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: Path(f"/proc/{pid}/syscall").read_text().startswith(PAUSES), "its thread was sent off")
            process.send_signal(signal.SIGTERM)
            output, _errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 128 + signal.SIGTERM
        assert "SIGTERM came before the thread of process" in output, output


@pytest.mark.parametrize("start", [fifo_in_its_place, flipping_map, leased_file, absurd_headers])
def test_without_the_right_to_use_map_files(start, crowd, build, ulp_file):
    """Guards the way by a process's own paths, which only has the rights of its owner. Seen to hang with the FIFO."""
    denied = Ulp(wrap=("setpriv", "--bounding-set=-sys_admin,-checkpoint_restore"))
    with staged(build, ulp_file) as stage:
        pid = start(stage)
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run([*denied.command[:2], "sh", "-c", f"cat /proc/{pid}/map_files/* >/dev/null"], check=True,
                           stderr=subprocess.DEVNULL)
        facts = measured(denied, "list", "--json", "--examine-timeout", PATIENCE).answer.json()
        assert {process["pid"] for process in facts["processes"]} >= set(crowd.pids)
        run = measured(denied, "dispatch", "check", ulp_file, "--json", "--examine-timeout", PATIENCE)
        assert {row["pid"] for row in run.answer.json()} >= set(crowd.pids)
