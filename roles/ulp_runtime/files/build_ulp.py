# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the command ``ulp``: the core as one executable file.

    python3 roles/ulp_runtime/files/build_ulp.py build/ulp

The same sources give the same bytes: entries are sorted, not compressed, and dated 1980-01-01.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

CORE = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
PACKAGE = "libpulp_livepatch"
INTERPRETER = b"#!/usr/bin/python3\n"
MAIN = f"""\
import sys

from {PACKAGE}.command.main import main

sys.exit(main())
"""
DATE = (1980, 1, 1, 0, 0, 0)


def entries():
    """(name in the archive, contents) of every file, sorted by name."""
    found = [("__main__.py", MAIN.encode())]
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
