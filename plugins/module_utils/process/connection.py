# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes by which Ansible runs a module on this host.

Each is an ancestor of the module: shells, sudo, the Python that started it, and the ssh session or, where the
connection is local, Ansible itself.  They end with the run.  What is above them stays: the ssh server that waits for
the next connection, the service or the shell from which somebody started Ansible.
"""

from __future__ import annotations

import itertools
import os

from .affiliation import units
from .errors import ProcessError
from .procfs import explained, read_long, read_stat

# Nobody is so deep below a server; a bound all the same, as parents change while we look.
_DEEPEST = 100
# proc_pid_net(5) has the TCP states of include/net/tcp_states.h in hexadecimal.
_LISTENING = b"0A"


def connection(pid=None):
    """PIDs of the ancestors of process ``pid``, a module, that are there only because Ansible runs it.

    What cannot be examined, as the server's process by an ordinary user, ends the search: it and what is above it
    counts as somebody else's.

    :param pid: this process when None.
    :return: frozenset of int.
    """
    found: list[int] = []
    controls = False
    try:
        parent = read_stat(pid or os.getpid()).parent
        # 0: it is outside, as that of a process which was brought into a container.
        while parent > 1 and len(found) < _DEEPEST:
            controlled, controls = controls, is_controller(parent)
            if controlled and not controls:
                # Whoever started Ansible.
                break
            if not controls and stays(parent):
                break
            found.append(parent)
            parent = read_stat(parent).parent
    except ProcessError:
        pass
    return frozenset(found)


def is_controller(pid):
    """Whether process ``pid`` is Ansible itself: a Python whose program is one of Ansible's commands.

    :raises ProcessGone, ProcessForbidden: it cannot be examined.
    """
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError as error:
        raise explained(pid, error) from error
    if not program.startswith("python"):
        return False
    words = [os.fsdecode(word) for word in read_long(pid, "cmdline").split(b"\0")[1:]]
    while words and words[0].startswith("-") and words[0] != "-m":
        words.pop(0)
    if words[:1] == ["-m"]:
        return words[1:2] == ["ansible"] or "".join(words[1:2]).startswith(("ansible.", "ansible_runner"))
    command = os.path.basename("".join(words[:1]))
    return command == "ansible" or command.startswith("ansible-")


def stays(pid):
    """Whether process ``pid`` goes on when the connection ends: it waits for others, or is a service.

    :raises ProcessGone, ProcessForbidden: it cannot be examined.
    """
    return _listens(pid) or _is_service(pid)


def _sockets(pid):
    """{file descriptor: inode of the socket, digits} of process ``pid``."""
    found = {}
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError as error:
        raise explained(pid, error) from error
    for descriptor in descriptors:
        try:
            kind, _colon, inode = os.readlink(f"/proc/{pid}/fd/{descriptor}").partition(":")
        except OSError:
            # Closed since.
            continue
        if kind == "socket":
            found[int(descriptor)] = inode.strip("[]").encode("ascii")
    return found


def _listens(pid):
    own = set(_sockets(pid).values())
    return bool(own) and any(not own.isdisjoint(_listening(pid, table)) for table in ("net/tcp", "net/tcp6"))


def _listening(pid, table):
    """The inodes, digits, of the sockets in the process's network namespace that wait for connections."""
    try:
        with open(f"/proc/{pid}/{table}", "rb") as stream:
            next(stream)
            # They come first, whatever number of connections there is.
            fields = itertools.takewhile(lambda words: words[3] == _LISTENING, map(bytes.split, stream))
            return {words[9] for words in fields}
    except (OSError, StopIteration):
        # A kernel without IPv6 has no such table; that the process has ended shows elsewhere.
        return set()


def _is_service(pid):
    """Whether it is the main process of a systemd service, but not of one that was started for a single connection."""
    own = units(pid)
    return (
        read_stat(pid).parent == 1 and bool(own) and own[-1].endswith(".service")
        # systemd.socket(5), Accept=: the connection is the standard input; that of other services is /dev/null.
        and 0 not in _sockets(pid)
    )
