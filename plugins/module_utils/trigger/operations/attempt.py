# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deal with one process, whatever happens to it meanwhile.

Whatever happens, the outcome is a Row; what this module raises is only what
is wrong with the tool's own side: a missing package, an interrupt.  Even an
exception that nobody expected ends in the row: a process must not be able to
keep the others from being served.
"""

from __future__ import annotations

from ...errors import MissingDependency, NotPatchable, UlpError
from ...faults import unexpected
from ...process.affiliation import container as container_of
from ...process.errors import (
    FalseClaim,
    NotMapped,
    ProcessStarting,
    ProcessUnpatchable,
    ProgramReplaced,
    StateUnsettled,
)
from ...process.patience import Patience
from ...process.procfs import process_name
from ...process.subject import alive, goes_on_without, has_ended
from .. import outcome
from ..borrowing.leave import Vetoed
from ..outcome import Row
from .aftermath import as_found, ended

# How often a process may exec before we give up.
_PROGRAMS = 5
# How long the dynamic loader may take to get to the runtime (process.patience), and how long to wait between two looks;
# in seconds.
_START_SECONDS = 2.0
_START_PAUSE = 0.005
# How often to look again at a state block that the memory map contradicts: the loader maps the runtime step by step.
_DOUBTS = 3


class _Announced:
    """Whether a thread of the process was sent off with a request, or the runtime loaded: then it is not as before."""

    def __init__(self, announce):
        self._announce = announce
        self._told = False
        self.sent = False
        self.diverted = False
        self.attached = False

    def __call__(self):
        self.announce_attaching()
        self.sent = True

    def announce_attaching(self):
        """A thread is to load the runtime, which it does whatever becomes of us; that is no request yet."""
        if not self._told and self._announce is not None:
            self._announce()
        self._told = True

    def note_sent(self, sent):
        """A thread has gone off, and if nothing more is heard of the process, that may be why."""
        self.diverted = sent

    def note_attached(self):
        """The runtime was loaded into the process: it is another than before, whatever comes next."""
        self.attached = True

    def credited(self, row):
        """The Row, which says so."""
        if not self.attached:
            return row
        if not row.changed:
            stays = "the runtime was loaded into it, and stays there, dormant"
            row = row._replace(reason=f"{row.reason}; {stays}" if row.reason else stays)
        return row._replace(attached=True, attached_now=True, changed=True)


class _Seen:
    """The names of the process and its container, as far as they are known."""

    def __init__(self):
        self.name = ""
        self.container = None


def attempt(work, job, pid, success=None):
    """Do ``work`` on process ``pid``, anew where it has become another program.

    A generator, as trigger.drive wants it.

    :param work: a generator of Job, PID, the thread through which /proc shows the process, and its name, that
        returns a Row; apply.apply, say.
    :param job: job.Job.
    :param success: outcome.PATCHED or REVERTED, if that is what ``work`` wants to make of the process.
    :return: Row.
    :raises MissingDependency: a Python package is missing.
    """
    announced = _Announced(job.options.announce)
    job = job._replace(options=job.options._replace(
        announce=announced, announce_attaching=announced.announce_attaching, note_sent=announced.note_sent,
        note_attached=announced.note_attached,
    ))
    seen = _Seen()
    try:
        return announced.credited((yield from _carried_out(work, job, pid, announced, seen)))
    except MissingDependency:
        raise
    except Vetoed as error:
        row = Row(pid, seen.name, outcome.EXCLUDED, str(error))
    except (NotPatchable, ProcessUnpatchable) as error:
        row = Row(pid, seen.name, outcome.NOT_PATCHABLE, str(error))
    except UlpError as error:
        row = Row(pid, seen.name, outcome.FAILED, str(error))
    except Exception as error:  # noqa: BLE001 - nothing that a process shows may end the run
        row = Row(pid, seen.name, outcome.FAILED, unexpected(error, f"process {pid} ({seen.name})"))
    if announced.sent and success is not None:
        # What went wrong came after the request, which may have been carried out.
        row = yield from as_found(job, row, success)
    row = announced.credited(row._replace(container=seen.container))
    if row.outcome in outcome.WITHOUT and (announced.attached or announced.diverted) and has_ended(pid):
        # What it was given is gone with it.
        return ended(row)
    return row


def _carried_out(work, job, pid, announced, seen):
    """The Row that ``work`` gives; ``seen`` (_Seen) is told whose it is."""
    programs = 1
    doubts = 0
    patience = None
    while True:
        stat, proc_tid = alive(pid)
        seen.name = process_name(pid, stat.name)
        seen.container = container_of(pid)
        try:
            row = yield from work(job, pid, proc_tid, seen.name)
            if row.outcome != outcome.NOT_APPLICABLE or not goes_on_without(proc_tid, pid):
                return row._replace(container=seen.container)
        except (ProcessStarting, StateUnsettled):
            patience = patience or Patience(pid, _START_SECONDS)
            if announced.sent or patience.is_over():
                raise
            yield _START_PAUSE
        except FalseClaim:
            if announced.sent or doubts == _DOUBTS:
                raise
            doubts += 1
            yield _START_PAUSE
        except (NotMapped, ProgramReplaced):
            # It has become another program, as a child does that was forked to execute one: look at that.
            if programs == _PROGRAMS:
                raise
            programs += 1
            yield _START_PAUSE
        except UlpError:
            if not goes_on_without(proc_tid, pid):
                raise
