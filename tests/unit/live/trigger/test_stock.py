# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of the distribution's own libz, which nobody prepared, in a running Python."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from harness.victim import Victim
from test_hooks import Place, Uprobe

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.code import JUMP_SIZE
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.site import PUN, SHORT, WIDE
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.hooks import hooks_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.landings import GOOD, AddressSpaceRoom
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import MemoryMap, parse_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.sites import kind_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

LIBZ = Path("/lib/x86_64-linux-gnu/libz.so.1")
PYTHON = "/usr/bin/python3"
VICTIM = r"""
import ctypes, sys
z = ctypes.CDLL("libz.so.1")
z.zlibVersion.restype = ctypes.c_char_p
z.zlibCompileFlags.restype = z.compressBound.restype = z.adler32_combine.restype = ctypes.c_ulong
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("map over "):
        page, protection = line.split()[2:]
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        # MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        got = libc.mmap(ctypes.c_void_p(int(page)), ctypes.c_size_t(4096), int(protection == "zero"), 0x32, -1,
                        ctypes.c_long(0))
        print("mapped" if got == int(page) else "not mapped", flush=True)
        continue
    if line.startswith("map "):
        page = ctypes.c_void_p(int(line.split()[1]))
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        # MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        got = libc.mmap(page, ctypes.c_size_t(4096), 1, 0x100022, -1, ctypes.c_long(0))
        print("mapped" if got == page.value else "not mapped", flush=True)
        continue
    if line.startswith("processes "):
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (hard if line == "processes more\n" else 1, hard))
        print("limited", flush=True)
        continue
    if line == "deny write and execute\n":
        # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: what systemd calls MemoryDenyWriteExecute=
        print("no" if ctypes.CDLL(None).prctl(65, *map(ctypes.c_ulong, (1, 0, 0, 0))) else "denied", flush=True)
        continue
    if line == "lock memory\n":
        # MCL_FUTURE
        print("refused" if ctypes.CDLL(None).mlockall(2) else "locked", flush=True)
        continue
    if line == "compress\n":
        text = b"compressed and back again " * 40
        size, again = ctypes.c_ulong(2000), ctypes.c_ulong(2000)
        small, back = ctypes.create_string_buffer(2000), ctypes.create_string_buffer(2000)
        done = z.compress(small, ctypes.byref(size), text, ctypes.c_ulong(len(text)))
        done |= z.uncompress(back, ctypes.byref(again), small, size)
        print(z.zlibVersion().decode(), done == 0 and back.raw[:again.value] == text, flush=True)
        continue
    if line == "flags\n":
        print(z.zlibVersion().decode(), z.zlibCompileFlags(), flush=True)
        continue
    print(z.zlibVersion().decode(), z.compressBound(1000), z.adler32_combine(1, 7, 3), flush=True)
"""
PATCH = r"""
const char *new_version(void) { return "patched"; }
unsigned long new_flags(void) { return 7; }
unsigned long new_bound(unsigned long size) { return size + 1; }
unsigned long new_combine(unsigned long first, unsigned long second, long size) { return first + second + size; }
"""
# A jump over their first byte leads some 2 GiB down, where nothing is mapped in so small a process.
PAIRS = {"zlibVersion": "new_version", "compressBound": "new_bound", "adler32_combine": "new_combine"}
NEW = "patched 1001 11"

pytestmark = pytest.mark.skipif(
    not (LIBZ.exists() and os.access(PYTHON, os.X_OK)), reason="needs the distribution's libz and python3")


