# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breakpoints at the entries of patched functions: set before, set meanwhile, set and removed.

Whoever sets one, the byte in memory is the same, an int3. A debugger (ptrace(2)) puts back what it found when it takes
it off; the kernel puts back what the file has (uprobes), whatever the runtime has written there.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.foreign_memory import write_memory

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import hooks
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import StateUnreadable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_code_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement.neighbours import require_dependencies

# What the function gives before and after.
OLD, NEW = 20, 5001
INT3 = 0xCC
PTRACE_PEEKTEXT, PTRACE_POKETEXT, PTRACE_ATTACH, PTRACE_DETACH = 1, 4, 16, 17
PERF_EVENT_OPEN = 298
PERF_FLAG_FD_CLOEXEC = 8
UPROBE_TYPE = Path("/sys/bus/event_source/devices/uprobe/type")

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


class Place(NamedTuple):
    """A byte of the library's code, in the file and in the victim."""

    pid: int
    path: Path
    offset: int  # in bytes, into the file
    address: int
    original: int  # what the file has there


def place_at(victim, name, distance=0):
    """The place at a function's first instruction, or so many bytes from it."""
    image = ElfImage.open(victim.layout.library)
    (function,) = (function for function in patchable_functions(image) if name in function.names)
    vaddr = function.address + distance
    files = MappedFiles()
    mappings = read_code_maps(victim.pid)
    (library,) = (found for found in files.libraries(victim.pid, mappings) if found.name == "libvictim.so")
    offset = image.offset_of(vaddr, 1)
    return Place(victim.pid, victim.layout.library, offset, library.base + vaddr, image.read(vaddr, 1)[0])


def byte_at(place):
    return read_memory(place.pid, place.address, 1)[0]


