# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime's state block, read from outside."""

from __future__ import annotations

import contextlib
import json
import random
import struct

import pytest
from harness.foreign_memory import write_memory

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf import contents
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import maps, runtime
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import (
    ProcessUnpatchable,
    StateUnreadable,
    StateUnsettled,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine, examining


def test_state_of_a_process_that_was_never_patched(padded, start, look):
    state = look(start(padded)).state
    assert state.version
    assert (state.domains, state.libraries, state.patches) == ((), (), ())
    assert state.last_error == 0


def test_header_format_is_the_interfaces():
    assert runtime._HEADER.size == abi.STATE_HEADER_SIZE
    raw = abi.STATE.unpack(bytes(range(256)) * (abi.STATE.size // 256 + 1))
    header = runtime._Header._make(runtime._HEADER.unpack_from(bytes(range(256)), 0))
    assert {field: getattr(raw, field) for field in header._fields} == header._asdict()


def test_state_after_apply_and_revert(layout, start, look, trigger):
    victim = start(layout)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    (library,), (patch,), (domain,) = state.libraries, state.patches, state.domains
    assert library.name == "libvictim.so"
    assert library.post_processed == (layout.name == "posted")
    assert patch.applied
    assert patch.name == "victim.ulp"
    assert patch.universe == domain.universe == 1
    assert state.patch(patch.patch_id) is patch
    assert trigger(layout).revert(victim.pid).outcome == "reverted"
    state = look(victim).state
    assert not state.patches[0].applied
    assert state.patches[0].universe == state.domains[0].universe == 2
    messages = runtime.read_messages(victim.pid, state)
    assert len(messages) >= 2
    assert "victim.ulp" in messages[-1]


def poke(victim, state, field, data):
    write_memory(victim.pid, state.address + abi.STATE.offsets[field], data)


def test_other_version_is_one_sentence(padded, start, look):
    victim = start(padded)
    poke(victim, look(victim).state, "abi_version", struct.pack("<I", abi.ABI_VERSION + 1))
    with pytest.raises(StateUnreadable, match=f"speaks version {abi.ABI_VERSION + 1} .* this tool versions 3 to"):
        look(victim)


@pytest.mark.parametrize(("field", "data", "sentence"), [
    ("magic", struct.pack("<Q", 1), "is damaged"),
    ("magic", struct.pack("<Q", 0), "is only just starting"),
    ("patch_count", struct.pack("<I", 10000), "is damaged"),
])
def test_damaged_state(padded, start, look, field, data, sentence):
    victim = start(padded)
    poke(victim, look(victim).state, field, data)
    with pytest.raises(StateUnreadable, match=sentence):
        look(victim)


def test_state_in_motion(padded, start, look, files):
    """Guards that nobody sleeps until the state comes to rest: others would wait, too."""
    victim = start(padded)
    state = look(victim).state
    poke(victim, state, "sequence", struct.pack("<I", 7))
    with pytest.raises(StateUnsettled, match="does not come to rest"):
        look(victim)
    looks = examining(victim.pid, files)
    assert [next(looks) > 0 for _each in range(3)] == [True] * 3
    poke(victim, state, "sequence", struct.pack("<I", 8))
    with pytest.raises(StopIteration) as stop:
        next(looks)
    assert stop.value.value.state == state._replace(sequence=8)


def test_messages_that_went_round(padded, start, look):
    victim = start(padded)
    state = look(victim).state
    size = abi.MESSAGES.sizes["data"]
    lines = b"".join(b"line %d\n" % number for number in range(4000))
    ring = bytearray(size)
    for position in range(len(lines) - size, len(lines)):
        ring[position % size] = lines[position]
    write_memory(victim.pid, state.messages, struct.pack("<QQ", len(lines), size) + bytes(ring))
    found = runtime.read_messages(victim.pid, state)
    assert found[-1] == "line 3999"
    assert found == [f"line {number}" for number in range(4000 - len(found), 4000)]


def test_process_without_the_runtime(padded, start, files):
    victim = start(padded, preload=False)
    with pytest.raises(ProcessUnpatchable, match=f"process {victim.pid} .app. was started without the livepatch"):
        examine(victim.pid, files)


def test_static_program(foreign_program, files):
    with pytest.raises(ProcessUnpatchable, match=f"process {foreign_program.pid} .* statically linked"):
        examine(foreign_program.pid, files)


@pytest.mark.parametrize("seed", range(12))
def test_any_bytes_in_the_block_give_a_sentence(seed, layout, start, look, trigger):
    """Guards against a process that takes the tool of a whole machine down: it may hold anything there.

    Fails with an IndexError without the look at the numbers of domains.
    """
    victim = start(layout)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    source = random.Random(seed)
    for field, count in (("domains", abi.DOMAINS), ("libraries", abi.LIBRARIES), ("patches", abi.PATCHES)):
        size = getattr(abi, {"domains": "DOMAIN", "libraries": "LIBRARY", "patches": "PATCH"}[field]).size
        used = source.choice((1, 2, count))
        noise = source.choice((source.randbytes, lambda length: b"\xff" * length, bytes))
        poke(victim, state, field, noise(size * count))
        poke(victim, state, {"domains": "domain_count", "libraries": "library_count", "patches": "patch_count"}[field],
             struct.pack("<I", used))
    poke(victim, state, "threads", struct.pack("<Q", source.choice((0, 8, 2**64 - 8, state.threads))))
    poke(victim, state, "messages", struct.pack("<Q", source.choice((0, 2**64 - 8, state.address))))
    facts = gather(Selection((victim.pid,)))
    assert len(facts["processes"]) + len(facts["unpatchable"]) == 1
    json.dumps(facts)
    for row in (trigger(layout).check(victim.pid), trigger(layout, retries=2, timeout=1).revert(victim.pid)):
        assert row.pid == victim.pid
    with contextlib.suppress(UlpError):
        runtime.read_messages(victim.pid, look(victim).state)


FAR = (1 << 64) - 1
VSYSCALL = 0xFFFFFFFFFF600000


def address_of(victim, name, permissions):
    """Where a mapping of that file with these permissions begins."""
    return next(found.start for found in maps.read_maps(victim.pid)
                if name in found.path and found.permissions == permissions)


@pytest.mark.parametrize("field, address, what", [
    ("request", VSYSCALL, "request buffer"),
    ("request", 0, "request buffer"),
    ("request", "libc.so r-xp", "request buffer"),
    ("request", "libvictim.so rw-p", "request buffer"),
    ("request_capacity", 1 << 60, "request buffer"),
    ("request_capacity", 16, "request buffer"),
    ("threads", FAR - 7, "table of threads"),
    ("threads", "libc.so rw-p", "table of threads"),
    ("messages", 1 << 63, "log"),
    ("entry", FAR, "entry for requests"),
    ("entry", "libc.so r-xp", "entry for requests"),
    ("entry", "[stack] rw-p", "entry for requests"),
    ("text_start", 1 << 63, "code"),
    ("text_start", 0, "code"),
    ("text_end", FAR, "code"),
])
def test_false_claims_about_the_runtime(padded, start, look, trigger, field, address, what):
    """Guards against being led elsewhere. Seen to fail with ``OverflowError``, and with the tool not ending."""
    victim = start(padded)
    state = look(victim).state
    if isinstance(address, str):
        address = address_of(victim, *address.split())
    poke(victim, state, field, struct.pack("<Q", address))
    with pytest.raises(StateUnreadable, match=f"cannot be true: by the process's memory map, its {what} cannot be"):
        look(victim)
    row = trigger(padded, retries=2, timeout=1).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert victim.ask("answer") == "20"


@pytest.mark.parametrize("layout_of, field, value, what", [
    ("libraries", "text_start", 1 << 63, "code of libvictim.so"),
    ("libraries", "text_start", 0, "code of libvictim.so"),
    ("libraries", "text_end", FAR, "code of libvictim.so"),
    ("libraries", "text_end", 0, "code of libvictim.so"),
    ("libraries", "resolver", VSYSCALL, "dynamic loader"),
    ("patches", "text_start", 1 << 63, "code of victim.ulp"),
    ("patches", "text_end", FAR, "code of victim.ulp"),
])
def test_false_claims_about_code(padded, start, look, trigger, layout_of, field, value, what):
    """Guards against code that is everywhere. Seen to fail: the tool searched for 2^39 beginnings of words."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    entry = {"libraries": abi.LIBRARY, "patches": abi.PATCH}[layout_of]
    address = state.address + abi.STATE.offsets[layout_of] + entry.offsets[field]
    write_memory(victim.pid, address, struct.pack("<Q", value))
    with pytest.raises(StateUnreadable, match=f"its {what} cannot be where it says"):
        look(victim)
    assert trigger(padded, retries=2, timeout=1).revert(victim.pid).outcome == "failed"


@pytest.mark.parametrize("array, structure", [("libraries", abi.LIBRARY), ("patches", abi.PATCH)])
@pytest.mark.parametrize("domain", [1, 63, (1 << 32) - 1])
def test_false_claims_about_domains(padded, start, look, trigger, faults_met, array, structure, domain):
    """Guards what is looked up by such a number; seen to be read, and then to end in a fault of the tool."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    assert len(state.domains) == 1
    place = state.address + abi.STATE.offsets[array] + structure.offsets["domain"]
    write_memory(victim.pid, place, struct.pack("<I", domain))
    with pytest.raises(StateUnreadable, match="state block .* is damaged"):
        look(victim)
    row = trigger(padded, retries=2, timeout=1).revert(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "is damaged" in row.reason and faults_met == []


def test_false_count_of_excepted_threads(padded, start, look, trigger):
    """Guards against more TIDs than there is room for; seen to end in a fault of the tool."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    place = look(victim).state.address + abi.STATE.offsets["domains"] + abi.DOMAIN.offsets["excepted_count"]
    write_memory(victim.pid, place, struct.pack("<I", (1 << 32) - 1))
    assert len(look(victim).state.domains[0].excepted) <= abi.EXCEPTED


@pytest.mark.parametrize("count, bodies", [
    (1 << 20, b""), (1 << 63, b""), (1, struct.pack("<QQ", 0, FAR)), (1, struct.pack("<QQ", 5, 5)),
])
def test_false_tables_of_functions(padded, start, look, trigger, count, bodies):
    """Guards against millions of ranges. Seen to fail with minutes of work."""
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    table = state.request + (1 << 16)
    write_memory(victim.pid, table, struct.pack("<Q", count) + bodies)
    library = state.address + abi.STATE.offsets["libraries"]
    for address in (table, 8, FAR, address_of(victim, "libc.so", "r-xp")):
        write_memory(victim.pid, library + abi.LIBRARY.offsets["bodies"], struct.pack("<Q", address))
        write_memory(victim.pid, library + abi.LIBRARY.offsets["flags"], struct.pack("<I", abi.LIBRARY_PROGRAM))
        with pytest.raises(StateUnreadable, match="its table of functions cannot be where it says"):
            look(victim)


def test_true_table_of_more_functions_than_are_read(padded, start, look, trigger, monkeypatch):
    """Guards the time of a look where all of a long table makes sense.

    Seen to be read whole without the bound: nothing else keeps a process from showing 64 tables of a million functions.
    """
    victim = start(padded)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    state = look(victim).state
    table = state.request + (1 << 16)
    first = state.libraries[0].text_start
    bodies = b"".join(struct.pack("<QQ", first + number, first + number + 1) for number in range(3))
    write_memory(victim.pid, table, struct.pack("<Q", 3) + bodies)
    library = state.address + abi.STATE.offsets["libraries"]
    write_memory(victim.pid, library + abi.LIBRARY.offsets["bodies"], struct.pack("<Q", table))
    write_memory(victim.pid, library + abi.LIBRARY.offsets["flags"], struct.pack("<I", abi.LIBRARY_PROGRAM))
    monkeypatch.setattr(runtime, "_MOST_BODIES", 3)
    assert len(look(victim).state.libraries[0].bodies) == 3
    monkeypatch.setattr(runtime, "_MOST_BODIES", 2)
    with pytest.raises(StateUnreadable, match="its table of functions cannot be where it says"):
        look(victim)


def test_state_block_in_memory_of_a_file(padded, start, look, tmp_path, monkeypatch):
    """Guards against reading what a file system answers for, perhaps never; nothing is read of the block then."""
    victim = start(padded)
    state = look(victim).state
    code = address_of(victim, "libvictim.so", "r--p")
    monkeypatch.setattr(runtime, "read_ranges", None)
    monkeypatch.setattr(runtime, "read_memory", None)
    with pytest.raises(StateUnreadable, match="its state block cannot be where it says"):
        runtime.read_state(victim.pid, code)
    monkeypatch.undo()
    assert runtime.read_state(victim.pid, state.address) == state


def test_runtime_of_a_damaged_file(padded, request, start, tmp_path):
    """One such process, of whomever, is in the list with the reason; the others are there, too."""
    damaged = tmp_path / "libpulp.so"
    data = bytearray((request.getfixturevalue("runtime") / "libpulp.so").read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 40)
    symbols = next(at for at in range(headers, len(data), 64) if struct.unpack_from("<I", data, at + 4) == (11,))
    # The offset of the section .dynsym, at which the loader does not look.
    struct.pack_into("<Q", data, symbols + 24, 2 * len(data))
    damaged.write_bytes(data)
    victim = start(padded, preload=False, wrap=("env", f"LD_PRELOAD={damaged}"))
    well = start(padded)
    facts = gather(Selection())
    (reason,) = [entry["reason"] for entry in facts["unpatchable"] if entry["pid"] == victim.pid]
    assert "is of a damaged file" in reason
    assert well.pid in [process["pid"] for process in facts["processes"]]


def test_file_of_which_too_much_would_be_read(padded, start, look, files, monkeypatch):
    monkeypatch.setattr(contents, "MOST_BYTES", 1000)
    victim = start(padded)
    with pytest.raises(StateUnreadable, match="takes too long to examine: it makes us read more than 1000 bytes"):
        look(victim)
