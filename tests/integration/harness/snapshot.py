# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not have changed when something was refused: a directory's files, or a process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from .victim import Victim


def of_directory(directory: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, owner, modification time in nanoseconds and content hash of every file below it."""
    files = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        files[str(path.relative_to(directory))] = (status.st_mode, status.st_uid, status.st_mtime_ns, content)
    return files


def of_process(victim: Victim) -> dict[str, Any]:
    """Its mappings, threads and open files, and the hash of all code that it has mapped from files."""
    code = {}
    mapped = victim.mapped()
    with open(f"/proc/{victim.pid}/mem", "rb", buffering=0) as memory:
        for line in mapped.splitlines():
            fields = line.split(None, 5)
            if "x" in fields[1] and len(fields) == 6 and fields[5].startswith("/"):
                start, end = (int(word, 16) for word in fields[0].split("-"))
                memory.seek(start)
                code[fields[0]] = hashlib.sha256(memory.read(end - start)).hexdigest()
    # The heap and the stack may grow by what the victim itself does.
    files = sorted(line for line in mapped.splitlines() if "/" in line)
    descriptors = sorted(path.name for path in Path(f"/proc/{victim.pid}/fd").iterdir())
    return {"mapped": files, "code": code, "threads": victim.threads(), "descriptors": descriptors}
