# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another attempt may be made: asked before each."""

from __future__ import annotations

from ...errors import UlpError


class Vetoed(UlpError):
    """Nobody may try any longer, says Options.veto or Options.reconsider."""


class Interrupted(UlpError):
    """A signal asks us to end, says Options.interrupted."""


def require_leave(options, subject, before):
    """Make sure that a thread of the process may still be borrowed; nothing was changed in it so far.

    :param options: options.Options.
    :param subject: process.subject.Subject.
    :param before: what has not come about yet, words that go on after *before*; ``{process}`` stands for the process.
    :raises Vetoed: Options.veto or Options.reconsider says why not.
    :raises Interrupted: Options.interrupted names a signal.
    """
    why = options.veto() if options.veto is not None else None
    if why is None and options.reconsider is not None:
        why = options.reconsider(subject.pid)
    if why is not None:
        raise Vetoed(why)
    signal = options.interrupted() if options.interrupted is not None else None
    if signal is not None:
        process = f"process {subject.pid} ({subject.name})"
        raise Interrupted(f"{signal} came before {before.format(process=process)}; nothing was changed in it")
