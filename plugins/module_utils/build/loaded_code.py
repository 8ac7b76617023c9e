# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load all that building takes, for a process that is about to leave the file system that its code comes from.

Much is loaded on first use otherwise, since most commands never need it.
"""

from __future__ import annotations

from importlib import import_module

from ..errors import MissingDependency
from .recording import wrapper_sources

# Modules that are imported within functions: of this package's layers, of others, and of Python's library.
OWN = (
    "abi", "elf.bodies", "elf.frames", "elf.patchable", "livepatch.metadata", "process.link_maps",
    "process.random_bytes", "process.subject", "process.suspended", "stock.alignment", "stock.code",
    "stock.common_callers", "stock.needed", "stock.reliance", "stock.sites", "tracee.requests",
    "trigger.attaching.cut_off", "trigger.borrowing.room", "trigger.borrowing.seccomp_check",
    "trigger.operations.aftermath",
    "trigger.operations.apply", "trigger.operations.carry_out", "trigger.operations.check",
    "trigger.operations.copies", "trigger.operations.revert", "trigger.operations.settle", "trigger.resolution.stock",
)
OF_OTHERS = {
    "capstone": "python3-capstone", "elftools.common.exceptions": "python3-pyelftools",
    "elftools.dwarf.callframe": "python3-pyelftools", "elftools.dwarf.structs": "python3-pyelftools",
    "elftools.elf.elffile": "python3-pyelftools", "ptrace": "python3-ptrace", "ptrace.binding.func": "python3-ptrace",
}
OF_PYTHON = ("tempfile", "traceback")
# Those that Python looks up by name when text is decoded for the first time, and what a traceback is written with.
_BY_NAME = ("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.unicode_escape", "encodings.utf_8",
            "linecache")


def load() -> None:
    """Load it.

    :raises MissingDependency: something is not installed.
    """
    above = str(__package__).rpartition(".")[0]
    for name in OWN:
        import_module(f"{above}.{name}")
    for name, package in OF_OTHERS.items():
        try:
            import_module(name)
        except ImportError as error:
            raise MissingDependency(name.partition(".")[0], package) from error
    for name in (*OF_PYTHON, *_BY_NAME):
        import_module(name)
    wrapper_sources()
