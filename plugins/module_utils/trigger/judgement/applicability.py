# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a livepatch concern a process, by the builds of the libraries that it runs?"""

from __future__ import annotations

from time import sleep

from ...printable import printable, some
from ...process.errors import ProcessUnpatchable
from ...process.mapped import moved_away, with_remedy
from ...process.maps import read_code_maps, runtime_mapping
from ...process.subject import examine, is_statically_linked
from .. import outcome
from ..outcome import Row
from ..resolution.resolve import resolve

# The loader maps a file before it lists it, and the other way round when it unloads it: so often to look again, and
# after so many seconds.
_MORE_LOOKS = 2
_PAUSE = 0.005


def resolution_in(proc_tid, livepatch, files, companions=()):
    """How the livepatch and the libraries of a process correspond.

    :param proc_tid: a thread of the process that has not ended.
    :param livepatch: livepatch.livepatch.Livepatch.
    :param files: process.mapped.MappedFiles.
    :param companions: the other livepatches of the same run.
    :return: resolve.Resolution.
    :raises ProcessGone, ProcessForbidden: the process cannot be looked at.
    """
    resolution = _resolution_now(proc_tid, livepatch, files, companions)
    for _look in range(_MORE_LOOKS):
        if not resolution.strange:
            break
        sleep(_PAUSE)
        resolution = _resolution_now(proc_tid, livepatch, files, companions)
    return resolution


def _resolution_now(proc_tid, livepatch, files, companions):
    libraries, unidentified = files.loaded(proc_tid, read_code_maps(proc_tid))
    resolution = resolve(livepatch, libraries, unidentified, companions)
    if resolution.loaded_repeatedly:
        # Few processes have that.
        from ...process.link_maps import namespaces

        resolution = resolution._replace(namespaces=namespaces(proc_tid))
    return resolution


def resolutions_in(proc_tid, livepatches, files):
    """As resolution_in(), for several livepatches of one run: a list of resolve.Resolution."""
    libraries, unidentified = files.loaded(proc_tid, read_code_maps(proc_tid))
    return [
        resolve(livepatch, libraries, unidentified, [other for other in livepatches if other is not livepatch])
        for livepatch in livepatches
    ]


def examine_concerned(job, pid, proc_tid, name, absent=False, takes_back=False):
    """Look at a process, if the livepatch is for it.

    :param job: job.Job.
    :param proc_tid: the thread through which /proc shows the process.
    :param name: what messages call it.
    :param absent: as for process.subject.examine().
    :param takes_back: nothing is to be patched: the runtime knows what it has to take back.
    :return: (process.subject.Subject, resolve.Resolution, None), or (None, None, Row) when there is nothing to do.
    :raises ProcessUnpatchable: it is, or may be, and the process cannot be patched.
    :raises: as process.subject.examine().
    """
    resolution = resolution_in(proc_tid, job.livepatch, job.files, job.companions)
    if not resolution.concerned:
        wanted = " or ".join(dict.fromkeys(target.soname for target in job.all_targets))
        why = f"process {pid} ({name}) has not loaded {wanted}"
        if is_statically_linked(pid, proc_tid):
            why += ": it runs a statically linked program, and what that has of the library cannot be patched"
        return None, None, Row(pid, name, outcome.NOT_APPLICABLE, why)
    if resolution.unidentified:
        mapping, obstacle = resolution.unidentified[0]
        raise ProcessUnpatchable(pid, with_remedy(
            pid,
            f"process {pid} ({name}) has mapped {mapping.path}, a file that {obstacle},"
            " so nobody can tell which build of the library it is",
            obstacle,
        ))
    if resolution.other_builds and not resolution.matches and not resolution.loaded_repeatedly:
        outdated = [match for match in resolution.other_builds if match.library.deleted]
        if outdated:
            raise ProcessUnpatchable(
                pid,
                f"{_other_build(job, pid, name, outdated[0])}; its build has been replaced on disk since, so that"
                " nobody can say whether it has the fault: restart the process, or apply a livepatch for that build",
            )
        why = _other_build(job, pid, name, resolution.other_builds[0])
        return None, None, Row(pid, name, outcome.ALREADY_FIXED_ON_DISK, why)
    subject = examine(pid, job.files, absent)
    if resolution.loaded_repeatedly and not resolution.copies and not takes_back:
        raise ProcessUnpatchable(pid, _loaded_twice(pid, name, resolution))
    if resolution.are_apart and not takes_back:
        _require_namespaces(job, subject, resolution)
    if resolution.other_builds:
        raise ProcessUnpatchable(pid, _other_build(job, pid, name, resolution.other_builds[0]))
    hooked = {library.base for library in subject.state.libraries}
    for match in (*resolution.matches, *resolution.copies):
        # Where it was hooked before, the hooks themselves tell what has become of them.
        if match.library.moved and match.library.base not in hooked:
            raise ProcessUnpatchable(pid, moved_away(pid, name, match.library))
    return subject, resolution, None


