# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that has loaded ``build/ulp`` once and forks for every run of it.

Started as a program, with the command as argument.  Each line of its standard input is a JSON list of arguments; for
each it answers with one line, {"status": ..., "output": ..., "errors": ...}.  Hundreds of apply/revert cycles would
otherwise spend their time in starting Python.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile

from byte_code import find_core, load_verbs


def run(command, main, arguments):
    """What the command does with these arguments, in a process of its own."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            sys.argv = [command, *arguments]
            status = 70
            try:
                status = main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                sys.excepthook(*sys.exc_info()) if status == 70 else None
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _pid, status = os.waitpid(child, 0)
        output.seek(0)
        errors.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "output": output.read().decode(),
            "errors": errors.read().decode(),
        }


def serve(command):
    """Load the command's modules, then answer until the input ends."""
    find_core(command)
    load_verbs(command)
    from libpulp_livepatch.command.main import main

    # What is there now stays: no child's collection of garbage has to look at it, and copy its pages for that.
    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(command, main, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
