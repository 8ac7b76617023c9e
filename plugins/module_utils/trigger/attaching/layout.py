# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a process the bootstrap code goes, and what its head says.

The code goes behind the code of the C library, or else of the program, and its
few words behind their data: unused bytes that are zero, and that nobody else
uses.  Never behind the loader's: its own allocator begins there.
"""

from __future__ import annotations

from ... import abi
from ...arch.registers import uses_avx
from ...elf.exports import exported_functions
from ...elf.symbols import defined_versions
from ...elf.vacancy import vacant_code, vacant_data
from ...errors import BadElf
from ...named_tuple import NamedTuple
from ...printable import printable
from ...process.errors import NotMapped, ProcessUnpatchable
from ...process.maps import is_loader, mapping_at
from ...process.memory import read_memory
from ...process.safe_point import C_LIBRARY
from ...tracee.bootstrap import Place

_ALIGNMENT = 16
# What exports one of these takes the place of pthread_create(), too, but bears with threads that it does not know.
_BEARS_WITH_THREADS = ("__asan_init", "__lsan_init")
# PID_MAX_LIMIT of the kernel's include/linux/threads.h.
_LARGEST_TID = 1 << 22
# At least so much of what dlerror() says, in bytes.
_SHORTEST_DETAIL = 64
_LONGEST_DETAIL = 512
_FUNCTIONS = {
    "pthread_create": "pthread_create",
    "pthread_attr_init": "pthread_attr_init",
    "pthread_attr_setstacksize": "pthread_attr_setstacksize",
    "pthread_attr_setdetachstate": "pthread_attr_setdetachstate",
    "errno_location": "__errno_location",
    "register_atfork": "__register_atfork",
    "cxa_finalize": "__cxa_finalize",
    "dlopen": "dlopen",
    "dlerror": "dlerror",
    "system_call": "syscall",
}
# Before glibc 2.34 they were in libraries of their own.
_LIBRARIES = (C_LIBRARY, "libpthread.so.0", "libdl.so.2")


class Layout(NamedTuple):
    """Room in a process for the bootstrap code."""

    place: Place
    words: int  # address of struct ulp_bootstrap_words
    detail_size: int
    by_path: bool  # the code names the runtime's file


def lay_out(subject, mappings, files, runtime, by_path):
    """The Layout for a process.

    :param subject: process.subject.Subject.
    :param mappings: of the process, ascending (maps.Mapping).
    :param files: process.mapped.MappedFiles.
    :param runtime: runtime_file.RuntimeFile.
    :param by_path: whether the process can load the runtime by its path; where that is too long it is given the bytes.
    :raises ProcessUnpatchable: there is no room, or its C library will not do.
    :raises UlpError: a file that it has mapped cannot be read.
    """
    pid, name = subject.pid, subject.name
    libraries = files.libraries(subject.proc_tid, subject.mappings)
    known = {library.survey.soname: library for library in libraries if library.survey.soname}
    if C_LIBRARY not in known or not any(is_loader(library.mapping) for library in libraries):
        raise ProcessUnpatchable(
            pid, f"process {pid} ({name}) does not run on the GNU C library, for which alone the livepatch runtime is"
        )
    _require_plain_threads(subject, files, libraries)
    images = {soname: files.image(subject.proc_tid, library.mapping) for soname, library in known.items()
              if soname in _LIBRARIES}
    _require_versions(pid, name, images, known, runtime)
    head = _head(pid, name, images, known)
    c_library = known[C_LIBRARY]
    homes = _homes(subject, files, libraries)
    words, detail_size = _room_for_words(subject, mappings, files, homes)
    head = dict(
        head, magic=abi.BOOTSTRAP_MAGIC, size=len(runtime.bootstrap), entry=runtime.entry, words=words,
        detail_size=detail_size, has_avx=uses_avx(), c_library_start=c_library.text_start,
        c_library_end=c_library.text_end,
    )
    for with_path in ((True, False) if by_path else (False,)):
        path = runtime.path.encode("utf-8", "surrogateescape") + b"\0" if with_path else b""
        code = abi.BOOTSTRAP.pack(**head, brings_bytes=not with_path) + runtime.bootstrap[abi.BOOTSTRAP.size:] + path
        address = _room_for_code(subject, mappings, files, homes, code)
        if address is not None:
            return Layout(Place(address, code, address + runtime.entry), words, detail_size, with_path)
    raise ProcessUnpatchable(
        pid,
        f"process {pid} ({name}) has no room for the code that would load the livepatch runtime: behind the code of its"
        f" C library and its program no {len(runtime.bootstrap)} bytes are unused; restart it with LD_PRELOAD set to"
        f" {runtime.path}",
    )


def rooms_for_code(subject, mappings, files):
    """(address, bytes) of each place in a process where lay_out() may put the code, whatever lies there now.

    Arguments and exceptions as for lay_out().
    """
    homes = _homes(subject, files, files.libraries(subject.proc_tid, subject.mappings))
    for address, room, mapping in _vacancies(subject, mappings, files, homes, vacant_code):
        if mapping.permissions.startswith("r-xp"):
            yield address, room


def _homes(subject, files, libraries):
    """Those of the libraries in which there may be unused memory for us: the C library first."""
    return [
        *(library for library in libraries if library.survey.soname == C_LIBRARY),
        *(library for library in libraries if files.image(subject.proc_tid, library.mapping).is_program),
    ]


def _require_versions(pid, name, images, known, runtime):
    for soname, wanted in runtime.versions.items():
        if soname not in known:
            raise ProcessUnpatchable(
                pid, f"process {pid} ({name}) has not loaded {soname}, which the runtime {runtime.path} needs"
            )
        missing = sorted(set(wanted) - defined_versions(images[soname])) if soname in images else []
        if missing:
            raise ProcessUnpatchable(
                pid,
                f"process {pid} ({name}) runs a {soname} without {' and '.join(missing)}, which the runtime"
                f" {runtime.path} needs: it was built for a newer C library than the process has",
            )


def _require_plain_threads(subject, files, libraries):
    """Raise ProcessUnpatchable if something in the process has to know of each thread that is started.

    The worker is started by the C library itself. To what stands in front of it, such as ThreadSanitizer or an
    allocator that locks nothing before the second thread, that thread would be unknown: it crashes, or mixes up memory.
    """
    for library in libraries:
        if library.survey.soname in _LIBRARIES or is_loader(library.mapping):
            continue
        image = files.image(subject.proc_tid, library.mapping)
        if exported_functions(image, "pthread_create") and not any(
                exported_functions(image, name) for name in _BEARS_WITH_THREADS):
            raise ProcessUnpatchable(
                subject.pid,
                f"process {subject.pid} ({subject.name}) cannot be given the runtime while it runs:"
                f" {printable(library.mapping.path)} takes the place of pthread_create(), as sanitizers do, and may"
                " crash over a thread that it has not started itself; start the process without it",
            )


def _head(pid, name, images, known):
    """The addresses of the functions that the code calls, by the names of struct ulp_bootstrap."""
    found = {}
    for field, function in _FUNCTIONS.items():
        places = [
            known[soname].base + definition.start
            for soname in _LIBRARIES if soname in images
            for definition in exported_functions(images[soname], function)
        ]
        if not places:
            raise ProcessUnpatchable(
                pid, f"process {pid} ({name}) has no function {function}, which loading the livepatch runtime needs"
            )
        found[field] = places[0]
    return found


def _room_for_words(subject, mappings, files, homes):
    """(address of the words, bytes for their detail)."""
    fixed = abi.BOOTSTRAP_WORDS.offsets["detail"]
    for address, room, mapping in _vacancies(subject, mappings, files, homes, vacant_data):
        size = min(room - fixed, _LONGEST_DETAIL)
        if size < _SHORTEST_DETAIL or not mapping.writable:
            continue
        words = read_words(subject.proc_tid, address)
        # Nobody else's: zero, or what an earlier attempt has left.
        present = read_memory(subject.proc_tid, address, fixed + size)
        if _is_claimed(words, subject.identity) or not present.strip(b"\0"):
            return address, size
    raise ProcessUnpatchable(
        subject.pid,
        f"process {subject.pid} ({subject.name}) has no room for what the livepatch runtime needs to be loaded: behind"
        " the data of its C library and its program nothing is unused; restart it with LD_PRELOAD set to libpulp.so",
    )


def _room_for_code(subject, mappings, files, homes, code):
    for address, room, mapping in _vacancies(subject, mappings, files, homes, vacant_code):
        if room < len(code) or not mapping.permissions.startswith("r-xp"):
            continue
        present = read_memory(subject.proc_tid, address, len(code))
        if is_room(present, code) or is_bootstrap(present):
            return address
    return None


def is_room(present, code):
    """Whether ``code`` may be written over bytes ``present``: an earlier attempt may have been ended in the middle."""
    return all(byte in (0, wanted) for byte, wanted in zip(present, code))


def is_bootstrap(present):
    """Whether bytes are bootstrap code of any kind, whole or begun."""
    return abi.BOOTSTRAP.unpack(present[:abi.BOOTSTRAP.size]).magic == abi.BOOTSTRAP_MAGIC


def _vacancies(subject, mappings, files, homes, find):
    """Where a library may have memory that it does not use: (aligned address, bytes there, Mapping) for each.

    :param find: vacancy.vacant_data or vacant_code.
    """
    for library in homes:
        try:
            vacancy = find(files.image(subject.proc_tid, library.mapping))
        except BadElf:
            continue
        if vacancy is None:
            continue
        start = library.base + vacancy.start
        address = -(-start // _ALIGNMENT) * _ALIGNMENT
        mapping = mapping_at(mappings, address)
        if mapping is not None:
            yield address, min(start + vacancy.size, mapping.end) - address, mapping


def _is_claimed(words, identity):
    """Whether struct ulp_bootstrap_words can be what an attempt has left, and not data of the program."""
    if not words.claim:
        return False
    if words.stage == abi.BOOTSTRAP_NONE:
        # The claim has only just been made, or was withdrawn at once: nothing else is to be seen of it yet.
        return words.claim >> 32 == identity.start_ticks & 0xFFFFFFFF or (
            is_withdrawn(words) and not any(words[1:-1]))
    return words.stage <= abi.BOOTSTRAP_REFUSED and 0 < words.thread <= _LARGEST_TID and words.worker <= _LARGEST_TID


def is_withdrawn(words):
    """Whether the one who made the claim waits for it no longer.

    :param words: struct ulp_bootstrap_words.
    """
    return bool(words.claim & abi.BOOTSTRAP_WITHDRAWN)


def read_words(proc_tid, address):
    """struct ulp_bootstrap_words at ``address``, its detail cut off; all zeros where nothing can be read."""
    try:
        return abi.BOOTSTRAP_WORDS.unpack(read_memory(proc_tid, address, abi.BOOTSTRAP_WORDS.size))
    except NotMapped:
        return abi.BOOTSTRAP_WORDS.unpack(bytes(abi.BOOTSTRAP_WORDS.size))
