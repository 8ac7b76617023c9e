# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile what a diff reaches, as the recorded build compiled it, without running the build again.

The build of a source package begins with cleaning and configuring: a second one would compile everything anew.  What it
compiled, and which files each compilation read, is recorded, so that the few that the diff reaches can be repeated.
What a build generates from other files is not generated again: such files are told apart, and call for a whole build.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher

from ..atomic_file import read_file
from ..errors import FileProblem
from ..named_tuple import NamedTuple
from .compiler_wrapper import names_read, preprocess
from .composition import composition
from .errors import BuildFailed
from .recording import Records, Unit
from .shadows import compiling_environment

# What tells how a library is built, or is made into what compilers read.
_GENERATING = re.compile(
    r"configure(?:\.ac|\.in)?|acinclude\.m4|aclocal\.m4|CMakeLists\.txt|.*\.cmake|meson\.build|meson_options\.txt"
    r"|(?:GNU)?[Mm]akefile.*|.*\.(?:in|am|y|yy|l|ll|gperf|asn1?|idl|proto|inc\.pl|awk|m4|mk)")
_FLAGS = re.compile(r"configure(?:\.ac|\.in)?|.*\.m4|CMakeLists\.txt|.*\.cmake|meson\.build|meson_options\.txt"
                    r"|(?:GNU)?[Mm]akefile.*|.*\.mk|SConstruct|SConscript|wscript")
# Where those are that have no part in the library.
_ASIDE = re.compile(r"(?:.*/)?(?:tests?|testing|testsuite|docs?|man|manpages|examples?|fuzz|contrib|po|debian)/.*"
                    r"|\.pc/.*", re.IGNORECASE)
# Files that tell what is compiled, and lines of theirs that mean nothing to a library: comments, and a test, say.
_DESCRIPTIONS = re.compile(r"(?:GNU)?[Mm]akefile.*|CMakeLists\.txt|meson\.build")
_LINE_ASIDE = re.compile(
    rb"(?:#.*|dnl .*|(?:[\w.-]+/)*(?:tests?|testing|testsuite|docs?|man|examples?|fuzz)/[\w./-]+\s*\\?)?")


class Reached(NamedTuple):
    """What a diff reaches.

    ``units``, those to compile again; ``unread``, the files of the diff that no compilation read; ``generating``, those
    of them that something may be made from which is compiled.
    """

    units: list[Unit]
    unread: list[str]
    generating: list[str]


def reached_by(records: Records, tree: str, before: str, source: str, files: list[str]) -> Reached:
    """Find what has to be compiled again, since it reads one of ``files``.

    :param records: of the first build, which ran in ``tree``.
    :param before: the tree as it was after the first build; ``source``, as it was before.
    :param files: what the diff has changed, as paths within ``tree``; copies that the build has made of them, to
        compile in another directory, say, are changed as well.
    :raises BuildFailed: what was read is not recorded.
    """
    root = os.path.realpath(tree)
    read_by = {key: _read_by(unit) for key, unit in records.units.items()}
    made: dict[str, list[str]] = {}
    for path in sorted(set().union(*read_by.values())):
        name = os.path.relpath(path, root)
        if not name.startswith(os.pardir) and not os.path.lexists(os.path.join(source, name)):
            made.setdefault(os.path.basename(path), []).append(path)
    changed: dict[str, str] = {}
    altered: set[str] = set()
    for name in files:
        changed[os.path.realpath(os.path.join(tree, name))] = name
        for copy in made.get(os.path.basename(name), ()):
            if _contents(copy) == _contents(os.path.join(before, name)):
                shutil.copyfile(os.path.join(tree, name), copy)
                changed[copy] = name
            else:
                altered.add(name)
    # Objects for a static library that nothing is linked with are compiled, too, and nobody asks for them.
    linked = {key for how in records.links.values() for key in composition(how, records).units}
    reached = [unit for key, unit in records.units.items()
               if changed.keys() & read_by[key] and (key in linked or not records.links)]
    # What is compiled is no longer what it was, where the diff takes a source file away.
    vanished = {unit.source for unit in reached if not os.path.lexists(os.path.join(unit.directory, unit.source))}
    reached = [unit for unit in reached if unit.source not in vanished]
    read = {changed[path] for paths in read_by.values() for path in changed.keys() & paths}
    unread = [name for name in files if name not in read]
    generating = [name for name in unread if name in altered or (
        not _ASIDE.fullmatch(name) and _GENERATING.fullmatch(os.path.basename(name))
        and not (_DESCRIPTIONS.fullmatch(os.path.basename(name)) and changes_aside(
            _contents(os.path.join(before, name)) or b"", _contents(os.path.join(tree, name)) or b"")))]
    generating += [changed[path] for path in map(os.path.realpath, sorted(vanished)) if path in changed]
    return Reached(reached, unread, generating)


def changed_descriptions(tree: str, before: str, files: list[str]) -> list[str]:
    """Those of some files, paths within ``tree``, by which another way of compiling may be described than ``before``.

    make knows of no other flags: nothing would be compiled again for these.
    """
    return [name for name in files if not _ASIDE.fullmatch(name) and _FLAGS.fullmatch(os.path.basename(name))
            and not changes_aside(_contents(os.path.join(before, name)) or b"",
                                  _contents(os.path.join(tree, name)) or b"")]


def after_diff(units: list[Unit], directory: str) -> dict[str, Unit]:
    """Preprocess units again, now that the diff is applied; {key: Unit}, whose shadow objects go to ``directory``.

    :raises BuildFailed: one cannot be.
    """
    os.makedirs(directory, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return {unit.key: unit for unit in pool.map(lambda unit: _preprocessed(unit, directory), units)}


def changes_aside(old: bytes, new: bytes) -> bool:
    """Whether all lines in which two descriptions of a build differ name files of its tests or documentation."""
    mine, other = ([line.strip() for line in text.splitlines()] for text in (old, new))
    matcher = SequenceMatcher(None, mine, other, autojunk=False)
    return all(_LINE_ASIDE.fullmatch(line) for kind, start, end, first, last in matcher.get_opcodes() if kind != "equal"
               for line in [*mine[start:end], *other[first:last]])


def _contents(path: str) -> bytes | None:
    try:
        return read_file(path)
    except FileProblem:
        return None


def _read_by(unit: Unit) -> set[str]:
    """The files that were read to compile a Unit."""
    names = [unit.source]
    if unit.shadow is not None:
        try:
            rule = read_file(unit.shadow + ".d").decode("utf-8", "surrogateescape")
        except FileProblem as error:
            raise BuildFailed(f"what {unit.name} is compiled from is not recorded ({error}); remove the work directory"
                              " and build anew") from error
        names += names_read(rule)
    return {os.path.realpath(os.path.join(unit.directory, name)) for name in names}


def _preprocessed(unit: Unit, directory: str) -> Unit:
    if unit.shadow is None:
        # Refused, where it belongs to a target.
        return unit._replace(digest=None)
    shadow = os.path.join(directory, os.path.basename(unit.shadow))
    done = preprocess(unit.compiler, unit.arguments, unit.source, unit.directory, shadow, compiling_environment(unit))
    if done.returncode:
        raise BuildFailed(f"cannot compile {unit.name} after the diff: "
                          + done.stdout.decode("utf-8", "replace").strip()[-1500:])
    return unit._replace(shadow=shadow, digest=None)
