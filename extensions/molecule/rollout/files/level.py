# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints how the web server of this host compresses: the byte XFL of the gzip header (RFC 1952, 2.3.1).

2 is the best compression, 4 the fastest. Many connections are made, so that every worker answers; all that differ are
printed, with blanks between.
"""

from __future__ import annotations

import http.client
import sys

found = set()
for _time in range(40):
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
    connection.request("GET", "/page", headers={"Accept-Encoding": "gzip"})
    found.add(connection.getresponse().read()[8])
    connection.close()
sys.stdout.write(" ".join(str(level) for level in sorted(found)) + "\n")
