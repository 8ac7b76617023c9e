# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Source packages of RPM, unpacked and built by their own spec file.

Sources: rpmbuild(8); the RPM reference manual, "Spec file format" (Patch tags, %patch, %autosetup).
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Callable

from ..atomic_file import read_file
from ..errors import FileProblem
from .commands import run
from .errors import BuildFailed
from .source_package import SourcePackage, chosen_patches, unpacked

_PATCH = re.compile(r"^Patch(\d*)\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_PACKAGE = "rpm"


def rpm_package(path: str, leave_out: tuple[str, ...], work: str, progress: Callable[[str], None]) -> SourcePackage:
    """A source package of RPM, ready to be built.

    :param path: of the ``.src.rpm`` file.
    :param leave_out: names of its patches to build it without.
    :param work: directory for what is unpacked.
    :raises BuildFailed: there is no such patch, or it cannot be unpacked and prepared.
    """
    digest = hashlib.sha256(read_file(path)).hexdigest()
    directory = unpacked(os.path.join(work, "source"), repr((digest, leave_out)),
                         lambda empty: _unpack(os.path.abspath(path), empty, leave_out, progress))
    spec = _only(os.path.join(directory, "SPECS"), "spec file", path)
    inside = _only(os.path.join(directory, "BUILD"), "source directory", path)
    name, version = run(["rpm", "--query", "--package", "--nosignature", "--queryformat",
                         "%{NAME} %{VERSION}-%{RELEASE}", path], f"read {path}", _PACKAGE).split()[-2:]
    left_out = chosen_patches(leave_out, _names(read_file(os.path.join(directory, "all.spec")).decode()), name)
    return SourcePackage(
        name, version, directory,
        f'rpmbuild --define "_topdir $PWD" {_nodeps()} --short-circuit -bc SPECS/{os.path.basename(spec)}',
        [os.path.join(directory, "SOURCES", patch) for patch in left_out],
        {"package": name, "version": version, "from": "a file whose signature was not verified",
         **({"without": ", ".join(left_out)} if left_out else {})},
        os.path.join("BUILD", os.path.basename(inside)), "SOURCES")


def _unpack(path: str, directory: str, leave_out: tuple[str, ...], progress: Callable[[str], None]) -> None:
    progress("unpack the source package")
    try:
        os.makedirs(directory)
    except OSError as error:
        raise FileProblem("create", directory, error) from error
    define = ["--define", f"_topdir {directory}"]
    run(["rpm", *define, "--dbpath", os.path.join(directory, "database"), "--nosignature", "--install", path],
        f"unpack {path}", _PACKAGE)
    spec = _only(os.path.join(directory, "SPECS"), "spec file", path)
    text = read_file(spec).decode("utf-8", "surrogateescape")
    with open(os.path.join(directory, "all.spec"), "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    for name in chosen_patches(leave_out, _names(text), os.path.basename(path)):
        text = _without(text, name)
    with open(spec, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    run(["rpmbuild", *define, *_nodeps().split(), "-bp", spec], f"prepare the source of {os.path.basename(path)}"
        + (f" without {', '.join(leave_out)}" if leave_out else ""), _PACKAGE)


def _names(spec: str) -> list[str]:
    """The names of its patches, in the order of the spec file."""
    return [os.path.basename(name) for _number, name in _PATCH.findall(spec)]


def _without(spec: str, name: str) -> str:
    """A spec file without one of its patches: neither named nor applied."""
    numbers = [number or str(position) for position, (number, other) in enumerate(_PATCH.findall(spec))
               if os.path.basename(other) == name]
    applied = re.compile("|".join(rf"%patch{number}\b.*|%patch\s+-P\s*{number}\b.*|%{{PATCH{number}}}.*"
                                  for number in numbers))
    lines = []
    for line in spec.splitlines():
        match = _PATCH.match(line)
        if (match and os.path.basename(match.group(2)) == name) or applied.match(line.strip()):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def _only(directory: str, what: str, path: str) -> str:
    """The one entry of a directory."""
    try:
        names = sorted(name for name in os.listdir(directory) if not name.endswith("-SPECPARTS"))
    except OSError as error:
        raise FileProblem("read", directory, error) from error
    if len(names) != 1:
        raise BuildFailed(f"{path} has {len(names)} entries for its {what}, where one was expected"
                          + (f": {', '.join(names)}" if names else ""))
    return os.path.join(directory, names[0])


def _nodeps() -> str:
    """What keeps rpmbuild from asking for packages where rpm manages none."""
    installed = run(["rpm", "--query", "--all", "--queryformat", "x"], "ask rpm for its packages", _PACKAGE)
    return "" if "x" in installed.split("\n")[-1] else "--nodeps"
