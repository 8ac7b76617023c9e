# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one thread through the runtime's request entry.

The thread's registers, as they must be when it goes on, and its vector state
are written below its stack pointer; the entry puts them back itself
(native/include/ulp/abi.h, "diversion").  So nobody has to wait for it: from
PTRACE_SETREGS on, the request completes even if we are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from .. import abi
from ..arch.frames import SIGNAL_STACK_SIZE
from ..arch.registers import (
    EXTENDED_STATE_ALIGNMENT,
    EXTENDED_STATE_LIMIT,
    EXTENDED_STATE_NOTE,
    SYSTEM_CALL_INSTRUCTION,
    Registers,
)
from ..named_tuple import NamedTuple
from ..process.errors import ProcessError
from ..process.maps import mapping_at
from ..process.memory import IoVector, process_vm_readv, process_vm_writev
from ..process.procfs import explained, seccomp_state
from . import requests
from .custody import Custody, held
from .errors import FiltersChanged, StepFailed, StrangeStack, ThreadEnded, ThreadRefused
from .interruption import ERESTART_RESTARTBLOCK, interruption, make_again
from .requests import request
from .restart import undo_interruption
from .rseq import RseqConfiguration, registered_area
from .stack import MAIN_STACK, lowest_of_alternate_stack, lowest_of_main_stack, room_below
from .user_dispatch import ALLOW, DispatchConfiguration, selector

# Bytes of stack that the entry needs below the block.
ENTRY_STACK = 24576
_WORD = 8
# How much of a stack to search for the frame of a signal, piece by piece; in bytes.
SEARCHED = 1 << 20
PIECE = 1 << 15
# Bytes of a status file, as a rule, and at most: it lists the groups, of which there may be NGROUPS_MAX, 65536.
_STATUS_SIZE = 1 << 13
_STATUS_LIMIT = 1 << 20
# With it the C library makes every thread take part in setuid() (nptl(7)): it waits, with a lock held, for all of them.
_SETXID_SIGNAL = 33
# A signal mask as PTRACE_SETSIGMASK takes it: bit n - 1 for each signal n, of 1 to 64 (signal(7)).
_ALL_SIGNALS_BUT_SETXID = (1 << 64) - 1 - (1 << _SETXID_SIGNAL - 1)


class Diverted(NamedTuple):
    """A thread was sent off."""

    held_ns: int  # from when it was last seen running until it was let go
    interrupted: int  # the kernel's error of the system call it was in, or 0


class Errand(NamedTuple):
    """What a thread is sent off for."""

    entry: int  # absolute address of the runtime's request entry
    request_buffer: int  # absolute address of the runtime's buffer
    nonce: int  # of the request that lies there
    flags: int = 0  # what the thread is asked, or told: abi.BLOCK_*


