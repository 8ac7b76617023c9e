# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a web server of this host for a page, over and over, and writes down every answer that is not the right one.

load.py RECORD: until it gets SIGTERM. The page comes compressed; it has to be whole, with the right checksum. One
connection stays open all the time, the other is a new one for each request. RECORD becomes a JSON object:

    requests    how many were answered as they should be
    failures    a sentence for each that was not
    by_second   how many were under way in each second, 2026-11-24T12:00:00Z say
    longest_ms  the longest that one took
"""

from __future__ import annotations

import collections
import datetime
import gzip
import http.client
import json
import os
import signal
import sys
import threading
import time

PAGE = "/page"
FILE = "/usr/share/common-licenses/GPL-3"
# Between two requests of one thread, in seconds: this is to be load, not to slow down the rest.
PAUSE = 0.1
PATIENCE = 60


class Client(threading.Thread):
    """One thread that asks, with a connection that stays or with new ones."""

    def __init__(self, keep: bool, stop: threading.Event, expected: bytes) -> None:
        super().__init__()
        self.keep = keep
        self.stop = stop
        self.expected = expected
        self.failures: list[str] = []
        self.answered = 0
        self.by_second: collections.Counter[int] = collections.Counter()
        self.longest = 0.0
        self.connection = None

    def run(self) -> None:
        while not self.stop.is_set():
            began, second = time.monotonic(), int(time.time())
            try:
                why = self.ask()
            except (OSError, EOFError, http.client.HTTPException) as error:
                why = repr(error)
                self.connection = None
            self.longest = max(self.longest, time.monotonic() - began)
            if why:
                self.failures.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {why}")
            else:
                self.answered += 1
                self.by_second.update(range(second, int(time.time()) + 1))
            self.stop.wait(PAUSE)

    def ask(self) -> str:
        """Ask once; why the answer was not right, if so."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=PATIENCE)
        self.connection.request("GET", PAGE, headers={"Accept-Encoding": "gzip"})
        answer = self.connection.getresponse()
        body = answer.read()
        if not self.keep:
            self.connection.close()
            self.connection = None
        if answer.status != 200:
            return f"status {answer.status}"
        if answer.getheader("Content-Encoding") != "gzip":
            return "not compressed"
        # gzip verifies the checksum; this process has the library of the distribution, not the one that is patched.
        return "" if gzip.decompress(body) == self.expected else "another page"


def write_record(path: str, clients: list[Client]) -> None:
    by_second: collections.Counter[int] = collections.Counter()
    for client in clients:
        by_second.update(client.by_second)
    record = {
        "requests": sum(client.answered for client in clients),
        "failures": [failure for client in clients for failure in client.failures],
        "by_second": {
            datetime.datetime.fromtimestamp(second, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"): count
            for second, count in sorted(by_second.items())
        },
        "longest_ms": round(1000 * max(client.longest for client in clients)),
    }
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(record, stream)
    os.replace(path + ".new", path)


def main() -> None:
    with open(FILE, "rb") as stream:
        expected = stream.read()
    stop = threading.Event()
    clients = [Client(keep, stop, expected) for keep in (True, False)]
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    write_record(sys.argv[1], clients)


main()
