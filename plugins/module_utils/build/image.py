# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file system of a container image, unpacked as a root.

podman exports it without starting anything of it, and so it needs no more rights than whoever builds has.
Source: podman-create(1), podman-export(1), podman-image-exists(1).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from typing import Callable

from ..atomic_file import read_file
from ..errors import FileProblem, MissingProgram
from .commands import run
from .errors import BuildFailed

# What an ordinary user cannot make, and each root gets anew.
_LEFT_OUT = ("dev/*", "proc/*", "sys/*")
_IDENTIFIER = re.compile(r"^(?:sha256:)?([0-9a-f]{64})$", re.MULTILINE)
# The exit status of podman-image-exists(1).
_NO_IMAGE = 1


def unpacked_image(name: str, directory: str, progress: Callable[[str], None]) -> str:
    """The directory with the file system of an image that podman has, now or from an earlier run.

    :param directory: for this image alone; keeps which version of it is there.
    :raises BuildFailed: podman has no such image, or cannot export it.
    """
    identity = _identity(name)
    root, note = os.path.join(directory, "root"), os.path.join(directory, "identity")
    try:
        if os.path.isfile(note) and read_file(note).decode() == identity:
            return root
        progress("unpack the image")
        if os.path.lexists(note):
            os.unlink(note)
        remove_tree(root)
        os.makedirs(root, mode=0o700)
        _export(identity, root)
        with open(note, "w", encoding="ascii") as stream:
            stream.write(identity)
    except OSError as error:
        raise FileProblem("write", directory, error) from error
    return root


def _identity(name: str) -> str:
    """The ID of an image, which another image of the same name does not have."""
    try:
        found = subprocess.run(["podman", "image", "exists", name], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise MissingProgram("podman", "podman") from error
    if found.returncode == _NO_IMAGE:
        raise BuildFailed("podman has no such image for this user; pull it, or build it first")
    return _identifier(run(["podman", "image", "inspect", "--format", "{{.Id}}", name], "find the image", "podman"))


def _identifier(output: str) -> str:
    """The one that podman prints, besides whatever it warns of."""
    found = _IDENTIFIER.findall(output)
    if len(found) != 1:
        raise BuildFailed(f"podman does not tell which image or container it is: {output.strip()[-400:]}")
    return str(found[0])


def remove_tree(path: str) -> None:
    """Remove a directory, also one with directories in it that may not be written to."""
    for place, directories, _files in os.walk(path):
        for name in directories:
            inner = os.path.join(place, name)
            if not os.path.islink(inner):
                os.chmod(inner, stat.S_IRWXU)
    if os.path.isdir(path):
        shutil.rmtree(path)


def _export(identity: str, root: str) -> None:
    container = _identifier(run(["podman", "create", "--network=none", identity, "/bin/sh"], "export the image",
                                "podman"))
    try:
        _unpack(container, root)
    finally:
        run(["podman", "rm", "--force", container], "remove the container made of the image", "podman")


def _unpack(container: str, root: str) -> None:
    archive = root + ".tar"
    try:
        run(["podman", "export", "--output", archive, container], "export the image", "podman")
        # The owners of files do not matter to a build, and only root could give them.
        run(["tar", "-x", "-f", archive, "-C", root, "--no-same-owner", "--delay-directory-restore", "--anchored",
             *(f"--exclude={pattern}" for pattern in _LEFT_OUT)], "unpack the image", "tar")
    finally:
        if os.path.lexists(archive):
            os.unlink(archive)
