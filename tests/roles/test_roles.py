# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ulp_runtime and ulp_preload on a real systemd host: what they leave there, twice, and taken back."""

from __future__ import annotations

import json
import subprocess

import pytest
from containers import CHECKOUT, Container
from play import Play

LIBRARY = "/usr/lib/libpulp/libpulp.so"
PRELOADING = "/usr/lib/x86_64-linux-gnu/libdl.so.2"
UNIT = """\
[Service]
Environment=GREETING="good day" LD_PRELOAD={preload}
ExecStart=/usr/bin/sleep infinity
"""

# Seconds: the first test waits until the host has installed a compiler and built the runtime.
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    with Container("12") as container:
        yield Play(container, tmp_path_factory.mktemp("play"))


@pytest.fixture(scope="module")
def runtime(play):
    """A host with the runtime, built there."""
    assert play.changes("ulp_runtime") > 0
    return play


def _mapped(container: Container, unit: str) -> bool:
    pid = container.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()
    return LIBRARY in container.run("cat", f"/proc/{pid}/maps")


def test_runtime_is_built_once(runtime):
    assert runtime.changes("ulp_runtime") == 0
    listing = runtime.container.run(
        "stat", "--format=%n %a %U", LIBRARY, "/usr/lib/libpulp/trm.o", "/usr/bin/ulp", "/var/lib/libpulp/build"
    )
    assert listing.splitlines() == [
        f"{LIBRARY} 644 root",
        "/usr/lib/libpulp/trm.o 644 root",
        "/usr/bin/ulp 755 root",
        "/var/lib/libpulp/build 700 root",
    ]
    assert json.loads(runtime.container.run("ulp", "list", "--json"))["processes"] == []


DOCUMENTS = [
    "/usr/share/man/man1/ulp.1",
    "/usr/share/bash-completion/completions/ulp",
    "/usr/share/zsh/vendor-completions/_ulp",
    "/usr/share/fish/vendor_completions.d/ulp.fish",
]


def test_manual_and_completions_are_installed(runtime):
    """Seen to fail without the tasks: the list was empty."""
    listing = runtime.container.run("stat", "--format=%n %a %U", *DOCUMENTS)
    assert listing.splitlines() == [f"{name} 644 root" for name in DOCUMENTS]
    completed = runtime.container.run(
        "bash", "-c", f"source {DOCUMENTS[1]}; COMP_WORDS=(ulp li); COMP_CWORD=1; _ulp; echo ${{COMPREPLY[@]}}")
    assert completed.split() == ["list"]


def test_runtime_is_replaced_not_overwritten(runtime):
    """A process that has the old library mapped must keep its bytes."""
    before = runtime.container.run("stat", "--format=%i", LIBRARY)
    runtime.container.run("ln", LIBRARY, "/root/kept.so")
    runtime.container.run("cp", "--remove-destination", "/usr/lib/libpulp/trm.o", LIBRARY)
    assert runtime.changes("ulp_runtime") == 1
    assert runtime.container.run("stat", "--format=%i", LIBRARY) != before
    runtime.container.run("cmp", "/root/kept.so", LIBRARY)


