# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying to one process, and all the reasons not to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from conftest import CHECKOUT
from harness.foreign_memory import write_memory
from ptrace import PtraceError

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import suspended
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import ENDED_STATES, read_stat
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.runtime import Result
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import ThreadRefused
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import source
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement import untouched
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement.progress import Settled
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.resolution.request import (
    Request,
    ResolvedLibrary,
    build_request,
    sites,
)

NO_PID = 2 ** 22 + 1

# Checks a livepatch, and applies it, in a process that has it; says which modules that took.
ASKS_AGAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.livepatch.livepatch import read_livepatch
from plugins.module_utils.process.mapped import MappedFiles
from plugins.module_utils.trigger.options import Options
from plugins.module_utils.trigger.trigger import Trigger
trigger = Trigger(read_livepatch(sys.argv[2]), MappedFiles(), Options())
outcomes = [trigger.check(int(sys.argv[3])).outcome, trigger.apply(int(sys.argv[3])).outcome]
print(json.dumps([outcomes, list(sys.modules)]))
"""


def test_apply_revert_and_apply_again(layout, start, trigger, look):
    victim = start(layout)
    patch = trigger(layout)
    for round_number in range(1, 4):
        row = patch.apply(victim.pid)
        assert (row.outcome, row.changed, row.reason, row.name) == ("patched", True, "", "app")
        assert row.held_us > 0
        assert victim.ask("answer") == "5001"
        again = patch.apply(victim.pid)
        assert (again.outcome, again.changed, again.held_us) == ("already_patched", False, None)
        row = patch.revert(victim.pid)
        assert (row.outcome, row.changed) == ("reverted", True)
        assert victim.ask("answer") == "20"
        again = patch.revert(victim.pid)
        assert (again.outcome, again.changed) == ("reverted", False)
        assert look(victim).state.domains[0].universe == 2 * round_number


def test_process_that_has_it_waits_for_no_import(layout, start, trigger):
    """Seen to fail with an apply, and a check, that import all that an apply may need: a third of a command's time."""
    victim = start(layout)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    done = subprocess.run(
        [sys.executable, "-c", ASKS_AGAIN, CHECKOUT, layout.livepatch, str(victim.pid)],
        check=True, capture_output=True, text=True,
    )
    outcomes, modules = json.loads(done.stdout)
    assert outcomes == ["already_patched", "already_patched"]
    own = {name.partition("module_utils.")[2] for name in modules}
    assert "trigger.operations.as_asked" in own
    assert not own & {
        "elf.bodies", "elf.patchable", "trigger.attaching.attach", "trigger.attaching.cut_off",
        "trigger.borrowing.borrow", "trigger.operations.carry_out", "trigger.operations.settle",
        "trigger.resolution.request", "trigger.resolution.stock", "tracee.requests",
    }
    assert not {"elftools", "ptrace", "psutil"} & set(modules)


def test_memory_that_was_not_searched_for_coroutines_is_told(layout, start, trigger, monkeypatch):
    """Seen to fail with a search that keeps to itself what it left out."""
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).reason == ""
    monkeypatch.setattr(suspended, "MOST_MAPPINGS", 0)
    row = patch.revert(victim.pid)
    assert (row.outcome, row.changed) == ("reverted", True)
    assert f"process {victim.pid} (app) has so much memory" in row.reason
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed) == ("patched", True)
    assert "coroutines" in row.reason


def test_somebody_else_is_faster(layout, start, trigger):
    """A thread was held for nothing, which is told.  Seen to fail with the held time left out."""
    victim = start(layout)
    faster = trigger(layout)

    def overtake():
        faster.apply(victim.pid)

    row = trigger(layout, veto=overtake).apply(victim.pid)
    assert (row.outcome, row.changed) == ("already_patched", False)
    assert row.held_us > 0
    assert victim.ask("answer") == "5001"


