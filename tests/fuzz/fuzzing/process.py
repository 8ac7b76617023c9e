# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads processes: a real, patched one, whose memory is damaged and mended again for each input.

An input is a list of changes, each 12 bytes and what is written: which region, where in it, and how long. The process
sleeps meanwhile, inside the library on one thread, so that mending leaves it as it was.
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness.foreign_memory import write_memory
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi, faults
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.frames import FrameDescriptions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs, runtime
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import MemoryMap, end_of_mapping
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.unwinder import unwind
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

from . import inputs
from .files import Target
from .oracle import answer, require_printable

CHECKOUT = Path(__file__).resolve().parents[3]
SOURCES = CHECKOUT / "tests" / "unit" / "live"
PADDING = ("-fpatchable-function-entry=16,14", "-falign-functions=16")
_CHANGE = struct.Struct("<BxxxII")
STACK_BYTES = 4096
MOST_FRAMES = 1000


class Process:
    """The victim: a program of its own that is patched, with one thread blocked inside the library."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="ulp-fuzz-")
        here = Path(self.directory.name)
        library, patch, program = here / "libvictim.so", here / "patch.so", here / "app"
        self.compile("-fPIC", "-shared", *PADDING, "-Wl,--build-id,-soname,libvictim.so", SOURCES / "library.c", "-o",
                     library)
        self.compile("-fPIC", "-shared", "-Wl,--build-id", SOURCES / "patch.c", "-o", patch)
        self.compile("-pthread", SOURCES / "app.c", library, "-o", program)
        description = describe(str(patch), str(library), {"answer": "new_answer"})
        self.livepatch = read_livepatch(pack(description, here / "victim.ulp").path)
        environment = dict(os.environ, LD_PRELOAD=str(CHECKOUT / "build" / "libpulp.so"), LD_LIBRARY_PATH=str(here))
        self.process = subprocess.Popen([program, "commands"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=environment, text=True)
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n"
        self.ask("inside")
        row = Trigger(self.livepatch, MappedFiles(), Options(timeout=60)).apply(self.pid)
        assert row.changed, row
        self.regions = self.find_regions()

    @staticmethod
    def compile(*arguments):
        subprocess.run(["gcc", "-O2", "-g", *map(str, arguments)], check=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def find_regions(self):
        """(address, size) of all that the tool reads of such a process, the most telling ones first."""
        state = examine(self.pid, MappedFiles()).state
        found = [(state.address, abi.STATE_HEADER_SIZE)]
        for name, part in (("domains", abi.DOMAIN), ("libraries", abi.LIBRARY), ("patches", abi.PATCH)):
            found.append((state.address + abi.STATE.offsets[name], 3 * part.size))
        found.append((state.threads, abi.THREAD_SETS * abi.THREAD_WAYS * abi.THREAD.size))
        found.append((state.messages, abi.MESSAGES.size))
        lines = MemoryMap(self.pid).lines
        for tid in procfs.thread_ids(self.pid):
            where = procfs.read_system_call(self.pid, tid)
            if where is not None:
                end = end_of_mapping(lines, where.stack_pointer)
                found.append((where.stack_pointer, min(STACK_BYTES, end - where.stack_pointer)))
        found += [
            (library.hooks, abi.HOOKS.size + library.hooks_count * abi.HOOK.size) for library in state.libraries
        ]
        return found

    def look(self):
        """Everything that is read of it; bad news is as good as any other, as long as it is a sentence."""
        with no_faults():
            return self._look()

    def _look(self):
        facts = gather(Selection((self.pid,)))
        require_printable(facts)
        assert len(facts["processes"]) + len(facts["unpatchable"]) == 1, facts
        row = Trigger(self.livepatch, MappedFiles(), Options()).check(self.pid)
        assert row.pid == self.pid
        require_printable(row.reason)
        subject = answer(examine, self.pid, MappedFiles(), names=[self.pid])
        if subject is None:
            return False
        require_printable(answer(runtime.read_messages, self.pid, subject.state) or [])
        for tid in procfs.thread_ids(self.pid):
            where = procfs.read_system_call(self.pid, tid)
            frames = None if where is None else unwind(self.pid, where, MappedFiles())
            assert len(frames or ()) <= MOST_FRAMES
        return row.outcome in ("already_patched", "pending")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.directory.cleanup()


@contextmanager
def no_faults():
    """What is done within meets no exception that nobody expected: such a one would end as a row like any other."""
    texts = []
    faults.listeners.append(texts.append)
    try:
        yield
    finally:
        faults.listeners.pop()
    assert not texts, texts


_running = []


def victim():
    """The one Process; started when it is needed."""
    if not _running:
        _running.append(Process())
    return _running[0]


def close():
    while _running:
        _running.pop().close()


def changes():
    """An input, see above."""
    # The state block, its tables and the stacks get alike much; most changes are whole fields.
    offset = st.one_of(st.integers(0, 1 << 16).map(lambda index: 8 * index), st.integers(0, (1 << 32) - 1))
    one = st.tuples(st.integers(0, 9), offset, inputs.change()).map(
        lambda drawn: _CHANGE.pack(drawn[0], drawn[1], len(drawn[2])) + drawn[2])
    return st.lists(one, max_size=8).map(b"".join)


def decoded(data, regions):
    """(address, bytes) for each change."""
    position = 0
    while position + _CHANGE.size <= len(data):
        region, offset, length = _CHANGE.unpack_from(data, position)
        position += _CHANGE.size
        piece = data[position:position + length]
        position += length
        address, size = regions[region % len(regions)]
        offset %= size
        yield address + offset, piece[:size - offset]


def damaged_process(data):
    process = victim()
    written = []
    try:
        for address, piece in decoded(data, process.regions):
            written.append((address, read_memory(process.pid, address, len(piece))))
            write_memory(process.pid, address, piece)
        return process.look()
    finally:
        for address, before in reversed(written):
            write_memory(process.pid, address, before)
        assert process.process.poll() is None, "the process has died"


class _OtherFrames(MappedFiles):
    """As if the victim's library had other unwind information."""

    def __init__(self, descriptions):
        super().__init__()
        self.descriptions = descriptions

    def frames(self, pid, mapping):
        if os.path.basename(mapping.path) == "libvictim.so":
            return self.descriptions
        return super().frames(pid, mapping)


