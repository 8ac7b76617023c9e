# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a server that ask all the time, and forget no answer."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter

PATIENCE = 60


class Http:
    """One connection that stays."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self):
        self.connection.request("GET", "/file")
        answer = self.connection.getresponse()
        assert answer.status == 200, answer.status
        return answer.read().decode()


class Gzip(Http):
    """The same, and the answer comes compressed: the checksum behind it tells who has computed that."""

    def __init__(self, port, page, answers):
        """:param answers: {checksum: what to say of it}."""
        super().__init__(port)
        self.page = page
        self.checksums = answers

    def ask(self):
        self.connection.request("GET", "/file", headers={"Accept-Encoding": "gzip"})
        answer = self.connection.getresponse()
        assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
        data = answer.read()
        # RFC 1952: ten bytes before the compressed data, the checksum and the length behind it.
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        assert decompressor.decompress(data[10:]) == self.page and decompressor.eof
        checksum, length = struct.unpack("<II", decompressor.unused_data)
        assert length == len(self.page)
        return self.checksums.get(checksum, f"{checksum:#x}")


class Redis:
    """The same; each has a key of its own."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE).makefile("rw")
        self.key = f"key{id(self)}"

    def line(self, command):
        self.stream.write(command + "\n")
        self.stream.flush()
        return self.stream.readline().strip()

    def ask(self):
        self.line(f"DEL {self.key}")
        assert self.line(f"INCRBYFLOAT {self.key} 1.5").startswith("$")
        return self.stream.readline().strip()


class Memcached:
    """The same; the server sends an answer from several places of its memory at once."""

    def __init__(self, port, page):
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE).makefile("rw", newline="")
        self.header = f"VALUE page 0 {len(page)}"
        assert self.line(f"set page 0 0 {len(page)}\r\n{page}") == "STORED"

    def line(self, command):
        self.stream.write(command + "\r\n")
        self.stream.flush()
        return self.stream.readline().strip()

    def ask(self):
        assert self.line("get page") == self.header
        answer = self.stream.readline().strip()
        assert self.stream.readline() == "END\r\n"
        return answer


class Postgres:
    """The same, by psql; the server has a process for it."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            ["psql", "-qAtX", "-h", str(directory), "-U", "postgres", "postgres"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self):
        self.process.stdin.write("select float8in('1.5');\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


class Clients:
    """Some of them, each on a thread of its own."""

    def __init__(self, clients):
        self._stopping = False
        self._lock = threading.Lock()
        self._rounds = [0] * len(clients)
        self.answers: Counter = Counter()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(index, client), daemon=True)
                         for index, client in enumerate(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, index, client):
        while not self._stopping:
            try:
                answer = client.ask()
            except (OSError, AssertionError, http.client.HTTPException, ValueError) as error:
                self.failures.append(repr(error))
                return
            with self._lock:
                self.answers[answer] += 1
                self._rounds[index] += 1

    def next_answers(self):
        """What they are answered from now on: the set of the answers to one more question of each."""
        with self._lock:
            before = list(self._rounds)
        # One may have been asked earlier.
        self._wait(before, 1)
        with self._lock:
            self.answers.clear()
            before = list(self._rounds)
        self._wait(before, 1)
        with self._lock:
            return set(self.answers)

    def _wait(self, before, count):
        end = time.monotonic() + PATIENCE
        while any(now < old + count for now, old in zip(self._rounds, before)):
            assert not self.failures, self.failures
            assert time.monotonic() < end, f"some client was not answered for {PATIENCE} s"
            time.sleep(0.001)

    def stop(self):
        self._stopping = True
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self.failures, self.failures
