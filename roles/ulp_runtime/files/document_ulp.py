# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the manual page of ``ulp`` and its completions: document_ulp.py DIRECTORY [ZSH_DIRECTORY].

All of it comes from the parser that prints ``--help``.  DIRECTORY gets what /usr/share has of other commands;
ZSH_DIRECTORY is the one below ``zsh`` where the distribution keeps completions.
"""

from __future__ import annotations

import sys
from pathlib import Path

from build_ulp import parser
from completions import bash, fish, zsh
from manual import page

ZSH_DIRECTORY = "site-functions"


def documents(zsh_directory=ZSH_DIRECTORY):
    """{path below /usr/share: text} of everything."""
    command = parser()
    return {
        "man/man1/ulp.1": page(command),
        "bash-completion/completions/ulp": bash(command),
        f"zsh/{zsh_directory}/_ulp": zsh(command),
        "fish/vendor_completions.d/ulp.fish": fish(command),
    }


def write(directory, *zsh_directory):
    """Write all documents below ``directory``."""
    for name, text in documents(*zsh_directory).items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: document_ulp.py DIRECTORY [ZSH_DIRECTORY]")
    write(*sys.argv[1:])
