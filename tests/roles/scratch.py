# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers made from nothing but one program and its libraries: no shell, no package, no registry."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Sequence

from containers import podman, prepare
from harness.library import Build
from harness.paths import RUNTIME
from harness.polling import wait_until
from harness.victim import Victim

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
# Where the library of tests/targets lies inside: a path that the host has not.
INSIDE = "/opt/libraries"
_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2


def scratch_image(build: Build, program: Path, directory: Path) -> str:
    """Name of an image with the program as /app, its library, the runtime, and what the loader needs."""
    root = directory / "rootfs"
    for path in ("opt/libraries", "tmp", "proc", "dev", "sys"):
        (root / path).mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / "app")
    shutil.copy(build.library, root / INSIDE.strip("/"))
    shutil.copy(RUNTIME, root / "libpulp.so")
    for words in ([str(program)], [str(RUNTIME)]):
        listed = subprocess.run(
            ["ldd", *words], check=True, text=True, capture_output=True,
            env={**os.environ, "LD_LIBRARY_PATH": str(build.directory)},
        ).stdout
        for found in _LIBRARY.findall(listed):
            if Path(found).parent != build.directory:
                target = root / found.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target)
    archive = directory / "rootfs.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    name = f"localhost/ulp-scratch:{uuid.uuid4().hex[:8]}"
    podman("import", "--quiet", str(archive), name)
    return name


class Scratch:
    """One container, its program driven as a victim of the integration tests; a context manager that removes it."""

    def __init__(self, image: str, *options: str, engine: Sequence[str] = ("podman",)) -> None:
        self.name = f"ulp-{uuid.uuid4().hex[:8]}"
        self.engine = functools.partial(podman, engine=engine)
        words = [
            *engine, "run", "--interactive", "--network", "none", "--name", self.name,
            "--env", "LD_PRELOAD=/libpulp.so", "--env", f"LD_LIBRARY_PATH={INSIDE}", *options, image, "/app",
        ]
        self.victim = Victim(words, preload=(), environment=prepare())
        self.pid = int(self.engine("inspect", "--format", "{{.State.Pid}}", self.name).stdout)
        self.victim.pid = self.pid

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_reason: object) -> None:
        try:
            # It must still be well.
            self.victim.finish()
        finally:
            self.victim.kill()
            # On a busy machine its mounts may not have gone yet.
            wait_until(lambda: not self.engine("rm", "--force", self.name, check=False).returncode,
                       f"{self.name} is removed")

    @property
    def short_id(self) -> str:
        return self.engine("inspect", "--format", "{{.Id}}", self.name).stdout[:12]

    def version(self) -> int:
        return self.victim.number("version")

    def seccomp_mode(self) -> str:
        return Path(f"/proc/{self.pid}/status").read_text().split("Seccomp:")[1].split()[0]

    def descriptors(self) -> list[str]:
        return sorted(os.listdir(f"/proc/{self.pid}/fd"))

    def written(self) -> str:
        """What differs from the image: what somebody has left there."""
        return self.engine("diff", self.name).stdout

    def take_proc_away(self) -> None:
        """Unmount /proc inside."""
        child = os.fork()
        if child == 0:
            libc = ctypes.CDLL(None)
            mounts = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY)
            done = libc.setns(mounts, _CLONE_NEWNS) == 0 and libc.umount2(b"/proc", _MNT_DETACH) == 0
            os._exit(not done)
        assert os.waitpid(child, 0)[1] == 0
