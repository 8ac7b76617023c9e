# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a function goes on by its last jump, found out by following what objdump and readelf say of the file.

It shares nothing with the code under test: it executes the few instructions of stubs and thunks one by one.
"""

from __future__ import annotations

import re
import subprocess

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*)$")
SLOT = re.compile(r"#\s+([0-9a-f]+)")
SUM = re.compile(r"\(%(\w+),%(\w+),1\)")


def output(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


class Disassembly:
    """The instructions of a file, and what the loader puts in which word.

    :param functions: the names of the functions at which it ends to follow the code.
    """

    def __init__(self, path, functions):
        self.instructions = []
        for line in output("objdump", "-d", "--no-show-raw-insn", path).splitlines():
            found = INSTRUCTION.match(line)
            if found:
                self.instructions.append((int(found.group(1), 16), found.group(2)))
        self.index = {address: index for index, (address, _text) in enumerate(self.instructions)}
        self.addresses = {}
        for line in output("nm", path).splitlines():
            words = line.split()
            if len(words) == 3 and words[2] in functions:
                self.addresses[words[2]] = int(words[0], 16)
        self.slots = {}
        for line in output("readelf", "-rW", path).splitlines():
            words = line.split()
            if len(words) == 4 and words[2] == "R_X86_64_RELATIVE":
                self.slots[int(words[0], 16)] = int(words[3], 16)
            elif len(words) > 4 and words[2] in ("R_X86_64_JUMP_SLO", "R_X86_64_JUMP_SLOT", "R_X86_64_GLOB_DAT"):
                self.slots[int(words[0], 16)] = int(words[3], 16) or words[4].partition("@")[0]
            elif len(words) == 1 and line.strip().isalnum() and len(words[0]) == 16:
                # A place of the packed kind, whose contents are the address.
                self.slots[int(words[0], 16)] = None

    def jumped_to(self, name):
        """The address, or the name in another file, to which the function called ``name`` jumps at its end; or None."""
        self._registers = {}
        self._returns = []
        address = self.addresses[name]
        for _step in range(200):
            where = self._step(address)
            if where is None:
                return None
            while isinstance(where, str) or where in self.addresses.values():
                if not self._returns:
                    return where
                # It was called, and comes back.
                where = self._returns.pop()
            address = where
        raise AssertionError(f"no end of {name} found")

    def _step(self, address):
        """Where it goes on behind the instruction at ``address``; None: it returns to the caller of all."""
        index = self.index[address]
        text = re.sub(r"^(bnd|notrack|cs) ", "", self.instructions[index][1])
        operation, _space, operands = text.partition(" ")
        slot = SLOT.search(operands)
        slot = int(slot.group(1), 16) if slot else None
        operands = operands.partition("#")[0].strip()
        following = self.instructions[index + 1][0] if index + 1 < len(self.instructions) else None
        if operation == "ret":
            return self._returns.pop() if self._returns else None
        if operation in ("jmp", "call"):
            if operation == "call":
                self._returns.append(following)
            if not operands.startswith("*"):
                return int(operands.split()[0], 16)
            if slot is None:
                slot = self._sum(operands)
            return self._thunk(self._registers[operands[2:]] if slot is None else self.slots[slot])
        if operation == "mov" and operands.startswith("%") and operands.endswith(",(%rsp)") and self._returns:
            self._returns[-1] = self._registers[operands[1:].partition(",")[0]]
        elif operation == "mov" and slot in self.slots:
            self._registers[operands.rpartition("%")[2]] = self.slots[slot]
        elif operation == "lea" and slot is not None:
            self._registers[operands.rpartition("%")[2]] = slot
        elif operation == "movabs":
            self._registers[operands.rpartition("%")[2]] = int(operands[1:].partition(",")[0], 16)
        elif operation == "add" and operands.startswith("%"):
            added, to = operands.replace("%", "").split(",")
            if added in self._registers and to in self._registers:
                self._registers[to] = (self._registers[to] + self._registers[added]) % (1 << 64)
        return following

    def _sum(self, operands):
        """The address that an operand (%base,%index,1) names, or None."""
        found = SUM.search(operands)
        return found and (self._registers[found.group(1)] + self._registers[found.group(2)]) % (1 << 64)

    def _thunk(self, target):
        """What a thunk of another file leads to, by the register that its name ends with."""
        if isinstance(target, str) and ("thunk" in target or "retpoline" in target):
            return self._registers[target.rpartition("_")[2]]
        return target
