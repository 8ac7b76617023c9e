# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers each request with what a function says then, on a thread for each client."""

from __future__ import annotations

import http.server


def serve(port, answer):
    """Serve for ever; ``answer()`` gives the text of each response."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = answer().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *arguments):
            """Nobody reads it."""

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
