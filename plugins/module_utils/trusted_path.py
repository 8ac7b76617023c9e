# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Could somebody else change what a path leads to?

Nobody but root and this user may: neither the file, nor a directory on the
way to it, nor a symbolic link on that way.  A directory that everybody may
write to is fine where it is sticky, as /tmp is: what root or this user owns in
it, nobody else can rename or remove (inode(7), S_ISVTX).
"""

from __future__ import annotations

import errno
import os
import pwd
import stat

from .errors import FileProblem, Untrusted

# As many as the kernel follows, path_resolution(7).
_LINKS = 40


def require_unchangeable(path, what):
    """Make sure that only root and this user can change the file that ``path`` leads to.

    :param path: of a file or directory.
    :param what: what to call it in the message: ``livepatch``.
    :raises FileProblem: it does not exist, or cannot be looked at.
    :raises Untrusted: somebody else can change it, or what the path leads to.
    """
    try:
        changer = _changer(os.path.abspath(path))
    except OSError as error:
        raise FileProblem("read", path, error) from error
    if changer is not None:
        raise Untrusted(f"the {what} {path} is refused, because other users could change it: {changer}")


def _changer(path):
    """Who could change what the absolute ``path`` leads to, as words with a remedy; None: nobody else."""
    upcoming = path.split("/")[::-1]
    reached = "/"
    links = 0
    found = _judge(reached, os.lstat(reached))
    while upcoming and found is None:
        name = upcoming.pop()
        if name in ("", "."):
            continue
        if name == "..":
            # Only a link brings these; what is above was looked at on the way down.
            reached = os.path.dirname(reached)
            continue
        entry = os.path.join(reached, name)
        status = os.lstat(entry)
        found = _judge(entry, status)
        if not stat.S_ISLNK(status.st_mode):
            reached = entry
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(entry)
        upcoming.extend(target.split("/")[::-1])
        if target.startswith("/"):
            reached = "/"
    return found


def _judge(entry, status):
    if status.st_uid not in (0, os.geteuid()) and not (
        stat.S_ISDIR(status.st_mode) and status.st_uid == _root_outside()
    ):
        return f"{entry} belongs to {_user(status.st_uid)}; give it to root with chown"
    if stat.S_ISLNK(status.st_mode):
        return None
    # Where an access control list lets somebody write, the mask that says so stands in the group's bits (acl(5)).
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (
        stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    ):
        who = "everybody" if status.st_mode & stat.S_IWOTH else "its group"
        return f"{entry} is writable by {who}; forbid that with chmod go-w"
    return None


def _root_outside():
    """The UID by which directories of a root show that our user namespace has no number for; None: it has.

    There, ``unshare --map-root-user`` for one, all users of the outside have the same number (user_namespaces(7)), and
    ``/`` itself bears it.  A file must still belong to somebody inside.
    """
    owner = os.lstat("/").st_uid
    if owner == 0:
        return None
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as stream:
            unmapped = int(stream.read())
        with open("/proc/self/uid_map", encoding="ascii") as stream:
            everybody = [int(word) for word in stream.read().split()] == [0, 0, (1 << 32) - 1]
    except FileNotFoundError:
        return None
    return owner if owner == unmapped and not everybody else None


def _user(number):
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user {number}"
