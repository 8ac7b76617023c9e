# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that applies and reverts one livepatch as often as it is asked, and has read it only once.

Started as a program, with the command ``ulp`` and the livepatch as arguments.  Each line of its standard input is
"apply PID", "revert PID" or "check PID"; it answers each with one line, the JSON list of outcome, reason, and the
microseconds that a thread was held or null.  It does what the command does, but for reading the command line, the
livepatch and the libraries' files anew each time, which is most of the work.
"""

from __future__ import annotations

import json
import sys

from byte_code import find_core


def serve(command, ulp_file, runtime):
    """Answer until the input ends."""
    find_core(command)
    from libpulp_livepatch.livepatch.livepatch import read_livepatch
    from libpulp_livepatch.process.mapped import MappedFiles
    from libpulp_livepatch.trigger.options import Options
    from libpulp_livepatch.trigger.trigger import Trigger

    trigger = Trigger(read_livepatch(ulp_file), MappedFiles(), Options(timeout=60, runtime=runtime))
    operations = {"apply": trigger.apply, "revert": trigger.revert, "check": trigger.check}
    for line in sys.stdin:
        operation, pid = line.split()
        row = operations[operation](int(pid))
        sys.stdout.write(json.dumps([row.outcome, row.reason, row.held_us]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
