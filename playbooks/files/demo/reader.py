# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small network service for the distribution's own Python, which knows nothing of livepatches.

It reads XML with the distribution's libexpat. Requests and answers are lines:

  READ document   ->  what is wrong with the document, or "well"
  WHO             ->  "PID requests"

Usage: reader.py ADDRESS, a file into which it writes "PORT PID" once it listens.
"""

from __future__ import annotations

import os
import socket
import sys
from xml.parsers import expat


def read(document):
    """What is wrong with an XML document, in libexpat's words."""
    parser = expat.ParserCreate()
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        return expat.ErrorString(error.code)
    return "well"


def serve(connection):
    """Answer until the client goes."""
    requests = 0
    with connection, connection.makefile("r", encoding="ascii") as lines:
        for line in lines:
            requests += 1
            verb, _blank, document = line.rstrip("\n").partition(" ")
            answer = read(document) if verb == "READ" else f"{os.getpid()} {requests}"
            connection.sendall(answer.encode("ascii") + b"\n")


def main(address):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with open(address + ".new", "w", encoding="ascii") as file:
            file.write(f"{listener.getsockname()[1]} {os.getpid()}\n")
        os.rename(address + ".new", address)
        while True:
            serve(listener.accept()[0])


if __name__ == "__main__":
    main(sys.argv[1])
