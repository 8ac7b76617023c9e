# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which livepatches are meant: one fix has a file for each build of the library, and a directory may hold them."""

from __future__ import annotations

import os
from typing import Iterable

from .errors import FileProblem, UlpError

EXTENSION = ".ulp"


def livepatch_files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """The files of livepatches that ``paths`` stand for, in their order.

    A directory stands for the files in it, not below it, whose names end in ``.ulp`` and do not begin with a dot, in
    the order of their names.  A file that is named twice counts once.

    :param paths: one path, or several; a file need not exist.
    :return: list of paths, at least one.
    :raises FileProblem: a directory cannot be read.
    :raises UlpError: there is no path, or no livepatch in a directory.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise UlpError("no livepatch is named: give the path of one, several, or a directory with livepatches in it")
    found: dict[str, str] = {}
    for each in given:
        path = os.fspath(each)
        for file in _files_in(path) if os.path.isdir(path) else [path]:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _files_in(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise FileProblem("read", directory, error) from error
    files = [
        os.path.join(directory, name) for name in sorted(names)
        if name.endswith(EXTENSION) and not name.startswith(".")
    ]
    files = [file for file in files if not os.path.isdir(file)]
    if not files:
        raise UlpError(f"the directory {directory} has no livepatch in it, no file whose name ends in {EXTENSION}")
    return files