@pytest.fixture(scope="module", name="packed")
def fixture_packed(tmp_path_factory):
    """A function that packs {old: new} functions of libz into a Livepatch."""
    directory = tmp_path_factory.mktemp("stock")
    source = directory / "patch.c"
    source.write_text(PATCH, encoding="utf-8")
    patch = directory / "patch.so"
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", source, "-o", patch], check=True)
    description = directory / "stock.dsc"

    def packed(pairs, guards=()):
        lines = "".join(f"{old}:{new}\n" for old, new in pairs.items()) + "".join(f"guard {name}\n" for name in guards)
        description.write_text(f"{patch}\n@{LIBZ.resolve()}\n{lines}", encoding="utf-8")
        path = directory / f"{'-'.join(pairs)}.ulp"
        pack(parse_description(description), path)
        return read_livepatch(path)

    return packed


@pytest.fixture(scope="module", name="livepatch")
def fixture_livepatch(packed):
    return packed(PAIRS)


def python_of(runtime):
    """A Python that answers with what libz says."""
    return Victim([PYTHON, "-I", "-c", VICTIM], preload=[runtime / "libpulp.so"])


@pytest.fixture(name="python")
def fixture_python(runtime):
    victim = python_of(runtime)
    yield victim
    victim.kill()


def overwrite(pid, address, data):
    """Write code, as debuggers do."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        assert memory.write(data) == len(data)


def text_of(state):
    """The bytes of the one patched library's code."""
    (library,) = state.libraries
    return read_memory(state.pid, library.text_start, library.text_end - library.text_start)


def test_applied_checked_reverted(python, livepatch, files):
    old = python.ask("?")
    trigger = Trigger(livepatch, files, Options())
    for _each in range(3):
        row = trigger.apply(python.pid)
        assert (row.outcome, row.reason) == ("patched", "")
        assert python.ask("?") == NEW
        assert trigger.check(python.pid).outcome == "already_patched"
        assert trigger.apply(python.pid).outcome == "already_patched"
        hooked = text_of(examine(python.pid, files).state)
        row = trigger.revert(python.pid)
        assert (row.outcome, row.reason) == ("reverted", "")
        assert python.ask("?") == old
        state = examine(python.pid, files).state
        (library,) = state.libraries
        hooks = hooks_of(python.pid, state, library)
        assert len(hooks) == len(PAIRS) and all(hook.kind == abi.HOOK_PUN and hook.relied == 0 for hook in hooks)
        # One byte each was another one, and none is now.
        code = text_of(state)
        file = ElfImage.open(LIBZ.resolve())
        assert code[:4096] == file.read(library.text_start - library.base, 4096)
        assert sum(a != b for a, b in zip(code, hooked)) == len(PAIRS)


@pytest.mark.parametrize("kind", [PUN, WIDE, SHORT])
@pytest.mark.parametrize("piece", ["landing", "cell", "start"])
def test_what_a_hook_needs_is_verified(python, livepatch, files, piece, kind):
    """All of it: seen to say ``already_patched`` of a landing and a cell that had been overwritten, without that."""
    trigger = Trigger(only(kind, livepatch), files, Options())
    assert trigger.apply(python.pid).outcome == "patched"
    new = python.ask("?")
    state = examine(python.pid, files).state
    hook = hooks_of(python.pid, state, state.libraries[0])[0]
    address = getattr(hook, piece) + (abi.CELL_OLD if piece == "cell" else 0)
    kept = read_memory(python.pid, address, 1)
    overwrite(python.pid, address, b"\xcc")
    row = trigger.check(python.pid)
    assert row.outcome not in ("patched", "already_patched") and row.reason
    if piece == "start":
        assert "breakpoint" in row.reason
    assert trigger.apply(python.pid).changed is False
    overwrite(python.pid, address, kept)
    assert trigger.check(python.pid).outcome == "already_patched"
    assert python.ask("?") == new


@pytest.mark.parametrize("protection", ["none", "zero"])
def test_memory_that_is_mapped_over_a_landing(python, livepatch, files, protection):
    """MAP_FIXED, as virtual machines and sanitizers do: ``check`` finds it, since who enters would crash."""
    trigger = Trigger(livepatch, files, Options())
    assert trigger.apply(python.pid).outcome == "patched"
    state = examine(python.pid, files).state
    landing = hooks_of(python.pid, state, state.libraries[0])[0].landing
    assert python.ask(f"map over {landing & -4096} {protection}") == "mapped"
    for row in (trigger.check(python.pid), trigger.apply(python.pid)):
        assert row.outcome not in ("patched", "already_patched") and row.reason and not row.changed


