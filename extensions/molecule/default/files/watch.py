# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask nginx for the page again and again, counting in /run/watch/rounds; fail when it comes without compression."""

import itertools
import os
import time

from ask_nginx import CONTENT, ask

ROUNDS = "/run/watch/rounds"
PAUSE = 0.1

for number in itertools.count(1):
    # Each worker has its turn sooner or later; all of them are patched.
    if len(ask()) >= os.stat(CONTENT).st_size:
        raise SystemExit("nginx does not compress any more")
    with open(ROUNDS + ".new", "w") as stream:
        stream.write(f"{number}\n")
    os.replace(ROUNDS + ".new", ROUNDS)
    time.sleep(PAUSE)
