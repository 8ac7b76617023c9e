# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deal with one process, whatever becomes of it meanwhile.

Whatever happens, the outcome is a Row; what this module raises is only what
is wrong with the tool's own side: a missing package, an interrupt.
"""

from __future__ import annotations

import time

from ..errors import MissingDependency, NotPatchable, UlpError
from ..process.affiliation import container as container_of
from ..process.errors import NotMapped, ProcessStarting, ProcessUnpatchable, ProgramReplaced
from ..process.procfs import process_name
from ..process.subject import alive, goes_on_without
from . import outcome
from .borrow import Vetoed
from .outcome import Row

# So many programs, one after the other, a process may be while it is dealt with.
_PROGRAMS = 5
# So long the dynamic loader may take until it gets to the runtime, and between two looks; in seconds.
_START_SECONDS = 2.0
_START_PAUSE = 0.005


def attempt(work, job, pid):
    """Do ``work`` on process ``pid``, anew where it has become another program.

    A generator, as trigger.drive wants it.

    :param work: a generator of Job, PID, the thread through which /proc shows the process, and its name, that
        returns a Row; apply.apply, say.
    :param job: job.Job.
    :return: Row.
    :raises MissingDependency: a Python package is missing.
    """
    name = ""
    container = row = None
    programs = 1
    deadline = time.monotonic() + _START_SECONDS
    try:
        while row is None:
            stat, via = alive(pid)
            name = process_name(pid, stat.name)
            container = container_of(pid)
            try:
                row = yield from work(job, pid, via, name)
                if row.outcome == outcome.NOT_APPLICABLE and goes_on_without(via, pid):
                    row = None
            except ProcessStarting:
                if time.monotonic() > deadline:
                    raise
                yield _START_PAUSE
            except (NotMapped, ProgramReplaced):
                # It has become another program, as a child does that was forked to execute one: look at that.
                if programs == _PROGRAMS:
                    raise
                programs += 1
                yield _START_PAUSE
            except UlpError:
                if not goes_on_without(via, pid):
                    raise
    except MissingDependency:
        raise
    except Vetoed as error:
        row = Row(pid, name, outcome.EXCLUDED, str(error))
    except (NotPatchable, ProcessUnpatchable) as error:
        row = Row(pid, name, outcome.NOT_PATCHABLE, str(error))
    except UlpError as error:
        row = Row(pid, name, outcome.FAILED, str(error))
    return row._replace(container=container)
