# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Coroutines that are suspended inside the library: to the runtime, their threads have left it.

Whoever goes on there later runs old functions, and perhaps new ones as well.
They are counted before a livepatch is applied or reverted, when whatever is
suspended inside is older than it.  Later nobody can tell those from others that
have come with the new functions, so the runtime keeps the number, and the
stacks count for as long as any is found.
"""

from __future__ import annotations


def count_before(job, subject, libraries):
    """The stacks that are suspended inside before a request to apply or revert the livepatch: suspended.Suspended.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param libraries: list of request.ResolvedLibrary to apply it to; empty for a revert.
    """
    patch = job.patch_in(subject)
    ranges = set(_inside(subject, patch.domain)) if patch is not None else set()
    for resolved in libraries:
        library = resolved.library
        if resolved.bodies is None:
            ranges.add((library.text_start, library.text_end))
        else:
            ranges.update((library.base + start, library.base + end) for start, end in resolved.bodies.ranges)
    return _search(subject, sorted(ranges), job.files)


def count_now(job, subject, domain):
    """How many of those that were suspended inside then may still be: 0 if none was; arguments as count_before().

    :param domain: index of the domain.
    """
    before = subject.state.domains[domain].suspended
    if not before:
        return 0
    return min(before, _search(subject, _inside(subject, domain), job.files).stacks)


def _search(subject, ranges, files):
    # Few checks come here.
    from ...process.suspended import suspended_stacks

    return suspended_stacks(subject.pid, subject.proc_tid, ranges, files)


def about_suspended(subject, stacks, patch):
    """A sentence, without a full stop, about the number of ``stacks`` that were found."""
    change, functions = ("livepatch", "old") if patch.applied else ("revert", "other")
    what, there = ("a stack", "it") if stacks == 1 else (f"{stacks} stacks", "them")
    return (
        f"process {subject.pid} ({subject.name}) had {what} with frames of the library, and no thread on {there}, when"
        f" the {change} was carried out: a coroutine that is suspended there goes on with {functions} functions,"
        " unseen; restart the process unless its coroutines have left the library since"
    )


def about_unsearched(subject):
    """A sentence, without a full stop, about a process whose memory was not searched completely."""
    return (
        f"process {subject.pid} ({subject.name}) has so much memory that not all of it was searched for coroutines that"
        " were suspended in the library before: if it has any, they go on with other functions, unseen"
    )


def _inside(subject, domain):
    """The code of a domain's libraries and of the livepatches for them: address ranges."""
    state = subject.state
    ranges = [extent for library in state.libraries if library.domain == domain for extent in library.inside]
    return ranges + [(patch.text_start, patch.text_end) for patch in state.patches if patch.domain == domain]