def poke(place, byte):
    """Write a byte as debuggers do; gives back the one that was there."""
    assert libc.ptrace(PTRACE_ATTACH, place.pid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(place.pid, 0)
    word = libc.ptrace(PTRACE_PEEKTEXT, place.pid, place.address, None)
    before = word & 0xFF
    assert libc.ptrace(PTRACE_POKETEXT, place.pid, place.address, (word & ~0xFF) | byte) == 0
    assert libc.ptrace(PTRACE_DETACH, place.pid, None, None) == 0
    return before


class LikeUprobe:
    """What the kernel does to memory for a uprobe, done by a debugger: for machines that permit no uprobes."""

    def __init__(self, place):
        self.place = place
        poke(place, INT3)

    def remove(self):
        poke(self.place, self.place.original)


class Uprobe:
    """A real one, as perf(1) and bpftrace(8) set it: perf_event_open(2) with the kind of event called uprobe."""

    def __init__(self, place, alone=False):
        """
        :param alone: in that process, and in no other that has mapped the file.
        """
        self.path = ctypes.create_string_buffer(os.fsencode(place.path))
        # type, size, config, sample, sample_type, read_format, flags (disabled), wakeup, bp_type, path, offset
        attributes = ctypes.create_string_buffer(struct.pack(
            "<IIQQQQQIIQQ48x", int(UPROBE_TYPE.read_text(encoding="ascii")), 128, 0, 0, 0, 0, 0, 0, 0,
            ctypes.addressof(self.path), place.offset,
        ), 128)
        # For all processes, on processor 0: with a PID it is in that process alone.
        pid, processor = (place.pid, -1) if alone else (-1, 0)
        self.descriptor = libc.syscall(PERF_EVENT_OPEN, attributes, pid, processor, -1, PERF_FLAG_FD_CLOEXEC)
        self.error = ctypes.get_errno()
        if self.descriptor >= 0:
            assert byte_at(place) == INT3

    def remove(self):
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@pytest.fixture(params=["debugger", "uprobe"], name="breakpoint_at")
def fixture_breakpoint_at(request):
    """A function that sets a breakpoint at a Place; every one is removed at the end of the test."""
    made = []

    def breakpoint_at(place):
        if request.param == "debugger":
            return LikeUprobe(place)
        if not UPROBE_TYPE.exists():
            pytest.skip("this kernel has no uprobes; a debugger does the same in the test beside this one")
        made.append(Uprobe(place))
        if made[-1].descriptor < 0:
            pytest.skip(f"no uprobes for us ({os.strerror(made[-1].error)}); see the test beside this one")
        return made[-1]

    yield breakpoint_at
    for probe in made:
        probe.remove()


def facts_of(victim):
    (process,) = gather(Selection(pids=(victim.pid,)))["processes"]
    return process


def hooked(victim, look):
    state = look(victim).state
    return {hook.function: hook for library in state.libraries for hook in hooks.hooks_of(victim.pid, state, library)}


def test_probe_set_and_removed(layout, start, trigger, breakpoint_at):
    """Seen to fail with ``already_patched``, while the old function ran, and after revert and apply as well."""
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer")
    ours = byte_at(place)
    if layout.name == "posted":
        # Not the function that others call, but its entry is hooked as well, for it is replaced.
        assert ours == 0xEB
    probe = breakpoint_at(place)

    row = patch.check(victim.pid)
    assert row.outcome == "failed"
    assert "function answer of libvictim.so is not as we left it: a breakpoint is set at its entry" in row.reason
    (shown,) = facts_of(victim)["patches"]
    assert shown["status"] == "undone"
    assert "function answer of libvictim.so" in shown["undone"]
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "function answer of libvictim.so" in row.reason
    assert byte_at(place) == INT3

    probe.remove()
    assert byte_at(place) == place.original != ours
    row = patch.check(victim.pid)
    assert row.outcome == "failed"
    assert "function answer of libvictim.so is not as we left it: its old code is back" in row.reason
    foreseen = trigger(layout, check=True).apply(victim.pid)
    assert (foreseen.outcome, foreseen.changed) == ("patched", True)
    assert byte_at(place) == place.original
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed) == ("patched", True)
    assert "function answer of libvictim.so" in row.reason
    assert byte_at(place) == ours
    assert victim.ask("answer") == str(NEW)
    row = patch.check(victim.pid)
    assert (row.outcome, row.reason) == ("already_patched", "")
    assert facts_of(victim)["patches"][0]["status"] == "applied"
    assert patch.apply(victim.pid).changed is False
    assert victim.end() == 0


def test_probe_where_others_call(layout, start, trigger, breakpoint_at):
    """While it is there, the kernel carries out what the file has: the jump to the function, whose entry is hooked too.

    Where the file has the byte that is ours, nothing is undone when it is taken off.
    """
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer", -abi.PAD_BEFORE if layout.name == "posted" else 0)
    probe = breakpoint_at(place)
    assert patch.check(victim.pid).outcome == "failed"
    if isinstance(probe, Uprobe):
        assert victim.ask("answer") == str(NEW if layout.name == "posted" else OLD)
    probe.remove()
    if layout.name == "padded":
        assert patch.apply(victim.pid).changed
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.ask("answer") == str(NEW)
    assert victim.end() == 0


def test_probe_in_the_middle_of_the_hook(layout, start, trigger, breakpoint_at):
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer", -6)
    ours = byte_at(place)
    probe = breakpoint_at(place)
    assert "a breakpoint is set" in patch.check(victim.pid).reason
    probe.remove()
    assert "its old code is back" in patch.check(victim.pid).reason
    assert patch.apply(victim.pid).outcome == "patched"
    assert byte_at(place) == ours
    assert victim.ask("answer") == str(NEW)
    assert victim.end() == 0