def test_main_thread_ends_before_another_is_borrowed(layout, start, trigger):
    """Its map of the memory, through which stacks are judged, is empty from then on.

    Seen to fail, with a stack "whose end cannot be told", where an empty map is taken for the process's.
    """
    victim = start(layout, "nanosleep")

    def leave():
        if read_stat(victim.pid).state not in ENDED_STATES:
            assert victim.ask("leave") == "leaving"
            victim.wait(lambda: read_stat(victim.pid).state in ENDED_STATES, "the main thread's end")

    row = trigger(layout, veto=leave).apply(victim.pid)
    assert row.outcome in ("patched", "pending"), row
    assert victim.ask("answer") == "5001"


def test_check_mode_touches_nothing(layout, start, trigger, look, monkeypatch):
    victim = start(layout)
    before = look(victim)

    def touch(*_arguments, **_options):
        raise AssertionError("the process was touched")

    monkeypatch.setattr(borrow, "AddressSpace", touch)
    monkeypatch.setattr(borrow, "Diversion", touch)
    row = trigger(layout, check=True).apply(victim.pid)
    assert (row.outcome, row.changed, row.held_us) == ("patched", True, None)
    assert trigger(layout, check=True).revert(victim.pid).outcome == "not_applicable"
    assert look(victim) == before
    assert victim.ask("answer") == "20"


def test_check_mode_of_revert(layout, start, trigger):
    victim = start(layout)
    trigger(layout).apply(victim.pid)
    row = trigger(layout, check=True).revert(victim.pid)
    assert (row.outcome, row.changed) == ("reverted", True)
    assert victim.ask("answer") == "5001"


def test_check(layout, start, trigger):
    victim = start(layout)
    row = trigger(layout).check(victim.pid)
    assert (row.outcome, row.reason) == ("failed", f"the livepatch is not applied to process {victim.pid} (app)")
    trigger(layout).apply(victim.pid)
    assert trigger(layout).check(victim.pid).outcome == "already_patched"
    trigger(layout).revert(victim.pid)
    assert trigger(layout).check(victim.pid).outcome == "reverted"


def test_revert_of_what_was_never_applied(padded, start, trigger):
    victim = start(padded)
    row = trigger(padded).revert(victim.pid)
    assert (row.outcome, row.changed) == ("not_applicable", False)
    assert "is not applied" in row.reason


def test_other_build_id(layouts, start, trigger):
    victim = start(layouts["padded"])
    row = trigger(layouts["posted"]).apply(victim.pid)
    assert row.outcome == "already_fixed_on_disk"
    for layout in layouts.values():
        assert ElfImage.open(layout.library).build_id.hex() in row.reason


def test_other_build_that_is_not_on_disk_any_more(layouts, start, trigger, tmp_path):
    """Guards that a process with an outdated library does not count as repaired, whoever asks.

    Seen to fail, with "already_fixed_on_disk", when only the build ID counted, and for revert when revert did not look
    whether the build is still on disk.
    """
    library = tmp_path / "libvictim.so"
    shutil.copyfile(layouts["padded"].library, library)
    victim = start(layouts["padded"]._replace(directory=tmp_path))
    assert trigger(layouts["posted"]).apply(victim.pid).outcome == "already_fixed_on_disk"
    shutil.copyfile(layouts["posted"].library, tmp_path / "upgrade")
    os.rename(tmp_path / "upgrade", library)
    posted = trigger(layouts["posted"])
    for row in (posted.apply(victim.pid), posted.check(victim.pid), posted.revert(victim.pid)):
        assert row.outcome == "not_patchable"
        assert ElfImage.open(layouts["padded"].library).build_id.hex() in row.reason
        assert "replaced on disk since" in row.reason


def test_process_without_the_library(padded, foreign_program, trigger):
    row = trigger(padded).apply(foreign_program.pid)
    assert row.outcome == "not_applicable"
    assert "has not loaded libvictim.so" in row.reason