def test_given_build_needs_no_compiler(runtime, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    for name in ("libpulp.so", "trm.o"):
        (given / name).write_bytes((CHECKOUT / "build" / name).read_bytes())
    runtime.changes("ulp_runtime", ulp_runtime_build=str(given), ulp_runtime_build_packages=["no-such-package"])
    digest = subprocess.run(["sha256sum", given / "libpulp.so"], text=True, capture_output=True, check=True).stdout
    assert runtime.container.run("sha256sum", LIBRARY).split()[0] == digest.split()[0]


def test_check_mode_changes_nothing(runtime):
    runtime.container.write("/etc/systemd/system/checked.service", UNIT.format(preload=""))
    runtime.container.run("systemctl", "daemon-reload")
    assert runtime.changes("ulp_preload", "--check", ulp_preload_services=["checked"], ulp_preload_system_wide=True) > 0
    assert "absent" in runtime.container.run(
        "sh", "-c", "ls /etc/systemd/system/checked.service.d /etc/ld.so.preload >/dev/null 2>&1 || echo absent"
    )


def test_services_preload_it(runtime):
    container = runtime.container
    container.write("/etc/systemd/system/plain.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    container.write("/etc/systemd/system/own.service", UNIT.format(preload=PRELOADING))
    container.write("/etc/systemd/system/many@.service", "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "start", "plain", "own", "many@one")
    services = ["plain", "own.service", "many@"]

    status, changed, output = runtime.run("ulp_preload", ulp_preload_services=services)
    assert status == 0, output
    assert changed > 0
    assert not _mapped(container, "plain"), "it restarted a service that nobody asked it to"
    assert "many@one.service, own.service, plain.service" in output
    assert runtime.changes("ulp_preload", ulp_preload_services=services) == 0

    assert runtime.changes("ulp_preload", ulp_preload_services=services, ulp_preload_restart=True) == 1
    for unit in ("plain", "own", "many@one"):
        assert _mapped(container, unit), unit
    environment = container.run("systemctl", "show", "--property=Environment", "--value", "own").strip()
    assert environment == f'"GREETING=good day" LD_PRELOAD={PRELOADING}:{LIBRARY}'
    assert runtime.changes("ulp_preload", ulp_preload_services=services, ulp_preload_restart=True) == 0

    # What preloads the library must go first.
    status, _changed, output = runtime.run("ulp_runtime", ulp_runtime_state="absent")
    assert status != 0
    assert "still preloads the runtime" in output

    undone = {"ulp_preload_services": services, "ulp_preload_state": "absent"}
    assert runtime.changes("ulp_preload", **undone) > 0
    assert runtime.changes("ulp_preload", **undone) == 0
    environment = container.run("systemctl", "show", "--property=Environment", "--value", "own").strip()
    assert environment == f'"GREETING=good day" LD_PRELOAD={PRELOADING}'
    assert "none" in container.run("sh", "-c", "ls -d /etc/systemd/system/*.service.d 2>/dev/null || echo none")


def test_unknown_service_is_refused(runtime):
    status, changed, output = runtime.run("ulp_preload", ulp_preload_services=["no-such-service"])
    assert status != 0
    assert changed == 0
    assert "has no systemd service no-such-service" in output


def test_overriding_environment_file_is_refused(runtime):
    container = runtime.container
    container.write("/etc/default/filed", f"LD_PRELOAD={PRELOADING}\n")
    container.write(
        "/etc/systemd/system/filed.service",
        "[Service]\nEnvironmentFile=-/etc/default/filed\nExecStart=/usr/bin/sleep infinity\n",
    )
    container.run("systemctl", "daemon-reload")
    status, changed, output = runtime.run("ulp_preload", ulp_preload_services=["filed"])
    assert status != 0
    assert changed == 0
    assert "/etc/default/filed" in output


def test_system_wide_keeps_other_lines(runtime):
    container = runtime.container
    container.write("/etc/ld.so.preload", f"{PRELOADING}\n")
    assert runtime.changes("ulp_preload", ulp_preload_system_wide=True) == 1
    assert runtime.changes("ulp_preload", ulp_preload_system_wide=True) == 0
    assert container.run("cat", "/etc/ld.so.preload").split() == [PRELOADING, LIBRARY]
    assert LIBRARY in container.run("cat", "/proc/self/maps")
    assert runtime.changes("ulp_preload", ulp_preload_system_wide=True, ulp_preload_state="absent") == 1
    assert container.run("cat", "/etc/ld.so.preload").split() == [PRELOADING]
    container.run("rm", "/etc/ld.so.preload")


def test_broken_library_is_not_preloaded(runtime):
    runtime.container.write("/root/broken.so", "not a library\n")
    status, changed, _output = runtime.run(
        "ulp_preload", ulp_preload_system_wide=True, ulp_preload_library="/root/broken.so"
    )
    assert status != 0
    assert changed == 0
    assert runtime.container.run("cat", "/etc/ld.so.preload", check=False) == ""


def test_runtime_goes_without_trace(runtime):
    assert runtime.changes("ulp_runtime", ulp_runtime_state="absent") == 3
    assert runtime.changes("ulp_runtime", ulp_runtime_state="absent") == 0
    runtime.container.run("sh", "-c", "! ls -d /usr/lib/libpulp /usr/bin/ulp /var/lib/libpulp/build "
                          f"{' '.join(DOCUMENTS)} 2>/dev/null")
