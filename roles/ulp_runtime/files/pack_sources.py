# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack a directory: pack_sources.py DIRECTORY ARCHIVE.

The same files give the same bytes, so that the archive's checksum says whether the sources have changed.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path


def pack(directory: Path, archive: Path) -> None:
    """Write every regular file below directory into a tar archive, under the directory's own name."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            if not path.is_file() or path.name.startswith("."):
                continue
            member = tarfile.TarInfo(str(Path(directory.name) / path.relative_to(directory)))
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)


if __name__ == "__main__":
    pack(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