def test_process_without_the_runtime(padded, start, trigger):
    victim = start(padded, preload=False)
    row = trigger(padded).apply(victim.pid)
    assert row.outcome == "not_patchable"
    assert "started without the livepatch runtime" in row.reason


def test_processes_that_are_none(padded, trigger):
    row = trigger(padded).apply(NO_PID)
    assert (row.outcome, row.reason) == ("failed", f"process {NO_PID} does not exist, or it has ended")


def test_kernel_thread(padded, trigger, kernel_thread):
    assert trigger(padded).apply(kernel_thread[0]).outcome == "not_patchable"


def test_another_users_process(as_nobody, padded, start, trigger):
    victim = start(padded)
    patch = trigger(padded)
    said = as_nobody(patch.apply, victim.pid)
    assert "outcome='failed'" in said
    assert f"process {victim.pid} may not be examined by this user" in said
    assert victim.ask("answer") == "20"


def test_process_that_sees_another_file_there_and_has_no_proc(padded, start, trigger, monkeypatch):
    victim = start(padded)
    monkeypatch.setattr(source, "can_load", lambda pid, path: False)
    monkeypatch.setattr(source, "sees_itself_in_proc", lambda pid: False)
    for check in (True, False):
        row = trigger(padded, check=check).apply(victim.pid)
        assert row.outcome == "not_patchable"
        assert "has no /proc through which it could be given the bytes" in row.reason
    assert victim.ask("answer") == "20"


def test_process_that_ends_meanwhile(padded, start, trigger, monkeypatch):
    victim = start(padded)
    ask = borrow.Borrower._ask

    def ask_late(self, tid, deadline):
        victim.kill()
        return (yield from ask(self, tid, deadline))

    monkeypatch.setattr(borrow.Borrower, "_ask", ask_late)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert f"process {victim.pid} " in row.reason


# ------------------------------------------------------------------ answers


def answer_with(monkeypatch, *answers):
    """Let the process answer so, whatever it is asked; the last answer for ever."""
    given = list(answers)

    def ask(self, _tid, _deadline):
        self.attempts += 1
        answer = given.pop(0) if len(given) > 1 else given[0]
        yield 0
        if isinstance(answer, str):
            self.refusal = answer
            return None
        return answer

    monkeypatch.setattr(borrow.Borrower, "_ask", ask)


def result(stage, error=abi.OK, detail=""):
    return Result(1, stage, error, 0, 0, 0, detail)


def test_retries_are_counted(padded, start, trigger, monkeypatch):
    victim = start(padded)
    answer_with(monkeypatch, result(abi.STAGE_REFUSED, abi.UNSAFE, "it is in malloc"))
    row = trigger(padded, retries=5).apply(victim.pid)
    assert row.outcome == "failed"
    assert row.reason.endswith("(it is in malloc), after 6 attempts")


def test_time_limit(padded, start, trigger, monkeypatch):
    victim = start(padded)
    answer_with(monkeypatch, result(abi.STAGE_REFUSED, abi.BUSY))
    row = trigger(padded, timeout=0.1).apply(victim.pid)
    assert row.outcome == "failed"
    assert "is carrying out another request" in row.reason


def test_final_error(padded, start, trigger, monkeypatch):
    victim = start(padded)
    answer_with(monkeypatch, result(abi.STAGE_FAILED, abi.LOAD_FAILED, "no such file"))
    row = trigger(padded).apply(victim.pid)
    assert row.reason == (
        f"process {victim.pid} (app): the dynamic loader did not load the patch library (no such file)"
    )


def test_still_loading(padded, start, trigger, monkeypatch):
    victim = start(padded)
    answer_with(monkeypatch, result(abi.STAGE_STARTED))
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.threads_pending, row.changed) == ("pending", 0, True)
    assert "is still loading the livepatch" in row.reason


def test_no_thread_to_borrow(padded, start, trigger, monkeypatch):
    victim = start(padded)
    answer_with(monkeypatch, "thread 1 of process 1 executes 32-bit code")
    row = trigger(padded, retries=3).apply(victim.pid)
    assert row.reason.endswith("could be borrowed: thread 1 of process 1 executes 32-bit code")


