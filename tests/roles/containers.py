# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian containers that run systemd, made from the machine's own package mirror: no image registry is needed."""

from __future__ import annotations

import functools
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = CHECKOUT / "build" / "containers"


@functools.cache
def prepare(*versions: str) -> dict[str, str]:
    """Environment for podman. Images of these Debian versions are made on first use (half a minute each)."""
    subprocess.run([CHECKOUT / "tools" / "container-images.sh", WORK, *versions], check=True)
    return {**os.environ, "CONTAINERS_CONF": str(WORK / "containers.conf")}


def podman(
    *arguments: str, check: bool = True, engine: Sequence[str] = ("podman",)
) -> subprocess.CompletedProcess[str]:
    """Run podman, or another container ``engine`` that takes the same arguments, and return what it said."""
    words = [*engine, *arguments]
    done = subprocess.run(words, env=prepare(), text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")
    return done


def image(version: str) -> str:
    """Name of an image of a Debian version, which is there."""
    prepare(version)
    return f"localhost/debian-systemd:{version}"


class Container:
    """A running container; a context manager that removes it."""

    def __init__(self, version: str) -> None:
        self.name = f"ulp-{uuid.uuid4().hex[:8]}"
        podman(
            "run", "--detach", "--systemd=always", "--cap-add", "SYS_PTRACE", "--name", self.name, image(version),
            "/sbin/init",
        )
        # Before systemd listens, this fails at once.
        while self.run("systemctl", "is-system-running", "--wait", check=False).strip() not in ("running", "degraded"):
            time.sleep(0.2)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_reason: object) -> None:
        podman("rm", "--force", "--time", "0", self.name)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside and return its standard output."""
        return podman("exec", self.name, *command, check=check).stdout

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        subprocess.run(
            ["podman", "exec", "-i", self.name, "tee", path], env=prepare(), input=text, text=True, check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def inventory(self) -> dict[str, object]:
        """Variables that make Ansible reach it."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": self.name,
            "ansible_user": "root",
            "ansible_ssh_executable": str(Path(__file__).with_name("ssh-to-container")),
            "ansible_ssh_transfer_method": "piped",
            "ansible_ssh_use_tty": False,
            "ansible_pipelining": True,
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment for the ansible commands that reach it."""
        return prepare()
