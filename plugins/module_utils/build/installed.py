# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library that an installed package of Debian has."""

from __future__ import annotations

import os
import subprocess
from typing import Collection

from ..elf.image import ElfImage
from ..errors import BadElf, FileProblem
from .errors import BuildFailed


def installed_library(what: str, targets: Collection[str] = ()) -> str:
    """The path of the library that ``what`` means.

    :param what: a path, or the name of an installed package.
    :param targets: sonames, one of which tells where a package has several libraries.
    :raises BuildFailed: the package is not installed, or which of its libraries is meant cannot be told.
    """
    if os.sep in what or os.path.exists(what):
        return what
    try:
        done = subprocess.run(["dpkg-query", "--listfiles", what], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise FileProblem("run", "dpkg-query", error) from error
    if done.returncode:
        raise BuildFailed(f"{what} is neither a file nor a package that is installed here")
    found: dict[str, str] = {}
    for path in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        if ".so" in os.path.basename(path) and os.path.isfile(path) and not os.path.islink(path):
            try:
                soname = ElfImage.open(path).soname
            except (BadElf, FileProblem):
                continue
            if soname is not None and (not targets or soname in targets):
                found[soname] = path
    if len(found) != 1:
        raise BuildFailed(f"the package {what} has " + (
            f"several libraries, {', '.join(sorted(found))}; say which with --target" if found else
            "no such shared library"))
    return next(iter(found.values()))
