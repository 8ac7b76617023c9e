# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime's own file, libpulp.so: what is loaded into processes that were started without it."""

from __future__ import annotations

import hashlib
import os

from ... import abi
from ...atomic_file import read_file
from ...elf.image import ElfImage
from ...elf.symbols import needed_versions
from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...trusted_path import require_unchangeable

_SECTION = ".ulp.bootstrap"


class RuntimeFile(NamedTuple):
    """The file, read and checked."""

    path: str  # absolute, without symbolic links
    contents: bytes
    digest: str  # SHA-256, hexadecimal
    build_id: str  # hexadecimal
    bootstrap: bytes  # the code that loads it
    entry: int  # from its start
    versions: dict[str, tuple[str, ...]]  # {soname: names of symbol versions}, of what it needs


def read_runtime_file(path):
    """The RuntimeFile at ``path``.

    :raises FileProblem: it cannot be read.
    :raises Untrusted: another user could change it.
    :raises UlpError: it is no runtime, or one that only processes which are being started can load.
    """
    require_unchangeable(path, "runtime")
    path = os.path.realpath(path)
    contents = read_file(path)
    image = ElfImage.parse(contents, path)
    section = image.section(_SECTION)
    if image.find_dynamic_symbol("ulp_state") is None:
        raise UlpError(f"{path} is not the livepatch runtime: it has no ulp_state")
    if section is None or section.size < abi.BOOTSTRAP.size:
        raise UlpError(
            f"{path} is a runtime that cannot be loaded into a running process; install the one of this collection"
        )
    bootstrap = image.section_data(section)
    head = abi.BOOTSTRAP.unpack(bootstrap)
    if head.magic != abi.BOOTSTRAP_MAGIC or head.size != len(bootstrap) or head.entry >= len(bootstrap):
        raise UlpError(f"{path} is a runtime of another version of this tool; install the one of this collection")
    return RuntimeFile(
        path, contents, hashlib.sha256(contents).hexdigest(), image.require_build_id().hex(), bootstrap, head.entry,
        needed_versions(image),
    )
