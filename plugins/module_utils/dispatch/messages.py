# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runtime in one process has logged."""

from __future__ import annotations

from ..errors import UlpError
from ..process.mapped import MappedFiles
from ..process.runtime import read_messages
from ..process.subject import examining
from .pool import Pool
from .select import short_name_of
from .task import Task
from .unanswered import why


def messages_of(pid, examine_timeout):
    """The lines that the runtime in process ``pid`` has logged, oldest first; read by a worker (pool.Pool).

    :param examine_timeout: how long that may take, seconds.
    :raises UlpError: it cannot be examined, or has no runtime, or does not answer.
    """
    with Pool(_prepare, examine_timeout) as pool:
        (answer,) = pool.run([Task(0, pid, True)])
    if answer.problem is not None:
        raise UlpError(why(answer, short_name_of(pid), examine_timeout))
    return answer.value


def _prepare(_worker):
    return lambda task: _read(task.pid)


def _read(pid):
    subject = yield from examining(pid, MappedFiles())
    return read_messages(subject.proc_tid, subject.state)
