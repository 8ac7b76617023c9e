# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to patch on this machine, and in which state; read from memory only."""

from __future__ import annotations

import time

from ..attention import BY_ATTACHING, NOT, NOW
from ..defaults import EXAMINE_SECONDS
from ..errors import MissingDependency, UlpError
from ..faults import unexpected
from ..livepatch.labels import shown_labels
from ..printable import printable
from ..process.affiliation import container
from ..process.errors import KernelThread, ProcessDead, ProcessForbidden, ProcessGone, ProcessUnpatchable, RuntimeAbsent
from ..process.mapped import MappedFiles, moved_away
from ..process.maps import mapping_at, read_code_maps
from ..process.namespaces import shares_root
from ..process.runtime import LoadedPatch
from ..process.subject import alive, at_rest, examine
from .pool import Pool
from .select import Selection, choose, is_meant, name_of, short_name_of
from .task import Task
from .unanswered import why

# Facts have no time to watch a running thread for long, in seconds.
_SAMPLE_SECONDS = 0.002


def gather(selection=None, examine_timeout=EXAMINE_SECONDS):
    """The livepatching state of the selected processes.

    They are looked at by workers (pool.Pool), which are killed where one does not answer.

    :param selection: select.Selection; every process when None.
    :param examine_timeout: how long one process may keep the others waiting, seconds.
    :return: dict with ``runtime_versions`` (list of str), ``processes`` (those that have the runtime: ``pid``,
        ``name``, ``container``, ``own_root``, ``patchable``, ``attached``, ``cut_off``, ``runtime_version``,
        ``threads``, ``threads_pending``, ``libraries``, ``patches``) and ``unpatchable`` (``pid``, ``name``,
        ``patchable``, ``reason``, ``forbidden``: this user may not look at it,
        ``libraries``: the paths of what it has loaded that was built for livepatching, None where that is not known;
        or the one library, whoever built it, of which the process has moved the code, with an entry of its own);
        kernel threads and zombies that nobody asked for are left out, and processes that end meanwhile.
    :raises ProcessGone: a process that was asked for by its PID does not exist.
    :raises MissingDependency: a Python package is missing.
    """
    processes: list[dict] = []
    unpatchable: list[dict] = []
    selection = selection or Selection()
    with Pool(lambda _worker: facts_of(selection), examine_timeout) as pool:
        for answer in pool.run([Task(0, *candidate) for candidate in choose(selection)]):
            pid = answer.task.pid
            if answer.problem is not None:
                name = short_name_of(pid)
                unpatchable.append(_entry(pid, name, why(answer, name, examine_timeout), None))
                continue
            for entry in answer.value:
                (unpatchable if "reason" in entry else processes).append(entry)
    for found in (processes, unpatchable):
        found.sort(key=lambda process: process["pid"])
    return {
        "runtime_versions": sorted({process["runtime_version"] for process in processes}),
        "processes": processes,
        "unpatchable": unpatchable,
    }


def facts_of(selection):
    """What a worker does with each task: see pool.Pool."""
    files = MappedFiles()
    return lambda task: _facts_of(task, files, selection)


def _facts_of(task, files, selection):
    """The entries for one process; those with a ``reason`` are unpatchable.  A generator, as trigger.drive wants it."""
    asked_for = False
    try:
        if not is_meant(task, selection):
            return []
        asked_for = not selection.everything
        return (yield from at_rest(lambda: _look_at(task.pid, files)))
    except MissingDependency:
        raise
    except ProcessGone:
        if task.named:
            raise
        return []
    except (KernelThread, ProcessDead) as error:
        return [_unpatchable(task, error, [])] if asked_for else []
    except ProcessForbidden as error:
        return [_unpatchable(task, error, None, forbidden=True)]
    except RuntimeAbsent:
        # What its sentence advises is for those who do not attach.
        whose = f"process {task.pid} ({name_of(task.pid)})"
        reason = f"{whose} was started without the livepatch runtime, which an apply loads"
        libraries = _loaded(task.pid, files)
        return [
            _unpatchable(task, reason, _padded_paths(libraries), patchable=BY_ATTACHING),
            *_moved(task.pid, name_of(task.pid), libraries or []),
        ]
    except ProcessUnpatchable as error:
        return [_unpatchable(task, error, _padded_paths(_loaded(task.pid, files)))]
    except UlpError as error:
        return [_unpatchable(task, error, None)]
    except Exception as error:  # noqa: BLE001 - nothing that a process shows may end the run
        return [_unpatchable(task, unexpected(error, f"process {task.pid} ({name_of(task.pid)})"), None)]


def _look_at(pid, files):
    subject = examine(pid, files, identified=False)
    libraries = files.libraries(subject.proc_tid, subject.mappings)
    described = yield from describe(subject, files, [library for library in libraries if library.survey.padded])
    return [described, *_moved(subject.pid, subject.name, [
        library for library in libraries if _out_of_reach(subject, library)])]


def padded(files, proc_tid, mappings):
    """The process.mapped.LoadedLibrary of a process that were built for livepatching."""
    return [library for library in files.libraries(proc_tid, mappings) if library.survey.padded]


def _loaded(pid, files):
    """The process.mapped.LoadedLibrary of a process that has no runtime, or None where that cannot be told."""
    try:
        proc_tid = alive(pid)[1]
        return files.libraries(proc_tid, read_code_maps(proc_tid))
    except MissingDependency:
        raise
    except UlpError:
        return None


def _padded_paths(libraries):
    """The paths of those of _loaded() that were built for livepatching."""
    if libraries is None:
        return None
    return [printable(library.path) for library in libraries if library.survey.padded]


