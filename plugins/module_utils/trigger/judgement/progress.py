# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the threads of a process are with one livepatch."""

from __future__ import annotations

from functools import lru_cache

from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...process.entry_points import entry_points
from ...process.hooks import hooks_of
from ...process.migration import inside_domain, pending_threads
from ...process.random_bytes import require_same_program
from ...process.runtime import read_state
from ...process.sites import kind_of
from ...process.subject import at_rest
from ...process.unwinder import unwind_as_far_as_told

# How long a running thread is watched until it can be judged, in seconds.
SAMPLE_SECONDS = 0.05


class Settled(NamedTuple):
    """What we tell the runtime about versions that no thread needs any more; see struct ulp_request."""

    universe: int
    keeps: int  # of the domain, before the threads were looked at
    excepted: tuple[int, ...] = ()  # TIDs, in the process's own PID namespace, of those of which it is not true


NOTHING_SETTLED = Settled(0, 0)


class Look(NamedTuple):
    """What was seen of the threads of a domain, wherever their entries come from."""

    settled: Settled
    running: tuple[int, ...] = ()  # TIDs of those excepted that were running whenever they were looked at
    others: int = 0  # how many threads are not excepted


def look(subject, domain, files, seconds=0.0):
    """Find the newest universe of ``domain`` that no thread of the process is, or will be, behind.

    That holds unless a thread has kept an older number since ``subject`` was examined, which was before any thread was
    looked at here.  A generator, as trigger.drive wants it.

    :param domain: index of the domain, or None.
    :param seconds: how long to watch running threads.
    :return: Look; the universe is 0 when no livepatch was applied yet.
    """
    patches = [patch for patch in subject.state.patches if patch.domain == domain]
    if not patches:
        return Look(NOTHING_SETTLED)
    newest = max(patches, key=lambda patch: patch.universe)
    found = yield from migration(subject, newest, files, seconds=seconds, by_stack=True)
    settled = Settled(newest.universe, subject.state.domains[domain].keeps, found.inner)
    return Look(settled, found.running, found.threads - len(found.pending))


def settled_universe(subject, domain, files):
    """What a request may give up old versions for: the Settled of a look() at all threads, or NOTHING_SETTLED.

    A generator, as trigger.drive wants it.
    """
    settled = (yield from look(subject, domain, files)).settled
    return NOTHING_SETTLED if settled.excepted else settled


def renewed(subject):
    """The Subject with its state as it is now; the map has changed, too, since a patch was loaded.

    A generator, as trigger.drive wants it; raises ProgramReplaced where it is another program by now.
    """
    def look():
        yield from ()
        state = read_state(subject.proc_tid, subject.state.address)
        require_same_program(subject)
        return subject._replace(state=state)

    return (yield from at_rest(look))


def migration(subject, patch, files, *, until_migrated=0.0, seconds=SAMPLE_SECONDS, by_stack=False):
    """Which threads do not see ``patch`` yet as it is now: applied, or reverted.

    A generator, as trigger.drive wants it.

    :param subject: process.subject.Subject.
    :param patch: process.runtime.LoadedPatch, of that process.
    :param files: process.mapped.MappedFiles.
    :param until_migrated: how long to wait, in seconds, until no thread is pending.
    :param seconds: how long to watch running threads.
    :param by_stack: as for process.migration.pending_threads().
    :return: process.migration.Migration.
    :raises ProcessGone: the process has ended.
    """
    def inside():
        return _inside(subject, patch, files)

    return (yield from pending_threads(
        subject, patch, inside, seconds=seconds, until_migrated=until_migrated, by_stack=by_stack,
    ))


def _inside(subject, patch, files):
    """The process.migration.Inside of the libraries of ``patch``."""
    hooks = [
        hook for library in subject.state.libraries if library.domain == patch.domain and library.stock
        for hook in hooks_of(subject.proc_tid, subject.state, library)
    ]
    way_in = [address for hook in hooks for address in kind_of(hook).way_in(hook)]
    hooked = {library.base for library in subject.state.libraries if library.domain == patch.domain}

    @lru_cache(maxsize=None)
    def pointers():
        libraries = [
            library for library in files.libraries(subject.proc_tid, subject.mappings) if library.base in hooked
        ]
        try:
            return entry_points(subject.proc_tid, libraries, files, hooks)
        except UlpError:
            # Without them, pointers to functions count as return addresses: a delay, not an error.
            return frozenset()

    def frames(where, mappings):
        return unwind_as_far_as_told(subject.proc_tid, where, files, mappings)

    return inside_domain(subject.state, patch.domain, pointers, frames, way_in)
