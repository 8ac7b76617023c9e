# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes in containers, found and patched from the host, with nothing left behind in any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from containers import Container, podman
from engines import docker, ordinary_user
from harness.blocked import version_patch
from harness.command import Ulp
from harness.library import Hazard
from harness.paths import COMMAND, RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL
from harness.victim import Victim
from scratch import Scratch, scratch_image

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Each way to start a container, with podman's own seccomp profile.
OPTIONS = {
    "usual": (),
    "read-only": ("--read-only",),
    "own-users": ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"),
    "ordinary-user": ("--user", "1234:1234"),
    "no-privileges": ("--cap-drop", "all", "--security-opt", "no-new-privileges"),
}


@pytest.fixture(scope="session")
def ulp():
    return Ulp()


@pytest.fixture(scope="session", params=USUAL, ids=[variant.mode for variant in USUAL])
def build(request, ulp, tmp_path_factory):
    return Hazard("blocked", tmp_path_factory.mktemp("blocked")).build(request.param, ulp)


@pytest.fixture(scope="session")
def image(build, tmp_path_factory):
    name = scratch_image(build, build.program("sandbox/app.c"), tmp_path_factory.mktemp("image"))
    yield name
    podman("rmi", "--force", name)


@pytest.fixture
def ulp_file(build):
    return version_patch(build)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_patch_and_revert(options, image, ulp_file, ulp):
    with Scratch(image, *options) as inside:
        before = inside.descriptors(), inside.written()
        assert inside.seccomp_mode() == "2"
        row = ulp.succeed("trigger", "-p", inside.pid, ulp_file, "--json").json()
        assert (row["outcome"], row["container"]) == ("patched", inside.short_id)
        assert inside.version() == 2
        # The tool has ended. What others say of the process is true.
        assert ulp.run("check", "-p", inside.pid, ulp_file).status == 0
        (process,) = ulp.succeed("list", "-p", inside.pid, "--json").json()["processes"]
        assert (process["container"], process["own_root"]) == (inside.short_id, True)
        assert [patch["status"] for patch in process["patches"]] == ["applied"]
        ulp.succeed("trigger", "-p", inside.pid, ulp_file, "--revert")
        assert inside.version() == 1
        ulp.succeed("trigger", "-p", inside.pid, ulp_file)
        assert inside.version() == 2
        assert (inside.descriptors(), inside.written()) == before


@pytest.mark.parametrize("other", [ordinary_user, docker])
def test_another_engine(other, image, ulp_file, ulp):
    """Rootless podman, where root of the container is nobody on the host; and docker, with its own seccomp profile."""
    with other(image) as engine, Scratch(image, engine=engine) as inside:
        assert inside.seccomp_mode() == "2"
        assert (Path(f"/proc/{inside.pid}").stat().st_uid == 0) == (other is docker)
        before = inside.descriptors(), inside.written()
        rows = {row["pid"]: row for row in ulp.succeed("dispatch", "patch", ulp_file, "--json").json()}
        assert rows[inside.pid]["outcome"] == "patched"
        assert inside.version() == 2
        (process,) = ulp.succeed("list", "-p", inside.pid, "--json").json()["processes"]
        assert process["own_root"]
        # Where a user may not make cgroups, nothing on the host tells which container it is.
        assert process["container"] == inside.short_id or (other is ordinary_user and process["container"] is None)
        ulp.succeed("dispatch", "revert", ulp_file)
        assert inside.version() == 1
        assert (inside.descriptors(), inside.written()) == before


def test_all_of_a_host(build, image, ulp_file, ulp):
    """One dispatch finds the library by what it is, wherever it lies: in two containers and on the host."""
    with Scratch(image) as one, Scratch(image, "--read-only") as two:
        outside = Victim([build.program("sandbox/app.c")], libraries=[build.directory])
        try:
            rows = {row["pid"]: row for row in ulp.succeed("dispatch", "patch", ulp_file, "--json").json()}
            wanted = {one.pid: one.short_id, two.pid: two.short_id, outside.pid: None}
            for pid, where in wanted.items():
                assert (rows[pid]["outcome"], rows[pid]["container"]) == ("patched", where)
            assert (one.version(), two.version(), outside.number("version")) == (2, 2, 2)
            text = ulp.succeed("dispatch", "check", ulp_file).output
            assert f"({one.short_id})" in text
            ulp.succeed("dispatch", "revert", ulp_file)
            assert (one.version(), two.version(), outside.number("version")) == (1, 1, 1)
        finally:
            outside.finish()


def test_container_without_proc(image, ulp_file, ulp):
    with Scratch(image) as inside:
        inside.take_proc_away()
        before = inside.descriptors(), inside.written()
        for words in (("trigger", "-p", inside.pid, ulp_file), ("trigger", "-p", inside.pid, ulp_file, "--json")):
            answer = ulp.run(*words)
            assert answer.status == 1
            assert "has no /proc through which it could be given the bytes" in answer.errors
        assert (inside.descriptors(), inside.written()) == before
        assert inside.version() == 1