class StoppedDiversion(borrow.Diversion):
    """Its thread does not run before somebody lets the process continue."""

    def _divert(self):
        interrupted = super()._divert()
        os.kill(self.pid, signal.SIGSTOP)
        return interrupted


def test_thread_that_does_not_run_gets_the_request_taken_back(padded, start, trigger, look, monkeypatch):
    victim = start(padded)

    def no_answer(*_arguments):
        yield 0

    monkeypatch.setattr(borrow, "Diversion", StoppedDiversion)
    monkeypatch.setattr(borrow, "await_result", no_answer)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "was taken back" in row.reason
    assert read_memory(victim.pid, look(victim).state.request, 32) == bytes(32)
    os.kill(victim.pid, signal.SIGCONT)
    assert victim.ask("answer") == "20"


def test_too_little_stack_is_refused(padded, start, trigger, monkeypatch):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import diversion

    victim = start(padded)
    monkeypatch.setattr(diversion, "room_below", lambda *_arguments: 1000)
    monkeypatch.setattr(diversion.Diversion, "_grow", lambda *_arguments: False)
    row = trigger(padded, retries=2).apply(victim.pid)
    assert row.outcome == "failed"
    assert "has too little stack left" in row.reason
    assert victim.ask("answer") == "20"


def test_stacks_that_nobody_knows_are_looked_at_a_few_times(padded, start, trigger, monkeypatch):
    """A process whose threads are all on stacks of its program's own: that is what it is told, after a few stops.

    Seen to fail (3001 stops, or as many as the time limit allows) without Refusals.are_known_from_outside().
    """
    from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import diversion

    victim = start(padded)
    spinning, _sleeping = victim.start_thread("spinning", None), victim.start_thread("outside", 34)
    stops = []

    def no_room(tid, *_arguments):
        stops.append(tid)
        return 0

    monkeypatch.setattr(diversion, "room_below", no_room)
    # The main thread is on the main stack still.
    monkeypatch.setattr(diversion.Diversion, "_grow", lambda *_arguments: False)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.changed) == ("not_patchable", False)
    assert "on a stack of the program's own" in row.reason
    assert len(stops) <= 15
    assert stops.count(spinning) <= 5
    assert victim.ask("answer") == "20"


def test_listener_that_executes_its_sessions_anew(padded, start, trigger, tmp_path):
    """Guards the sentence about sshd, whose sessions have nothing of what their listener has.

    Seen to fail without with_sessions().
    """
    program, shell = tmp_path / "sshd", tmp_path / "shell" / "sshd"
    shell.parent.mkdir()
    shutil.copy(padded.app, program)
    shutil.copy("/bin/sh", shell)
    layout = padded._replace(app=program)
    listener = start(layout)
    above = start(layout, wrap=(shell, "-c", '"$@"; exit 0', "sh"))
    session = int(Path(f"/proc/{above.pid}/task/{above.pid}/children").read_text())
    for _time in range(2):
        row = trigger(layout).apply(listener.pid)
        assert row.outcome in ("patched", "already_patched")
        assert "executes a program anew for each session" in row.reason
        assert trigger(layout).apply(session).reason == ""
    above.end()
    assert "executes a program anew" in trigger(layout).check(listener.pid).reason


def test_missing_package(padded, start, trigger, monkeypatch):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import MissingDependency
    from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import requests

    victim = start(padded)
    monkeypatch.setitem(sys.modules, "ptrace", None)
    requests._binding.cache_clear()
    with pytest.raises(MissingDependency, match="python3-ptrace"):
        trigger(padded).apply(victim.pid)


# ------------------------------------------------------------- dependencies


