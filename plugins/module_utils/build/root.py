# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another system's directory tree, to build in: its compiler, its libraries, its packages.

A tree of mounts stands in its place.  It has what the root has, read-only, so that no build changes that; and it has
source, diffs and work directory under the paths of the build host, so that messages and logs name files that exist.
Symbolic links of the root are copied as they are, and nothing is mounted through one: they lead nowhere but within the
root.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
from typing import Iterable, Sequence

from ..arch.elf_format import MACHINE
from ..atomic_file import read_file
from ..elf.headers import ELFCLASS64, HEADER_SIZE, decode_header
from ..errors import FileProblem
from ..named_tuple import NamedTuple
from .compiler_wrapper import COMPILERS
from .errors import BuildFailed
from .namespaces import (
    MS_BIND,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_UNBINDABLE,
    change_root,
    give_up_capabilities,
    mount,
)

# Every root gets its own of these; what it has there is of no use to a build.
_OWN = ("proc", "sys", "dev", "run", "tmp", "var/tmp")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
                 "stderr": "/proc/self/fd/2"}
# How the build host finds others, apt their archives.
_NETWORK = ("etc/resolv.conf", "etc/hosts")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of the build host's environment, what leads to its own files.
_OF_THE_HOST = ("LD_", "PYTHON", "XDG_", "TMPDIR", "VIRTUAL_ENV")
# {program: the Debian package that has it}, of what each build takes besides a compiler.
_PROGRAMS = {"objcopy": "binutils", "patch": "patch", "diff": "diffutils", "cp": "coreutils"}
_FLAGS = ((os.ST_RDONLY, MS_RDONLY), (os.ST_NOSUID, MS_NOSUID), (os.ST_NODEV, MS_NODEV), (os.ST_NOEXEC, MS_NOEXEC),
          (os.ST_NOATIME, MS_NOATIME), (os.ST_NODIRATIME, MS_NODIRATIME), (os.ST_RELATIME, MS_RELATIME))
_PYTHON_TEST = "import sys, ctypes, hashlib, json, shlex, shutil, subprocess; print(sys.version_info >= (3, 6))"
# What tells which packages a system has.
_PACKAGE_LISTS = ("/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite",
                  "/var/lib/rpm/Packages", "/lib/apk/db/installed")


class Root(NamedTuple):
    """A root: its ``directory``, and the ``image`` that it was unpacked from, None where it is nobody's."""

    directory: str
    image: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the image {self.image}" if self.image is not None else f"the root {self.directory}"

    @property
    def install(self) -> str:
        """The command that installs Debian packages there, without their names; an image is made anew with it."""
        chroot = f"chroot {shlex.quote(self.directory)} " if self.image is None else ""
        return f"{chroot}apt-get install --no-install-recommends"


