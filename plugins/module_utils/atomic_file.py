# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace a file as a whole: readers see the old contents or the new, never a mixture."""

from __future__ import annotations

import errno
import os
import stat
import time

from .errors import FileProblem

# Signatures over the old contents (ima) and over the old inode (evm): copied, they would make the file unreadable.
_CONTENT_ATTRIBUTES = ("security.ima", "security.evm")
# Bytes. A file with holes may be larger than all memory.
_LARGEST = 1 << 30


def read_file(path: str | os.PathLike[str]) -> bytes:
    """All bytes of the regular file at ``path``; FileProblem when it cannot be read, is too large or something else."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if os.fstat(descriptor).st_size > _LARGEST:
                raise OSError(errno.EFBIG, f"it is longer than {_LARGEST} bytes")
            with open(descriptor, "rb", closefd=False) as stream:
                # With a number of bytes, Python would ask for so much memory first.
                return stream.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileProblem("read", path, error) from error
    except ValueError as error:
        raise FileProblem("read", repr(path), OSError(errno.EINVAL, "its name has a NUL character in it")) from error


def replace_file(
    path: str | os.PathLike[str], data: bytes, template: str | os.PathLike[str] | None = None,
) -> None:
    """Write ``data`` to ``path`` by renaming a finished temporary file over it.

    Where ``path`` exists, its mode, owner and extended attributes stay; a symbolic link stays and the file that it
    leads to is replaced.  The time of modification is that of the write.

    :param path: the file.
    :param data: its new contents, bytes.
    :param template: a file whose permissions, less the umask, a new file gets; without one it gets 0666 less the
        umask.
    :raises FileProblem: the operating system said no; the file is untouched then.
    """
    target = os.path.realpath(path)
    temporary = None
    try:
        existing = _stat_regular(target)
        # Takes longer to import than a look at a process; most runs write nothing.
        import tempfile

        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            if existing is not None:
                _copy_ownership(target, existing, stream.fileno())
            else:
                os.fchmod(stream.fileno(), _new_file_mode(template))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, target)
        temporary = None
        _sync_directory(os.path.dirname(target))
    except OSError as error:
        raise FileProblem("write", path, error) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def back_up_file(path: str | os.PathLike[str]) -> str:
    """Copy the file at ``path``, with mode, owner, attributes and times, beside it; returns the copy's path.

    :raises FileProblem: it cannot be read or the copy cannot be written.
    """
    target = os.path.realpath(path)
    copy = f"{target}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"
    data = read_file(target)
    try:
        existing = os.stat(target)
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            _copy_ownership(target, existing, stream.fileno())
            stream.flush()
            os.utime(stream.fileno(), ns=(existing.st_atime_ns, existing.st_mtime_ns))
            os.fsync(stream.fileno())
    except OSError as error:
        raise FileProblem("write", copy, error) from error
    return copy


def _stat_regular(path: str) -> os.stat_result | None:
    """The status of the file at ``path``, or None when there is none; only a regular file can be replaced."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return status


def _copy_ownership(path: str, status: os.stat_result, descriptor: int) -> None:
    """Give an open file the owner, mode and extended attributes of ``path``, whose status is ``status``."""
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    # After the owner: a change of owner clears the set-user-ID bits.
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    try:
        names = os.listxattr(path)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        names = []
    for name in names:
        if name in _CONTENT_ATTRIBUTES:
            continue
        value = os.getxattr(path, name)
        if _attribute(descriptor, name) != value:
            os.setxattr(descriptor, name, value)


def _attribute(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return None


def _new_file_mode(template: str | os.PathLike[str] | None) -> int:
    # The umask can only be read by setting it.
    umask = os.umask(0o077)
    os.umask(umask)
    mode = 0o666 if template is None else stat.S_IMODE(os.stat(template).st_mode) & 0o777
    return mode & ~umask


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