@pytest.mark.parametrize("distance", [0, 1, -6, -14])
def test_probe_that_is_there_before(layout, start, trigger, look, breakpoint_at, distance):
    """Seen to fail with the number of the function alone, after the livepatch had been loaded."""
    victim = start(layout)
    patch = trigger(layout)
    place = place_at(victim, "answer", distance)
    if distance == 1:
        breakpoint_at = LikeUprobe
    probe = breakpoint_at(place)
    before = Path(f"/proc/{victim.pid}/maps").read_bytes()
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed, row.held_us) == ("failed", False, None)
    assert "function answer of libvictim.so cannot be hooked, a breakpoint is set at its entry" in row.reason
    assert trigger(layout, check=True).apply(victim.pid).outcome == "failed"
    assert Path(f"/proc/{victim.pid}/maps").read_bytes() == before
    assert byte_at(place) == INT3
    assert look(victim).state.libraries == ()
    probe.remove()
    assert patch.apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == str(NEW)
    assert victim.end() == 0


def test_probe_on_a_function_that_is_not_replaced(padded, start, trigger, breakpoint_at):
    """It is what tells that a thread comes from outside: without it old and new functions mix."""
    victim = start(padded)
    patch = trigger(padded)
    assert patch.apply(victim.pid).outcome == "patched"
    probe = breakpoint_at(place_at(victim, "answer_later"))
    assert "function answer_later of libvictim.so" in patch.check(victim.pid).reason
    probe.remove()
    assert "function answer_later of libvictim.so" in patch.check(victim.pid).reason
    assert patch.apply(victim.pid).outcome == "patched"
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.end() == 0


def test_revert_with_a_probe_there(layout, start, trigger, breakpoint_at):
    """What is not ours stays, and an apply afterwards does not rely on it.

    Seen to fail with ``patched``, while the old function ran.
    """
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer")
    probe = breakpoint_at(place)
    row = patch.revert(victim.pid)
    assert row.outcome == "reverted"
    assert "function answer of libvictim.so is not as we left it" in row.reason
    assert byte_at(place) == INT3
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert byte_at(place) == INT3
    probe.remove()
    assert victim.ask("answer") == str(OLD)
    assert patch.apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == str(NEW)
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.end() == 0


def test_breakpoint_of_a_debugger_that_comes_and_goes(layout, start, trigger):
    """It puts back what it has found, our own code."""
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer")
    found = poke(place, INT3)
    assert patch.check(victim.pid).outcome == "failed"
    poke(place, found)
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.ask("answer") == str(NEW)
    assert victim.end() == 0


def test_livepatch_that_depends_on_one_that_was_undone(padded, tmp_path, start, trigger, look, files):
    """What was undone in another domain is not put back by the way, so that somebody has to do it first."""
    description = padded.directory / "victim.dsc"
    second = tmp_path / "second.ulp"
    pack(parse_description(description), second, dependencies=[read_livepatch(padded.livepatch).patch_id])
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    LikeUprobe(place_at(victim, "answer")).remove()
    with pytest.raises(UlpError, match="depends on the livepatch victim.ulp, .* its old code is back"):
        require_dependencies(look(victim), read_livepatch(second), files, domain=None)
    require_dependencies(look(victim), read_livepatch(second), files, domain=0)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    require_dependencies(look(victim), read_livepatch(second), files, domain=None)
    assert victim.end() == 0


def test_code_that_nobody_knows(layout, start, trigger):
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    place = place_at(victim, "answer")
    ours = poke(place, 0xF4)
    for row in (patch.check(victim.pid), patch.apply(victim.pid)):
        assert row.outcome == "failed"
        assert "something else has changed the code at its entry; restart the process" in row.reason
    assert byte_at(place) == 0xF4
    poke(place, ours)
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.end() == 0