def with_origin(row, subject):
    """The Row, which also says whether the runtime was loaded into the process (Subject) while that ran."""
    return row._replace(attached=True) if subject.state.attached else row


def with_leftovers(job, subject, row):
    """The Row, which also says what an attach to the process (Subject) that was cut off has left there; a generator."""
    if not subject.state.attached:
        return row
    # Few processes have had the runtime loaded: the others need not wait for this.
    from ..attaching.cut_off import told

    return (yield from told(job, subject, row))


def with_additional_builds(row, resolution):
    """The Row, which also names what the livepatch is not for: it says nothing of those builds."""
    if not resolution.additional_builds:
        return row
    found = " and ".join(dict.fromkeys(
        f"{printable(match.library.path)} {_build_id(match.library)}" for match in resolution.additional_builds
    ))
    also = f"process {row.pid} ({row.name}) also runs {found}, for which this livepatch is not"
    return row._replace(reason=f"{row.reason}; {also}" if row.reason else also)


def _other_build(job, pid, name, match):
    runs = f"process {pid} ({name}) runs {match.library.name} {_build_id(match.library)}"
    builds = dict.fromkeys(target.build_id for target in job.all_targets if target.soname == match.target.soname)
    if len(builds) == 1:
        return f"{runs}, and the livepatch is for build ID {match.target.build_id}"
    return f"{runs}, and the livepatches are for the build IDs {some(list(builds))}"


def _build_id(library):
    found = library.survey.build_id
    return f"with build ID {found}" if found else "without build ID"


def _require_namespaces(job, subject, resolution):
    """Make sure that the runtime of a process finds libraries in all namespaces of the loader; ProcessUnpatchable."""
    mapping = runtime_mapping(subject.mappings)
    if mapping is None:
        # It is going to be loaded.
        return
    # Those that do call this function.
    if any(symbol.name == "dlmopen" for symbol in job.files.image(subject.proc_tid, mapping).dynamic_symbols()):
        return
    paths = some([printable(match.library.path) for match in resolution.copies])
    raise ProcessUnpatchable(
        subject.pid,
        f"process {subject.pid} ({subject.name}) has loaded {resolution.copies[0].library.name} from {paths}, not"
        " always into the same namespace (dlmopen), and the runtime in it is of an older version that does not find"
        " them all; restart the process with the newer runtime")


def _loaded_twice(pid, name, resolution):
    """The sentence on a process that has loaded one build several times, in a way that cannot be patched."""
    repeated = resolution.loaded_repeatedly
    first = repeated[0].target
    paths = some(sorted(dict.fromkeys(
        printable(match.library.path) for match in repeated if match.target.build_id == first.build_id)))
    if resolution.strange:
        return (f"process {pid} ({name}) has mapped {first.soname} more than once, from {paths}, and its dynamic loader"
                " does not say that it has loaded all of them; try again, or restart the process with the fixed"
                " library")
    others = dict.fromkeys(
        match.target.soname for match in (*resolution.matches, *repeated) if match.target.build_id != first.build_id)
    return (f"process {pid} ({name}) has loaded the same build of {first.soname} more than once, from {paths}, and"
            f" nobody can tell which of them works with {some(list(others))}, which the livepatch is for as well;"
            " restart it so that it finds one of them")
