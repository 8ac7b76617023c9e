# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that compress, decompress and sum up with zlib, and check every result against what they know.

Obeys commands on standard input like the victims in C:

    work N     start N threads
    version    what zlibVersion() says, and the checksum of the probe, on the main thread
    rounds     "ROUNDS ERRORS" so far, once every thread has finished another round
    stop       the same, after the threads have ended
"""

from __future__ import annotations

import ctypes
import random
import sys
import threading
import time
import zlib

PROBE = b"is this the livepatch?"

library = ctypes.CDLL("libz.so.1")
library.zlibVersion.restype = ctypes.c_char_p


def plain_adler32(data):
    low, high = 1, 0
    for byte in data:
        low = (low + byte) % 65521
        high = (high + low) % 65521
    return high << 16 | low


def plain_crc32(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Worker(threading.Thread):
    def __init__(self, seed):
        super().__init__(daemon=True)
        source = random.Random(seed)
        # Half noise, half text: literals, matches and stored blocks all occur.
        self.data = source.randbytes(3000) + b" ".join(b"%d" % source.randrange(1000) for _number in range(3000))
        self.sums = plain_adler32(self.data), plain_crc32(self.data)
        self.rounds = 0
        self.errors = []
        self.stopping = False

    def run(self):
        while not self.stopping:
            try:
                self.round(self.rounds % 10)
            except (zlib.error, AssertionError) as error:
                self.errors.append(repr(error))
            self.rounds += 1

    def round(self, level):
        # A stream object lives across a publish now and then.
        stream = zlib.compressobj(level)
        packed = stream.compress(self.data[:2000])
        sums = zlib.adler32(self.data), zlib.crc32(self.data)
        packed += stream.compress(self.data[2000:]) + stream.flush()
        assert sums == self.sums, "wrong checksums"
        assert zlib.decompress(packed) == self.data, "wrong data"
        gzip = zlib.compressobj(level, zlib.DEFLATED, 31)
        packed = gzip.compress(self.data) + gzip.flush()
        assert zlib.decompress(packed, 31) == self.data, "wrong data from gzip"
        assert zlib.crc32(self.data[1000:], zlib.crc32(self.data[:1000])) == self.sums[1], "wrong running checksum"


def answer(text):
    print(text, flush=True)


def summary(workers):
    for worker in workers:
        if worker.errors:
            print("\n".join(worker.errors[:3]), file=sys.stderr)
    return f"{sum(worker.rounds for worker in workers)} {sum(len(worker.errors) for worker in workers)}"


def main():
    workers = []
    answer("ready")
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "work":
            workers = [Worker(seed) for seed in range(int(arguments[0]))]
            for worker in workers:
                worker.start()
            answer("working")
        elif word == "version":
            answer(f"{library.zlibVersion().decode()} {zlib.adler32(PROBE):x}")
        elif word == "rounds":
            before = [worker.rounds for worker in workers]
            while any(worker.rounds == rounds for worker, rounds in zip(workers, before)):
                time.sleep(0.001)
            answer(summary(workers))
        elif word == "stop":
            for worker in workers:
                worker.stopping = True
            for worker in workers:
                worker.join()
            answer(summary(workers))
        elif word == "quit":
            answer("bye")
            return


main()