@pytest.mark.parametrize("where", ["memory", "file"])
def test_every_byte_of_a_function_is_compared(python, livepatch, files, where):
    """Not only those of its sites: patchelf and prelink keep the build ID.  Nothing is written; seen to be patched."""
    pair = next(pair for pair in livepatch.targets[0].functions if pair.old == "adler32_combine")
    last = pair.old_offset + pair.old_size - 1
    assert all(not site.offset <= last < site.offset + len(site.original) for site in pair.sites)
    base = min(mapping.start for mapping in parse_maps(MemoryMap(python.pid).data) if "libz.so" in mapping.path)
    before = read_memory(python.pid, base + pair.old_offset, pair.old_size)
    tried = livepatch
    if where == "memory":
        overwrite(python.pid, base + last, bytes([before[-1] ^ 1]))
    else:
        (target,) = livepatch.targets
        functions = [each._replace(old_digest="0" * 64) if each is pair else each for each in target.functions]
        tried = livepatch._replace(targets=[target._replace(functions=functions)])
    row = Trigger(tried, files, Options()).apply(python.pid)
    assert row.outcome in ("failed", "not_patchable") and not row.changed, row
    assert "adler32_combine" in row.reason
    if where == "memory":
        overwrite(python.pid, base + last, before[-1:])
    else:
        assert "is not what the livepatch was made for, although the build ID is" in row.reason
    assert read_memory(python.pid, base + pair.old_offset, pair.old_size) == before
    assert Trigger(livepatch, files, Options()).apply(python.pid).outcome == "patched"
    assert python.ask("?") == NEW


