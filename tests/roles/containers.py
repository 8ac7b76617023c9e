# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian containers that run systemd, made from the machine's own package mirror: no image registry is needed."""

from __future__ import annotations

import os
import resource
import subprocess
import uuid
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = CHECKOUT / "build" / "containers"
# What the image has is what a plain server has, and no tool that the roles are to install.
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-apt,ca-certificates,procps"


def _configured() -> dict[str, str]:
    """Environment for podman: runc also works on hosts with a hybrid cgroup hierarchy; limits as high as may be set."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    configuration = WORK / "containers.conf"
    configuration.write_text(
        f'[engine]\nruntime = "runc"\n[containers]\ndefault_ulimits = ["nofile={limit}:{limit}", "nproc=32768:32768"]\n'
    )
    return {**os.environ, "CONTAINERS_CONF": str(configuration)}


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman and return what it said."""
    WORK.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["podman", *arguments], env=_configured(), text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(arguments)}: {done.stderr}")
    return done


def image(suite: str) -> str:
    """Name of an image of the Debian release, made on first use (half a minute)."""
    name = f"localhost/ulp-systemd:{suite}"
    if podman("image", "exists", name, check=False).returncode:
        archive = WORK / f"{suite}.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", suite, str(archive)], check=True
        )
        podman(
            "import", "--quiet", "--change", 'CMD ["/sbin/init"]', "--change", "STOPSIGNAL SIGRTMIN+3",
            "--change", "ENV container=podman", str(archive), name,
        )
        archive.unlink()
    return name


class Container:
    """A running container; a context manager that removes it."""

    def __init__(self, suite: str) -> None:
        self.name = f"ulp-{uuid.uuid4().hex[:8]}"
        podman(
            "run", "--detach", "--systemd=always", "--cap-add", "SYS_PTRACE", "--network", "host",
            "--name", self.name, image(suite), "/sbin/init",
        )
        self.run("systemctl", "is-system-running", "--wait", check=False)

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
            ["podman", "exec", "-i", self.name, "tee", path], env=_configured(), input=text, text=True, check=True,
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
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment for the ansible commands that reach it."""
        return _configured()
