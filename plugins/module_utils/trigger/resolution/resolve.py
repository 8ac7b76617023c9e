# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libraries of a process a livepatch is for."""

from __future__ import annotations

import os

from ...livepatch.target import Target
from ...named_tuple import NamedTuple
from ...process.mapped import LoadedLibrary
from ...process.maps import Mapping


class Match(NamedTuple):
    """A target of the livepatch, and the library of the process that it is."""

    target: Target
    library: LoadedLibrary


class Resolution(NamedTuple):
    """How a livepatch's targets and a process's libraries correspond."""

    matches: list[Match]
    other_builds: list[Match]  # the library's name is right, its build ID is not
    loaded_repeatedly: list[Match]  # loaded more than once: from two files, or by dlmopen(3)
    # Called like a target, of a file of which nobody can tell what it is, and why not: as MappedFiles.loaded().
    unidentified: list[tuple[Mapping, str]]
    additional_builds: list[Match]  # as other_builds, of a target that the process has loaded in the right build, too
    # Of what is loaded repeatedly: {load bias: number of the loader's namespace}; as process.link_maps.namespaces().
    namespaces: dict[int, int] | None = None

    @property
    def concerned(self):
        """Whether the process has any library that the livepatch is about."""
        return bool(self.matches or self.other_builds or self.loaded_repeatedly or self.unidentified)

    @property
    def copies(self):
        """The Match of each copy of a target that is loaded repeatedly, in the order of loading, or ().

        Which copy of one library belongs to which of another one nobody can tell, so it has to be the only target that
        the process has loaded.
        """
        several = len({match.target.build_id for match in self.loaded_repeatedly}) > 1
        if self.matches or several or self.strange:
            return ()
        # A broken process may say that it has loaded thousands.
        order = {base: place for place, base in enumerate(self.namespaces or ())}
        return tuple(sorted(self.loaded_repeatedly, key=lambda match: order[match.library.base]))

    @property
    def strange(self):
        """The Match of each copy that the loader does not know: something else has mapped the file, it seems."""
        known = self.namespaces or {}
        return [match for match in self.loaded_repeatedly if match.library.base not in known]

    @property
    def are_apart(self):
        """Whether dlmopen(3) has loaded one of ``copies`` into a namespace of its own."""
        known = self.namespaces or {}
        return any(known[match.library.base] for match in self.copies)

    def for_copy(self, match):
        """The Resolution as it is for one of ``copies``."""
        return self._replace(matches=[match], loaded_repeatedly=[])

    def is_covered(self, patch):
        """Whether an applied ``patch`` (process.runtime.LoadedPatch) is in all libraries of the process that it is for.

        It is not in one that was loaded (dlopen(3)) after it was applied.
        """
        return patch.functions == sum(len(match.target.functions) for match in self.matches)

    def late(self, state):
        """The names of the matching libraries that the runtime (process.runtime.RuntimeState) has not hooked."""
        hooked = {library.base for library in state.libraries}
        return [match.library.name for match in self.matches if match.library.base not in hooked]


def resolve(livepatch, libraries, unidentified=(), companions=()):
    """Find the targets of ``livepatch`` (livepatch.livepatch.Livepatch) among ``libraries`` (LoadedLibrary).

    :param unidentified: the second list that MappedFiles.loaded() gave.
    :param companions: the other livepatches of the same run. The builds that those are for are theirs, and no
        ``additional_builds``; nor are they ``other_builds``, unless the process has another target in the right build:
        what is to change together must not be left to two livepatches.
    :return: Resolution; a target that the process does not load is in none of its lists.
    """
    resolution = Resolution([], [], [], [
        (mapping, why) for mapping, why in unidentified if any(_may_be(mapping, target) for target in livepatch.targets)
    ], [])
    wanted = {target.build_id for its in (livepatch, *companions) for target in its.targets}
    for target in livepatch.targets:
        same_build = [library for library in libraries if library.survey.build_id == target.build_id]
        if same_build:
            found = resolution.matches if len(same_build) == 1 else resolution.loaded_repeatedly
            found.extend(Match(target, library) for library in same_build)
            resolution.additional_builds.extend(
                Match(target, library) for library in libraries
                if library.survey.build_id not in wanted and is_called(library, target.soname)
            )
        else:
            resolution.other_builds.extend(
                Match(target, library) for library in libraries if is_called(library, target.soname)
            )
    if not resolution.matches:
        theirs = [match for match in resolution.other_builds if match.library.survey.build_id not in wanted]
        resolution = resolution._replace(other_builds=theirs)
    return resolution


def is_called(library, soname):
    """Whether a library (LoadedLibrary) has that name: as its soname, or its file's where it has none."""
    if library.survey.soname is not None:
        return library.survey.soname == soname
    return os.path.basename(library.path) == soname


def _may_be(mapping, target):
    # The map has the file's own name, often a longer one than the soname: libz.so.1.2.13.
    name = os.path.basename(mapping.path)
    return name in (target.soname, os.path.basename(target.path)) or name.startswith(f"{target.soname}.")