def test_threads_that_came_in_unseen_are_pending(padded, start, trigger, breakpoint_at):
    """A thread that runs old functions since a hook was undone has not got the livepatch when it is put back.

    Seen to fail with ``patched``, and no thread pending, after the second apply.
    """
    victim = start(padded)
    patch = trigger(padded)
    assert patch.apply(victim.pid).outcome == "patched"
    breakpoint_at(place_at(victim, "answer_later")).remove()
    victim.start_thread("inside", 0)
    row = patch.apply(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert patch.check(victim.pid).threads_pending == 1
    victim.ask("release")
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.end() == 0


def test_slot_and_stub_count(layout, start, trigger, look):
    """Nothing is to be seen of them at the entry, and they decide all the same."""
    victim = start(layout)
    patch = trigger(layout)
    assert patch.apply(victim.pid).outcome == "patched"
    hook = hooked(victim, look)[place_at(victim, "answer").address]
    write_memory(victim.pid, hook.slot, (hook.function + 2).to_bytes(8, "little"))
    assert patch.check(victim.pid).outcome == "failed"
    assert patch.apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == str(NEW)
    where = Place(victim.pid, layout.library, 0, hook.stub + 72, 0)
    ours = poke(where, 0x11)
    row = patch.apply(victim.pid)
    assert row.outcome == "failed"
    assert row.reason.endswith("something else has changed the code at its entry; restart the process")
    poke(where, ours)
    assert patch.check(victim.pid).outcome == "already_patched"
    assert victim.end() == 0


@pytest.mark.parametrize("field, value", [
    ("function", 0), ("function", 1 << 63), ("stub", 0x1000), ("slot", (1 << 64) - 8), ("relied", 1 << 31),
    ("relied", 0),
])
def test_hooks_that_make_no_sense(padded, start, trigger, look, field, value):
    """Whoever owns the process can write anything there."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    (library,) = state.libraries
    size = abi.HOOK.sizes[field]
    write_memory(
        victim.pid, library.hooks + abi.HOOKS.size + abi.HOOK.offsets[field], value.to_bytes(size, "little"))
    with pytest.raises(StateUnreadable, match="table of hooks in process .* is damaged"):
        hooks.undone_hooks(victim.pid, state, 0)
    assert trigger(padded).check(victim.pid).outcome == "failed"
    (listed,) = gather(Selection(pids=(victim.pid,)))["unpatchable"]
    assert "table of hooks" in listed["reason"]


def poke_library(victim, state, field, value):
    """Write a field of the first entry in the state block's table of libraries."""
    where = state.address + abi.STATE.offsets["libraries"] + abi.LIBRARY.offsets[field]
    write_memory(victim.pid, where, value.to_bytes(abi.LIBRARY.sizes[field], "little"))


@pytest.mark.parametrize("field, value", [
    ("hooks_count", 0), ("hooks_count", 1 << 32), ("hooks_count", (1 << 64) - 1), ("hooks", 1 << 63),
])
def test_tables_of_hooks_are_bounded(padded, start, trigger, look, field, value):
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    poke_library(victim, look(victim).state, field, value)
    with pytest.raises(StateUnreadable, match="is damaged"):
        hooks.undone_hooks(victim.pid, look(victim).state, 0)


def test_all_hooks_together_are_bounded(padded, start, trigger, look):
    """Each has a stub of its own, so that 64 libraries can't have more than the pool has room for."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    count = len(hooked(victim, look))
    several = state._replace(libraries=state.libraries * 3)
    assert hooks.undone_hooks(victim.pid, several._replace(stubs_size=3 * count * abi.STUB_SIZE), 0) == []
    with pytest.raises(StateUnreadable, match="is damaged"):
        hooks.undone_hooks(victim.pid, several._replace(stubs_size=(3 * count - 1) * abi.STUB_SIZE), 0)


def test_tables_of_hooks_that_lead_in_a_circle(padded, start, trigger, look):
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    (library,) = state.libraries
    itself = abi.HOOKS.pack(older=library.hooks, older_count=library.hooks_count)
    write_memory(victim.pid, library.hooks, itself)
    with pytest.raises(StateUnreadable, match="is damaged"):
        hooks.undone_hooks(victim.pid, state, 0)