@pytest.mark.parametrize("kind", [PUN, WIDE, SHORT])
def test_breakpoint_that_is_there_before(python, livepatch, files, kind):
    """Of a probe or a debugger: nothing is written, and once it is gone all is well."""
    livepatch = only(kind, livepatch)
    (target,) = livepatch.targets
    pair = target.functions[0]
    trigger = Trigger(livepatch, files, Options())
    old = python.ask("?")
    base = min(mapping.start for mapping in parse_maps(MemoryMap(python.pid).data) if "libz.so" in mapping.path)
    address = base + pair.old_offset
    kept = read_memory(python.pid, address, 1)
    overwrite(python.pid, address, b"\xcc")
    row = trigger.apply(python.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert f"function {pair.old} of libz.so.1" in row.reason and "a breakpoint is set at its entry" in row.reason
    overwrite(python.pid, address, kept)
    assert python.ask("?") == old
    assert trigger.apply(python.pid).outcome == "patched"
    assert python.ask("?") != old


def only(kind, livepatch):
    """The livepatch with no sites but those of one kind, and without the functions that have none of these."""
    (target,) = livepatch.targets
    functions = [pair._replace(sites=tuple(site for site in pair.sites if site.kind == kind))
                 for pair in target.functions]
    return livepatch._replace(targets=[target._replace(functions=[pair for pair in functions if pair.sites])])


def saving(packed):
    """A livepatch whose guards can be hooked only where the instruction changes a register that was pushed before."""
    livepatch = packed({"zlibVersion": "new_version"}, ["deflateInit2_", "deflateReset", "uncompress2"])
    (target,) = livepatch.targets
    guards = tuple(
        guard._replace(sites=tuple(site for site in guard.sites if site.overwrites)) for guard in target.guards)
    assert all(guard.sites for guard in guards), "the libz of this distribution has other sites: choose other functions"
    return livepatch._replace(targets=[target._replace(guards=guards)])


def test_where_a_saved_register_changes(python, packed, files):
    """Such functions go on as ever from a cell (native/tests/test_pun_unwind.c: their callers' registers are found)."""
    trigger = Trigger(saving(packed), files, Options())
    old = python.ask("compress")
    assert old.endswith(" True")
    for _each in range(3):
        row = trigger.apply(python.pid)
        assert (row.outcome, row.reason) == ("patched", "")
        assert python.ask("compress") == "patched True"
        assert trigger.check(python.pid).outcome == "already_patched"
        row = trigger.revert(python.pid)
        assert (row.outcome, row.reason) == ("reverted", "")
        assert python.ask("compress") == old


def test_by_way_of_a_gap(python, livepatch, files):
    """Seen to be refused, with ``no jump at its start would lead to free memory``."""
    livepatch = only(SHORT, livepatch)
    count = len(livepatch.targets[0].functions)
    assert count > 1
    trigger = Trigger(livepatch, files, Options())
    old = python.ask("?")
    for _each in range(3):
        row = trigger.apply(python.pid)
        assert (row.outcome, row.reason) == ("patched", "")
        assert sum(a != b for a, b in zip(python.ask("?").split(), old.split())) == count
        assert trigger.check(python.pid).outcome == "already_patched"
        row = trigger.revert(python.pid)
        assert (row.outcome, row.reason) == ("reverted", "")
        assert python.ask("?") == old
    state = examine(python.pid, files).state
    (library,) = state.libraries
    hooks = hooks_of(python.pid, state, library)
    assert [hook.kind for hook in hooks] == count * [abi.HOOK_SHORT]
    # Landings share a page; what nobody executes stays; all else is as before.
    assert len({hook.landing // 4096 for hook in hooks}) == 1
    gaps = [gap - library.text_start for hook in hooks for gap in kind_of(hook).way_in(hook) if gap != hook.landing]
    start = library.text_start - library.base
    segment = next(each for each in ElfImage.open(LIBZ.resolve()).segments if each.vaddr == start)
    file = ElfImage.open(LIBZ.resolve()).read(start, segment.filesz)
    differing = [at for at, (a, b) in enumerate(zip(text_of(state), file)) if a != b]
    assert differing and all(any(gap <= at < gap + JUMP_SIZE for gap in gaps) for at in differing)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_livepatches_that_want_one_gap(python, packed, files, order):
    """Each is packed without knowing of the other; whoever comes second takes another gap.

    Seen to be refused, with *no jump at its start would lead to free memory*.
    """
    livepatches = [only(SHORT, packed({"zlibVersion": "new_version"})),
                   only(SHORT, packed({"zlibCompileFlags": "new_flags"}))]
    first, second = ({site.gap.offset for site in livepatch.targets[0].functions[0].sites} for livepatch in livepatches)
    assert first & second, "the libz of this distribution has other gaps: choose two functions that share some"
    triggers = [Trigger(livepatch, files, Options()) for livepatch in livepatches]
    old = python.ask("flags").split()
    new = ["patched", "7"]
    for back in (order, order[::-1]):
        now = list(old)
        for which in order:
            row = triggers[which].apply(python.pid)
            assert (row.outcome, row.reason) == ("patched", "")
            now[which] = new[which]
            assert python.ask("flags").split() == now
        for which in back:
            row = triggers[which].revert(python.pid)
            assert (row.outcome, row.reason) == ("reverted", "")
            now[which] = old[which]
            assert python.ask("flags").split() == now
    state = examine(python.pid, files).state
    (library,) = state.libraries
    hooks = hooks_of(python.pid, state, library)
    gaps = [gap for hook in hooks for gap in kind_of(hook).way_in(hook) if gap != hook.landing]
    assert len(gaps) == len(set(gaps)) == 2


def test_code_that_may_not_become_writable(python, packed, files):
    """Two bytes can't be stored at once there: not for a new hook, nor to undo one.

    Seen to be refused without a word of what is denied.
    """
    first, second = (Trigger(only(SHORT, packed({name: new})), files, Options()) for name, new in (
        ("zlibVersion", "new_version"), ("zlibCompileFlags", "new_flags")))
    old = python.ask("flags").split()
    assert first.apply(python.pid).outcome == "patched"
    if python.ask("deny write and execute") != "denied":
        pytest.skip("the kernel has no PR_SET_MDWE (Linux 6.3)")
    for _each in range(2):
        row = first.revert(python.pid)
        assert row.outcome == "reverted" and "the process does not let its code be changed" in row.reason
        assert python.ask("flags").split() == old
        row = second.apply(python.pid)
        assert (row.outcome, row.changed) == ("failed", False)
        assert "(the function zlibCompileFlags of libz.so.1, some sites of which mprotect denies)" in row.reason
        assert python.ask("flags").split() == old
        # Its hook is still there.
        row = first.apply(python.pid)
        assert (row.outcome, row.reason) == ("patched", "")
        assert python.ask("flags").split() == ["patched", old[1]]
        assert first.check(python.pid).outcome == "already_patched"


def test_landing_that_is_taken_meanwhile(python, livepatch, files, monkeypatch):
    """The function is named: seen to say ``function at 0x2a30 of libz.so.1``."""
    livepatch = only(PUN, livepatch)
    site = next(pair.sites[0] for pair in livepatch.targets[0].functions if pair.old == "compressBound")
    base = min(mapping.start for mapping in parse_maps(MemoryMap(python.pid).data) if "libz.so" in mapping.path)
    landing = base + site.offset + JUMP_SIZE + int.from_bytes(site.original[1:JUMP_SIZE], "little", signed=True)
    assert python.ask(f"map {landing & -4096}") == "mapped"
    # As if it had not been there yet when the tool looked.
    monkeypatch.setattr(AddressSpaceRoom, "judge", lambda _self, _address: GOOD)
    row = Trigger(livepatch, files, Options()).apply(python.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "would lead to free memory (the function compressBound of libz.so.1" in row.reason


def test_no_room_in_the_address_space(python, livepatch, files):
    """However little the process may map (RLIMIT_AS): refused in words and nothing is changed, or patched."""
    trigger = Trigger(livepatch, files, Options())
    old = python.ask("?")
    outcomes = set()
    for room in range(0x70000, 0x100000, 0x8000):
        size = int(Path(f"/proc/{python.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(python.pid, resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
        row = trigger.apply(python.pid)
        outcomes.add(row.outcome)
        if row.outcome == "patched":
            assert python.ask("?") == NEW
            resource.prlimit(python.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert trigger.revert(python.pid).outcome == "reverted"
            break
        assert (row.outcome, row.changed) == ("failed", False) and row.reason
        assert python.ask("?") == old
    assert outcomes == {"failed", "patched"}
    assert python.ask("?") == old
    assert trigger.apply(python.pid).outcome == "patched"
    assert python.ask("?") == NEW


def test_a_gap_is_verified(python, livepatch, files):
    trigger = Trigger(only(SHORT, livepatch), files, Options())
    assert trigger.apply(python.pid).outcome == "patched"
    state = examine(python.pid, files).state
    hook = hooks_of(python.pid, state, state.libraries[0])[0]
    (gap,) = set(kind_of(hook).way_in(hook)) - {hook.landing}
    kept = read_memory(python.pid, gap, 1)
    overwrite(python.pid, gap, b"\xcc")
    row = trigger.check(python.pid)
    assert row.outcome not in ("patched", "already_patched") and row.reason
    assert trigger.apply(python.pid).changed is False
    overwrite(python.pid, gap, kept)
    assert trigger.check(python.pid).outcome == "already_patched"
    assert trigger.revert(python.pid).outcome == "reverted"


PROGRAM = r"""
#include <stdio.h>
__attribute__((noipa)) int inner(int x) { return x + 1; }
__attribute__((noipa)) int answer(int x)
{
    int twice = inner(x) * 2;

    __asm__ volatile("" ::: "memory");
    return twice + inner(x);
}
int before = 5;
/* Its first instruction refers to what lies far from the runtime, where the program was linked at 0x400000. */
__attribute__((noipa)) int relative(int x) { return before + x; }
int main(void)
{
    char line[16];
    puts("ready");
    for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout))
        printf("%d\n", answer(10) + relative(0) - before);
    return 0;
}
"""


@pytest.mark.parametrize("options", [("-pie", "-fPIE"), ("-no-pie", "-fno-pie")])
def test_functions_of_a_program(runtime, tmp_path, files, options):
    """Seen to fail with ``ULP_NO_LANDING`` for the one at 0x400000: no cell could be made for *relative*."""
    program = tmp_path / "program"
    (tmp_path / "program.c").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "patch.c").write_text(
        "int new_inner(int x) { return x + 1000; }\nint new_relative(int x) { return x + 6; }\n", encoding="utf-8")
    subprocess.run(["gcc", "-O2", "-Wl,--build-id", *options, tmp_path / "program.c", "-o", program], check=True)
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", tmp_path / "patch.c", "-o",
                    tmp_path / "patch.so"], check=True)
    pairs = "inner:new_inner\nrelative:new_relative\n"
    (tmp_path / "program.dsc").write_text(f"{tmp_path}/patch.so\n@{program}\n{pairs}", encoding="utf-8")
    pack(parse_description(tmp_path / "program.dsc"), tmp_path / "program.ulp")
    trigger = Trigger(read_livepatch(tmp_path / "program.ulp"), files, Options())
    victim = Victim([program], preload=[runtime / "libpulp.so"])
    try:
        for _each in range(2):
            assert victim.ask("?") == "33"
            row = trigger.apply(victim.pid)
            assert (row.outcome, row.reason) == ("patched", "")
            assert victim.ask("?") == str(3 * 1010 + 1)
            assert trigger.revert(victim.pid).outcome == "reverted"
    finally:
        victim.kill()


@pytest.mark.parametrize("kind", [PUN, WIDE, SHORT])
def test_uprobe_set_and_removed(python, livepatch, files, kind):
    """The kernel puts back the one byte of the file that it takes for its own, in the middle of a hook of several.

    Seen to fail with *function at 0x3b00*: only functions with padding had names.
    """
    livepatch = only(kind, livepatch)
    pair = livepatch.targets[0].functions[0]
    trigger = Trigger(livepatch, files, Options())
    assert trigger.apply(python.pid).outcome == "patched"
    new = python.ask("?")
    state = examine(python.pid, files).state
    (library,) = state.libraries
    entry = library.base + pair.old_offset
    hook = next(hook for hook in hooks_of(python.pid, state, library) if hook.function == entry)
    offset = ElfImage.open(LIBZ.resolve()).offset_of(hook.start - library.base, 1)
    probe = Uprobe(Place(python.pid, LIBZ.resolve(), offset, hook.start, 0), alone=True)
    if probe.descriptor < 0:
        pytest.skip(f"no uprobes for us: {os.strerror(probe.error)}")
    try:
        row = trigger.check(python.pid)
        assert row.outcome == "failed" and "a breakpoint is set at its entry" in row.reason, row
        assert not trigger.apply(python.pid).changed
    finally:
        probe.remove()
    row = trigger.check(python.pid)
    assert row.outcome == "failed" and f"function {pair.old} of libz.so.1" in row.reason, row
    row = trigger.apply(python.pid)
    assert (row.outcome, row.changed) == ("patched", True), row
    assert python.ask("?") == new
    assert trigger.check(python.pid).outcome == "already_patched"
    assert trigger.revert(python.pid).outcome == "reverted"
