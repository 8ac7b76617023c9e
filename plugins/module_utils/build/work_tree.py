# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The working directory of a build: a copy of the source, built once before the diff and once after it.

::

    tree/            the source; the build runs here, so that both builds have the same paths
    before/          the same after the first build, to begin from with another diff
    bin/             the compilers that record
    records.before/  what they recorded, and what shadow objects are compiled from; records.after/ for the second build
    objects/         what the patch libraries are linked from
    *.log            what the commands printed
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from typing import Callable, Iterator

from ..atomic_file import read_file
from ..errors import FileProblem
from ..named_tuple import NamedTuple
from . import compiler_wrapper
from .commands import inherited_environment, last_lines, run, run_logged
from .compiling_again import Reached, after_diff, changed_descriptions, reached_by
from .errors import BuildFailed
from .limits import Limits
from .recording import Records, read_records, recording_environment, write_wrappers
from .source_diff import Applied, apply_diffs

_FIRST = "first-build.json"
# Raised when what is recorded of a build changes.
_FORMAT = 4


class Recipe(NamedTuple):
    """How a source is built.

    ``prepare`` runs once, before the first build; ``command`` runs before and after the diff; both in the shell, in
    the source's directory.  ``seconds`` is how long each may take, ``gibibytes`` how much of the disk.  With ``once``,
    the command always begins from scratch, so that after the diff it runs only if need be: else what the diff reaches
    is compiled again as it was before.  Diffs apply in the directory ``inside`` of the source.  ``system`` tells, by a
    digest, what is installed where it is built; empty: nobody asks.
    """

    source: str
    command: str
    prepare: str = ""
    seconds: float = 3600.0
    gibibytes: float = 20.0
    once: bool = False
    inside: str = ""
    system: str = ""


class Built(NamedTuple):
    """Both builds: ``before``, and ``after`` with only what was made anew; what the diffs did to the source."""

    before: Records
    after: Records
    applied: Applied


