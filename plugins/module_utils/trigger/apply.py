# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a livepatch to one process, or revert it.

Whatever happens, the outcome is a Row; what this module raises is only what
is wrong with the tool's own side: a missing package, an interrupt.
"""

from __future__ import annotations

import os
import time

from .. import abi
from ..atomic_file import read_file
from ..errors import MissingDependency, NotPatchable, UlpError
from ..livepatch.container import parse_container, read_container
from ..printable import printable
from ..process.affiliation import container as container_of
from ..process.errors import NotMapped, ProcessStarting, ProcessUnpatchable, ProgramReplaced
from ..process.mapped import open_mapped, remedy
from ..process.maps import mapping_at, read_code_maps
from ..process.namespaces import can_load, sees_itself_in_proc
from ..process.procfs import process_name
from ..process.runtime import read_state
from ..process.subject import alive, examine, goes_on_without, is_statically_linked, require_available
from ..tracee.requests import require_binding
from . import outcome
from .borrow import Borrower, Vetoed
from .delivery import MAPPED_AS
from .drive import drive
from .outcome import Row
from .progress import migration, settled_universe
from .request import ResolvedLibrary, build_request, program_roots, sites
from .resolve import resolve
from .seccomp_check import foreseen, require_no_strict_thread
from .settle import settling

# So many programs, one after the other, a process may be while it is dealt with.
_PROGRAMS = 5
# So long the dynamic loader may take until it gets to the runtime, and between two looks; in seconds.
_START_SECONDS = 2.0
_START_PAUSE = 0.005
# Outcomes of an attempt that did not apply the livepatch.
_WITHOUT = (outcome.FAILED, outcome.NOT_PATCHABLE)


class Trigger:
    """One container for any number of processes: what is read of shared libraries is read once."""

    def __init__(self, container, files, options, contents=None):
        """
        :param container: livepatch.container.Container.
        :param files: process.mapped.MappedFiles.
        :param options: Options.
        :param contents: the bytes that ``container`` was read from; None: read them again where they are needed.
        """
        self.container = container
        self.files = files
        self.options = options
        self.path = os.path.realpath(container.path)
        self._contents = contents

    # ------------------------------------------------------------- public

    def apply(self, pid):
        """Apply the livepatch to process ``pid``; Row."""
        return drive(self.applying(pid))

    def revert(self, pid):
        """Revert the livepatch in process ``pid``; Row."""
        return drive(self.reverting(pid))

    def check(self, pid):
        """Say whether the livepatch is applied in process ``pid``, touching nothing; Row.

        The outcome is ``already_patched``, ``pending`` or ``reverted``; for a process
        that the livepatch is for but that does not have it, ``failed``.
        """
        return drive(self.checking(pid))

    def resolved(self, via):
        """The Resolution for the process that has the thread ``via``; raises ProcessGone, ProcessForbidden."""
        mappings = read_code_maps(via)
        return resolve(
            self.container, self.files.libraries(via, mappings), self.files.unreachable(via, mappings)
        )

    def has_bytes(self, pid):
        """Whether process ``pid`` was given the bytes of the livepatch, instead of loading them from the file.

        :raises UlpError: that cannot be told.
        """
        subject = examine(pid, self.files)
        patch = subject.state.patch(self.container.patch_id)
        mapping = mapping_at(subject.mappings, patch.text_start) if patch is not None else None
        return mapping is not None and mapping.path.startswith(MAPPED_AS)

    def applying(self, pid):
        """As apply(), but a generator for trigger.drive."""
        return self._guarded(pid, self._apply)

    def reverting(self, pid):
        """As revert(), but a generator for trigger.drive."""
        return self._guarded(pid, self._revert)

    def checking(self, pid):
        """As check(), but a generator for trigger.drive."""
        return self._guarded(pid, self._check)

    def bringing_along(self, pid):
        """As checking(), but threads that only have to be settled are; whatever the process has stays."""
        return self._guarded(pid, self._bring_along)

    # ------------------------------------------------------------ guarding

    def _guarded(self, pid, work):
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
                    row = yield from work(pid, via, name)
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

    def _examine(self, pid, via, name, to_apply=True):
        """(Subject, Resolution, None), or (None, None, Row) when there is nothing to do.

        :param to_apply: whether the process should have the livepatch: then one that runs an outdated build of the
            library cannot count as repaired.
        """
        resolution = self.resolved(via)
        if not resolution.concerned:
            wanted = " or ".join(target.soname for target in self.container.targets)
            why = f"process {pid} ({name}) has not loaded {wanted}"
            if is_statically_linked(pid, via):
                why += ": it runs a statically linked program, and what that has of the library cannot be patched"
            return None, None, Row(pid, name, outcome.NOT_APPLICABLE, why)
        if resolution.obscure:
            raise ProcessUnpatchable(
                pid,
                f"process {pid} ({name}) has mapped {resolution.obscure[0].path}, a file that this user cannot reach"
                f" any more, so nobody can tell which build of the library it is; {remedy(pid)}",
            )
        if resolution.others and not resolution.matches and not resolution.doubles:
            outdated = [match for match in resolution.others if match.library.deleted]
            if outdated and to_apply:
                raise ProcessUnpatchable(
                    pid,
                    f"{_other_build(pid, name, outdated[0])}; its build has been replaced on disk since, so that nobody"
                    " can say whether it has the fault: restart the process, or apply a livepatch for that build",
                )
            why = _other_build(pid, name, resolution.others[0])
            return None, None, Row(pid, name, outcome.ALREADY_FIXED_ON_DISK, why)
        subject = examine(pid, self.files)
        if resolution.doubles:
            raise ProcessUnpatchable(
                pid, f"process {pid} ({name}) has loaded {resolution.doubles[0].library.path} more than once"
            )
        if resolution.others:
            raise ProcessUnpatchable(pid, _other_build(pid, name, resolution.others[0]))
        return subject, resolution, None

    # --------------------------------------------------------------- apply

    def _apply(self, pid, via, name):
        subject, resolution, row = self._examine(pid, via, name)
        if row is None:
            row = _with_besides((yield from self._apply_to(subject, resolution)), resolution)
        return row

    def _apply_to(self, subject, resolution):
        pid, via, name = subject.pid, subject.via, subject.name
        patch = subject.state.patch(self.container.patch_id)
        again = patch is not None and patch.applied
        if again and resolution.is_covered(patch):
            return (yield from self._brought_along(subject, patch, outcome.ALREADY_PATCHED))
        self._require_dependencies(subject)
        require_available(pid, via)
        require_no_strict_thread(pid)
        libraries = [self._resolved(subject, match) for match in resolution.matches]
        for library in libraries:
            sites(library, self.container.jumps)
        if again:
            self._require_repeatable(subject, libraries)
        # One that has been reverted is still loaded.
        by_path = patch is not None or can_load(via, self.path)
        if not by_path and not sees_itself_in_proc(via):
            raise ProcessUnpatchable(
                pid,
                f"process {pid} ({name}) cannot load the file {self.path}, which it does not see or may not read, and"
                " has no /proc through which it could be given the bytes; mount proc there, or mount the livepatch's"
                " directory to the same place there",
            )
        if self.options.check:
            reservation = foreseen(pid, via, self.options.seccomp)
            return Row(pid, name, outcome.PATCHED, reservation, changed=True)
        if again:
            return (yield from self._repeat(subject, libraries))
        contents = None if by_path else self._verified_contents()
        return (yield from self._request(subject, abi.APPLY, libraries, outcome.PATCHED, contents))

    def _verified_contents(self):
        """The bytes that ``container`` was read from."""
        if self._contents is None:
            contents = read_file(self.path)
            if parse_container(contents, self.path).patch_id != self.container.patch_id:
                raise UlpError(f"{self.path} was replaced after it was read; run again")
            self._contents = contents
        return self._contents

    def _resolved(self, subject, match):
        image = self.files.image(subject.via, match.library.mapping)
        functions = self.files.functions(subject.via, match.library.mapping)
        bodies = None
        if image.is_program:
            roots = program_roots(match, functions, subject.state, self.container.jumps)
            bodies = self.files.bodies(subject.via, match.library.mapping, roots)
        return ResolvedLibrary(
            match.target,
            match.library,
            image,
            functions,
            self.files.is_post_processed(subject.via, match.library.mapping),
            bodies,
        )

    def _require_dependencies(self, subject):
        for patch_id in self.container.dependencies:
            patch = subject.state.patch(patch_id)
            if patch is None or not patch.applied:
                raise UlpError(
                    f"{self.container.path} depends on the livepatch {patch_id[:16]}, which is not applied to"
                    f" process {subject.pid} ({subject.name}); apply that first"
                )

    # ---------------------------------------------------------- apply anew

    def _require_repeatable(self, subject, libraries):
        """Refuse what can be foreseen before anything is taken back."""
        self._require_independence(subject)
        applied = subject.state.patch(self.container.patch_id)
        bases = {library.library.base for library in libraries}
        if len({hooked.domain for hooked in subject.state.libraries if hooked.base in bases}) > 1:
            raise UlpError(
                f"process {subject.pid} ({subject.name}) has loaded a further library since the livepatch was applied,"
                " and it was patched apart from the others; revert this livepatch, or restart the process"
            )
        own = replaced_functions(self.container)
        for patch, other in self._others(subject):
            if patch.applied_universe > applied.applied_universe and not own.isdisjoint(replaced_functions(other)):
                raise UlpError(
                    f"process {subject.pid} ({subject.name}) has loaded a further library since the livepatch was"
                    f" applied, which can only be applied to it from below {patch.name}; revert that first"
                )
        self._prepared(subject, abi.APPLY, libraries, None)

    def _repeat(self, subject, libraries):
        """Take the livepatch back and apply it to ``libraries``: some of them were loaded after it was applied."""
        known = {hooked.base for hooked in subject.state.libraries}
        before = [library for library in libraries if library.library.base in known]
        require_binding()
        build = self._prepared(subject, abi.REVERT, [], None)
        # Without a look at the threads: the time without the livepatch is to be short.
        reverted = yield from Borrower(subject, build, self.options).run()
        subject = self._again(subject)
        if subject.state.patch(self.container.patch_id).applied:
            return self._judge(subject, reverted, outcome.REVERTED)
        # From here on, nothing but a failure may keep it from being applied.
        bold = Trigger(self.container, self.files, self.options.resolute)
        row = yield from bold._tried(subject, libraries)
        if row.outcome in _WITHOUT:
            restored = yield from bold._tried(subject, before)
            what = "not applied any more" if restored.outcome in _WITHOUT else "applied as before"
            row = row._replace(
                outcome=outcome.FAILED,
                reason=f"{row.reason}; the livepatch was to be applied anew, for a library that was loaded since, and"
                       f" is {what}"
            )
        return row._replace(changed=True, held_us=max(reverted.held_us or 0.0, row.held_us or 0.0))

    def _tried(self, subject, libraries):
        try:
            return (yield from self._request(subject, abi.APPLY, libraries, outcome.PATCHED))
        except UlpError as error:
            return Row(subject.pid, subject.name, outcome.FAILED, str(error))

    # -------------------------------------------------------------- revert

    def _revert(self, pid, via, name):
        subject, _resolution, row = self._examine(pid, via, name, to_apply=False)
        if row is not None:
            return row
        patch = subject.state.patch(self.container.patch_id)
        if patch is None:
            return Row(
                pid, subject.name, outcome.NOT_APPLICABLE, f"the livepatch is not applied to process {pid} ({name})"
            )
        if not patch.applied:
            return (yield from self._brought_along(subject, patch, outcome.REVERTED))
        self._require_independence(subject)
        require_available(pid, via)
        require_no_strict_thread(pid)
        if self.options.check:
            return Row(pid, subject.name, outcome.REVERTED, changed=True)
        return (yield from self._request(subject, abi.REVERT, [], outcome.REVERTED))

    def _others(self, subject):
        """The other livepatches that are applied to the process: pairs of LoadedPatch and Container."""
        for patch in subject.state.patches:
            if not patch.applied or patch.patch_id == self.container.patch_id:
                continue
            mapping = mapping_at(subject.mappings, patch.text_start)
            if mapping is None:
                continue
            descriptor = open_mapped(subject.via, mapping)
            try:
                yield patch, read_container(f"/proc/self/fd/{descriptor}")
            finally:
                os.close(descriptor)

    def _require_independence(self, subject):
        for patch, other in self._others(subject):
            if self.container.patch_id in other.dependencies:
                raise UlpError(
                    f"the livepatch {patch.name}, applied to process {subject.pid} ({subject.name}),"
                    " depends on this one; revert that first"
                )

    # --------------------------------------------------------------- check

    def _check(self, pid, via, name):
        return self._looked_at(pid, via, name, self._found)

    def _bring_along(self, pid, via, name):
        return self._looked_at(pid, via, name, self._brought_along)

    def _found(self, subject, patch, done):
        # A generator like the others, although it never waits.
        yield from ()
        return self._settled(subject, patch, done)

    def _looked_at(self, pid, via, name, judge):
        """The Row of a process that is left as it is; ``judge`` gives it where the livepatch is loaded."""
        subject, resolution, row = self._examine(pid, via, name)
        if row is None:
            row = _with_besides((yield from self._check_state(subject, resolution, judge)), resolution)
        return row

    def _check_state(self, subject, resolution, judge):
        pid, name = subject.pid, subject.name
        patch = subject.state.patch(self.container.patch_id)
        if patch is not None and patch.applied and not resolution.is_covered(patch):
            late = " and ".join(resolution.late(subject.state)) or "a further library"
            return Row(
                pid, name, outcome.FAILED,
                f"process {pid} ({name}) has loaded {late} since the livepatch was applied, and runs old functions of"
                " it; apply the livepatch again",
            )
        if patch is None:
            return Row(pid, name, outcome.FAILED, f"the livepatch is not applied to process {pid} ({name})")
        return (yield from judge(subject, patch, outcome.ALREADY_PATCHED if patch.applied else outcome.REVERTED))

    # ------------------------------------------------------------- request

    def _request(self, subject, operation, libraries, done, contents=None):
        require_binding()
        answer = yield from self._ask(subject, operation, libraries, contents)
        if operation == abi.APPLY and contents is None and self._is_shut_out(subject, answer.result):
            answer = yield from self._bring(subject, libraries, answer)
        row = self._judge(subject, answer, done)
        if row.changed and row.threads:
            row = yield from self._make_lasting(subject, row, done)
        return row

    def _ask(self, subject, operation, libraries, contents):
        """Have the request carried out; a borrow.Answer."""
        build = self._prepared(subject, operation, libraries, contents)
        return (yield from Borrower(subject, build, self.options, contents).run())

    def _is_shut_out(self, subject, result):
        """Whether the loader may have failed for want of the file, which can_load() takes for within reach.

        Access control lists, Landlock and other security modules are known to the kernel alone.
        """
        if result is None or result.error != abi.LOAD_FAILED or subject.state.patch(self.container.patch_id):
            return False
        # The loader's words are in the process's own language, but begin with the path; the runtime may cut them off.
        concerns_file = result.detail.startswith(f"{self.path}: ") or self.path.startswith(result.detail)
        return concerns_file and sees_itself_in_proc(subject.via)

    def _bring(self, subject, libraries, before):
        """Try again with the bytes; ``before``, the Answer to the first request, stands where they do not load either.

        Then it was not for want of the file, and the first one names that.
        """
        try:
            answer = yield from self._ask(subject, abi.APPLY, libraries, self._verified_contents())
        except ProcessUnpatchable:
            # A filter forbids what only this way needs.
            return before
        if answer.result is None or answer.result.error == abi.LOAD_FAILED:
            return before
        return answer._replace(
            held_us=max(before.held_us or 0.0, answer.held_us or 0.0) or None,
            attempts=before.attempts + answer.attempts,
        )

    def _prepared(self, subject, operation, libraries, contents):
        """The function of a nonce that gives the request's bytes; raises ProcessUnpatchable when they are too many."""
        bases = {library.library.base for library in libraries}
        domain = next((hooked.domain for hooked in subject.state.libraries if hooked.base in bases), None)
        patch = subject.state.patch(self.container.patch_id)
        settled = settled_universe(subject, domain if patch is None else patch.domain, self.files)

        def build(nonce):
            path = self.path if contents is None else ""
            return build_request(operation, nonce, self.container, path, libraries, settled)

        size = len(build(1))
        if size > subject.state.request_capacity:
            raise ProcessUnpatchable(
                subject.pid,
                f"process {subject.pid} ({subject.name}): the request for so many functions is {size} bytes long,"
                f" and the runtime takes {subject.state.request_capacity}",
            )
        return build

    def _brought_along(self, subject, patch, done):
        """The Row of a process that has what was asked for; threads that lag behind are settled, if that can be.

        The livepatch is neither applied nor taken back by that: the row says *changed* of nothing.
        """
        row = self._settled(subject, patch, done)
        if not row.threads_pending or self.options.check:
            return row
        try:
            require_binding()
            require_available(subject.pid, subject.via)
            require_no_strict_thread(subject.pid)
        except UlpError:
            # No thread can be borrowed: what was found stands.
            return row
        return (yield from self._make_lasting(subject, row, done))

    def _make_lasting(self, subject, row, done):
        """Have what was seen of the threads hold for their next entries, and look again where it does not."""
        changed = row.changed
        try:
            subject = self._again(subject)
            patch = subject.state.patch(self.container.patch_id)
            settled = yield from settling(subject, patch, self.container, self.files, self.options)
            held_us = max(row.held_us or 0, settled.held_us or 0) or None
            # Otherwise the row says so already, and who is still inside has been waited for.
            if settled.done == bool(row.threads_pending):
                row = self._settled(self._again(subject), None, done)
            return row._replace(held_us=held_us, changed=changed)
        except UlpError:
            # The process has ended, or a veto or a signal came: what was done before stands.
            return row

    def _judge(self, subject, answer, done):
        pid, name, result = subject.pid, subject.name, answer.result
        row = Row(pid, name, outcome.FAILED, held_us=answer.held_us)
        if result is None:
            why = answer.refusal or "all its threads sleep in the kernel"
            return row._replace(reason=f"no thread of process {pid} ({name}) could be borrowed: {why}")
        if result.stage in (abi.STAGE_STARTED, abi.STAGE_WAITS):
            return row._replace(
                outcome=outcome.PENDING,
                changed=True,
                reason=f"process {pid} ({name}) is still loading the livepatch after {self.options.timeout:g} seconds;"
                " check it later",
            )
        if result.error == abi.ALREADY_APPLIED and done == outcome.PATCHED:
            # Somebody else was faster; a thread was held all the same.
            faster = self._settled(self._again(subject), None, outcome.ALREADY_PATCHED)
            return faster._replace(held_us=answer.held_us)
        if result.stage != abi.STAGE_DONE:
            what = abi.error_sentence(result.error)
            detail = f" ({result.detail})" if result.detail else ""
            if result.error == abi.TEXT_UNWRITABLE and done == outcome.PATCHED:
                # The runtime tries that before all else; what a process has denied itself it does not get back.
                return row._replace(
                    outcome=outcome.NOT_PATCHABLE,
                    reason=f"process {pid} ({name}): {what}{detail}: it can neither open /proc/self/mem for writing,"
                    " nor may it make memory executable (MemoryDenyWriteExecute=); restart it with the fixed library",
                )
            tries = f", after {answer.attempts} attempts" if abi.is_retryable(result.error) else ""
            return row._replace(reason=f"process {pid} ({name}): {what}{detail}{tries}")
        settled = self._settled(self._again(subject), None, done)
        return settled._replace(held_us=answer.held_us, changed=True)

    @staticmethod
    def _again(subject):
        """The Subject with its state as it is now; the map has changed, too, since a patch was loaded."""
        return subject._replace(state=read_state(subject.via, subject.state.address))

    def _settled(self, subject, patch, done):
        """The Row of a process in which the patch is as it should be, with the threads that are not there yet."""
        if patch is None:
            patch = subject.state.patch(self.container.patch_id)
        until = 0.0 if self.options.check else self.options.wait_migrated
        found = migration(subject, patch, self.files, until, self.options.sample)
        pending = len(found.pending)
        coroutines = subject.state.domains[patch.domain].coroutines
        if not pending:
            reason = _about_coroutines(subject) if coroutines else ""
            return Row(subject.pid, subject.name, done, reason, threads=found.threads, coroutines=coroutines)
        return Row(
            subject.pid,
            subject.name,
            outcome.PENDING,
            _about_pending(subject, found, "livepatch" if patch.applied else "revert"),
            threads=found.threads,
            threads_pending=pending,
            coroutines=coroutines,
            unsettled=len(found.outside),
        )