@pytest.fixture(name="dependent")
def fixture_dependent(padded, tmp_path):
    """The layout with a livepatch that needs the first one."""
    description = tmp_path / "second.dsc"
    text = padded.directory.joinpath("victim.dsc").read_text(encoding="utf-8")
    description.write_text(text.replace("answer:", "increment:"), encoding="utf-8")
    livepatch = tmp_path / "second.ulp"
    pack(parse_description(description), livepatch, dependencies=[read_livepatch(padded.livepatch).patch_id])
    return padded._replace(livepatch=livepatch)


def test_dependency(padded, dependent, start, trigger):
    victim = start(padded)
    row = trigger(dependent).apply(victim.pid)
    assert row.outcome == "failed"
    assert "depends on the livepatch" in row.reason
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert trigger(dependent).apply(victim.pid).outcome == "patched"
    row = trigger(padded).revert(victim.pid)
    assert row.outcome == "failed"
    assert "second.ulp" in row.reason
    assert trigger(dependent).revert(victim.pid).outcome == "reverted"
    assert trigger(padded).revert(victim.pid).outcome == "reverted"
    assert victim.ask("answer") == "20"


# ------------------------------------------------------------------ request


@pytest.fixture(name="resolved")
def fixture_resolved(layout, start, files, look):
    victim = start(layout)
    subject = look(victim)
    library = next(found for found in files.libraries(victim.pid, subject.mappings) if found.name == "libvictim.so")
    image = files.image(victim.pid, library.mapping)
    return ResolvedLibrary(
        read_livepatch(layout.livepatch).targets[0], library, image, patchable_functions(image),
        layout.name == "posted", None,
    )


def test_sites(resolved, layout):
    functions = {function.label: function for function in resolved.functions}
    flags = dict(sites(resolved, frozenset()))
    assert set(flags) == {function.address for function in functions.values()}
    answer = flags[functions["answer"].address]
    other = flags[functions["increment"].address]
    if layout.name == "posted":
        assert answer & abi.SITE_ENTRY
        assert answer & other & abi.SITE_TRAMPOLINE
        assert not other & abi.SITE_ENTRY
    else:
        assert answer & other & abi.SITE_ENTRY
        assert not (answer | other) & abi.SITE_TRAMPOLINE
    assert dict(sites(resolved, frozenset(("increment",))))[functions["increment"].address] & abi.SITE_JUMPED


def test_function_that_cannot_be_replaced(resolved):
    pair = resolved.target.functions[0]
    functions = [
        function._replace(refusal="it is odd") if function.address == pair.old_offset else function
        for function in resolved.functions
    ]
    with pytest.raises(NotPatchable, match="answer cannot be replaced: it is odd"):
        sites(resolved._replace(functions=functions), frozenset())
    with pytest.raises(NotPatchable, match="no padding at the address of answer"):
        sites(resolved._replace(functions=[]), frozenset())


def test_entries_that_cannot_be_tracked(resolved):
    exported = next(function for function in resolved.functions if function.exported)
    functions = [
        function._replace(refusal="it is odd") if function.address == exported.address else function
        for function in resolved.functions
    ]
    other = resolved.target._replace(functions=[
        pair for pair in resolved.target.functions if pair.old_offset != exported.address
    ])
    spoiled = resolved._replace(functions=functions, target=other)
    if resolved.post_processed:
        # post has refused, or was told to allow it.
        assert sites(spoiled, frozenset())
    else:
        with pytest.raises(NotPatchable, match=f"unseen through {exported.label} .*it is odd"):
            sites(spoiled, frozenset())