def require_root(directory: str) -> str:
    """The real path of a directory that may be a root.

    :raises BuildFailed: it cannot be one.
    """
    path = os.path.realpath(directory)
    if not os.path.isdir(path):
        raise BuildFailed("it is no directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise BuildFailed("you may not read it")
    if path == os.sep:
        raise BuildFailed("it is the root of this system itself; leave it out")
    if not os.path.lexists(os.path.join(path, "bin", "sh")):
        raise BuildFailed("it is no system to build in, as it has no /bin/sh; make one with mmdebstrap, say")
    return path


def enter(root: Root, readable: Iterable[str], writable: Iterable[str]) -> None:
    """Make ``root`` the root of this process, which has mounts of its own (namespaces.py).

    The process keeps the code that it has loaded, and can load no other.

    :param readable: absolute paths without symbolic links, to be there as well.
    :param writable: the same, directories to be written to.
    :raises UlpError: it cannot be done.
    """
    paths = {path: False for path in readable if os.path.exists(path)}
    paths.update((path, True) for path in writable)
    before = os.umask(0o022)
    try:
        _Tree(root.directory, paths).make()
    except OSError as error:
        raise FileProblem("enter", root.directory, error) from error
    finally:
        os.umask(before)
    give_up_capabilities()
    for name in [name for name in os.environ if name.startswith(_OF_THE_HOST)]:
        del os.environ[name]
    os.environ.update(PATH=_PATH, HOME="/tmp")
    # They would be looked for in the root, which has others.
    sys.path.clear()


class _Tree:
    """The mounts that stand for a root."""

    def __init__(self, root: str, paths: dict[str, bool]) -> None:
        """
        :param paths: {path of the build host: whether it may be written to}.
        """
        self.top = root
        # By descriptors, as the tree is mounted over the root's own directory.
        self.root = os.open(root, os.O_PATH | os.O_CLOEXEC)
        self.paths = {path.strip(os.sep): (os.open(path, os.O_PATH | os.O_CLOEXEC), may_write)
                      for path, may_write in sorted(paths.items())}
        self.inner = {*_OWN, *self.paths}
        for name in _NETWORK:
            path = os.path.realpath(os.sep + name)
            if os.path.isfile(path):
                self.paths.setdefault(name, (os.open(path, os.O_PATH | os.O_CLOEXEC), False))
                self.inner.add(name)

    def make(self) -> None:
        mount("ulp-build", self.top, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
        mount("none", self.top, None, MS_UNBINDABLE)
        self._fill("")
        self._protect()
        for name in _OWN:
            os.makedirs(self._place(name), exist_ok=True)
        for name in ("tmp", "var/tmp"):
            os.chmod(self._place(name), 0o1777)
        self._devices()
        for name, (descriptor, may_write) in self.paths.items():
            self._add(name, descriptor, may_write)
        mount("proc", self._place("proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for descriptor in [self.root, *(descriptor for descriptor, _may_write in self.paths.values())]:
            os.close(descriptor)
        change_root(self.top)

    def _place(self, name: str) -> str:
        return os.path.join(self.top, name)

    def _fill(self, directory: str) -> None:
        """Have what the root has in ``directory``, but for what is the tree's own; it leads to some of that."""
        source = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                         dir_fd=self.root)
        try:
            with os.scandir(source) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    self._take(os.path.join(directory, entry.name), entry, source)
        finally:
            os.close(source)

    def _take(self, name: str, entry: os.DirEntry[str], source: int) -> None:
        leads_further = any(inner.startswith(name + os.sep) for inner in self.inner)
        place = self._place(name)
        if name in self.inner or (leads_further and not entry.is_dir(follow_symlinks=False)):
            return
        if entry.is_symlink():
            os.symlink(os.readlink(entry.name, dir_fd=source), place)
        elif entry.is_dir(follow_symlinks=False):
            os.mkdir(place)
            if leads_further:
                self._fill(name)
            else:
                mount(f"/proc/self/fd/{source}/{entry.name}", place, None, MS_BIND | MS_REC)
        elif entry.is_file(follow_symlinks=False):
            _make_empty(place)
            mount(f"/proc/self/fd/{source}/{entry.name}", place, None, MS_BIND)

    def _protect(self) -> None:
        """Make all that the root has read-only, with what is mounted in it."""
        for place in self._mounted():
            # A user namespace may not take back what keeps a mount from more.
            had = os.statvfs(place).f_flag
            flags = sum(flag for bit, flag in _FLAGS if had & bit)
            mount("none", place, None, MS_BIND | MS_REMOUNT | MS_RDONLY | flags)

    def _mounted(self) -> list[str]:
        """Where something is mounted in the tree, but not what it covers: mounts of the root's own directory.

        Source: proc_pid_mountinfo(5): mount ID, that of the parent, the device, and the mount point as the fifth.
        """
        device = os.stat(self.top).st_dev
        tree = f"{os.major(device)}:{os.minor(device)}".encode()
        lines = [line.split() for line in read_file("/proc/self/mountinfo").splitlines()]
        inner = {line[0] for line in lines if line[2] == tree}
        found: list[str] = []
        while children := [line for line in lines if line[1] in inner and line[0] not in inner]:
            inner.update(line[0] for line in children)
            found += [os.fsdecode(line[4].decode("unicode_escape").encode("latin-1")) for line in children]
        return found

    def _devices(self) -> None:
        for name in [name for name in _DEVICES if os.path.exists(f"/dev/{name}")]:
            _make_empty(self._place(f"dev/{name}"))
            mount(f"/dev/{name}", self._place(f"dev/{name}"), None, MS_BIND)
        for name, target in _DEVICE_LINKS.items():
            os.symlink(target, self._place(f"dev/{name}"))
        os.mkdir(self._place("dev/shm"))
        os.chmod(self._place("dev/shm"), 0o1777)

    def _add(self, name: str, descriptor: int, may_write: bool) -> None:
        if not may_write and any(name.startswith(other + os.sep) for other in self.paths):
            # It is there already, with the directory that it is in.
            return
        place = self._place(name)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.makedirs(place, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", place, None, MS_BIND | MS_REC)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            _make_empty(place)
            mount(f"/proc/self/fd/{descriptor}", place, None, MS_BIND)
        if not may_write:
            had = os.statvfs(place).f_flag
            mount("none", place, None,
                  MS_BIND | MS_REMOUNT | MS_RDONLY | sum(flag for bit, flag in _FLAGS if had & bit))


def _make_empty(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def require_system(root: Root, programs: Sequence[tuple[str, str]]) -> None:
    """See that the root, which was entered, has what a build takes.

    :param programs: [(program, the Debian package that has it)], besides what every build takes.
    :raises BuildFailed: it is for another machine, or lacks something.
    """
    _require_machine()
    missing = {package: None for program, package in [*_PROGRAMS.items(), *programs] if shutil.which(program) is None}
    if not any(shutil.which(name) for name in COMPILERS):
        missing["gcc"] = None
    python = shutil.which("python3")
    if python is None or _python_says(python) != "True":
        missing["python3"] = None
    if missing:
        raise BuildFailed(f"it lacks what a build takes: install there {', '.join(sorted(missing))}" + (
            f" ({root.install} {' '.join(sorted(missing))})" if shutil.which("apt-get") else ""))
    # What wrappers and trial processes run with.
    sys.executable = str(python)


def why_not_loaded(runtime: str) -> str | None:
    """Why a process of the root, which was entered, cannot load the runtime, as its loader says it; None: it can.

    A root may have an older C library than the runtime was built for, or another one.
    """
    done = subprocess.run([sys.executable, "-SE", "-c", ""], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False,
                          env={**os.environ, "LD_PRELOAD": os.path.abspath(runtime)})
    if done.returncode == 0 and b"LD_PRELOAD" not in done.stderr:
        return None
    return done.stderr.decode("utf-8", "replace").strip() or f"a process that loads it ends ({done.returncode})"


def _python_says(python: str) -> str:
    done = subprocess.run([python, "-SE", "-c", _PYTHON_TEST], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip()


def _require_machine() -> None:
    try:
        start = read_file("/bin/sh")[:HEADER_SIZE]
    except FileProblem as error:
        raise BuildFailed(f"it is no system to build in: {error}") from error
    if len(start) < HEADER_SIZE or start[:4] != b"\x7fELF":
        raise BuildFailed("it is no system to build in: its /bin/sh is no program")
    if start[4] != ELFCLASS64 or decode_header(start).machine != MACHINE:
        raise BuildFailed("it is a system for another machine; build there on such a machine")


def system_name() -> str:
    """What the system calls itself, os-release(5); empty where it does not say."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            lines = read_file(path).decode("utf-8", "replace").splitlines()
        except FileProblem:
            continue
        for line in lines:
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"' ")
    return ""


def system_digest() -> str:
    """A digest of which packages and compilers there are: with others, the same source may be built otherwise."""
    digest = hashlib.sha256()
    for path in _PACKAGE_LISTS:
        if os.path.isfile(path):
            status = os.stat(path)
            digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
    for name in (*COMPILERS, "ld", "as"):
        found = shutil.which(name)
        if found is not None:
            status = os.stat(found)
            digest.update(repr((os.path.realpath(found), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()
