# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have reader.service read a document that is not well-formed; prints its PID and what it says."""

import socket
import sys

with open("/run/reader/address", encoding="ascii") as file:
    PORT, PID = file.read().split()
with socket.create_connection(("127.0.0.1", int(PORT)), timeout=30) as connection:
    connection.sendall(b"READ <a>&</a>\n")
    sys.stdout.write(f"{PID} {connection.makefile('r', encoding='ascii').readline()}")
