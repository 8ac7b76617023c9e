# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask nginx on this host for the page, and say in JSON how it was compressed and whether it is right.

Each answer comes from a connection of its own, so that with enough of them every worker is asked.
"""

import gzip
import json
import sys
import urllib.request

PAGE = "http://127.0.0.1/page"
CONTENT = "/usr/share/common-licenses/GPL-3"
# Byte 8 of a gzip header, RFC 1952, 2.3.1: 2 is the best compression, 4 the fastest.
XFL = 8


def ask():
    request = urllib.request.Request(PAGE, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def main(times):
    with open(CONTENT, "rb") as stream:
        content = stream.read()
    answers = [ask() for _time in range(times)]
    json.dump({
        "xfl": sorted({answer[XFL] for answer in answers}),
        "sizes": sorted({len(answer) for answer in answers}),
        "right": all(gzip.decompress(answer) == content for answer in answers),
    }, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
