# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a process's memory, as the process itself or a tool of somebody else might."""

from __future__ import annotations


def write_memory(pid: int, address: int, data: bytes) -> None:
    """Write ``data`` at ``address`` of process ``pid``, whatever its protection: /proc/PID/mem, proc(5)."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        assert memory.write(data) == len(data), f"process {pid} has less than {len(data)} bytes at {address:#x}"
