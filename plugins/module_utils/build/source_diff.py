# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a diff so that the lines it leaves alone keep their numbers.

``__LINE__`` (in assertions, in log messages, in error codes) is a constant in the object code.  A diff that adds a line
would change every function below it that has one.  So each place where line numbers have moved is followed by a
``#line`` directive that moves them back, as soon as the function that was changed is over.
"""

from __future__ import annotations

import os
import re
import subprocess

from ..errors import FileProblem, MissingProgram
from ..named_tuple import NamedTuple
from .errors import BadDiff

_NUMBERED = (".c", ".cc", ".cp", ".cxx", ".cpp", ".CPP", ".c++", ".C", ".h", ".hh", ".hpp", ".hxx", ".h++", ".inc",
             ".inl", ".ipp", ".tcc", ".y", ".l", ".ll", ".yy", ".def")
# Grammars have sections of C of their own in them; their generators write #line themselves.
_GRAMMAR = (".y", ".l", ".ll", ".yy")
_PATCHED = re.compile(r"^(?:checking|patching) file (?:'(.*)'|(.*?))(?: \(.*\))?$")
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_GIT_FILE = re.compile(rb"^diff --git ", re.MULTILINE)
_GIT_BINARY = re.compile(rb"^(?:GIT binary patch|Binary files .* differ)\r?$", re.MULTILINE)
_WHY = re.compile(r"FAILED|can't find|Only garbage|previously applied|malformed|No such file")
# What ends a function or a block of declarations, at the start of a line.
_END = re.compile(rb"(?:\}|#\s*endif\b)")


class Applied(NamedTuple):
    """The files that the diffs changed, as paths within the tree, and what is worth a warning."""

    files: list[str]
    warnings: list[str]


def apply_diffs(tree: str, diffs: list[str], strip: int = 1) -> Applied:
    """Apply ``diffs``, in order, to the source in ``tree``.

    :param tree: directory of the source; its files are changed.
    :param diffs: paths of unified or context diffs.
    :param strip: how many leading components of the paths in the diffs to drop, as ``patch -p``.
    :raises BadDiff: a diff does not apply, or changes nothing.
    :raises MissingProgram: patch or diff is not installed.
    """
    before: dict[str, bytes] = {}
    warnings: list[str] = []
    for path in diffs:
        if not os.path.isfile(path):
            raise BadDiff(f"the diff {path} does not exist")
        text, binary = _without_binary(_contents(path))
        warnings.extend(f"{path} has a binary diff of {name}, which is left as it is" for name in binary)
        if binary and not text.strip():
            raise BadDiff(f"{path} is a diff of binary files only: {', '.join(binary)}")
        for name in _would_change(tree, path, text, strip):
            before.setdefault(name, _contents(os.path.join(tree, name)))
        output = _patch(tree, path, text, strip, [])
        warnings.extend(f"{path}: {line}" for line in output.splitlines() if "with fuzz" in line)
    changed = [name for name in before if _contents(os.path.join(tree, name)) != before[name]]
    if not changed:
        raise BadDiff(f"{', '.join(diffs)} would change nothing in the source")
    for name in changed:
        extension = os.path.splitext(name)[1]
        file = os.path.join(tree, name)
        if extension in _NUMBERED and extension not in _GRAMMAR and before[name] and os.path.exists(file):
            _keep_line_numbers(file, before[name])
    return Applied(sorted(changed), warnings)


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise FileProblem("read", path, error) from error


def _without_binary(text: bytes) -> tuple[bytes, list[str]]:
    """(a diff without its binary parts, which patch(1) refuses, the names of the files that these are of).

    Source: git-diff(1), ``--binary``.
    """
    parts = _GIT_FILE.split(text)
    kept, binary = parts[:1], []
    for part in parts[1:]:
        if _GIT_BINARY.search(part):
            binary.append(part.partition(b"\n")[0].rpartition(b" b/")[2].decode("utf-8", "replace"))
        else:
            kept.append(part)
    return (b"diff --git ".join(kept), binary) if binary else (text, binary)


def _patch(tree: str, path: str, text: bytes, strip: int, more: list[str]) -> str:
    """What patch(1) says to the ``text`` of a diff, whose ``path`` is for messages."""
    command = ["patch", f"-p{strip}", "--batch", "--forward", "--no-backup-if-mismatch", "--reject-file=-", *more]
    try:
        done = subprocess.run(command, cwd=tree, input=text, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError as error:
        raise MissingProgram("patch", "patch") from error
    output = done.stdout.decode("utf-8", "surrogateescape")
    if done.returncode:
        why = "; ".join(line for line in output.splitlines() if _WHY.search(line)) or output.strip()[-300:]
        raise BadDiff(f"{path} does not apply to the source with -p{strip}: {why}")
    return output


def _would_change(tree: str, path: str, text: bytes, strip: int) -> list[str]:
    """The paths within the tree that a diff names; BadDiff where it does not apply, and then nothing was changed."""
    names = []
    for line in _patch(tree, path, text, strip, ["--dry-run"]).splitlines():
        match = _PATCHED.match(line)
        if match:
            names.append(match.group(1) or match.group(2))
    if not names:
        raise BadDiff(f"{path} is not a diff: it names no file")
    return names


class _Hunk(NamedTuple):
    """Lines ``first`` to ``last`` (from 1, of the new file) were changed, which moved what follows by ``moved``."""

    first: int
    last: int
    moved: int


def _hunks(old: bytes, path: str) -> list[_Hunk]:
    try:
        done = subprocess.run(["diff", "-U0", "-a", "-", path], input=old, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise MissingProgram("diff", "diffutils") from error
    hunks = []
    for line in done.stdout.split(b"\n"):
        match = _HUNK.match(line)
        if match:
            removed, start, added = (int(match.group(2) or 1), int(match.group(3)), int(match.group(4) or 1))
            # Where nothing was added, the number is that of the line before.
            hunks.append(_Hunk(start + (not added), start + (not added) + added - 1, added - removed))
    return hunks


def _keep_line_numbers(path: str, old: bytes) -> None:
    """Insert #line directives into the changed file ``path``, whose contents were ``old``."""
    new = _contents(path)
    lines = new.split(b"\n")
    hunks = _hunks(old, path)
    kept: list[bytes] = []
    moved = 0  # by how much what stands here has moved
    known = 0  # what the compiler was told of it
    number = 0
    for index, line in enumerate(lines, 1):
        kept.append(line)
        while number < len(hunks) and hunks[number].last <= index:
            moved += hunks[number].moved
            number += 1
        within = number < len(hunks) and hunks[number].first <= index
        if moved != known and not within and _END.match(line) and not line.rstrip(b"\r").endswith(b"\\"):
            kept.append(b"#line %d" % (index + 1 - moved))
            known = moved
    text = b"\n".join(kept)
    try:
        with open(path, "wb") as stream:
            stream.write(text)
    except OSError as error:
        raise FileProblem("write", path, error) from error
