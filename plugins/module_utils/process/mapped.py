# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a process has mapped as code.

The path in a process's map is a name, not the file: the file may have been
replaced on disk since (a package upgrade), or the process may live in another
mount namespace.  So the file is found through /proc/PID/map_files (proc(5)),
which leads to the mapped inode itself; where that is not permitted, through
the process's own root directory, and then only if device and inode agree.
"""

from __future__ import annotations

import errno
import os
import time
from collections import OrderedDict

from ..elf.contents import FileContents
from ..elf.image import ElfImage
from ..named_tuple import NamedTuple
from ..printable import printable
from .errors import StateUnreadable, TakesTooLong
from .foreign_file import find, find_inside
from .maps import Mapping, read_maps
from .moved import Loaded, holds, is_strange, moved_files
from .survey import LEASED, UNREACHABLE, Survey, survey

# For so long, in seconds, a file is known by device and inode alone.
FRESH_SECONDS = 1.0
# Of so many files that one process has mapped as code we ask what they are; a browser has some hundred.
MOST_FILES = 4096
# How many mappings of code in a program's own memory to look at; compilers at run time may make some hundred.
_MOST_STRANGE = 4096
# How many files to remember, and how many of them to keep open.
_REMEMBERED = 1 << 12
_KEPT_OPEN = 128


class LoadedLibrary(NamedTuple):
    """An ELF file that the dynamic loader has loaded into a process."""

    path: str  # as the process names it
    deleted: bool
    device: int
    inode: int
    base: int  # load bias
    text_start: int  # absolute addresses around the executable segments
    text_end: int
    mapping: Mapping  # an executable one, unless the code was moved
    survey: Survey
    moved: bool = False  # whether code of it lies in memory that is not its file's

    @property
    def name(self):
        """The soname, or the file's name; printable."""
        return self.survey.soname or printable(os.path.basename(self.path))


def _map_file(pid, mapping):
    return f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"


def _found(pid, mapping):
    """The foreign_file.FoundFile that ``mapping`` of process ``pid`` maps.

    :raises OSError: it cannot be reached any more by this user.
    """
    try:
        return find(_map_file(pid, mapping))
    except OSError:
        # map_files needs CAP_CHECKPOINT_RESTORE; what follows needs only the process's own rights.
        pass
    found = find_inside(pid, mapping.path)
    if (found.status.st_dev, found.status.st_ino) == (mapping.device, mapping.inode):
        return found
    found.close()
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def open_mapped(pid, mapping):
    """A file descriptor of the very file that ``mapping`` of process ``pid`` maps; the caller closes it.

    :raises StateUnreadable: the file cannot be reached any more by this user, or is none to be read.
    """
    try:
        with _found(pid, mapping) as found:
            return found.open()
    except OSError as error:
        raise _unreadable(pid, mapping, error) from error


def _unreadable(pid, mapping, error):
    """The StateUnreadable for OSError ``error`` from opening a mapped file."""
    what = f"the file that process {pid} has mapped as {mapping.path} {_obstacle(error).obstacle}"
    return StateUnreadable(pid, with_remedy(pid, what, _obstacle(error).obstacle))


def _obstacle(error):
    """The Survey that says what such an error means."""
    return LEASED if error.errno == errno.EWOULDBLOCK else UNREACHABLE


def with_remedy(pid, sentence, obstacle):
    """``sentence`` about an ``obstacle`` (survey.Survey) in process ``pid`` with what to do about it, if anything."""
    return f"{sentence}; {remedy(pid)}" if obstacle == UNREACHABLE.obstacle else sentence


def moved_away(pid, name, library):
    """Why the code of a LoadedLibrary that was moved cannot be patched, as a sentence."""
    return (
        f"process {pid} ({name}) has moved code of {library.name} out of its file, to memory of its own, as programs do"
        " that use huge pages for code; restart it without that, or with the fixed library"
    )


def remedy(pid):
    """What to do about a file of process ``pid`` that cannot be reached, as words."""
    if os.geteuid() != 0:
        return "run as root"
    # Root reaches every file, but those on a file system that a user has mounted (FUSE) in a user namespace.
    return f"run in the process's own user namespace: nsenter -U -t {pid} --preserve-credentials ulp ..."


