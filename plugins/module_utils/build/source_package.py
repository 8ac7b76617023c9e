# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source package, unpacked and ready to be built, whatever distribution it is of."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from typing import Callable

from ..errors import FileProblem
from ..named_tuple import NamedTuple
from .errors import BuildFailed

_KEY = re.compile(r"[0-9a-f]{24}(?:\.unfinished)?")


class SourcePackage(NamedTuple):
    """What is to be built, and how.

    ``directory`` is the unpacked source; ``command`` builds it, in the shell; ``left_out`` are the paths of the patches
    that were left out, in the order in which they apply; ``origin``, what the metadata say of where it comes from.
    ``inside`` is where in it diffs apply, ``patches``, where it has its own, both relative to it.
    """

    name: str
    version: str
    directory: str
    command: str
    left_out: list[str]
    origin: dict[str, str]
    inside: str = ""
    patches: str = os.path.join("debian", "patches")

    def patch(self, name: str) -> str:
        """The path of a diff: of the package's own patch of that name, where no other file has it."""
        own = os.path.join(self.directory, self.patches, name)
        return own if not os.path.exists(name) and os.path.exists(own) else name


def unpacked(parent: str, key: str, unpack: Callable[[str], None]) -> str:
    """The directory below ``parent`` that ``unpack`` has filled for this key, now or in an earlier run.

    A directory that is kept has the times it had, so that what was built from it need not be built again.

    :param unpack: is given a directory that does not exist yet, and makes it.
    """
    name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:24]
    path = os.path.join(parent, name)
    if os.path.isdir(path):
        return path
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        for other in os.listdir(parent):
            # Of another version, or without other patches; never anything else that somebody may keep there.
            if _KEY.fullmatch(other):
                shutil.rmtree(os.path.join(parent, other))
    except OSError as error:
        raise FileProblem("create", parent, error) from error
    unfinished = path + ".unfinished"
    unpack(unfinished)
    os.rename(unfinished, path)
    return path


def chosen_patches(names: tuple[str, ...], series: list[str], package: str) -> list[str]:
    """The members of ``series`` that ``names`` mean, in the order of the series.

    :param names: as in the series, or the last component of it.
    :raises BuildFailed: there is no such patch.
    """
    chosen = set()
    for name in names:
        found = [patch for patch in series if patch == name] or [
            patch for patch in series if os.path.basename(patch) == os.path.basename(name)]
        if len(found) != 1:
            raise BuildFailed(f"{package} has no patch {name}" + (f"; it has {', '.join(series)}" if series else ""))
        chosen.add(found[0])
    return [patch for patch in series if patch in chosen]


def apply_patch(directory: str, path: str, reverse: bool = False) -> str | None:
    """Apply a patch to an unpacked source as quilt would; why it does not apply, or None.

    :raises FileProblem: patch cannot be run.
    """
    try:
        done = subprocess.run(
            ["patch", "-p1", "--batch", "--no-backup-if-mismatch", "--remove-empty-files", "--reject-file=-",
             "--reverse" if reverse else "--forward", "-i", os.path.abspath(path)], cwd=directory, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise FileProblem("run", "patch", error) from error
    return None if done.returncode == 0 else done.stdout.decode("utf-8", "replace").strip()[-400:]


def equal_times(directory: str, since: float) -> None:
    """Give all files that were changed since then one time, so that none is newer than what is made from it.

    :param since: seconds, as time.time() gives them.
    """
    for place, _directories, files in os.walk(directory):
        for name in files:
            path = os.path.join(place, name)
            if not os.path.islink(path) and os.stat(path).st_mtime >= since:
                os.utime(path, (since, since))