def test_livepatch_that_the_container_sees(image, ulp_file, ulp):
    """Where its directory is mounted to the same place, the file is loaded by its path, /proc or not."""
    with Scratch(image, "--volume", f"{ulp_file.parent}:{ulp_file.parent}:ro") as inside:
        inside.take_proc_away()
        ulp.succeed("trigger", "-p", inside.pid, ulp_file)
        assert inside.version() == 2
        assert "memfd" not in inside.victim.mapped()


def test_tool_is_killed_at_any_moment(image, ulp_file, ulp):
    """SIGKILL, spread over the whole run: the program goes on, and soon nothing is left of the attempt."""
    rounds = 24
    interrupted = 0
    with Scratch(image) as inside:
        start = time.monotonic()
        ulp.succeed("trigger", "-p", inside.pid, ulp_file)
        usual = time.monotonic() - start
        ulp.succeed("trigger", "-p", inside.pid, ulp_file, "--revert")
    with Scratch(image) as inside:
        before = inside.descriptors(), inside.written()
        for step in range(rounds):
            tool = subprocess.Popen([*ulp.command, "trigger", "-p", str(inside.pid), str(ulp_file)],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(usual * (0.3 + 0.7 * step / rounds))
            tool.send_signal(signal.SIGKILL)
            interrupted += tool.wait() == -signal.SIGKILL
            assert inside.version() in (1, 2)
        wait_until(lambda: inside.descriptors() == before[0], "the memory file is closed")
        assert inside.written() == before[1]
        ulp.run("trigger", "-p", inside.pid, ulp_file)
        assert ulp.run("check", "-p", inside.pid, ulp_file).status == 0
        assert inside.version() == 2
    assert interrupted


def test_inside_a_container_filters_cannot_be_examined(image, ulp_file, ulp, build):
    """There, the kernel shows no filter: refused, or, if the user says what the filter does, patched."""
    mounts = [f"--volume={path}:{path}:ro" for path in
              ("/usr", "/lib", "/lib64", "/etc", str(COMMAND.parent), str(build.hazard.directory))]
    for more in ((), ("--seccomp", "assume_errno")):
        with Scratch(image, "--cap-add", "SYS_PTRACE", "--pid", "private", *mounts) as inside:
            command = ["podman", "exec", inside.name, "/usr/bin/python3", str(COMMAND), "trigger", "-p", "1",
                       str(ulp_file), *more]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if more:
                assert done.returncode == 0, done.stderr
                assert inside.version() == 2
            else:
                assert done.returncode == 1
                assert "seccomp filter that cannot be examined from here" in done.stderr
                assert inside.version() == 1


HARDENED = """\
[Service]
Environment=LD_PRELOAD=/opt/libpulp.so LD_LIBRARY_PATH=/opt
ExecStart=/bin/sh -c 'exec /opt/app <>/run/commands >>/run/answers'
User=nobody
MemoryDenyWriteExecute=yes
SystemCallFilter=@system-service
SystemCallArchitectures=native
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
CapabilityBoundingSet=
"""


def test_hardened_service(build, ulp_file, ulp):
    """A service with systemd's own sandboxing, in a container with podman's: root of the host patches it."""
    with Container("12") as host:
        for path in (build.library, build.program("sandbox/app.c"), RUNTIME):
            name = "app" if path == build.program("sandbox/app.c") else path.name
            podman("cp", str(path), f"{host.name}:/opt/{name}")
        host.write("/etc/systemd/system/app.service", HARDENED)
        host.run("sh", "-ec", "chmod 755 /opt/*; mkfifo /run/commands; touch /run/answers; chmod 666 /run/commands"
                              " /run/answers; systemctl daemon-reload; systemctl start app")

        def asked(command):
            before = host.run("cat", "/run/answers")
            host.run("sh", "-c", f"echo {command} > /run/commands")
            wait_until(lambda: host.run("cat", "/run/answers") != before, f"an answer to {command}")
            return host.run("cat", "/run/answers").splitlines()[-1]

        assert asked("version") == "1"
        short_id = podman("inspect", "--format", "{{.Id}}", host.name).stdout[:12]
        (process,) = [
            process for process in ulp.succeed("list", "--json").json()["processes"]
            if (process["name"], process["container"]) == ("app", short_id)
        ]
        before = podman("diff", host.name).stdout
        ulp.succeed("trigger", "-p", process["pid"], ulp_file)
        assert asked("version") == "2"
        ulp.succeed("trigger", "-p", process["pid"], ulp_file, "--revert")
        assert asked("version") == "1"
        assert podman("diff", host.name).stdout == before
        assert host.run("systemctl", "is-active", "app").strip() == "active"
