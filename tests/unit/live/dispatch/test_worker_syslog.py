# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker of a process that has the system log open, as every module of Ansible has where there is no journal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# In a mount namespace with a system log of its own. A hundred files: one of them gets the number of the socket.
SCRIPT = """
import os, socket, syslog, tempfile
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.pool import Pool
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.task import Task

log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
syslog.openlog("parent")
syslog.syslog("from the parent")


def prepare(_worker):
    def perform(task):
        files = []
        for _number in range(100):
            files.append(tempfile.TemporaryFile())
            files[-1].write(b"its own")
            files[-1].flush()
        syslog.openlog("worker")
        syslog.syslog("from the worker")
        return [os.pread(file.fileno(), 100, 0) for file in files] == 100 * [b"its own"]
        yield

    return perform


with Pool(prepare, 60) as pool:
    print([answer.value for answer in pool.run([Task(0, 1)])])
print(b"from the parent" in log.recv(1000), b"from the worker" in log.recv(1000))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a mount namespace of its own")
def test_system_log_takes_no_file_of_a_worker():
    """Guards every file that a worker reads. Seen to fail, with "Illegal seek", without closelog() in the worker."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec "$@"',
         "apart", sys.executable, "-c", SCRIPT],
        check=False, capture_output=True, text=True, timeout=120,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )
    assert done.stdout.splitlines() == ["[True]", "True True"], done.stderr