def damaged_frames(data):
    """Unwind information that leads anywhere, on the stacks of a real process."""
    process = victim()
    try:
        descriptions = FrameDescriptions(ElfImage.parse(data, "libvictim.so"))
    except UlpError:
        return False
    complete = False
    for tid in procfs.thread_ids(process.pid):
        where = procfs.read_system_call(process.pid, tid)
        if where is not None:
            frames = unwind(process.pid, where, _OtherFrames(descriptions))
            complete |= frames is not None
            assert len(frames or ()) <= MOST_FRAMES
    return complete


@st.composite
def frames_of_library(draw, _sounds):
    """The victim's library, with its unwind information damaged."""
    sound = (Path(victim().directory.name) / "libvictim.so").read_bytes()
    data = bytearray(sound)
    image = ElfImage.parse(sound, "libvictim.so")
    sections = [image.section(name) for name in (".eh_frame", ".eh_frame_hdr")]
    for _count in range(draw(st.integers(0, 5))):
        section = draw(st.sampled_from(sections))
        position = section.offset + draw(st.integers(0, section.size - 1))
        piece = draw(inputs.change())
        data[position:position + len(piece)] = piece
    return bytes(data[:len(sound)])


TARGETS = (
    Target("process", damaged_process, lambda _sounds: changes(), cost=12, close=close),
    Target("frames", damaged_frames, frames_of_library, cost=8, close=close),
)
