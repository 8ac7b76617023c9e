# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries that a livepatch is for, as one process has them: what of them can be hooked, and where."""

from __future__ import annotations

from .request import ResolvedLibrary, program_roots
from .stock import code_of, hooked_before, puns, require_code, stock_functions


def resolved_library(job, subject, match):
    """The request.ResolvedLibrary of a resolve.Match.

    :raises NotPatchable: what it runs does not show where its functions are.
    """
    image = job.files.image(subject.proc_tid, match.library.mapping)
    image.require_sections()
    if match.target.has_sites:
        return _stock_library(subject, match, image)
    functions = job.files.functions(subject.proc_tid, match.library.mapping)
    bodies = None
    if image.is_program:
        roots = program_roots(match, functions, subject.state, job.livepatch.jumps)
        bodies = job.files.bodies(subject.proc_tid, match.library.mapping, roots)
    return ResolvedLibrary(
        match.target,
        match.library,
        image,
        functions,
        job.files.is_post_processed(subject.proc_tid, match.library.mapping),
        bodies,
    )


def _stock_library(subject, match, image):
    """The same for a target without padding: where its functions can be hooked in this process is decided here."""
    library = match.library
    wanted = stock_functions(match.target)
    require_code(library.path, image, wanted)
    hooked = hooked_before(subject, library)
    names = {function.address: function.name for function in wanted}
    code = code_of(image, hooked.union(names), names)
    resolved = ResolvedLibrary(match.target, library, image, code.functions, False, code.bodies, ())
    offered = puns(
        resolved, subject.proc_tid, subject.pid, [each for each in wanted if each.address not in hooked],
        subject.state.interface)
    return resolved._replace(puns=tuple(offered))
