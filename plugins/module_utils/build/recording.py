# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a build with compilers that record what they do."""

from __future__ import annotations

import json
import os
import stat
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from ..errors import FileProblem
from ..named_tuple import NamedTuple
from . import archives, compiler_wrapper
from .commands import inherited_environment
from .compiler_wrapper import COMPILERS, EARLIER, LINKERS, RECORDS, STRIPPERS, WRAPPERS, name_of_program
from .errors import BuildFailed
from .interposition import write_interposer

_OWN = "recorder"
# In its directory: what runs in place of a compiler that is called by its path, and what sees that it is.
_BY_PATH = "by-path"
_INTERPOSER = "interposer.so"

# A diff changes the time of what these are made from: they would make everything anew, where they are installed at all.
_AUTOTOOLS = "AUTOMAKE=: AUTOCONF=: ACLOCAL=: AUTOHEADER=: MAKEINFO=:"


class Unit(NamedTuple):
    """One source file that was compiled.

    ``key`` is the same for the same file in both builds; ``shadow`` is the path of its shadow object, which
    shadows.with_shadow() compiles, None for assembly or where that fails (``messages`` says why); ``digest`` is the
    SHA-256 of the object itself, None where that is not known; ``environment``, what of it compilers heed.
    ``left_out``: the build did not make it again, and object and digest are those of before.
    """

    key: str
    source: str
    directory: str
    compiler: str
    arguments: list[str]
    environment: dict[str, str]
    output: str
    digest: str | None
    shadow: str | None
    messages: str
    left_out: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return os.path.basename(self.source)


class Link(NamedTuple):
    """One file that was linked; ``inputs`` are [path, archive's member or None, SHA-256 or None]."""

    output: str
    directory: str
    compiler: str
    arguments: list[str]
    units: list[str]
    inputs: list[list[str | None]]


class Records(NamedTuple):
    """What a build has done: {key: Unit} and {output: Link}."""

    units: dict[str, Unit]
    links: dict[str, Link]

    def followed_by(self, later: Records) -> Records:
        """These records, with those of a later build of the same tree in place of what it made anew."""
        return Records({**self.units, **later.units}, {**self.links, **later.links})


def write_wrappers(directory: str) -> None:
    """Fill ``directory`` with a wrapper for each compiler, linker and strip(1) that PATH leads to, and for others."""
    os.makedirs(directory, exist_ok=True)
    found: dict[str, str] = {}
    for place in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if place and os.path.isdir(place) and os.path.realpath(place) != os.path.realpath(directory):
            for name in os.listdir(place):
                if name_of_program(name):
                    found.setdefault(name, os.path.join(place, name))
    # The command itself may be an archive, or a part of a collection: the wrappers stand on their own.
    own = os.path.join(directory, _OWN)
    os.makedirs(own, exist_ok=True)
    for file, source in (("__init__", ""), *wrapper_sources().items()):
        with open(os.path.join(own, f"{file}.py"), "w", encoding="utf-8") as stream:
            stream.write(source)
    run = (f"import sys; sys.path.insert(0, {directory!r});"
           f" from {_OWN}.compiler_wrapper import main; sys.exit(main(sys.argv[1], sys.argv[2:]))")
    start = f"#!/bin/sh\nexec {_quoted(sys.executable)} -SE -c {_quoted(run)}"
    for name in sorted(found):
        _write_script(os.path.join(directory, name), f"{start} {_quoted(name)} \"$@\"\n")
    by_path = os.path.join(own, _BY_PATH)
    _write_script(by_path, f"{start} \"$@\"\n")
    compilers = [found[name] for name in sorted(found, key=lambda name: (len(name), name))
                 if name_of_program(name) in COMPILERS]
    write_interposer(os.path.join(own, _INTERPOSER), by_path, (*COMPILERS, *LINKERS, *STRIPPERS), compilers)


def _write_script(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    os.chmod(path, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


@lru_cache(maxsize=None)
def wrapper_sources() -> dict[str, str]:
    """{module: its text} of what wrappers run; read once."""
    return {"archives": _source(archives), "compiler_wrapper": _source(compiler_wrapper)}


def _source(module: ModuleType) -> str:
    """The text of a module, wherever it was imported from."""
    spec = module.__spec__
    loader: Any = spec.loader if spec is not None else None
    source = loader.get_source(module.__name__)
    if source is None:
        raise BuildFailed(f"the source of {module.__name__} is missing from this installation of ulp; install it anew")
    return str(source)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def recording_environment(wrappers: str, records: str, once: bool = False, earlier: tuple[str, str, str] | None = None,
                          ) -> dict[str, str]:
    """The environment of a build that is recorded in the directory ``records``.

    :param once: whether it runs before the diff alone, and may make build files with the autotools.
    :param earlier: for a build after the diff: the records of the one before, the tree, and a copy of what it was then.
        What has not changed since is not compiled a second time once more.
    """
    os.makedirs(records, exist_ok=True)
    environment = inherited_environment()
    # What the command `ulp` itself was started with is nothing to the build.
    environment.pop("LD_PRELOAD", None)
    if earlier is not None and not any(os.pathsep in path for path in earlier):
        environment[EARLIER] = os.pathsep.join(os.path.realpath(path) for path in earlier)
    interposer = os.path.join(wrappers, _OWN, _INTERPOSER)
    if os.path.exists(interposer):
        environment["LD_PRELOAD"] = interposer
        # Programs of the build that were linked with a sanitizer would not start behind another preloaded library.
        environment["ASAN_OPTIONS"] = ":".join(filter(None, (environment.get("ASAN_OPTIONS"),
                                                             "verify_asan_link_order=0")))
    environment.update({
        RECORDS: records,
        WRAPPERS: wrappers,
        "PATH": wrappers + os.pathsep + environment.get("PATH", os.defpath),
        "MAKEFLAGS": f"{environment.get('MAKEFLAGS', '')} {'' if once else _AUTOTOOLS}".strip(),
        "CCACHE_DISABLE": "1",
        # The same messages and the same order of names wherever it is built.
        "LC_ALL": "C.UTF-8",
    })
    return environment


def read_records(directory: str) -> Records:
    """What the compilers have recorded in ``directory``.

    :raises BuildFailed: a record is damaged.
    :raises FileProblem: the directory cannot be read.
    """
    units: dict[str, Unit] = {}
    links: dict[str, Link] = {}
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise FileProblem("read", directory, error) from error
    for name in names:
        if not name.endswith(".json") or name.startswith("."):
            continue
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8") as stream:
                fields: dict[str, Any] = json.load(stream)
            if name.startswith("unit-"):
                unit = Unit(f"{fields['output']}\0{fields['source']}", **fields)
                units[unit.key] = unit
            else:
                link = Link(**fields)
                links[link.output] = link
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BuildFailed(f"the record {path} is damaged ({error}); remove the directory and build anew") from error
    return Records(units, links)
