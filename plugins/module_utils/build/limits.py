# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands of a source may take: time, and room on the disk."""

from __future__ import annotations

import os
import time

from .errors import BuildFailed

# How often a command that runs is looked at.
LOOK_SECONDS = 0.5

_GIB = 1 << 30
# The files are counted again after so many seconds, even if there is as much room as before: others remove files, too.
_COUNT_SECONDS = 60.0
# st_blocks counts these, whatever the file system has.  Source: stat(3type)
_BLOCK = 512


class Limits:
    """The limits of one command, from now on."""

    def __init__(self, seconds: float, directory: str, gibibytes: float) -> None:
        """
        :param seconds: how long the command may run.
        :param directory: the working directory of the build.
        :param gibibytes: how much of the disk that may take.
        """
        self.seconds = seconds
        self.directory = directory
        self.gibibytes = gibibytes
        self._end = time.monotonic() + seconds
        self._count_again = 0.0
        self._room = 0

    def require(self, what: str, log: str) -> None:
        """See that the command keeps to them.

        :param what: the command, at the beginning of a sentence.
        :param log: the path of what it has printed.
        :raises BuildFailed: it does not.
        """
        if time.monotonic() >= self._end:
            raise BuildFailed(f"{what} took longer than {self.seconds:g} s (--build-timeout); the log is {log}")
        if self._is_disk_exceeded():
            raise BuildFailed(f"{what} took more than {self.gibibytes:g} GiB of the disk in {self.directory}"
                              f" (--build-space); the log is {log}")

    def _is_disk_exceeded(self) -> bool:
        """Whether the directory takes more; its files are counted only if that can be."""
        room = _room(self.directory)
        if time.monotonic() < self._count_again and room >= self._room:
            return False
        most = int(self.gibibytes * _GIB)
        taken = space_taken(self.directory)
        self._count_again = time.monotonic() + _COUNT_SECONDS
        # Half of what is left may go before the next count, so that counting never takes all the time.
        self._room = room - max(most - taken, 0) // 2
        return taken > most


def _room(directory: str) -> int:
    about = os.statvfs(directory)
    return about.f_bfree * about.f_frsize


def space_taken(directory: str) -> int:
    """Bytes of the disk that the files below a directory take, each file once, whatever comes and goes meanwhile."""
    taken = 0
    seen: set[tuple[int, int]] = set()
    places = [directory]
    while places:
        try:
            with os.scandir(places.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    file = about.st_dev, about.st_ino
                    if file in seen:
                        continue
                    if about.st_nlink > 1:
                        seen.add(file)
                    taken += about.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
        except OSError:
            # Removed meanwhile, or closed to whoever builds: what can be seen is counted.
            continue
    return taken
