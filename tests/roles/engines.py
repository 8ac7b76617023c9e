# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other container engines than root's podman: each a context manager that gives the first words of its commands."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Iterator

import psutil
from containers import WORK, podman
from harness.polling import wait_until


@contextlib.contextmanager
def ordinary_user(image: str) -> Iterator[list[str]]:
    """The podman of a user made for it, who has the image and may not do anything as root."""
    name = f"ulp-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as runtime:
            configuration = shutil.copy(WORK / "containers.conf", runtime)
            archive = saved(image, runtime)
            for path in (runtime, configuration, archive):
                shutil.chown(path, name, name)
            engine = ["runuser", "--user", name, "--", "env", "--chdir", runtime, f"HOME=/home/{name}",
                      f"XDG_RUNTIME_DIR={runtime}", f"CONTAINERS_CONF={configuration}", "podman"]
            podman("load", "--quiet", "--input", archive, engine=engine)
            try:
                yield engine
            finally:
                # What was made inside belongs to other users, whom only podman can be.
                podman("system", "reset", "--force", engine=engine)
                subprocess.run(["pkill", "--uid", name], check=False)
                wait_until(lambda: name not in owners(), f"no process of {name} is left")
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@contextlib.contextmanager
def docker(image: str) -> Iterator[list[str]]:
    """Docker with a daemon of its own, which touches no network of this machine."""
    with tempfile.TemporaryDirectory(prefix="ulp-docker-") as place:
        engine = ["docker", f"--host=unix://{place}/socket"]
        with open(Path(place, "log"), "wb") as log:
            daemon = subprocess.Popen(
                ["dockerd", engine[1], "--pidfile", f"{place}/pid", "--data-root", f"{place}/data",
                 "--exec-root", f"{place}/run", "--storage-driver", "vfs", "--bridge", "none",
                 "--iptables=false", "--ip6tables=false"],
                stdout=log, stderr=log,
            )
        try:
            wait_until(lambda: not podman("info", engine=engine, check=False).returncode, "docker's daemon listens")
            podman("load", "--quiet", "--input", saved(image, place), engine=engine)
            yield engine
        finally:
            daemon.terminate()
            daemon.wait()


def saved(image: str, directory: str) -> str:
    """Path of an archive of one of root's images."""
    archive = str(Path(directory, "image.tar"))
    podman("save", "--quiet", "--output", archive, image)
    return archive


def owners() -> set[str]:
    """Names of the users of whom there are processes."""
    return {process.info["username"] for process in psutil.process_iter(["username"])}