class _Remembered(OrderedDict):
    """What was found out last, about so many files."""

    def __init__(self, most):
        super().__init__()
        self._most = most

    def remember(self, key, value):
        """Keep ``value`` for ``key``, and forget the oldest ones; gives it back."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
        return value


class _Opened:
    """One file that is kept open, with what was read of it.

    What reads it is imported then: of most files nobody asks more than which they are.
    """

    def __init__(self, contents, name):
        self.contents = contents
        self.image = ElfImage.parse(contents, name)
        self.bodies = {}
        self._functions = self._post_processed = self._frames = None

    @property
    def functions(self):
        if self._functions is None:
            from ..elf.patchable import patchable_functions

            self._functions = patchable_functions(self.image)
        return self._functions

    @property
    def post_processed(self):
        if self._post_processed is None:
            from ..elf.patchable import is_post_processed

            self._post_processed = is_post_processed(self.image)
        return self._post_processed

    @property
    def frames(self):
        if self._frames is None:
            from ..elf.frames import FrameDescriptions

            self._frames = FrameDescriptions(self.image)
        return self._frames


class MappedFiles:
    """Remembers what was read of mapped files, so that a library that many processes share is read once."""

    def __init__(self):
        self._surveys = _Remembered(_REMEMBERED)
        self._recent = _Remembered(_REMEMBERED)
        self._opened = _Remembered(_KEPT_OPEN)
        self._recently_opened = _Remembered(_KEPT_OPEN)

    def survey(self, pid, mapping):
        """The Survey of the file behind ``mapping``; None when it is no ELF file."""
        now = time.monotonic()
        recent = _recent(self._recent, pid, mapping, now)
        if recent is not None:
            return recent[1]
        try:
            with _found(pid, mapping) as found:
                key = _short_key(pid, mapping, found)
                seen = self._surveyed(found)
        except OSError as error:
            # Another process may show the same file.
            return _obstacle(error)
        self._recent.remember(key, (now, seen))
        return seen

    def _surveyed(self, found):
        """The Survey of a foreign_file.FoundFile; OSError: it cannot be opened."""
        key = _key(found)
        if key in self._surveys:
            return self._surveys[key]
        descriptor = found.open()
        try:
            return self._surveys.remember(key, survey(descriptor))
        finally:
            os.close(descriptor)

    def _open(self, pid, mapping):
        """The _Opened file behind ``mapping``; raises as image()."""
        try:
            with _found(pid, mapping) as found:
                return self._opened_file(pid, found, mapping)
        except OSError as error:
            raise _unreadable(pid, mapping, error) from error

    def _opened_file(self, pid, found, mapping):
        """The _Opened file of a foreign_file.FoundFile; OSError: it cannot be opened."""
        key = _key(found)
        known = self._opened.get(key)
        contents = FileContents(found.open(), mapping.path) if known is None else known.contents
        contents.read_for(pid)
        return self._opened.remember(key, _Opened(contents, mapping.path)) if known is None else known

    def image(self, pid, mapping):
        """The ElfImage of the file behind ``mapping``.

        :raises StateUnreadable: the file cannot be reached.
        :raises BadElf: the file has been damaged since it was mapped, or asks for more than we read of one.
        """
        return self._open(pid, mapping).image

    def named_image(self, pid, mapping):
        """As image(), for looking something up by its name: for FRESH_SECONDS the file is not opened again.

        Whoever has mapped a file and changes it in place may be shown what was there a moment ago.
        """
        now = time.monotonic()
        recent = _recent(self._recently_opened, pid, mapping, now)
        if recent is not None:
            recent[1].contents.read_for(pid)
            return recent[1].image
        try:
            with _found(pid, mapping) as found:
                key = _short_key(pid, mapping, found)
                opened = self._opened_file(pid, found, mapping)
        except OSError as error:
            raise _unreadable(pid, mapping, error) from error
        self._recently_opened.remember(key, (now, opened))
        return opened.image

    def functions(self, pid, mapping):
        """The patchable functions of the library behind ``mapping`` (elf.patchable.PatchableFunction).

        :raises: as image().
        """
        return self._open(pid, mapping).functions

    def is_post_processed(self, pid, mapping):
        """Whether the library behind ``mapping`` is post-processed; raises as image()."""
        return self._open(pid, mapping).post_processed

    def bodies(self, pid, mapping, roots):
        """The code of the functions at ``roots`` (frozenset of link-time addresses) of the program behind ``mapping``.

        :return: elf.bodies.Bodies.
        :raises NotPatchable: where one of the functions ends cannot be told.
        :raises: as image().
        """
        known = self._open(pid, mapping)
        if roots not in known.bodies:
            from ..elf.bodies import bodies

            known.bodies[roots] = bodies(known.image, known.functions, roots)
        return known.bodies[roots]

    def frames(self, pid, mapping):
        """The unwind information of the file behind ``mapping`` (elf.frames.FrameDescriptions); raises as image()."""
        return self._open(pid, mapping).frames

    def libraries(self, pid, mappings) -> list[LoadedLibrary]:
        """The ELF files loaded into ``pid``, one for each load bias, ascending by address; otherwise as loaded()."""
        return self.loaded(pid, mappings)[0]

    def loaded(self, pid, mappings):
        """What is loaded into ``pid``, and what may be.

        :param mappings: of the process (maps.Mapping); only executable mappings of files matter.
        :return: a list as libraries(), and one of what is code of files of which nobody can tell what they are: pairs
            of a maps.Mapping and why not, words that go on after the file's name.
        :raises TakesTooLong: it has mapped more than MOST_FILES files as code, or loaded so many, one perhaps several
            times.
        """
        found = {}
        unidentified = []
        strange = [mapping for mapping in mappings if mapping.executable and not mapping.inode and is_strange(mapping)]
        for mapping, seen in self._surveyed_code(pid, mappings):
            if seen is not None and seen.obstacle is not None:
                unidentified.append((mapping, seen.obstacle))
            base = seen.load_bias(mapping) if seen is not None and seen.native else None
            if base is None:
                strange.append(mapping)
            elif base not in found:
                found[base] = _loaded(base, mapping, seen)
                if len(found) > MOST_FILES:
                    raise TakesTooLong(pid, f"it has loaded more than {MOST_FILES} libraries")
        if strange:
            found = self._with_moved(pid, found, strange)
        return sorted(found.values(), key=lambda library: library.text_start), unidentified

    def _surveyed_code(self, pid, mappings):
        """Pairs of a mapping of code of a file, and its survey()."""
        surveyed = [(mapping, self.survey(pid, mapping)) for mapping in _code_of_files(pid, mappings)]
        # The map may have changed since it was read, and another mapping of the same file have shown what that is.
        return [(mapping, self.survey(pid, mapping) if seen is UNREACHABLE else seen) for mapping, seen in surveyed]

    def _with_moved(self, pid, found, strange):
        """``found``, {load bias: LoadedLibrary}, with what is known of libraries whose code was moved.

        :param strange: mappings that may be such code.
        """
        loaded = Loaded(read_maps(pid))
        strange = strange[:_MOST_STRANGE]
        for base, mapping, seen in moved_files(loaded, strange, lambda mapping: self.survey(pid, mapping)):
            # Code of a file that was itself moved away shows it as loaded where it is not.
            file = mapping.device, mapping.inode
            found = {
                other: library for other, library in found.items()
                if (library.device, library.inode) != file or other == base or loaded.is_at(seen, other, file)
            }
            found.setdefault(base, _loaded(base, mapping, seen))
        return {
            base: library._replace(moved=any(holds(library.survey, base, mapping) for mapping in strange))
            for base, library in found.items()
        }


def _recent(known, pid, mapping, now):
    """What ``known``, {_short_key(): (time, anything)}, has that is not older than FRESH_SECONDS, or None."""
    # An inode number that a live process has mapped is not given to another file in so short a time.
    for key in ((mapping.device, mapping.inode), (pid, mapping.device, mapping.inode)):
        found = known.get(key)
        if found is not None and now - found[0] < FRESH_SECONDS:
            return found
    return None


def _short_key(pid, mapping, found):
    """By what a foreign_file.FoundFile behind ``mapping`` is known for FRESH_SECONDS: to all processes, or to one."""
    numbers = mapping.device, mapping.inode
    # What is mapped there may be another file by now than when the map was read; nobody else is to be judged by that.
    # (On some file systems the map shows other numbers always.)
    return numbers if (found.status.st_dev, found.status.st_ino) == numbers else (pid, *numbers)


def _key(found):
    """What changes when the contents of a foreign_file.FoundFile do."""
    status = found.status
    # Its owner can set the time of modification back.
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _code_of_files(pid, mappings):
    """Those of ``mappings`` that are code of files."""
    found = [mapping for mapping in mappings if mapping.inode and mapping.executable]
    count = len({(mapping.device, mapping.inode) for mapping in found})
    if count > MOST_FILES:
        raise TakesTooLong(pid, f"it has mapped {count} files as code, and we look at {MOST_FILES} at most")
    return found


def _loaded(base, mapping, seen):
    """The LoadedLibrary of a file with this load bias, by one of its mappings and its Survey."""
    return LoadedLibrary(
        path=mapping.path,
        deleted=mapping.deleted,
        device=mapping.device,
        inode=mapping.inode,
        base=base,
        text_start=base + seen.text_start,
        text_end=base + seen.text_end,
        mapping=mapping,
        survey=seen,
    )
