# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``ulp``: a thin shell around the core.

Exit status: 0 done, 1 refused or no, 2 wrong usage; ``ulp check`` and
``ulp dispatch check`` have 3 for a livepatch that some threads do not see yet;
128 and the signal's number when a signal cut it short.
Results go to standard output, and one sentence for everything else to standard
error.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

from ..defaults import DEBUG_LOG
from ..errors import UlpError
from ..termination import Terminated, raising
from .arguments import parser
from .output import REFUSED, SIGNALLED, complain, discard_output

# Where each verb is, so that help and a mistyped word wait for none of them.
_MODULES = {
    "post": "files",
    "build": "building",
    "pack": "files",
    "dump": "files",
    "sign": "files",
    "verify": "files",
    "trigger": "processes",
    "check": "processes",
    "dispatch": "processes",
    "list": "listing",
    "explain": "explaining",
    "messages": "processes",
}


def _verb(name):
    """The function that carries out the verb."""
    gc.disable()
    try:
        return import_module(f".{_MODULES[name]}", __package__).VERBS[name]
    finally:
        # Nothing that was made meanwhile is garbage, or will be.
        gc.freeze()
        gc.enable()


def main(argv=None):
    """Run the command.

    :param argv: its arguments; those of the process when None.
    :return: the exit status.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = parser(argv[0] if argv and argv[0] in _MODULES else None).parse_args(argv)
    except SystemExit as error:
        return error.code
    if arguments.debug or DEBUG_LOG in os.environ:
        import_module("..faults", __package__).listen(to_standard_error=arguments.debug)
    try:
        with raising():
            status = _verb(arguments.verb)(arguments)
            sys.stdout.flush()
    except UlpError as error:
        complain(error)
        return REFUSED
    except BrokenPipeError:
        discard_output()
        return REFUSED
    except OSError as error:
        complain(error)
        return REFUSED
    except Terminated as error:
        complain(f"{error}; no thread is held")
        return SIGNALLED + error.number
    return status
