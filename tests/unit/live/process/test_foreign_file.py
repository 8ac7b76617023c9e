# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that others show us are opened only if they are what they should be, and never wait."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import foreign_file, mapped, maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import StateUnreadable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.foreign_file import (
    find,
    find_inside,
    walk_inside,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.survey import LEASED, UNREACHABLE

SELF = "self"
F_SETLEASE = 1024


@pytest.fixture(params=["openat2", "by name"], autouse=True)
def fixture_way(request, monkeypatch):
    """Both ways to follow a path: by one call, and where the kernel or a filter denies that, name by name."""
    if request.param == "by name":
        def denied(*_arguments):
            ctypes.set_errno(errno.ENOSYS)
            return -1

        monkeypatch.setattr(foreign_file, "_openat2", denied)


@pytest.fixture(name="tree")
def fixture_tree(tmp_path):
    """A directory with a file in it, and what leads there by links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "real" / "file")
    (tmp_path / "magic").symlink_to("/proc/self/root")
    return tmp_path


def test_regular_file_is_read(tree):
    with find_inside(SELF, f"{tree}/real/file") as found:
        descriptor = found.open()
    assert os.read(descriptor, 100) == b"contents"
    os.close(descriptor)


@pytest.mark.parametrize("path", ["link/file", "absolute", "magic/etc/passwd", "real/../real/file"])
def test_no_link_is_followed(tree, path):
    """Guards root from being led into directories of others. Seen to fail with the link's file opened."""
    if ".." in path and foreign_file._openat2.__name__ == "_openat2":
        # Beneath the root, and so harmless; no map has such a path.
        return
    with pytest.raises(OSError) as caught:
        find_inside(SELF, f"{tree}/{path}").close()
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


def test_link_shows_on_the_way(tree):
    found = [(stat.S_ISLNK(found.status.st_mode), last) for found, last in walk_inside(SELF, f"{tree}/absolute")]
    assert found[-1] == (True, True)
    with pytest.raises(NotADirectoryError):
        for _found in walk_inside(SELF, f"{tree}/link/file"):
            pass


def test_path_of_no_file():
    for path in ("[stack]", "", "anon_inode:[eventfd]", "relative"):
        with pytest.raises(FileNotFoundError):
            find_inside(SELF, path)


def made_fifo(path):
    os.mkfifo(path)


def made_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


def made_device(path):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(5, 0))


def made_directory(path):
    path.mkdir()


@pytest.mark.parametrize("make", [made_fifo, made_socket, made_device, made_directory])
def test_only_regular_files_are_opened(tmp_path, make):
    """Guards against a FIFO, whose opening waits for ever, and against waking a device. Seen to hang with open(2)."""
    if make is made_device and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.chdir(tmp_path)
    make(tmp_path / "x")
    before = sorted(os.listdir("/proc/self/fd"))
    with find_inside(SELF, f"{tmp_path}/x") as found, pytest.raises(OSError, match="not a regular file"):
        found.open()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture(name="leased")
def fixture_leased(padded, tmp_path, start):
    """A victim whose library somebody holds a write lease on, mapped by that process alone.  (Ours has the lease.)"""
    shutil.copy(padded.library, tmp_path / "libvictim.so")
    handler = signal.signal(signal.SIGIO, signal.SIG_IGN)
    descriptor = os.open(tmp_path / "libvictim.so", os.O_RDWR)
    fcntl.fcntl(descriptor, F_SETLEASE, fcntl.F_WRLCK)
    yield tmp_path / "libvictim.so"
    os.close(descriptor)
    signal.signal(signal.SIGIO, handler)


def test_leased_file_is_not_waited_for(leased):
    """Guards against the 45 seconds for which the kernel lets open(2) wait. Seen to fail with the file opened then."""
    with find(leased) as found, pytest.raises(BlockingIOError):
        found.open()


def test_leased_file_counts_as_one_that_cannot_be_told(leased, files):
    mapping = maps.Mapping(0x1000, 0x2000, "r-xp", 0, leased.stat().st_dev, leased.stat().st_ino, str(leased), False)
    assert files.survey(os.getpid(), mapping) is LEASED
    assert files.loaded(os.getpid(), [mapping]) == ([], [(mapping, LEASED.obstacle)])
    with pytest.raises(StateUnreadable, match="a process holds a lease on it"):
        mapped.open_mapped(os.getpid(), mapping)


@pytest.mark.parametrize("put", ["fifo", "link"])
def test_what_was_put_in_the_place_of_a_mapped_file(put, padded, tmp_path, start, files, monkeypatch):
    """Guards the way without the right to use map_files. Seen to hang with the FIFO, and to follow the link."""
    for name in ("libvictim.so", "app", "victim.ulp"):
        shutil.copy(padded.directory / name, tmp_path / name)
    moved = padded._replace(directory=tmp_path, library=tmp_path / "libvictim.so", app=tmp_path / "app")
    victim = start(moved)
    moved.library.rename(tmp_path / "elsewhere.so")
    if put == "fifo":
        os.mkfifo(moved.library)
    else:
        # To the very file that is mapped: device and inode would agree.
        moved.library.symlink_to(tmp_path / "elsewhere.so")
    mapping = next(found for found in maps.read_code_maps(victim.pid) if found.path.endswith("elsewhere.so"))
    monkeypatch.setattr(mapped, "_map_file", lambda pid, mapping: "/nonexistent")
    assert files.survey(victim.pid, mapping._replace(path=str(moved.library))) is UNREACHABLE
    # Under its own name it is found.
    assert files.survey(victim.pid, mapping).soname == "libvictim.so"


def test_one_process_cannot_answer_for_another(padded, start, files, monkeypatch, tmp_path):
    """Guards against a process that maps another file between two looks: nobody else is judged by that.

    Seen to fail with the other file's survey for both.
    """
    first, second = start(padded), start(padded)
    mapping = next(found for found in maps.read_code_maps(first.pid) if found.path.endswith("libvictim.so"))
    other = tmp_path / "other.so"
    shutil.copy("/bin/true", other)
    real = mapped._map_file
    monkeypatch.setattr(
        mapped, "_map_file", lambda pid, mapping: str(other) if pid == first.pid else real(pid, mapping))
    assert files.survey(first.pid, mapping).soname is None
    assert files.survey(second.pid, mapping).soname == "libvictim.so"
