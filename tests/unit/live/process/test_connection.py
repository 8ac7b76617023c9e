# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are there only because Ansible runs a module: a server and its session, Ansible and its shells."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.connection import connection, is_controller
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_stat

# Each of these says which process it is, and runs the rest of its words in a child, for which it waits.
RUN = """
import os, subprocess, sys
print(os.getpid(), flush=True)
{before}
sys.exit(subprocess.run(sys.argv[1:]).returncode if len(sys.argv) > 1 else sys.stdin.read() and 0)
"""
# As sshd does for each connection: a child that lets go of the socket which the server listens on.
SERVE = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if child:
    os.waitpid(child, 0)
    sys.exit()
listener.close()
print(os.getpid(), flush=True)
"""
# As Ansible does for each task: a process of the same program.
WORK = """
child = os.fork()
if child:
    os.waitpid(child, 0)
    sys.exit()
print(os.getpid(), flush=True)
"""
SHELL = ("sh", "-c", 'echo $$; "$@"; exit $?', "sh")


@pytest.fixture
def chain():
    """Starts commands, each the parent of the next; gives the PIDs that they print, the last one's last."""
    started = []

    def run(*words, processes):
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return [int(process.stdout.readline()) for _process in range(processes)]

    yield run
    for process in started:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.fixture
def program(tmp_path):
    """The path of a Python program that prints its PID, does what it is told, and runs the rest of its words."""
    def written(name, before=""):
        path = tmp_path / name
        path.write_text(RUN.format(before=before))
        return path

    return written


def test_session_of_a_server(chain, program):
    """The server waits for others and stays; seen to be in it without the look at what it listens on."""
    server, session, sudo, shell, module = chain(
        sys.executable, program("sshd", SERVE), sys.executable, program("sudo"), *SHELL,
        sys.executable, program("module"), processes=5)
    assert read_stat(session).parent == server
    assert connection(module) == {session, sudo, shell}
    assert connection(session) == frozenset()


@pytest.mark.parametrize("flags", [(), ("-P", "-s")] if sys.version_info >= (3, 11) else [(), ("-s",)])
def test_ansible_itself(flags, chain, program):
    """Where the connection is local; whoever started Ansible is somebody else, whatever his program is called."""
    outer, main, worker, shell, module = chain(
        sys.executable, program("run-ansible"), sys.executable, *flags, program("ansible-playbook", WORK), *SHELL,
        sys.executable, program("module"), processes=5)
    assert read_stat(main).parent == outer
    assert connection(module) == {main, worker, shell}


def test_what_is_only_called_so_is_no_ansible(chain, tmp_path):
    """Seen to be taken for Ansible by the name alone."""
    script = tmp_path / "ansible-playbook"
    script.write_text("echo $$\nread line\n")
    (shell,) = chain("sh", script, processes=1)
    assert not is_controller(shell)
