# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the command ``ulp``: the core as one executable file.

    python3 roles/ulp_runtime/files/build_ulp.py build/ulp

The same sources give the same bytes: entries are sorted, not compressed, and dated 1980-01-01.
compile_ulp.py makes the same with byte code, where it is to run.
"""

from __future__ import annotations

import os
import sys
import zipfile
from importlib import import_module
from pathlib import Path

sys.dont_write_bytecode = True

CORE = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
MAIN = Path(__file__).with_name("ulp_main.py")
PACKAGE = "libpulp_livepatch"
# Isolated from the user's Python packages and environment (-I).  Where other packages are (-S) is found out later, and
# not at all when only help is asked for: that is a third of the time that it takes.
INTERPRETER = b"#!/usr/bin/python3 -IS\n"
DATE = (1980, 1, 1, 0, 0, 0)


def parser():
    """The command's parser, a command.usage.Parser."""
    sys.path.insert(0, str(CORE.parent))
    try:
        return import_module(f"{CORE.name}.command.arguments").parser()
    finally:
        sys.path.remove(str(CORE.parent))


def help_text():
    """What ``ulp --help`` prints, 80 columns wide."""
    os.environ["COLUMNS"] = "80"
    return parser().format_help()


def entries():
    """(name in the archive, contents) of every file, sorted by name."""
    found = [("__main__.py", MAIN.read_bytes()), (f"{PACKAGE}/help.py", f"HELP = {help_text()!r}\n".encode())]
    for path in CORE.rglob("*.py"):
        found.append((f"{PACKAGE}/{path.relative_to(CORE).as_posix()}", path.read_bytes()))
    return sorted(found)


def build(destination):
    """Write the command to ``destination``; nobody ever sees half of it."""
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as stream:
            stream.write(INTERPRETER)
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name, contents in entries():
                    member = zipfile.ZipInfo(name, DATE)
                    member.external_attr = 0o100644 << 16
                    archive.writestr(member, contents)
        temporary.chmod(0o755)
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build_ulp.py OUTPUT")
    build(sys.argv[1])
