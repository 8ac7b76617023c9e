# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd of the distribution, which executes itself anew for each session, patched while clients log in and out."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from harness.library import WARNINGS, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import RUNTIME
from harness.polling import wait_until
from test_programs import free_port

HERE = Path(__file__).resolve().parent
SSHD = "/usr/sbin/sshd"
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
CYCLES = int(os.environ.get("ULP_TEST_CYCLES", "20"))
CLIENTS = 2
PATIENCE = 120
# What the livepatch writes to the log of sshd for each client.
SEEN = "accepted by the livepatch"
ANEW = "executes a program anew for each session"
NOT_YET = "the livepatch is not applied to process"
ENDED = "ended while"
BUSY = "kept running whenever we looked"
# What may become of a session: one that has not logged in yet is shut away, one that has just begun is as it was or
# computes its keys, and one that ends is no failure.
SESSIONS = {
    "patch": ("patched", "already_patched", "not_patchable", ENDED, BUSY),
    "check": ("already_patched", NOT_YET, "not_patchable", BUSY),
    "revert": ("reverted", NOT_YET, "not_applicable", "not_patchable", ENDED, BUSY),
}
CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
PidFile none
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
# As within another shell, where bash(1) reads no ~/.bashrc: that of this host may wait for anything.
SetEnv SHLVL=2
"""


class Sshd:
    """sshd with a configuration and keys of its own, on a port of its own."""

    def __init__(self, directory, environment):
        self.directory = directory
        self.port = free_port()
        for key in ("host", "key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key])
        configuration = directory / "sshd_config"
        configuration.write_text(CONFIGURATION.format(directory=directory, port=self.port))
        # Where it shuts away the process that talks to a client before that has logged in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **environment})

    @property
    def pid(self):
        return self.process.pid

    def session(self, *command, **options):
        """A client that has sshd run ``command``."""
        return subprocess.Popen(
            ["ssh", "-F", "none", "-i", self.directory / "key", "-p", str(self.port), "-o", "BatchMode=yes", "-o",
             "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             "root@127.0.0.1", *command],
            stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **options)

    def log_in(self):
        """What went wrong when a client logged in and out; "": nothing."""
        client = self.session("true")
        said, _nothing = client.communicate(timeout=PATIENCE)
        return f"exit {client.returncode}: {said}" if client.returncode else ""

    def seen(self):
        """How often the listener has run the new function."""
        return self.log.read_text(errors="replace").count(SEEN)

    def sees_a_login(self):
        """Whether the listener runs the new function when one more client logs in."""
        before = self.seen()
        assert self.log_in() == ""
        return self.seen() > before

    def end(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) in (0, 255, -15)


class Logins:
    """Clients that log in and out all the time."""

    def __init__(self, sshd):
        self.sshd = sshd
        self.count = 0
        self.failures = []
        self._ending = False
        self._threads = [threading.Thread(target=self._run) for _each in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._ending and not self.failures:
            wrong = self.sshd.log_in()
            if wrong:
                self.failures.append(wrong)
            self.count += 1

    def more(self):
        """Wait for the end of a session that was begun from now on."""
        enough = self.count + CLIENTS + 1
        wait_until(lambda: self.count >= enough or self.failures, "clients log in", PATIENCE)

    def end(self):
        self._ending = True
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture(name="sshd", params=["attached", "preloaded"])
def fixture_sshd(request, tmp_path):
    sshd = Sshd(tmp_path, {"LD_PRELOAD": str(RUNTIME)} if request.param == "preloaded" else {})
    try:
        wait_until(lambda: sshd.log_in() == "", "sshd serves", PATIENCE)
        yield sshd
    finally:
        sshd.end()


@pytest.fixture(scope="module", name="ulp_file")
def fixture_ulp_file(tmp_path_factory, preforked):
    directory = tmp_path_factory.mktemp("accept")
    run(["gcc", "-O2", *WARNINGS, "-fno-optimize-sibling-calls", "-D_GNU_SOURCE", "-fPIC", "-shared", "-Wl,--build-id",
         "-o", directory / "patch.so", HERE / "accept.c"])
    (directory / "patch.dsc").write_text(f"{directory}/patch.so\n@{LIBC}\naccept:new_accept\n")
    preforked.succeed("pack", directory / "patch.dsc", "-o", directory / "patch.ulp")
    return directory / "patch.ulp"


def dispatched(ulp, *words):
    """{PID: row} of all processes named sshd."""
    answer = ulp.run("dispatch", "--json", *words, "--name", "sshd", "--examine-timeout", PATIENCE)
    return {row["pid"]: row for row in answer.json()}


@pytest.mark.timeout(1200)
def test_patched_while_clients_log_in(sshd, ulp_file, preforked):
    """Ten times on and off: no login fails, and the row of the listener says what its sessions have.

    A session that is there when a dispatch comes gets the livepatch itself.  One that is not logged in yet sits in an
    empty directory under a seccomp filter, and says why not.
    """
    staying = sshd.session("cat", stdin=subprocess.PIPE)
    logins = Logins(sshd)
    busy = set()  # PIDs of sessions that were, so that nobody could tell what they have
    try:
        (session,) = wait_until(lambda: sessions_with(sshd.pid, "cat"), "the session is there")
        for cycle in range(CYCLES):
            for verb, done, status, options in (
                    ("patch", "patched", APPLIED, ("--attach", "--runtime", RUNTIME, "--timeout", PATIENCE)),
                    ("check", "already_patched", APPLIED, ()),
                    ("revert", "reverted", NOT_APPLIED, ("--timeout", PATIENCE))):
                found = dispatched(preforked, verb, ulp_file, *options)
                for pid in (sshd.pid, session):
                    assert found[pid]["outcome"] == done, f"{cycle}: {found[pid]}"
                    assert preforked.run("check", "-p", pid, ulp_file).status == status
                assert (ANEW in found[sshd.pid]["reason"]) == (verb != "revert")
                others = [row for pid, row in found.items() if pid != sshd.pid]
                assert not any(ANEW in row["reason"] for row in others)
                still_pending = [row for row in others if row["outcome"] == "pending" and row["pid"] in busy]
                unexpected = [
                    row for row in others if become_of(row) not in SESSIONS[verb] and row not in still_pending]
                busy.update(row["pid"] for row in others if become_of(row) == BUSY)
                assert not unexpected, f"{cycle}: {verb}: {unexpected}"
                assert sshd.sees_a_login() == (status == APPLIED)
                staying.stdin.write(f"{verb}\n")
                staying.stdin.flush()
                assert staying.stdout.readline() == f"{verb}\n"
            logins.more()
            assert not logins.failures
    finally:
        logins.end()
        staying.stdin.close()
    assert not logins.failures
    assert staying.wait(PATIENCE) == 0
    assert sshd.process.poll() is None


def become_of(row):
    """What has become of a session, in the words of SESSIONS."""
    return next((said for said in (NOT_YET, ENDED, BUSY) if said in row["reason"]), row["outcome"])


def sessions_with(listener, command):
    """PIDs of the listener's children that have a child which runs ``command``."""
    return [child for child in children(listener) if any(runs(below, command) for below in children(child))]


def runs(pid, command):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == command
    except OSError:
        # It has ended meanwhile, as sessions do all the time.
        return False


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
