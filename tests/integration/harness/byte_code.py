# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core as ``build/ulp`` itself loads it, for the servers that stand in for many starts of the command."""

from __future__ import annotations

import importlib
import sys
import zipfile
import zipimport
from pathlib import PurePath
from types import ModuleType


def find_core(command: str) -> None:
    """Make ``libpulp_livepatch`` importable from the command, from its byte code: its sources take a second or two."""
    sys.path.insert(0, command)
    start = ModuleType("ulp_start")
    start.__loader__ = zipimport.zipimporter(command)
    exec(start.__loader__.get_code("__main__"), start.__dict__)
    start.use_byte_code()


def load_verbs(command: str) -> None:
    """Import what any verb needs: the command does so when it knows the verb, which a forked one would do each time."""
    with zipfile.ZipFile(command) as archive:
        names = [PurePath(name) for name in archive.namelist()]
    for name in names:
        if name.match("libpulp_livepatch/command/*.py") and name.stem != "__init__":
            importlib.import_module(".".join(name.with_suffix("").parts))
