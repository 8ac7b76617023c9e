# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why can a process be patched, or why not?  Step by step, and by reading alone.

Each step asks the core what an apply would ask it, in the same words.  Whether a livepatch can be applied is not
concluded from the steps: a dry run says it.
"""

from __future__ import annotations

import os
import shlex
from typing import Any

from ..arch.elf_format import NAME
from ..counted import counted
from ..defaults import ASSUME_ERRNO
from ..errors import MissingDependency, UlpError
from ..faults import unexpected
from ..livepatch.livepatch import read_livepatch
from ..livepatch_files import livepatch_files
from ..named_tuple import NamedTuple
from ..printable import printable, some
from ..process.affiliation import container as container_of
from ..process.mapped import MappedFiles
from ..process.maps import read_code_maps
from ..process.procfs import process_name, read_system_call, thread_ids
from ..process.runtime import NO_RUNTIME
from ..process.subject import alive, examining, require_available
from ..trigger import outcome
from ..trigger.borrowing.seccomp_check import require_no_strict_thread, seccomp_reservation
from ..trigger.job import Job
from ..trigger.judgement.applicability import examine_concerned, resolution_in, resolutions_in
from ..trigger.judgement.neighbours import require_dependencies
from ..trigger.judgement.undone import undoing
from ..trigger.judgement.untouched import require_untouched
from ..trigger.operations.apply import domain_of
from ..trigger.resolution.libraries import resolved_library
from ..trigger.resolution.request import sites
from ..trigger.source import Source
from ..trigger.trigger import Trigger
from .facts import lagging, padded
from .hold import read_hold
from .policy import Guard, held, stopped
from .pool import Pool
from .select import name_of, short_name_of
from .task import Task
from .unanswered import why

# How a step ended: nothing is in the way; something is; it could not be looked at, because of an earlier one.
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Step(NamedTuple):
    """One question, and its answer."""

    name: str
    result: str  # PASSED, FAILED or SKIPPED
    text: str


class Explanation(NamedTuple):
    """What was found out about one process."""

    pid: int
    name: str
    livepatch: str | None  # the livepatch's file; None: whether it can be patched at all was asked
    outcome: str | None  # of the dry run, one of trigger.outcome.OUTCOMES; None: there was none
    possible: bool  # it is patched, or can be, with the livepatch or at all
    steps: list[Step]
    next: str  # what to do

    def as_dict(self):
        """The explanation as ``--json`` gives it."""
        return dict(self._asdict(), steps=[step._asdict() for step in self.steps])


def explain(pid, paths, policy, options):
    """Why can process ``pid`` be patched, or why not?  Read by a worker (pool.Pool).

    :param paths: of livepatches, as livepatch_files() takes them: the one that is for the process counts; none: ask
        whether any livepatch could be applied.
    :param policy: policy.Policy.
    :param options: trigger.options.Options.
    :return: Explanation.
    :raises BadLivepatch, BadElf, FileProblem: the livepatch cannot be used.
    :raises UlpError: the process does not answer, or is this very one.
    :raises MissingDependency: a Python package is missing.
    """
    if pid == os.getpid():
        raise UlpError(f"process {pid} is this command itself, which cannot patch itself")
    files = livepatch_files(paths) if paths else []
    inquiry = _Inquiry(pid, files, policy, options._replace(check=True, wait_migrated=0.0))
    with Pool(lambda _worker: lambda _task: inquiry.explained(), options.examine_timeout) as pool:
        (answer,) = pool.run([Task(0, pid, True)])
    if answer.problem is not None:
        raise UlpError(why(answer, short_name_of(pid), options.examine_timeout))
    return answer.value


class _Inquiry:
    """The questions, and what was found on the way."""

    def __init__(self, pid, files, policy, options):
        self._pid = pid
        self._path = None
        self._policy = policy
        self._options = options
        self._files = MappedFiles()
        self._steps: list[Step] = []
        # What later steps need, as far as it is known.
        self._proc_tid: Any = None
        self._name = ""
        self._subject: Any = None
        self._resolution: Any = None
        self._livepatch: Any = None
        self._job: Any = None
        self._guard: Any = None  # a Guard, or why there is none
        self._livepatches = [read_livepatch(file) for file in files]
        # Here, and not in a worker: it reads files of ours, and has another program verify the signature.
        self._guards = [self._guard_of(file) for file in files]
        if files:
            self._take(0)

    def _guard_of(self, file):
        try:
            return Guard(file, self._policy, applies=True, touches=True)
        except UlpError as error:
            return error

    def _take(self, number):
        """Ask about this one of the livepatches."""
        self._livepatch, self._guard = self._livepatches[number], self._guards[number]
        self._path = self._livepatch.path
        if isinstance(self._guard, Guard):
            self._options = self._options._replace(forbids_attaching=self._guard.forbids_attaching)
        companions = tuple(other for other in self._livepatches if other is not self._livepatch)
        self._job = Job(Source(self._livepatch), self._files, self._options, companions)

    def _take_its_own(self):
        """Of several livepatches, ask about the one that is for the process, or at least for its library."""
        resolutions = resolutions_in(self._proc_tid, self._livepatches, self._files)
        for fits in (lambda each: each.matches or each.loaded_repeatedly, lambda each: each.concerned):
            found = [number for number, resolution in enumerate(resolutions) if fits(resolution)]
            if found:
                self._take(found[0])
                return

    def explained(self):
        """The Explanation; a generator, as trigger.drive wants it."""
        yield from self._ask("process", self._process)
        yield from self._ask("runtime", self._runtime, self._proc_tid)
        yield from self._ask("hold", self._hold, self._proc_tid)
        yield from self._ask("access", self._access, self._proc_tid)
        yield from self._ask("seccomp", self._seccomp, self._proc_tid)
        if self._job is None:
            yield from self._ask("libraries", self._padded, self._proc_tid)
        else:
            yield from self._ask("livepatch", self._acceptance)
            yield from self._ask("target", self._target, self._proc_tid)
            yield from self._ask("functions", self._functions, self._resolution)
        yield from self._ask("livepatches", self._applied_to_it, self._subject)
        yield from self._ask("threads", self._threads, self._subject)
        return (yield from self._conclusion())

    def _ask(self, name, question, needed=True):
        """Ask one question, a generator that returns the text of its Step."""
        if needed is None:
            self._steps.append(Step(name, SKIPPED, "not looked at, because of what stands above"))
            return
        try:
            self._steps.append(Step(name, PASSED, (yield from question())))
        except MissingDependency:
            raise
        except UlpError as error:
            self._steps.append(Step(name, FAILED, str(error)))
        except Exception as error:  # noqa: BLE001 - nothing that a process shows may end the run
            about = f"process {self._pid} ({name_of(self._pid)})"
            self._steps.append(Step(name, FAILED, str(unexpected(error, about))))

    # ------------------------------------------------------------ questions

    def _process(self):
        yield from ()
        stat, proc_tid = alive(self._pid)
        self._name = process_name(self._pid, stat.name)
        inside = container_of(self._pid)
        read_code_maps(proc_tid)
        self._proc_tid = proc_tid
        if len(self._livepatches) > 1:
            self._take_its_own()
        where = f" in the container {inside}" if inside else ""
        return f"process {self._pid} ({self._name}) runs{where}, and may be examined by this user"

    def _runtime(self):
        self._subject = yield from examining(self._pid, self._files, self._options.attach)
        program = f"it runs a dynamically linked {NAME} program on the GNU C library, and"
        if self._subject.state is NO_RUNTIME:
            return f"{program} was started without the livepatch runtime, which would be loaded"
        return f"{program} has the livepatch runtime {self._subject.state.version}"

    def _hold(self):
        yield from ()
        rules = read_hold(self._policy.hold_file)
        if self._livepatch is None:
            rules = tuple(rule for rule in rules if all(key != "patch" for key, _pattern in rule.conditions))
        reason = stopped(self._policy.kill_switch) or held(self._pid, rules, self._livepatch)
        if reason is not None:
            raise UlpError(reason)
        return "neither the kill switch nor a rule of the hold file is in the way"

    def _access(self):
        yield from ()
        require_available(self._pid, self._proc_tid)
        return "it is not stopped, no debugger holds it, and this user may borrow one of its threads"

    def _seccomp(self):
        yield from ()
        require_no_strict_thread(self._pid)
        if self._options.seccomp == ASSUME_ERRNO:
            otherwise = "if it runs under a seccomp filter, you say that this denies with an error"
        else:
            otherwise = "it runs under no seccomp filter"
        return seccomp_reservation(self._pid, self._proc_tid, self._options.seccomp) or otherwise

    def _padded(self):
        yield from ()
        found = padded(self._files, self._proc_tid, read_code_maps(self._proc_tid))
        if not found:
            return "nothing that it runs has padding, so a livepatch would have to be made for code as it is shipped"
        return "; ".join(self._patchable(library) for library in found)

    def _patchable(self, library):
        functions = self._files.functions(self._proc_tid, library.mapping)
        refused = [function for function in functions if function.refusal is not None]
        more = ""
        if refused:
            labels = some([function.label for function in refused], 3)
            more = f", {len(refused)} cannot ({labels}: {refused[0].refusal})"
        return (f"{printable(library.path)}, build ID {library.survey.build_id}:"
                f" {counted(len(functions) - len(refused), 'function')} can be replaced{more}")

    def _acceptance(self):
        yield from ()
        if not isinstance(self._guard, Guard):
            raise self._guard
        if self._guard.retracted:
            raise UlpError(self._guard.reason(self._pid))
        signed = f"signed by {self._guard.signer}" if self._guard.signer else "its signature not verified"
        return f"{self._path} is a sound livepatch, {signed}, and not retracted"

    def _target(self):
        yield from ()
        resolution = resolution_in(self._proc_tid, self._livepatch, self._files, self._job.companions)
        if self._subject is not None or not (resolution.matches or resolution.copies):
            subject, resolution, row = examine_concerned(
                self._job, self._pid, self._proc_tid, self._name, self._options.attach
            )
            if row is not None:
                raise UlpError(row.reason)
            self._subject, self._resolution = subject, resolution
        return "; ".join(
            f"it runs {printable(match.library.path)} with build ID {match.target.build_id}, which the livepatch is for"
            for match in (*resolution.matches, *resolution.copies)
        )

    def _functions(self):
        said = []
        for match in (*self._resolution.matches, *self._resolution.copies):
            library = resolved_library(self._job, self._subject, match)
            places = sites(library, self._livepatch.jumps)
            yield from require_untouched(self._subject, library, places, self._options.timeout)
            names = some([pair.old for pair in match.target.functions], 5)
            said.append(f"{names} of {printable(match.library.name)} can be replaced")
        self._job.source.is_within_reach(self._subject)
        return "; ".join(said)

    def _applied_to_it(self):
        yield from ()
        domains = {patch.domain for patch in self._subject.state.patches if patch.applied}
        for domain in domains:
            undone = undoing(self._subject, domain, self._files)
            if undone is not None:
                raise UlpError(f"process {self._pid} ({self._name}): {undone.reason}; {undone.remedy}")
        if self._resolution is not None:
            domain = domain_of(self._subject, self._resolution)
            require_dependencies(self._subject, self._livepatch, self._files, domain)
        applied = [patch.name for patch in self._subject.state.patches if patch.applied]
        return f"applied to it: {some(applied)}" if applied else "no livepatch is applied to it"

    def _threads(self):
        tids = thread_ids(self._pid)
        resting = sum(1 for tid in tids if self._rests(tid))
        pending = yield from lagging(self._subject, self._files)
        behind = f"{len(pending)} of them do not use the newest functions yet" if pending else (
            "none of them lags behind with old functions" if self._subject.state.patches
            else "each would take new functions with its next call of the library"
        )
        return f"threads: {len(tids)}, at rest in the kernel: {resting}; {behind}"

    def _rests(self, tid):
        try:
            return read_system_call(self._pid, tid) is not None
        except UlpError:
            return False

    # ----------------------------------------------------------- conclusion

    def _conclusion(self):
        failed = [step for step in self._steps if step.result == FAILED]
        if self._job is None:
            return self._explanation(None, not failed, failed[0].text if failed else (
                "write a livepatch for one of its libraries, and ask again with it"))
        if self._proc_tid is None:
            return self._explanation(None, False, failed[0].text)
        trigger = Trigger(self._livepatch, self._files, self._options, companions=self._job.companions)
        row = yield from trigger.applying(self._pid)
        in_it = row.outcome == outcome.ALREADY_PATCHED or (row.outcome == outcome.PENDING and row.threads_pending)
        if in_it:
            # What would keep it from being applied keeps nothing now.
            return self._explanation(row.outcome, True, row.reason or "it is patched: there is nothing to do")
        if row.outcome == outcome.PATCHED and not failed:
            command = f"ulp trigger -p {self._pid} {shlex.quote(str(self._path))}"
            return self._explanation(row.outcome, True, f"apply it: {command}")
        reason = failed[0].text if failed else row.reason
        if not failed:
            self._steps.append(Step("dry run", FAILED, row.reason))
        return self._explanation(row.outcome, False, reason)

    def _explanation(self, result, possible, advice):
        path = None if self._path is None else str(self._path)
        return Explanation(self._pid, self._name, path, result, possible, self._steps, advice)