def _unpatchable(task, reason, libraries, forbidden=False, patchable=NOT):
    return _entry(task.pid, name_of(task.pid), str(reason), libraries, forbidden, patchable)


def _entry(pid, name, reason, libraries, forbidden=False, patchable=NOT):
    return {
        "pid": pid, "name": name, "patchable": patchable, "reason": reason, "libraries": libraries,
        "forbidden": forbidden,
    }


def describe(subject, files, libraries):
    """The facts of one process (process.subject.Subject); a generator, as trigger.drive wants it.

    :param libraries: the process.mapped.LoadedLibrary of it that have padding.
    """
    pending = yield from lagging(subject, files)
    undone = _undone(subject, files)
    return {
        "pid": subject.pid,
        "name": subject.name,
        "container": container(subject.pid),
        "own_root": not shares_root(subject.proc_tid),
        "patchable": NOW,
        "attached": subject.state.attached,
        "cut_off": _cut_off(subject, files),
        "runtime_version": subject.state.version,
        "threads": subject.threads,
        "threads_pending": len(pending),
        "libraries": _libraries(subject, files, libraries, undone),
        "patches": [
            _patch(subject, files, subject.state.instances(patch_id), undone)
            for patch_id in dict.fromkeys(patch.patch_id for patch in subject.state.patches)
        ],
    }


def _cut_off(subject, files):
    """What an attach that was cut off has left, a sentence, or None."""
    if not subject.state.attached:
        return None
    # Few processes have had the runtime loaded: the others need not wait for this.
    from ..trigger.attaching.cut_off import left_behind, stays

    place = left_behind(subject, files)
    return stays(place) if place is not None else None


def _out_of_reach(subject, library):
    """Whether the code of a library was moved before anything of it was hooked.

    Where it was hooked before, the hooks themselves tell what has become of them.
    """
    return library.moved and all(hooked.base != library.base for hooked in subject.state.libraries)


def _moved(pid, name, libraries):
    """Why libraries of a process that can be patched otherwise cannot, as entries of ``unpatchable``.

    :param libraries: list of process.mapped.LoadedLibrary, whether or not they were built for livepatching.
    """
    return [
        _entry(pid, name, moved_away(pid, name, library), [printable(library.path)])
        for library in libraries if library.moved
    ]


def _undone(subject, files):
    """{domain: undone.Undoing} of the domains in which hooks are not as the runtime left them."""
    domains = {patch.domain for patch in subject.state.patches if patch.applied}
    if not domains:
        return {}
    # Who asks for a list where nothing is patched does not wait for this, nor for what lagging() needs.
    from ..trigger.judgement.undone import undoing

    found = {domain: undoing(subject, domain, files) for domain in domains}
    return {domain: undone for domain, undone in found.items() if undone is not None}


def lagging(subject, files):
    """TIDs of the threads that lag behind the newest universe of any library; a generator."""
    newest: dict[int, LoadedPatch] = {}
    if subject.state.patches:
        from ..trigger.judgement.progress import migration
    for patch in subject.state.patches:
        if patch.domain not in newest or patch.universe > newest[patch.domain].universe:
            newest[patch.domain] = patch
    pending = set()
    for patch in newest.values():
        found = yield from migration(subject, patch, files, seconds=_SAMPLE_SECONDS)
        pending.update(found.pending)
    return pending


def _libraries(subject, files, libraries, undone):
    hooked = {library.base: library for library in subject.state.libraries}
    described = []
    for library in libraries:
        if _out_of_reach(subject, library):
            continue
        known = hooked.get(library.base)
        described.append({
            "path": printable(library.path),
            "deleted": library.deleted,
            "soname": library.survey.soname,
            "build_id": library.survey.build_id,
            # The runtime looked when it hooked the library, and spares us reading the whole file.
            "post_processed": known.post_processed if known else _is_post_processed(subject, library, files),
            "stock": known is not None and known.stock,
            "universe": subject.state.domains[known.domain].universe if known else 0,
            "patches": [
                patch.patch_id for patch in subject.state.patches if known and patch.domain == known.domain
                and patch.applied and patch.domain not in undone
            ],
        })
    return described


def _is_post_processed(subject, library, files):
    try:
        return files.is_post_processed(subject.proc_tid, library.mapping)
    except MissingDependency:
        raise
    except UlpError:
        # Somebody damaged the file after it was mapped; what is in memory is not known to be post-processed.
        return False


def _labels(subject, files, patch):
    """The labels of a livepatch, {key: list of str}; none where its file can't be read."""
    mapping = mapping_at(subject.mappings, patch.text_start)
    try:
        return shown_labels(files.named_image(subject.proc_tid, mapping)) if mapping is not None else {}
    except MissingDependency:
        raise
    except UlpError:
        return {}


def _patch(subject, files, instances, undone):
    """The facts of one livepatch.

    :param instances: list of process.runtime.LoadedPatch, one for each copy of its target.
    :param undone: what _undone() gave.
    """
    # What one copy has not, the process has not.
    patch = min(instances, key=lambda its: (its.applied, its.domain not in undone))
    its_undone = undone.get(patch.domain) if patch.applied else None
    domains = {its.domain for its in instances}
    return {
        "patch_id": patch.patch_id,
        "name": patch.name,
        "status": "undone" if its_undone is not None else "applied" if patch.applied else "reverted",
        "undone": f"{its_undone.reason}; {its_undone.remedy}" if its_undone is not None else "",
        "universe": patch.universe,
        "functions": patch.functions,
        "labels": _labels(subject, files, patch),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(patch.loaded_ns // 10**9)),
        "libraries": [library.name for library in subject.state.libraries if library.domain in domains],
    }
