# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Description files: which functions of which libraries a patch library replaces.

    /usr/local/lib/fix.so
    @/usr/lib/x86_64-linux-gnu/libanswer.so.1
    answer:answer_fixed
    guard main
    #count:count_word
    #%last_error:last_error_index
    ! a comment

The first line is the patch library; every ``@`` line begins a target library,
``old:new`` and ``guard`` lines follow it.  A ``#`` line names a variable or
function of the target, and the pointer in the patch library that is to lead
there; with ``#%`` it is a thread-local variable, and a ``tls_index``.  Behind
them, both addresses may stand in hexadecimal; 0 stands for the name's.  Blank
lines do not count.
"""

from __future__ import annotations

import os
import re
from typing import Sequence

from ..atomic_file import read_file
from ..errors import BadDescription
from ..named_tuple import NamedTuple

_HEXADECIMAL = re.compile(r"(?:0[xX])?[0-9a-fA-F]{1,16}")

# What a line begins with that names one.
_GUARD = "guard"


class FunctionName(NamedTuple):
    """An ``old:new`` line; ``line`` is its number, 0 when there is no file."""

    old: str
    new: str
    line: int = 0


class ReferenceName(NamedTuple):
    """A ``#`` line: ``name`` in the target, ``word`` the variable of the patch library that gets its address.

    ``offset`` and ``slot`` are their link-time addresses where the line has them, or 0; of a thread-local variable,
    ``offset`` is the one in its TLS image.
    """

    name: str
    word: str
    thread_local: bool = False
    offset: int = 0
    slot: int = 0
    line: int = 0


class GuardName(NamedTuple):
    """A ``guard NAME`` line: a function that counts as inside without being replaced."""

    name: str
    line: int = 0


class TargetDescription(NamedTuple):
    """A target library, its pairs and guards; ``line`` is the number of the ``@`` line, 0 when there is no file."""

    path: str
    functions: list[FunctionName]
    line: int = 0
    references: Sequence[ReferenceName] = ()
    guards: tuple[GuardName, ...] = ()


class Description(NamedTuple):
    """What to pack; ``source`` is the description file, or None when parameters stood for it.

    ``comments`` are the texts of the ``!`` lines.
    """

    patch_library: str
    targets: list[TargetDescription]
    source: str | None = None
    line: int = 0
    comments: Sequence[str] = ()

    def where(self, line: int) -> str:
        """What an error message about ``line`` begins with: ``file:line: ``, or nothing."""
        return f"{self.source}:{line}: " if self.source is not None else ""


def parse_description(path: str | os.PathLike[str]) -> Description:
    """Read a description file.

    :param path: the file.
    :return: Description.
    :raises FileProblem: it cannot be read.
    :raises BadDescription: it is malformed; the message begins with file and line.
    """
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDescription(f"{path}:1: this is not a description file: it is not UTF-8 text") from error
    patch_library = None
    patch_library_line = 0
    targets: list[TargetDescription] = []
    comments: list[str] = []
    number = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("!"):
            comments.append(line[1:].strip())
        if not line or line.startswith("!"):
            continue
        where = f"{path}:{number}: "
        if patch_library is None:
            if line.startswith(("@", "#")):
                raise BadDescription(where + "the path of the patch library must come before the first @ or # line")
            patch_library = _absolute(line, where, "the path of the patch library")
            patch_library_line = number
        elif line.startswith("@"):
            _check_pairs(targets, path)
            target = _absolute(line[1:].strip(), where, "the path of the target library after @")
            for other in targets:
                if other.path == target:
                    raise BadDescription(where + f"the target {target} was already named in line {other.line}")
            targets.append(TargetDescription(target, [], number, []))
        elif not targets:
            raise BadDescription(where + "a line with @ and the path of the target library must come before the pairs")
        elif line.startswith("#"):
            references = [*targets[-1].references, _reference(line, where, number)]
            targets[-1] = targets[-1]._replace(references=references)
        else:
            targets[-1] = _with_line(targets[-1], line, where, number)
    if patch_library is None:
        raise BadDescription(f"{path}:{number}: the path of the patch library is missing")
    if not targets:
        raise BadDescription(f"{path}:{number}: the line with @ and the path of the target library is missing")
    _check_pairs(targets, path)
    return Description(patch_library, targets, str(path), patch_library_line, comments)


def describe(patch_library: str, target: str, functions: dict[str, str], guards: Sequence[str] = ()) -> Description:
    """The Description of a patch with one target library, from parameters instead of a file.

    :param patch_library: absolute path of the patch library.
    :param target: absolute path of the target library.
    :param functions: dict of names of old functions to names of new ones.
    :param guards: names of functions that count as inside without being replaced.
    :raises BadDescription: a path is not absolute, a name is malformed, or there is no function.
    """
    _absolute(patch_library, "", "the path of the patch library")
    _absolute(target, "", "the path of the target library")
    if not functions:
        raise BadDescription(f"no function of {target} is to be replaced; name at least one")
    described = TargetDescription(target, [])
    for line in (*(f"{old}:{new}" for old, new in functions.items()), *(f"{_GUARD} {name}" for name in guards)):
        described = _with_line(described, line, "", 0)
    return Description(patch_library, [described])


def _absolute(path: str, where: str, what: str) -> str:
    if not path:
        raise BadDescription(where + what + " is missing")
    if "\0" in path:
        raise BadDescription(where + what + " has a NUL character in it")
    if not os.path.isabs(path):
        raise BadDescription(where + f"{what} must be absolute, not {path}")
    return path


def _with_line(target: TargetDescription, line: str, where: str, number: int) -> TargetDescription:
    """The TargetDescription with what a line below the ``@`` line says as well."""
    words = line.split()
    # Without a colon: a function may be called guard.
    if words[0] == _GUARD and ":" not in line:
        if len(words) != 2:
            raise BadDescription(where + f"expected {_GUARD} and the name of a function, not {line}")
        guard = GuardName(words[1], number)
        _require_new(target, guard.name, where)
        return target._replace(guards=(*target.guards, guard))
    old, separator, new = (part.strip() for part in line.partition(":"))
    if not separator or not old or not new or ":" in new or any(len(name.split()) > 1 for name in (old, new)):
        raise BadDescription(where + f"expected old:new, the names of two functions, not {line}")
    _require_new(target, old, where)
    return target._replace(functions=[*target.functions, FunctionName(old, new, number)])


def _require_new(target: TargetDescription, name: str, where: str) -> None:
    for pair in target.functions:
        if pair.old == name:
            raise BadDescription(where + f"the function {name} was already replaced in line {pair.line}")
    for guard in target.guards:
        if guard.name == name:
            raise BadDescription(where + f"the function {name} was already named as a guard in line {guard.line}")


def _reference(line: str, where: str, number: int) -> ReferenceName:
    thread_local = line.startswith("#%")
    fields = [part.strip() for part in line[2 if thread_local else 1:].split(":")]
    if len(fields) not in (2, 4) or any(len(part.split()) != 1 for part in fields):
        raise BadDescription(
            where + "expected #name:word, a name of the target and a pointer of the patch library, perhaps with both"
            f" addresses behind them, not {line}")
    offset, slot = (_address(part, where) for part in fields[2:]) if len(fields) == 4 else (0, 0)
    return ReferenceName(fields[0], fields[1], thread_local, offset, slot, number)


def _address(digits: str, where: str) -> int:
    if not _HEXADECIMAL.fullmatch(digits):
        raise BadDescription(where + f"expected an address in hexadecimal, not {digits}")
    return int(digits, 16)


def _check_pairs(targets: list[TargetDescription], path: str | os.PathLike[str]) -> None:
    if targets and not targets[-1].functions:
        target = targets[-1]
        raise BadDescription(f"{path}:{target.line}: no old:new pair follows for the target {target.path}")
