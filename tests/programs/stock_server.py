# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each request with what expat and zlib say while expat parses: all of that is one visit to both."""

from __future__ import annotations

import http.server
import sys
import time
import zlib
from xml.parsers import expat

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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = parsed().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_request(self, *arguments):
        """Nobody reads it."""


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
