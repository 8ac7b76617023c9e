# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each request with what expat and zlib say while expat parses: all of that is one visit to both."""

from __future__ import annotations

import sys
import time
import zlib
from xml.parsers import expat

from answering import serve

DOCUMENT = "<a><b/>\n<b/></a>"


def parsed():
    """The line of each element, and a checksum beside each."""
    numbers = []
    parser = expat.ParserCreate()

    def begin(_name, _attributes):
        numbers.extend((parser.CurrentLineNumber, zlib.adler32(b"a")))
        # So that a livepatch comes in the middle.
        time.sleep(0.005)

    parser.StartElementHandler = begin
    parser.Parse(DOCUMENT, True)
    return " ".join(map(str, numbers))


serve(int(sys.argv[1]), parsed)
