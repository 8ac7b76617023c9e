# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The defaults of options.

The command line shows these values in its help, which has to appear at once:
this module imports nothing.
"""

from __future__ import annotations

KILL_SWITCH = "/etc/libpulp/stop"
HOLD_FILE = "/etc/libpulp/hold"
RETRACTED_FILE = "/etc/libpulp/retracted"
LEDGER = "/var/lib/libpulp/ledger.jsonl"

TIMEOUT_SECONDS = 10.0
# The most stubborn kind of process, one that does nothing but printf, takes 234 attempts on average.
RETRIES = 3000
# A usual process takes a millisecond, one of 2,000 threads a second.
EXAMINE_SECONDS = 5.0
# Between two looks of a list that is watched.
WATCH_SECONDS = 2.0

# Whether the runtime is loaded into processes that were started without it.
ATTACH = True
# Where the role ulp_runtime installs it.
RUNTIME = "/usr/lib/libpulp/libpulp.so"
# For one command of a build.
BUILD_SECONDS = 3600.0
# For all that a build keeps, copies of the source and objects.
BUILD_GIBIBYTES = 20.0

# Names a file to which every traceback is appended that ended in the row of a process.
DEBUG_LOG = "ULP_DEBUG_LOG"

# What to do with a process whose seccomp filter the kernel does not show us.
EXAMINE = "examine"  # leave it alone
ASSUME_ERRNO = "assume_errno"  # patch it: the user knows that the filter denies with an error, and kills nobody
SECCOMP = (EXAMINE, ASSUME_ERRNO)
