# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a process has mapped as code.

The path in a process's map is a name, not the file: the file may have been
replaced on disk since (a package upgrade), or the process may live in another
mount namespace.  So the file is opened through /proc/PID/map_files (proc(5)),
which leads to the mapped inode itself; where that is not permitted, through
the process's own root directory, and then only if device and inode agree.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from ..elf.bodies import bodies
from ..elf.frames import FrameDescriptions
from ..elf.image import ElfImage
from ..elf.patchable import is_post_processed, patchable_functions
from ..errors import BadElf
from ..printable import printable
from .errors import StateUnreadable
from .maps import Mapping
from .survey import UNREACHABLE, Survey, survey

# For so long, in seconds, a file is known by device and inode alone.
FRESH_SECONDS = 1.0
# Bytes. Anybody may map a file that has holes for most of its size, and we read all of it.
LARGEST = 1 << 30


class LoadedLibrary(NamedTuple):
    """An ELF file that the dynamic loader has loaded into a process."""

    path: str  # as the process names it
    deleted: bool
    device: int
    inode: int
    base: int  # load bias
    text_start: int  # absolute addresses around the executable segments
    text_end: int
    mapping: Mapping  # an executable one
    survey: Survey

    @property
    def name(self):
        """The soname, or the file's name; printable."""
        return self.survey.soname or printable(os.path.basename(self.path))


def _map_file(pid, mapping):
    return f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"


def _inside(pid, mapping):
    return f"/proc/{pid}/root{mapping.path}"


def open_mapped(pid, mapping):
    """A file descriptor of the very file that ``mapping`` of process ``pid`` maps; the caller closes it.

    :raises StateUnreadable: the file cannot be reached any more by this user.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(_map_file(pid, mapping), flags)
    except OSError:
        # map_files needs CAP_CHECKPOINT_RESTORE; what follows needs only the process's own rights.
        pass
    try:
        descriptor = os.open(_inside(pid, mapping), flags)
    except OSError as error:
        raise _unreachable(pid, mapping) from error
    found = os.fstat(descriptor)
    if (found.st_dev, found.st_ino) != (mapping.device, mapping.inode):
        os.close(descriptor)
        raise _unreachable(pid, mapping)
    return descriptor


def _unreachable(pid, mapping):
    return StateUnreadable(
        pid,
        f"the file that process {pid} has mapped as {mapping.path} cannot be reached any more by this user;"
        f" {remedy(pid)}",
    )


def remedy(pid):
    """What to do about a file of process ``pid`` that cannot be reached, as words."""
    if os.geteuid() != 0:
        return "run as root"
    # Root reaches every file, but those on a file system that a user has mounted (FUSE) in a user namespace.
    return f"run in the process's own user namespace: nsenter -U -t {pid} --preserve-credentials ulp ..."


class MappedFiles:
    """Remembers what was read of mapped files, so that a library that many processes share is read once."""

    def __init__(self):
        self._surveys = {}
        self._recent = {}
        self._images = {}
        self._functions = {}
        self._post_processed = {}
        self._bodies = {}
        self._frames = {}

    def _key(self, pid, mapping):
        for path in (_map_file(pid, mapping), _inside(pid, mapping)):
            try:
                found = os.stat(path)
            except OSError:
                continue
            if found.st_ino == mapping.inode:
                return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
        return None

    def survey(self, pid, mapping):
        """The Survey of the file behind ``mapping``; None when it is no ELF file, UNREACHABLE when nobody can tell."""
        # An inode number that a live process has mapped is not given to another file in so short a time.
        now = time.monotonic()
        recent = self._recent.get((mapping.device, mapping.inode))
        if recent is not None and now - recent[0] < FRESH_SECONDS:
            return recent[1]
        found = self._survey(pid, mapping)
        # Another process may show the same file.
        if found is not UNREACHABLE:
            self._recent[mapping.device, mapping.inode] = now, found
        return found

    def _survey(self, pid, mapping):
        key = self._key(pid, mapping)
        if key in self._surveys:
            return self._surveys[key]
        try:
            descriptor = open_mapped(pid, mapping)
        except StateUnreadable:
            return UNREACHABLE
        try:
            found = survey(descriptor)
        finally:
            os.close(descriptor)
        if key is not None:
            self._surveys[key] = found
        return found

    def image(self, pid, mapping):
        """The ElfImage of the file behind ``mapping``.

        :raises StateUnreadable: the file cannot be reached.
        :raises BadElf: the file has been damaged since it was mapped.
        """
        key = self._key(pid, mapping)
        if key in self._images:
            return self._images[key]
        descriptor = open_mapped(pid, mapping)
        with os.fdopen(descriptor, "rb") as stream:
            size = os.fstat(descriptor).st_size
            if size > LARGEST:
                raise BadElf(f"{mapping.path} in process {pid} is {size} bytes long, too large for a library")
            try:
                image = ElfImage.parse(stream.read(), mapping.path)
            except OSError as error:
                raise BadElf(f"{mapping.path} cannot be read: {error.strerror}") from error
        if key is not None:
            self._images[key] = image
        return image

    def functions(self, pid, mapping):
        """The patchable functions of the library behind ``mapping`` (elf.patchable.PatchableFunction).

        :raises: as image().
        """
        image = self.image(pid, mapping)
        if id(image) not in self._functions:
            # The image is kept along with them, so that no other one can have its id.
            self._functions[id(image)] = image, patchable_functions(image)
        return self._functions[id(image)][1]

    def is_post_processed(self, pid, mapping):
        """Whether the library behind ``mapping`` is post-processed; raises as image()."""
        image = self.image(pid, mapping)
        if id(image) not in self._post_processed:
            self._post_processed[id(image)] = image, is_post_processed(image)
        return self._post_processed[id(image)][1]

    def bodies(self, pid, mapping, roots):
        """The code of the functions at ``roots`` (frozenset of link-time addresses) of the program behind ``mapping``.

        :return: elf.bodies.Bodies.
        :raises NotPatchable: where one of the functions ends cannot be told.
        :raises: as image().
        """
        image = self.image(pid, mapping)
        key = id(image), roots
        if key not in self._bodies:
            self._bodies[key] = image, bodies(image, self.functions(pid, mapping), roots)
        return self._bodies[key][1]

    def frames(self, pid, mapping):
        """The unwind information of the file behind ``mapping`` (elf.frames.FrameDescriptions); raises as image()."""
        image = self.image(pid, mapping)
        if id(image) not in self._frames:
            self._frames[id(image)] = image, FrameDescriptions(image)
        return self._frames[id(image)][1]

    def libraries(self, pid, mappings) -> list[LoadedLibrary]:
        """The ELF files loaded into ``pid``, one for each load bias, ascending by address.

        :param mappings: of the process (maps.Mapping); only executable mappings of files matter.
        """
        found = {}
        for mapping in mappings:
            if not mapping.inode or not mapping.executable:
                continue
            seen = self.survey(pid, mapping)
            if seen is None or not seen.native:
                continue
            base = seen.load_bias(mapping)
            if base is None or base in found:
                continue
            found[base] = LoadedLibrary(
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
        return sorted(found.values(), key=lambda library: library.text_start)

    def unreachable(self, pid, mappings) -> list[Mapping]:
        """Those of ``mappings`` that are code of files of which this user cannot tell what they are."""
        return [
            mapping for mapping in mappings
            if mapping.inode and mapping.executable and self.survey(pid, mapping) is UNREACHABLE
        ]
