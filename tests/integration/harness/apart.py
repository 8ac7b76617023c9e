# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Victims in namespaces and root directories of their own, made with unshare(1) and chroot(8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Sequence

from .library import Build
from .paths import RUNTIME
from .polling import wait_until
from .victim import Victim

# The last command becomes the program, which gets the same PID unless unshare forks.
_SHELL = ("sh", "-e", "-c")
# What a program with its libraries needs of the machine.
_SYSTEM = ("/usr", "/lib", "/lib64")


def after(script: str) -> tuple[str, ...]:
    """Words that run a shell script, then the program behind them."""
    return (*_SHELL, f'{script}\nexec "$@"', "sh")


def in_mounts(script: str) -> tuple[str, ...]:
    """Words that run the program in a mount namespace that the script has changed."""
    return ("unshare", "--mount", *after(script))


def in_root(root: Path, shown: Sequence[Path], script: str = "") -> tuple[str, ...]:
    """Words that run the program with another root directory.

    :param root: an empty directory.
    :param shown: directories and files that are the same there; what a program needs is always there.
    :param script: what else to do before, in a mount namespace of its own; ``$root`` is the new root.
    """
    lines = [f"root={root}"]
    for path in (*map(Path, _SYSTEM), RUNTIME, *shown):
        if path.is_dir():
            lines.append(f"mkdir -p $root{path}")
        else:
            lines.append(f"mkdir -p $root{path.parent}; : > $root{path}")
        lines.append(f"mount --bind {path} $root{path}")
    lines.append(script)
    return ("unshare", "--mount", *_SHELL, "\n".join(lines) + '\nexec chroot $root "$@"', "sh")


def child_of(victim: Victim) -> int:
    """PID of the program behind ``unshare --fork``, once it has become that."""

    def children() -> list[str]:
        return Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text().split()

    wait_until(lambda: len(children()) == 1, "one child")
    return int(children()[0])


def starter(start: Callable[..., Victim], build: Build, program: str, flags: Sequence[str]) -> Callable[..., Victim]:
    """A function that starts the program wrapped in words; with ``forks`` the victim is the wrapper's child."""

    def launch(*wrap: object, forks: bool = False) -> Victim:
        victim = start(build, program, flags, wrap=wrap)
        if forks:
            victim.pid = child_of(victim)
        return victim

    return launch


def descriptors(pid: int) -> list[str]:
    return sorted(os.listdir(f"/proc/{pid}/fd"))