def replaced_functions(container):
    """What a livepatch.container.Container replaces: a set of (build ID of the library, link-time address)."""
    return {(target.build_id, pair.old_offset) for target in container.targets for pair in target.functions}


def _about_pending(subject, found, change):
    pending, outside = len(found.pending), len(found.outside)
    who = f"{pending} of {found.threads} threads of process {subject.pid} ({subject.name})"
    again = "apply the livepatch again" if change == "livepatch" else "revert it again"
    settle = f"are outside the library, but may keep old functions when they next enter it; {again} to prevent that"
    if outside == pending:
        return f"{who} {settle}"
    reason = f"{who} are still inside the library, or may be; they take the {change} when they next enter it"
    return f"{reason}; {outside} of them {settle}" if outside else reason


def _about_coroutines(subject):
    return (
        f"process {subject.pid} ({subject.name}) enters the library from coroutines, of which one that is suspended"
        " inside it goes on with old functions, unseen; restart the process when its coroutines call the library"
        " and are suspended in callbacks from it"
    )


def _build_id(library):
    found = library.survey.build_id
    return f"with build ID {found}" if found else "without build ID"


def _other_build(pid, name, match):
    return (
        f"process {pid} ({name}) runs {match.library.name} {_build_id(match.library)}, and the livepatch is for"
        f" build ID {match.target.build_id}"
    )


def _with_besides(row, resolution):
    """The Row, which also names what the livepatch is not for: it says nothing of those builds."""
    if not resolution.besides:
        return row
    found = " and ".join(dict.fromkeys(
        f"{printable(match.library.path)} {_build_id(match.library)}" for match in resolution.besides
    ))
    also = f"process {row.pid} ({row.name}) also runs {found}, for which this livepatch is not"
    return row._replace(reason=f"{row.reason}; {also}" if row.reason else also)