class Diversion:
    """Everything that diverting one thread needs, allocated before the thread is touched."""

    def __init__(self, pid, tid, errand, mappings, *, restarts=True, filters=None):
        """
        :param errand: Errand.
        :param mappings: of the process, ascending (maps.Mapping).
        :param restarts: whether the thread may make the system call restart_syscall.
        :param filters: procfs.seccomp_state() of the thread when its filters were examined, or None: they were not.
        """
        requests.require_binding()
        self.filters = filters
        self.status = -1
        self.restarts = restarts
        self.pid = pid
        self.tid = tid
        self.entry = errand.entry
        self.nonce = errand.nonce
        self.nonce_address = errand.request_buffer + abi.REQUEST.offsets["nonce"]
        self.mappings = mappings
        # Looked for now, so that it need not be while the thread is held.
        self.main_stack = next((mapping for mapping in mappings if mapping.path == MAIN_STACK), None)
        self.lowest = 0
        if pid == tid and self.main_stack is not None:
            self.lowest = lowest_of_main_stack(pid, mappings, self.main_stack)
        self.custody = Custody(pid, tid)
        self.registers = Registers()
        self.mask = ctypes.c_uint64()
        self.all_signals = ctypes.c_uint64(_ALL_SIGNALS_BUT_SETXID)
        self.rseq = RseqConfiguration()
        self.dispatch = DispatchConfiguration()
        self.block = ctypes.create_string_buffer(abi.BLOCK_XSTATE + EXTENDED_STATE_LIMIT)
        self.block_address = ctypes.addressof(self.block)
        self.xstate = IoVector(self.block_address + abi.BLOCK_XSTATE, EXTENDED_STATE_LIMIT)
        self.interrupted = ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["interrupted"])
        self.saved_mask = ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["signal_mask"])
        ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["nonce"]).value = errand.nonce
        ctypes.c_uint64.from_buffer(self.block, abi.BLOCK.offsets["flags"]).value = errand.flags
        self.word = ctypes.create_string_buffer(32)
        self.piece = ctypes.create_string_buffer(PIECE)
        self.local = IoVector()
        self.remote = IoVector()

    def run(self):
        """Hold the thread, divert it, let it go.

        :return: Diverted.
        :raises ThreadRefused: the thread was not diverted, and goes on as if nothing had been.
        """
        if self.filters is None:
            return held(self._hold)
        with self._open_status():
            return held(self._hold)

    @contextlib.contextmanager
    def _open_status(self):
        """Open now what is read while the thread is held."""
        try:
            self.status = os.open(f"/proc/{self.pid}/task/{self.tid}/status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explained(self.pid, error) from error
        try:
            yield
        finally:
            os.close(self.status)

    def _read_status(self):
        try:
            data = os.pread(self.status, _STATUS_SIZE, 0)
            return data if len(data) < _STATUS_SIZE else os.pread(self.status, _STATUS_LIMIT, 0)
        except ProcessLookupError as error:
            raise ThreadEnded(self.pid, self.tid) from error
        except OSError as error:
            raise self._refusal(f"does not tell its seccomp filters ({error.strerror})") from error

    def _hold(self):
        with self.custody:
            try:
                interrupted = self._divert()
            except ThreadRefused:
                self._let_go_on()
                raise
            self.custody.release()
        return Diverted(self.custody.held_ns, interrupted)

    def _let_go_on(self):
        """Its registers are as they were when it was stopped: see to it that it goes on as if it had not been."""
        with contextlib.suppress(ProcessError):
            request(requests.GETREGS, self.pid, self.tid, 0, ctypes.addressof(self.registers))
            if not self.registers.executes_other_code:
                undo_interruption(self.pid, self.tid, self.registers, self.restarts)

    def _divert(self):
        pid, tid, registers = self.pid, self.tid, self.registers
        request(requests.GETREGS, pid, tid, 0, ctypes.addressof(registers))
        if registers.executes_other_code:
            raise self._refusal("executes 32-bit code")
        self._require_ready()
        self._require_same_filters()
        self._require_own_calls()
        if registers.system_call is None and self._in_critical_section():
            raise self._refusal("is inside a restartable sequence")
        self.xstate.length = EXTENDED_STATE_LIMIT
        request(requests.GETREGSET, pid, tid, EXTENDED_STATE_NOTE, ctypes.addressof(self.xstate))
        size = self.xstate.length
        block = (registers.stack_pointer - abi.BLOCK_RED_ZONE - abi.BLOCK_XSTATE - size) & -EXTENDED_STATE_ALIGNMENT
        self._check_room(registers, block, size)
        request(requests.GETSIGMASK, pid, tid, 8, ctypes.addressof(self.mask))
        entered = registers.stack_pointer, registers.instruction_pointer
        interrupted = interruption(registers)
        if interrupted == ERESTART_RESTARTBLOCK and not self.restarts:
            raise self._refusal("sleeps in a call that restart_syscall goes on with, which its seccomp filter denies")
        if interrupted:
            size_of_call = len(SYSTEM_CALL_INSTRUCTION)
            if self._read(registers.instruction_pointer - size_of_call, size_of_call) != SYSTEM_CALL_INSTRUCTION:
                raise self._refusal("was stopped in a system call that it did not make by the instruction syscall")
            make_again(registers, interrupted)
        self.interrupted.value = interrupted
        self.saved_mask.value = self.mask.value
        ctypes.memmove(self.block_address, ctypes.addressof(registers), ctypes.sizeof(registers))
        registers.divert(self.entry, block)
        self._prepare()
        self._write(block, abi.BLOCK_XSTATE + size, entered)
        request(requests.SETREGS, pid, tid, 0, ctypes.addressof(registers))
        # From here on the thread carries the request out, whatever becomes of us.
        # A kernel may lack it: then signals come a moment earlier, and the entry restores the mask that is there.
        with contextlib.suppress(StepFailed):
            request(requests.SETSIGMASK, pid, tid, 8, ctypes.addressof(self.all_signals))
        return interrupted

    def _require_ready(self):
        """Raise ThreadRefused unless the process has what the thread is to be sent off with."""
        if int.from_bytes(self._read(self.nonce_address, 8), "little") != self.nonce:
            # Nothing is where it was then; the thread may have been in execve(2) itself when it was stopped.
            raise self._refusal("does not have the request: its program, or another tool, has replaced it")

    def _require_same_filters(self):
        """Raise FiltersChanged if the thread has got a seccomp filter since its filters were examined.

        Sandboxes are set up while a process runs: that of sshd's sessions kills for the first call of the runtime.
        """
        if self.filters is None:
            return
        if seccomp_state(self._read_status()) != self.filters:
            # Nor is it known whether it may go on with a sleep that the stop has interrupted.
            self.restarts = False
            raise FiltersChanged(self.pid, self.tid, self._sentence("has got a seccomp filter since it was looked at"))

    def _require_own_calls(self):
        """Raise ThreadRefused where the kernel would not carry out the system calls of the thread."""
        address = selector(self.pid, self.tid, self.dispatch)
        if address is not None and (not address or self._read(address, 1)[0] != ALLOW):
            raise self._refusal(
                "has its system calls sent to the program itself, as Wine does (prctl, PR_SET_SYSCALL_USER_DISPATCH)")

    def _prepare(self):
        """Write what is still missing, once nothing stands in the way; the next thing written is the block."""

    def _check_room(self, registers, block, size):
        pointer = registers.stack_pointer
        room = room_below(self.tid, self.mappings, self.pid == self.tid, pointer, registers.thread_pointer)
        needed = pointer - block
        stack = self.main_stack
        main = self.pid == self.tid and stack is not None and stack.start < pointer <= stack.end
        # The main stack grows, as far as that goes.
        reachable = pointer - self.lowest if main else room
        if main and room < needed <= reachable - ENTRY_STACK and self._grow(block):
            room = reachable
        if room >= needed:
            lowest = self._lowest_of_alternate_stack(pointer)
            if lowest is not None:
                room = min(room, pointer - lowest)
                reachable = min(reachable, pointer - lowest)
        if not room:
            raise StrangeStack(self.pid, self.tid, self._sentence("is on a stack whose end cannot be told"))
        if room < needed or reachable < needed + ENTRY_STACK:
            raise self._refusal("has too little stack left")

    def _grow(self, address):
        """Whether the main stack reaches down to ``address`` when a word there was written, as the thread itself would.

        Unlike process_vm_writev(2), ptrace(2) makes a stack grow, within the same limits as the thread itself.
        """
        try:
            request(requests.POKEDATA, self.pid, self.tid, address & -_WORD, 0)
        except StepFailed:
            return False
        return True

    def _lowest_of_alternate_stack(self, pointer):
        """As stack.lowest_of_alternate_stack(), of what lies from ``pointer`` to the end of the mapping."""
        mapping = mapping_at(self.mappings, pointer - 1)
        start = pointer & ~7
        end = min(mapping.end, start + SEARCHED)
        while start + SIGNAL_STACK_SIZE <= end:
            words = self._read(start, min(PIECE, end - start), self.piece)
            lowest = lowest_of_alternate_stack(words, pointer)
            if lowest is not None:
                return lowest
            # A frame may lie across two pieces.
            start += PIECE - (SIGNAL_STACK_SIZE + 7 & ~7)
        return None

    def _in_critical_section(self):
        """Whether the thread is between the start and the commit of a restartable sequence (rseq(2))."""
        area = registered_area(self.pid, self.tid, self.rseq)
        # Where the kernel does not tell, the C library is of a time in which it registers none.
        if not area:
            return False
        pointer = int.from_bytes(self._read(area + 8, 8), "little")
        if not pointer:
            return False
        section = self._read(pointer, 32)
        start = int.from_bytes(section[8:16], "little")
        length = int.from_bytes(section[16:24], "little")
        return 0 <= self.registers.instruction_pointer - start < length

    def _read(self, address, size, buffer=None):
        buffer = self.word if buffer is None else buffer
        self.local.base, self.local.length = ctypes.addressof(buffer), size
        self.remote.base, self.remote.length = address, size
        if process_vm_readv(self.tid, ctypes.byref(self.local), 1, ctypes.byref(self.remote), 1, 0) != size:
            raise self._refusal(f"has memory at {address:#x} that cannot be read")
        return ctypes.string_at(buffer, size)

    def _write(self, address, size, entered):
        self.local.base, self.local.length = self.block_address, size
        self.remote.base, self.remote.length = address, size
        if process_vm_writev(self.tid, ctypes.byref(self.local), 1, ctypes.byref(self.remote), 1, 0) != size:
            raise self._refusal(f"has a stack at {entered[0]:#x} that cannot be written")

    def _refusal(self, what):
        return ThreadRefused(self.pid, self.tid, self._sentence(what))

    def _sentence(self, what):
        return f"thread {self.tid} of process {self.pid} {what}"
