# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions that nobody expected, kept for whoever repairs the tool.

A process can show the tool things that nobody thought of.  Such an exception
ends in the row of that process, and the others are served.  The traceback goes
to the listeners; without any, nobody sees it.
"""

from __future__ import annotations

import os
import sys

from .defaults import DEBUG_LOG

# Functions of a text. Not Python's logging, which takes longer to import than a look at a process.
listeners: list = []


def unexpected(error, about):
    """Tell the listeners of ``error``, an exception that is being handled, and give the sentence that the row gets.

    :param about: what was dealt with: ``process 4711 (nginx)``, say.
    :raises MemoryError: that is what ``error`` is: not even a sentence is certain to find room (dispatch.worker).
    """
    if isinstance(error, MemoryError):
        raise error
    import traceback

    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    tell(f"while dealing with {about}\n{trace}".rstrip("\n"))
    return (
        f"{about} could not be dealt with, because of a fault of this tool: {type(error).__name__}: {error};"
        " please report that, with what ulp --debug prints"
    )


def tell(text):
    """Give ``text`` to every listener."""
    for listener in listeners:
        listener(text)


def listen(to_standard_error=False):
    """From now on, append all tracebacks to the file that the environment names, if it does (defaults.DEBUG_LOG).

    :param to_standard_error: print them, too.
    """
    path = os.environ.get(DEBUG_LOG)
    if path:
        listeners.append(lambda text: _append(path, text))
    if to_standard_error:
        listeners.append(lambda text: sys.stderr.write(f"{text}\n"))


def _append(path, text):
    with open(path, "a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(f"{text}\n")
