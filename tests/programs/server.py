# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each request with the name of the host, as Python gets it from the C library, on a thread for each client."""

from __future__ import annotations

import socket
import sys

from answering import serve

serve(int(sys.argv[1]), socket.gethostname)