def test_request_layout(resolved, layout):
    livepatch = read_livepatch(layout.livepatch)
    data = build_request(Request(abi.APPLY, livepatch, "/path/to/patch", [resolved], Settled(5, 9)), 77)
    assert (abi.REQUEST.unpack(data).settled, abi.REQUEST.unpack(data).settled_keeps) == (5, 9)
    header = abi.REQUEST.unpack(data)
    assert header.size == len(data)
    assert header.nonce == 77
    assert header.checksum == zlib.crc32(data[abi.REQUEST.size:])
    assert header.patch_id.hex() == livepatch.patch_id
    assert data[header.patch_path:].split(b"\0")[0] == b"/path/to/patch"
    assert data[header.patch_name:].split(b"\0")[0] == b"victim.ulp"
    (library,) = abi.REQUEST_LIBRARY.unpack_array(data, header.libraries, header.library_count)
    assert library.base == resolved.library.base
    assert bool(library.trm) == (layout.name == "posted")
    assert library.build_id[:library.build_id_size] == resolved.image.build_id
    found = abi.REQUEST_SITE.unpack_array(data, library.sites, library.site_count)
    assert [(site.function, site.flags) for site in found] == sites(resolved, livepatch.jumps)
    (replacement,) = abi.REQUEST_REPLACEMENT.unpack_array(data, library.replacements, library.replacement_count)
    pair = livepatch.targets[0].functions[0]
    assert (replacement.function, replacement.replacement) == (pair.old_offset, pair.new_offset)
    assert header.libraries % 8 == library.sites % 8 == library.replacements % 8 == 0


def test_refused_thread_names_itself():
    error = ThreadRefused(5, 6, "thread 6 of process 5 is odd")
    assert (error.pid, error.tid, str(error)) == (5, 6, "thread 6 of process 5 is odd")


def test_livepatch_that_is_gone(padded, start, trigger, tmp_path):
    victim = start(padded)
    livepatch = tmp_path / "gone.ulp"
    shutil.copy(padded.livepatch, livepatch)
    patch = trigger(padded._replace(livepatch=livepatch))
    os.unlink(livepatch)
    row = patch.apply(victim.pid)
    assert row.outcome == "failed"
    assert str(livepatch) in row.reason


def test_kernel_that_forbids_tracing_is_not_asked_for_ever(padded, start, trigger, monkeypatch):
    """What a security module, or a tracer that came a moment before us, does."""
    from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import requests

    victim = start(padded)
    asked = []

    def forbidden(number, tid, *_arguments):
        asked.append(number)
        raise PtraceError(f"ptrace(request={number}, pid={tid}) error #1: Operation not permitted")

    monkeypatch.setattr(requests, "send", forbidden)
    row = trigger(padded).apply(victim.pid)
    assert row.outcome == "failed"
    assert row.reason.endswith("the kernel refused PTRACE_SEIZE (Operation not permitted)")
    assert asked == [requests.SEIZE]
    assert victim.ask("answer") == "20"


def test_request_of_a_tool_that_has_died_is_waited_for(padded, start, look, trigger, monkeypatch):
    """Guards the look at the code against hooks that the runtime is setting just then, for whoever asked it before.

    Seen to fail ("cannot be hooked", as if a debugger had been there) with the code compared with the file once.
    """
    victim = start(padded)
    state = look(victim).state
    owner = state.address + abi.STATE.offsets["owner"]
    (library,) = [mapping for mapping in read_maps(victim.pid) if mapping.path == str(padded.library)
                  and mapping.executable]
    entry = library.start - library.offset + ElfImage.open(padded.library).find_dynamic_symbol("answer").value
    before = read_memory(victim.pid, entry, 2)
    original = untouched._is_busy
    waits = []

    def is_busy(subject):
        if original(subject):
            waits.append(subject)
            if len(waits) == 3:
                os.pwrite(memory, before, entry)
                write_memory(victim.pid, owner, bytes(4))
        return original(subject)

    monkeypatch.setattr(untouched, "_is_busy", is_busy)
    memory = os.open(f"/proc/{victim.pid}/mem", os.O_RDWR)
    try:
        write_memory(victim.pid, owner, victim.pid.to_bytes(4, "little"))
        os.pwrite(memory, b"\xeb\xfe", entry)
        row = trigger(padded).apply(victim.pid)
        assert (row.outcome, len(waits)) == ("patched", 3), row
        assert victim.ask("answer") == "5001"
    finally:
        os.close(memory)
