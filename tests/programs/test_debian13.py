# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime and the command in Debian 13: its glibc, its python3, and its own libraries with endbr64 as targets."""

from __future__ import annotations

import json
import os
import subprocess
import uuid

import pytest
from harness.library import WARNINGS, run
from harness.paths import BUILD, CHECKOUT
from harness.polling import wait_until

HERE = CHECKOUT / "tests" / "programs"
IMAGE = "localhost/debian-systemd:13-ready"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
PORT = "8080"
ASK = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/').read().decode())"
COMMAND = ("python3", "/build/ulp")
CYCLES = 5


class Container:
    """Debian 13, with what was built here at /build."""

    def __init__(self):
        work = BUILD / "containers"
        run([CHECKOUT / "tools" / "container-images.sh", work, "13-ready"])
        self._environment = {**os.environ, "CONTAINERS_CONF": str(work / "containers.conf")}
        self.name = f"ulp-programs-{uuid.uuid4().hex[:8]}"
        self.podman("run", "--detach", "--rm", "--network=none", "--cap-add=SYS_PTRACE",
                    "--security-opt=seccomp=unconfined", f"--name={self.name}", f"--volume={BUILD}:/build:ro",
                    f"--volume={HERE}:/programs:ro", IMAGE, "sleep", "infinity")

    def podman(self, *words, check=True):
        done = subprocess.run(["podman", *map(str, words)], env=self._environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=300)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def run(self, *words, check=True):
        return self.podman("exec", self.name, *words, check=check)


@pytest.fixture(name="debian")
def fixture_debian():
    container = Container()
    yield container
    container.podman("rm", "--force", "--time=0", container.name)


def asked(debian):
    return debian.run("python3", "-c", ASK, check=False).stdout.strip()


def test_attached_patched_reverted(debian, preforked, tmp_path):
    """Its python3 runs the command and is the target as well, on its own C library, started without the runtime."""
    debian.podman("cp", f"{debian.name}:{LIBC}", tmp_path / "libc.so.6")
    run(["gcc", "-O2", *WARNINGS, "-fno-optimize-sibling-calls", "-D_GNU_SOURCE", "-fPIC", "-shared", "-Wl,--build-id",
         "-o", tmp_path / "patch.so", HERE / "patch.c"])
    description = tmp_path / "patch.dsc"
    description.write_text(f"{tmp_path}/patch.so\n@{tmp_path}/libc.so.6\ngethostname:new_gethostname\n")
    preforked.succeed("pack", description, "-o", tmp_path / "patch.ulp")
    debian.podman("cp", tmp_path / "patch.ulp", f"{debian.name}:/tmp/patch.ulp")
    assert debian.run("python3", "--version").stdout.startswith("Python 3.13")
    pid = debian.run("sh", "-c", f"python3 /programs/server.py {PORT} >/tmp/output 2>&1 & echo $!").stdout.strip()
    old = wait_until(lambda: asked(debian), "it answers")

    for cycle in range(CYCLES):
        options = ("--attach", "--runtime", "/build/libpulp.so")
        row = json.loads(debian.run(*COMMAND, "trigger", "--json", "-p", pid, "/tmp/patch.ulp", *options).stdout)
        assert (row["outcome"], row["attached"]) == ("patched", True)
        assert asked(debian) == "new-name"
        assert debian.run(*COMMAND, "check", "-p", pid, "/tmp/patch.ulp").returncode == 0
        row = json.loads(debian.run(*COMMAND, "trigger", "--json", "-p", pid, "/tmp/patch.ulp", "--revert").stdout)
        assert row["outcome"] == "reverted", cycle
        assert asked(debian) == old