class WorkTree:
    """One working directory."""

    def __init__(self, directory: str, recipe: Recipe) -> None:
        """
        :raises FileProblem: it cannot be made.
        """
        self.directory = os.path.abspath(directory)
        self.recipe = recipe
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise FileProblem("create", self.directory, error) from error

    def path(self, *names: str) -> str:
        """A path within it."""
        return os.path.join(self.directory, *names)

    def product_before(self, output: str) -> str:
        """Where the file is now that the first build linked as ``output``."""
        return self.path("before", os.path.relpath(output, self.path("tree")))

    def has_changed(self, path: str) -> bool:
        """Whether a file, by its path in the tree after the diff, is another than before."""
        return compiler_wrapper.digest(path) != compiler_wrapper.digest(self.product_before(path))

    def build(self, diffs: list[str], strip: int, progress: Callable[[str], None]) -> Built:
        """Build before and after ``diffs``.

        :raises BuildFailed: a command fails, or records nothing.
        :raises BadDiff: a diff does not apply.
        """
        fingerprint = self._fingerprint()
        if self._first() != fingerprint:
            self._build_first(fingerprint, progress)
        else:
            progress("take the first build from the last run")
        before = read_records(self.path("records.before"))
        if not before.units:
            raise BuildFailed(
                f"the command {self.recipe.command!r} compiled nothing that was seen: the source may be built already"
                " (then name a command that cleans it with --prepare), or something that is linked statically, or that"
                " clears its environment, starts its compilers")
        progress("apply the diff")
        self._remove("records.after", "objects")
        self.restore()
        applied = apply_diffs(self.path("tree", self.recipe.inside), diffs, strip)
        os.makedirs(self.path("objects"), exist_ok=True)
        if self.recipe.once:
            progress("compile what the diff reaches")
            reached = self._reached(before, applied.files)
            if not reached.generating:
                warnings = [f"{name} changes, and nothing that was compiled reads it" for name in reached.unread]
                return Built(before, Records(after_diff(reached.units, self.path("records.after")), {}),
                             applied._replace(warnings=[*applied.warnings, *warnings]))
            anew = reached.generating
        else:
            anew = changed_descriptions(self.path("tree"), self.path("before"), applied.files)
        if anew:
            progress(f"begin anew, since {', '.join(anew)} may change what else is compiled")
            self._remove("tree", "records.after")
            self._copy(self.recipe.source, self.path("tree"))
            apply_diffs(self.path("tree", self.recipe.inside), diffs, strip)
            if self.recipe.prepare:
                progress("prepare the source")
                self._run(self.recipe.prepare, "prepare the source", "records.prepare", "prepare.log")
                self._remove("records.prepare")
        progress("build after the diff")
        self._run(self.recipe.command, "build after the diff", "records.after", "build-after.log", bool(anew))
        after = read_records(self.path("records.after"))
        return Built(before, after.followed_by(self._left_out(before, after, applied.files)), applied)

    def with_symbols(self, product: str) -> str | None:
        """The file that has the symbols of ``product``, a path within the first build, where that was stripped."""
        path = self.path("records.before", compiler_wrapper.unstripped_name(compiler_wrapper.digest(product)))
        return path if os.path.isfile(path) else None

    def restore(self) -> None:
        """Have the tree again as it was after the first build."""
        self._remove("tree")
        self._copy(self.path("before"), self.path("tree"))

    def _reached(self, records: Records, files: list[str]) -> Reached:
        inside = self.recipe.inside
        return reached_by(records, self.path("tree", inside), self.path("before", inside),
                          os.path.join(self.recipe.source, inside), files)

    def _left_out(self, before: Records, after: Records, files: list[str]) -> Records:
        """What includes a changed file, although the build did not compile it again: Makefiles may not know it."""
        left = Records({key: unit for key, unit in before.units.items() if key not in after.units}, {})
        again = after_diff(self._reached(left, files).units, self.path("records.after"))
        return Records({key: unit._replace(digest=before.units[key].digest, left_out=True)
                        for key, unit in again.items()}, {})

    def _build_first(self, fingerprint: str, progress: Callable[[str], None]) -> None:
        self._remove("tree", "before", "records.before", "bin", _FIRST, "prepare.log", "build-before.log")
        progress("copy the source")
        self._copy(self.recipe.source, self.path("tree"))
        write_wrappers(self.path("bin"))
        if self.recipe.prepare:
            progress("prepare the source")
            self._run(self.recipe.prepare, "prepare the source", "records.prepare", "prepare.log")
            self._remove("records.prepare")
        progress("build before the diff")
        self._run(self.recipe.command, "build before the diff", "records.before", "build-before.log")
        self._copy(self.path("tree"), self.path("before"))
        with open(self.path(_FIRST), "w", encoding="utf-8") as stream:
            json.dump({"fingerprint": fingerprint}, stream)

    def _run(self, command: str, what: str, records: str, log: str, anew: bool = False) -> None:
        self._remove(log)
        path = self.path(log)
        earlier = (self.path("records.before"), self.path("tree"), self.path("before"))
        environment = recording_environment(self.path("bin"), self.path(records), self.recipe.once or anew,
                                            earlier if os.path.isdir(self.path("before")) else None)
        if not self.recipe.once:
            # What __DATE__ and __TIME__ stand for: else each function that has one would change with every build.
            # A package's own tools set it.  Source: https://reproducible-builds.org/docs/source-date-epoch/
            environment.setdefault("SOURCE_DATE_EPOCH", str(_newest(self.recipe.source)))
        status = run_logged(command, what, self.path("tree"), environment, path, self.limits())
        if status:
            raise BuildFailed(f"cannot {what}: {command!r} ended with status {status}; {path} ends with:\n"
                              + last_lines(path))

    def limits(self) -> Limits:
        """Those of a command that begins now."""
        return Limits(self.recipe.seconds, self.directory, self.recipe.gibibytes)

    def _first(self) -> str | None:
        try:
            return str(json.loads(read_file(self.path(_FIRST)))["fingerprint"])
        except (FileProblem, ValueError, KeyError, TypeError):
            return None

    def _fingerprint(self) -> str:
        """A digest of the source and of how it is built: the first build is made again when it differs."""
        digest = hashlib.sha256(repr((
            _FORMAT, self.recipe.command, self.recipe.prepare, self.recipe.system,
            sorted(relevant_environment().items()))).encode())
        digest.update(source_digest(self.recipe.source).encode())
        return digest.hexdigest()

    def _copy(self, source: str, destination: str) -> None:
        run(["cp", "-a", "--reflink=auto", "-T", source, destination], f"copy {source}", "coreutils")

    def _remove(self, *names: str) -> None:
        for name in names:
            path = self.path(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)


def relevant_environment() -> dict[str, str]:
    """What of the environment a build depends on."""
    return {name: value for name, value in inherited_environment().items()
            if name.endswith("FLAGS") or name.startswith("DEB_") or name in ("PATH", "CC", "CXX", "LD", "AR")}


def source_digest(directory: str) -> str:
    """A digest of a directory's files: their names, sizes, modes and times.

    :raises BuildFailed: it is no directory.
    """
    if not os.path.isdir(directory):
        raise BuildFailed(f"the source {directory} is no directory")
    digest = hashlib.sha256()
    for path, status in _files(directory):
        digest.update(repr((os.path.relpath(path, directory), stat.S_IFMT(status.st_mode), status.st_mode & 0o111,
                            status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def _newest(directory: str) -> int:
    """When a file of a directory was last written, in seconds since 1970."""
    return max((int(status.st_mtime) for _path, status in _files(directory)), default=0)


def _files(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    for place, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name != ".git")
        for name in sorted(files):
            path = os.path.join(place, name)
            yield path, os.lstat(path)
