# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions that nobody expected, kept for whoever repairs the tool.

A process can show the tool things that nobody thought of.  Such an exception
ends in the row of that process, and the others are served.  The traceback goes
to a logger (Python's logging); nobody sees it unless a handler is added.
"""

from __future__ import annotations

import logging
import os

from .defaults import DEBUG_LOG

log = logging.getLogger("libpulp.livepatch")
# Without any handler, logging would print to standard error.
log.addHandler(logging.NullHandler())


def unexpected(error, about):
    """Log ``error``, an exception that is being handled, and give the sentence that the row gets.

    :param about: what was dealt with: ``process 4711 (nginx)``, say.
    """
    log.error("while dealing with %s", about, exc_info=error)
    return (
        f"{about} could not be dealt with, because of a fault of this tool: {type(error).__name__}: {error};"
        " please report that, with what ulp --debug prints"
    )


def listen(to_standard_error=False):
    """From now on, append all tracebacks to the file that the environment names, if it does (defaults.DEBUG_LOG).

    :param to_standard_error: print them, too.
    """
    path = os.environ.get(DEBUG_LOG)
    if path:
        log.addHandler(logging.FileHandler(path, delay=True))
    if to_standard_error:
        log.addHandler(logging.StreamHandler())
