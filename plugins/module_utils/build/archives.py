# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a static library, as far as it takes to recognise an object file.

Source: the layout that ar(5) and GNU binutils' documentation describe: headers of 60 bytes, long names in the member
``//``, and, in a thin archive, no contents but paths.
"""

from __future__ import annotations

import hashlib
import os

_MAGIC = b"!<arch>\n"
_THIN = b"!<thin>\n"
_HEADER = 60


def member_digests(path, member):
    """SHA-256 in hex of each member of the archive ``path`` that is called ``member``; none where it is no archive."""
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:8] not in (_MAGIC, _THIN):
        return []
    thin = data[:8] == _THIN
    names = b""
    found = []
    position = 8
    while position + _HEADER <= len(data):
        header = data[position:position + _HEADER]
        position += _HEADER
        try:
            size = int(header[48:58])
        except ValueError:
            break
        name = header[:16].rstrip()
        special = name in (b"/", b"//", b"/SYM64/")
        contents = data[position:position + size] if special or not thin else b""
        position += (size + size % 2) if special or not thin else 0
        if name == b"//":
            names = contents
        if special:
            continue
        if name[:1] == b"/" and name[1:].isdigit():
            start = int(name[1:])
            name = names[start:names.find(b"\n", start)]
        name = name.rstrip(b"/")
        if os.path.basename(os.fsdecode(name)) != os.path.basename(member):
            continue
        if thin:
            try:
                with open(os.path.join(os.path.dirname(path), os.fsdecode(name)), "rb") as stream:
                    contents = stream.read()
            except OSError:
                continue
        found.append(hashlib.sha256(contents).hexdigest())
    return found
