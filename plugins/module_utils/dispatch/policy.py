# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done at all: which livepatches are accepted, and which processes are left alone."""

from __future__ import annotations

import os
import time

from ..atomic_file import read_file
from ..errors import NO_SIGNERS, FileProblem, UlpError, Untrusted
from ..livepatch.livepatch import parse_livepatch, read_livepatch
from ..named_tuple import NamedTuple
from ..trigger.trigger import Trigger
from ..trusted_path import require_unchangeable
from .attaching import write_down
from .hold import is_stopped, read_hold, read_retracted, require_lasting
from .rules import ATTACH, Rule

# The kernel writes down times of change with the resolution of its timer tick, 10 ms at most; seconds.
_CLOCK_TICK = 0.02


class Policy(NamedTuple):
    """The rules of one operation; paths are None where there is no such file."""

    allowed_signers: str | None = None  # a file: a livepatch must be signed by one of these to be applied
    identity: str | None = None  # the one who must have signed it
    kill_switch: str | None = None  # while this path exists, nothing is applied
    hold_file: str | None = None
    retracted_file: str | None = None
    exclude: tuple[Rule, ...] = ()
    ledger: str | None = None


class Guard:
    """The policy, applied to one livepatch and one operation."""

    def __init__(self, path, policy, *, applies, touches):
        """
        :param path: of the livepatch.
        :param policy: Policy.
        :param applies: whether the livepatch is to be loaded into processes.
        :param touches: whether processes are to be changed, in one direction or the other.
        :raises BadLivepatch, BadElf, FileProblem: the livepatch cannot be used.
        :raises Untrusted: it, or a file of the policy, could be changed by others.
        :raises BadSignature: it is not signed as the policy wants it.
        :raises UlpError: a file of the policy is malformed.
        """
        self._path = path
        self._policy = policy
        self.applies = applies
        self._version = None
        self.contents = None  # the bytes that were verified, if the livepatch is to be loaded
        self.signer = None
        if policy.allowed_signers == "" or (policy.identity is not None and policy.allowed_signers is None):
            # A variable that was left empty must not turn verification off.
            raise UlpError("there is no allowed-signers file to verify signatures with; name one, or ask for none")
        if applies:
            self.livepatch = self._accept()
        else:
            # Nothing of it is loaded: what counts is its patch ID.
            self.livepatch = read_livepatch(path)
        self._rules = policy.exclude + (read_hold(policy.hold_file) if touches else ())
        self._retracted = read_retracted(policy.retracted_file).get(self.livepatch.patch_id) if applies else None
        # Fails now, and not once for each process.
        self.stopped = False
        if self.veto() is None and applies:
            # One that is there counts, whoever has made it.
            require_lasting(policy.kill_switch, "kill switch")

    def trigger(self, files, options, companions=()):
        """What deals with one process: a trigger.trigger.Trigger; arguments as that."""
        return Trigger(self.livepatch, files, options, self.contents, companions)

    @property
    def retracted(self):
        """Whether the livepatch is retracted, and that stands in the way."""
        return self._retracted is not None

    def _accept(self):
        """The Livepatch, from the very bytes that were verified."""
        require_unchangeable(self._path, "livepatch")
        self._version = _settled_version(self._path)
        data = read_file(self._path)
        self.confirm()
        if self._policy.allowed_signers is not None:
            if not os.path.lexists(self._policy.allowed_signers):
                raise UlpError(
                    f"{NO_SIGNERS} {self._policy.allowed_signers}, which would list who may sign livepatches; create it"
                )
            require_unchangeable(self._policy.allowed_signers, "allowed-signers file")
            # It starts other programs, which needs much that nobody else does.
            from ..livepatch.signature import verify

            self.signer = verify(data, self._path, self._policy.allowed_signers, self._policy.identity).identity
        self.contents = data
        return parse_livepatch(data, self._path)

    def confirm(self):
        """Make sure that the file that processes are to load is still the one that was accepted.

        :raises Untrusted: it is not.
        :raises FileProblem: it has gone.
        """
        if self.applies and _version(self._path) != self._version:
            raise Untrusted(f"{self._path} was replaced or changed after it was checked; run again")

    def reason(self, pid):
        """Why process ``pid`` is left alone, one sentence; None: it is not.

        :raises ProcessGone: there is no such process.
        :raises ProcessForbidden: nobody can tell, because the process may not be examined.
        """
        stop = self.veto()
        if stop is not None:
            return stop
        if self.retracted:
            return f"the livepatch {self.livepatch.patch_id[:16]} is retracted ({self._retracted})"
        return held(pid, self._rules, self.livepatch)

    def forbids_attaching(self, pid):
        """Why the runtime must not be loaded into process ``pid``, words that go on after *and*; or None."""
        for rule in self._rules:
            if rule.forbids == ATTACH and rule.matches(pid, self.livepatch):
                return f"loading that into it is forbidden by {rule.origin} ({rule.text})"
        return None

    def record_attaching(self, pid, name, digest):
        """Write down that the runtime is about to be loaded into process ``pid``; raises as attaching.write_down()."""
        write_down(self._policy.ledger, self.livepatch, pid, name, digest)

    def veto(self):
        """Why nothing at all may be applied now, one sentence; None: it may.

        :raises FileProblem: that cannot be told.
        """
        why = stopped(self._policy.kill_switch) if self.applies else None
        self.stopped = self.stopped or why is not None
        return why


def stopped(kill_switch):
    """Why nothing is applied on this host, one sentence, if the kill switch is thrown; else None.

    :raises FileProblem: that cannot be told.
    """
    return f"nothing is patched on this host while {kill_switch} exists" if is_stopped(kill_switch) else None


def held(pid, rules, livepatch):
    """Which of ``rules`` (rules.Rule) leaves process ``pid`` alone, one sentence; None: none does.

    :param livepatch: livepatch.livepatch.Livepatch; may be None where no rule is about livepatches.
    :raises ProcessGone, ProcessForbidden: as Rule.matches().
    """
    for rule in rules:
        if not rule.forbids and rule.matches(pid, livepatch):
            return f"process {pid} is left alone by {rule.origin} ({rule.text})"
    return None


def _settled_version(path):
    """_version(), so long after the last change that another one will show."""
    version = _version(path)
    age = time.time() - version[-1] / 1e9
    if 0 <= age < _CLOCK_TICK:
        time.sleep(_CLOCK_TICK - age)
        version = _version(path)
    return version


def _version(path):
    """What changes when the file does."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise FileProblem("read", path, error) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
