# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one thread through the bootstrap code, which loads the runtime (native/include/ulp/abi.h, "bootstrap").

Nobody is inside the process who could say whether the thread is at a safe
point.  So that is proved from outside: of a thread that is blocked before it is
held, and in the stop its registers and its stack are compared; of one that runs
in the stop, by what was read before (process.running).  Only then is anything written.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from .. import abi
from ..named_tuple import NamedTuple
from ..process.control_block import owner
from ..process.maps import Mapping, mapping_at
from ..process.memory import process_vm_readv
from ..process.running import Running
from ..process.safe_point import Blocked, differs
from . import requests
from .diversion import Diversion, Errand
from .errors import MovedOn, StepFailed
from .interruption import interruption
from .requests import request
from .rseq import registered_area
from .stack import lowest_of_alternate_stack

_WORD = 8


class Place(NamedTuple):
    """Where the bootstrap code goes."""

    address: int  # of the code, all zeros or the very same code
    code: bytes  # with its head filled in, and the path of the runtime
    entry: int  # absolute address


class Claim(NamedTuple):
    """By what the process knows who loads the runtime: struct ulp_bootstrap_words in native/include/ulp/abi.h."""

    nonce: int
    expected: int  # the claim that it takes the place of


class Candidate(NamedTuple):
    """A thread that may be sent off, as it was seen."""

    pid: int
    tid: int
    inner_tid: int  # what the thread's own PID namespace calls it
    proof: Blocked | Running  # the latter of a thread that runs
    restarts: bool  # as for Diversion
    filters: tuple[int, int]  # likewise


class Surroundings(NamedTuple):
    """What a thread is compared with while it is held."""

    memory: int  # descriptor of /proc/PID/mem, opened when the process was examined
    code: list[tuple[int, int]]  # ranges of addresses, ascending: all code of the process
    mappings: list[Mapping]  # of the process, ascending


class Bootstrap(Diversion):
    """One thread that is to load the runtime."""

    def __init__(self, candidate, place, claim, surroundings):
        """
        :param candidate: Candidate.
        :param place: Place.
        :param claim: Claim.
        :param surroundings: Surroundings.
        """
        errand = Errand(place.entry, 0, claim.nonce)
        super().__init__(
            candidate.pid, candidate.tid, errand, surroundings.mappings, restarts=candidate.restarts,
            filters=candidate.filters)
        ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["expected"]).value = claim.expected
        self.memory = surroundings.memory
        self.place = place
        proof = candidate.proof
        self.proof: Blocked | Running = proof
        self.code_ranges = surroundings.code
        self.inner_tid = candidate.inner_tid
        self.stack: Any = None
        if isinstance(proof, Blocked):
            self.stack = ctypes.create_string_buffer(len(proof.stack))
            # Written now, since the kernel gives memory only then, and that takes time.
            ctypes.memset(self.stack, 1, len(proof.stack))
            aligned = proof.stack[-proof.stack_pointer % _WORD:]
            if lowest_of_alternate_stack(aligned, proof.stack_pointer) is not None:
                # What the signal has interrupted is on another stack, which is not compared.
                raise self._refusal("is on an alternate signal stack")

    def _require_ready(self):
        registers = self.registers
        present = self._present()
        if len(present) != len(self.place.code):
            raise self._refusal("has become another program (execve)")
        # A part of it may have been written before: each byte is zero, or as it will be.
        if present.strip(b"\0") and any(byte not in (0, wanted) for byte, wanted in zip(present, self.place.code)):
            raise self._refusal("cannot be given the bootstrap code: something else lies where that would go")
        if isinstance(self.proof, Blocked):
            self._require_unmoved(self.proof)
        elif registers.system_call is not None:
            raise self._moved_on("has entered a system call")
        else:
            self._require_outside(self.proof)
        if owner(self.tid, registers.thread_pointer) != self.inner_tid:
            raise self._refusal(
                "has the control block of another thread: it is between vfork and exec, or was made by clone() past the"
                " C library"
            )
        if registered_area(self.pid, self.tid, self.rseq) != 0:
            ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["flags"]).value |= abi.BLOCK_HAS_RSEQ

    def _require_unmoved(self, proof):
        registers = self.registers
        if (
            (registers.stack_pointer, registers.instruction_pointer, registers.system_call)
            != (proof.stack_pointer, proof.instruction_pointer, proof.number)
            or not interruption(registers)
            or not proof.registers.items() <= registers.by_number.items()
        ):
            raise self._moved_on("has moved on")
        self._read_into(ctypes.addressof(self.stack), proof.stack_pointer, len(proof.stack))
        if differs(proof.stack, self.stack, proof.stack_pointer, self.code_ranges):
            raise self._moved_on("has moved on")

    def _moved_on(self, what):
        return MovedOn(self.pid, self.tid, self._sentence(f"{what} since it was looked at"))

    def _require_outside(self, running):
        registers, picture = self.registers, running.picture
        picture.registers = None
        if not running.is_own(registers.instruction_pointer):
            raise self._refusal("runs in the C library, the loader or the memory allocator")
        pointer = registers.stack_pointer
        mapping = mapping_at(self.mappings, pointer)
        size = mapping.end - pointer if mapping is not None else 0
        if size <= 0:
            raise self._refusal("is on a stack whose end cannot be told")
        if size > running.limit:
            raise self._refusal("has too deep a stack")
        self._read_into(picture.address, pointer, size)
        picture.pointer, picture.size, picture.registers = pointer, size, registers.by_number
        why = running.why_not()
        if why:
            raise self._refusal(why)

    def _read_into(self, local, address, size):
        self.local.base, self.local.length = local, size
        self.remote.base, self.remote.length = address, size
        if process_vm_readv(self.tid, ctypes.byref(self.local), 1, ctypes.byref(self.remote), 1, 0) != size:
            raise self._refusal("has a stack that cannot be read")

    def _lowest_of_alternate_stack(self, pointer):
        """As of any diversion, but the stack, whose frames are known, is not searched while the thread is held."""
        if isinstance(self.proof, Blocked):
            return None
        return super()._lowest_of_alternate_stack(pointer) if self.proof.signals else None

    def _present(self):
        """What lies where the code goes; nothing when the memory has gone."""
        try:
            return os.pread(self.memory, len(self.place.code), self.place.address)
        except OSError:
            return b""

    def _prepare(self):
        if self._present() == self.place.code:
            return
        try:
            written = os.pwrite(self.memory, self.place.code, self.place.address)
        except OSError:
            # A kernel may let nobody write to code this way (proc_mem.force_override): the tracer may.
            written = self._poke()
        if written != len(self.place.code):
            raise self._refusal("cannot be given the bootstrap code")

    def _poke(self):
        code = self.place.code.ljust(-(-len(self.place.code) // _WORD) * _WORD, b"\0")
        for position in range(0, len(code), _WORD):
            word = int.from_bytes(code[position:position + _WORD], "little")
            try:
                request(requests.POKEDATA, self.pid, self.tid, self.place.address + position, word)
            except StepFailed:
                return 0
        return len(self.place.code)
