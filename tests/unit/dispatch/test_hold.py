# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, and the files of a host that keep livepatches away."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import rules
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.hold import (
    is_stopped,
    read_hold,
    read_retracted,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.rules import parse_exclude, parse_rule
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import FileProblem, UlpError, Untrusted
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import affiliation
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.affiliation import (
    executable,
    names,
    parse_container,
    parse_units,
    units,
    users,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone

PATCH_ID = "ab" * 32
OTHER_ID = "cd" * 32
LIVEPATCH = SimpleNamespace(patch_id=PATCH_ID, path="/var/lib/libpulp/livepatches/cve-1.ulp")
NO_PID = 2 ** 22 + 1


@pytest.fixture(name="sleeper")
def fixture_sleeper():
    """A running process, /usr/bin/sleep or wherever that is."""
    process = subprocess.Popen(["sleep", "infinity"])
    # Until it has called execve(), it is still this program.
    while "sleep" not in executable(process.pid):
        pass
    yield process.pid
    process.kill()
    process.wait()


def holds(text, pid, livepatch=LIVEPATCH):
    return parse_rule(text, "here").matches(pid, livepatch)


def test_name(sleeper):
    assert holds("name=sleep", sleeper)
    assert holds("name=sl*", sleeper)
    assert holds("name=s[lx]ee?", sleeper)
    assert not holds("name=slee", sleeper)
    assert not holds("name=SLEEP", sleeper)


def test_name_that_the_kernel_cuts(tmp_path):
    program = tmp_path / "a-program-with-a-long-name"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([str(program), "infinity"]) as process:
        try:
            # The command line comes a moment after the executable.
            while executable(process.pid) != str(program) or not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                pass
            assert names(process.pid) == ("a-program-with-a-long-name", "a-program-with-")
            assert holds("name=a-program-with-", process.pid)
            assert holds("name=*-long-name", process.pid)
        finally:
            process.kill()


def test_executable(sleeper):
    path = os.path.realpath(f"/proc/{sleeper}/exe")
    assert holds(f"exe={path}", sleeper)
    assert holds("exe=*/sleep", sleeper)
    assert not holds("exe=*/slee", sleeper)


def test_executable_that_was_replaced(tmp_path):
    program = tmp_path / "a program"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([str(program), "infinity"]) as process:
        try:
            while executable(process.pid) != str(program):
                pass
            program.unlink()
            assert holds(f"exe='{program}'", process.pid)
            assert holds("name='a program'", process.pid)
        finally:
            process.kill()


def test_user(sleeper):
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert holds(f"user={name}", sleeper)
    assert holds(f"user={os.geteuid()}", sleeper)
    assert not holds("user=no-such-user", sleeper)
    assert users(sleeper) == (str(os.geteuid()), name)


def test_patch(sleeper):
    assert holds(f"patch={PATCH_ID}", sleeper)
    assert holds("patch=abab*", sleeper)
    assert holds("patch=cve-1.ulp", sleeper)
    assert not holds(f"patch={OTHER_ID}", sleeper)


def test_all_conditions_of_a_rule_must_hold(sleeper):
    assert holds(f"name=sleep user={os.geteuid()} patch=cve-*", sleeper)
    assert not holds(f"name=sleep user={os.geteuid()} patch=cve-2.ulp", sleeper)
    assert not holds("name=sleep user=no-such-user", sleeper)


def test_process_that_has_gone():
    for text in ("name=*", "exe=*", "user=*", "unit=*"):
        with pytest.raises(ProcessGone):
            holds(text, NO_PID)


@pytest.mark.parametrize("cgroup, expected", [
    (b"0::/system.slice/nginx.service\n", ("system.slice", "nginx.service")),
    (b"0::/system.slice/system-getty.slice/getty@tty1.service\n",
     ("system.slice", "system-getty.slice", "getty@tty1.service")),
    (b"0::/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service\n",
     ("user.slice", "user-1000.slice", "user@1000.service", "app.slice", "sync.service")),
    # A service that makes groups of its own.
    (b"0::/system.slice/podman.service/libpod-payload-1\n", ("system.slice", "podman.service")),
    # systemd with the old hierarchies, and with both.
    (b"9:name=systemd:/system.slice/ssh.service\n4:memory:/other\n0::/\n", ("system.slice", "ssh.service")),
    (b"4:memory:/system.slice\n1:name=systemd:/a.slice/b.service\n0::/a.slice/b.service\n", ("a.slice", "b.service")),
    (b"0::/machine.slice/libpod-abc.scope/container\n", ("machine.slice", "libpod-abc.scope")),
    (b"0::/\n", ()),
    (b"9:name=systemd:/\n4:memory:/x/y\n0::/\n", ()),
    # mkdir(2) takes every character but a newline for the name of a control group, and of any encoding or none.
    (b"0::/a\x0bb\x0c\rc.slice/d\x1c\x1d\x1e.service\n", ("a\x0bb\x0c\rc.slice", "d\x1c\x1d\x1e.service")),
    ("0::/\x85\u2028:x.service\n".encode(), ("\x85\u2028:x.service",)),
    (b"0::/\xff.service\n", ("\udcff.service",)),
    (b"", ()),
])
def test_units(cgroup, expected):
    assert parse_units(cgroup) == expected


CONTAINER_ID = "3f9c2d1e8b7a" + "0" * 52


@pytest.mark.parametrize("cgroup, expected", [
    (f"0::/machine.slice/libpod-{CONTAINER_ID}.scope/container\n", CONTAINER_ID[:12]),
    (f"12:memory:/libpod_parent/libpod-{CONTAINER_ID}\n0::/\n", CONTAINER_ID[:12]),
    (f"0::/system.slice/docker-{CONTAINER_ID}.scope\n", CONTAINER_ID[:12]),
    (f"4:pids:/docker/{CONTAINER_ID}\n", CONTAINER_ID[:12]),
    (f"0::/kubepods.slice/kubepods-pod12.slice/cri-containerd-{CONTAINER_ID}.scope\n", CONTAINER_ID[:12]),
    # Podman in docker: the innermost one.
    (f"0::/docker/{'a' * 64}/libpod-{CONTAINER_ID}.scope/x\n", CONTAINER_ID[:12]),
    (f"0::/machine.slice/libpod-conmon-{CONTAINER_ID}.scope\n", None),
    ("0::/system.slice/nginx.service\n", None),
    (f"0::/system.slice/{CONTAINER_ID}0.service\n", None),
    ("", None),
])
def test_container(cgroup, expected):
    assert parse_container(cgroup.encode()) == expected


def test_rule_about_a_container(monkeypatch, sleeper):
    assert not holds("container=*", sleeper)
    monkeypatch.setattr(affiliation, "container", lambda pid: CONTAINER_ID[:12])
    assert holds("container=*", sleeper)
    assert holds("container=3f9c*", sleeper)
    assert not holds("container=4*", sleeper)


def test_rule_about_a_unit(monkeypatch):
    assert isinstance(units(os.getpid()), tuple)
    monkeypatch.setitem(rules._OF_PROCESS, "unit", lambda pid: parse_units(b"0::/system.slice/db@1.service\n"))
    assert holds("unit=db@*.service", 1)
    assert holds("unit=system.slice", 1)
    assert not holds("unit=db.service", 1)


@pytest.mark.parametrize("value", [
    "", "nginx", "name=", "=x", "host=a", "name=a b", "name='a", {}, {"name": ""}, {"host": "a"}, ["name=a"], None, 7,
])
def test_no_rule(value):
    with pytest.raises(UlpError, match="^here.* rule") as caught:
        parse_rule(value, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value, remedy", [
    ("exe=sleep", r"exe=\*/sleep"), ("name=/usr/bin/sleep", "exe=/usr/bin/sleep"), ("unit=nginx", "unit=nginx.service"),
    ("name=a unit=user@1000", "unit=user@1000.service"), ({"unit": "nginx"}, "unit=nginx.service"),
])
def test_rule_that_would_never_hold(value, remedy):
    """Guards against the slip that holds nothing back; seen to be taken for a rule."""
    with pytest.raises(UlpError, match=f"^here: the rule .* would never hold: .*{remedy}"):
        parse_rule(value, "here")


@pytest.mark.parametrize("text", [
    "exe=[/]bin/x", "exe=?bin/x", "unit=db*", "unit=db.servic?", "unit=db.s[el]*", "unit=a.scope", "name=*/x",
    "name=kworker/0:1",
])
def test_rule_that_may_hold(text):
    parse_rule(text, "here")


def test_exclude_option(sleeper):
    (rule,) = parse_exclude(["sle*"])
    assert rule.matches(sleeper, LIVEPATCH)
    assert (rule.text, rule.origin) == ("name=sle*", "the exclude list")
    (rule,) = parse_exclude([{"name": "sleep", "user": os.geteuid(), "exe": None}])
    assert rule.matches(sleeper, LIVEPATCH)
    (rule,) = parse_exclude(["exe=/nowhere/*"])
    assert not rule.matches(sleeper, LIVEPATCH)
    assert parse_exclude(["a program"])[0].conditions == (("name", "a program"),)
    assert parse_exclude(["exe='/opt/a b/*'"])[0].text == "exe='/opt/a b/*'"
    with pytest.raises(UlpError, match="the exclude list"):
        parse_exclude([""])


# -------------------------------------------------------------------- files


def test_hold_file(tmp_path):
    assert read_hold(None) == ()
    assert read_hold(tmp_path / "nothing") == ()
    assert read_hold(tmp_path / "file" / "below") == ()
    file = tmp_path / "hold"
    file.write_text(
        "# Until the audit is over.\n\n  unit=postgresql@*.service\nuser=batch exe='/opt/a b/*'\n", encoding="utf-8")
    first, second = read_hold(file)
    assert (first.text, first.origin) == ("unit=postgresql@*.service", f"{file} line 3")
    assert (second.conditions, second.origin) == ((("user", "batch"), ("exe", "/opt/a b/*")), f"{file} line 4")
    (tmp_path / "below").symlink_to(file / "x")
    with pytest.raises(FileProblem):
        read_hold(tmp_path / "below")


@pytest.mark.parametrize("text", ["name=a\nnginx\n", "name=a\nhost=b\n", "name=a\nname='b\n"])
def test_hold_file_that_makes_no_sense(tmp_path, text):
    file = tmp_path / "hold"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UlpError, match=f"{file} line 2"):
        read_hold(file)


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x85", "\u2028", "\x1b[2J"])
def test_file_whose_lines_end_otherwise(tmp_path, end):
    """Guards rules behind a remark: they must not count as a part of it. Seen to fail with no rule at all."""
    file = tmp_path / "hold"
    file.write_text(f"# Until the audit is over.{end}name=nginx{end}name=db\n", encoding="utf-8", newline="")
    with pytest.raises(UlpError, match=f"{file} line 1 has a control character in it"):
        read_hold(file)
    file.write_text("# Until\u00a0it\tis over.\r\nname=nginx\r\nname=db\r\n", encoding="utf-8", newline="")
    assert [rule.text for rule in read_hold(file)] == ["name=nginx", "name=db"]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "bytes").write_bytes(b"name=\xff\n")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("bytes", "dangling", "."):
        for read in (read_hold, read_retracted):
            with pytest.raises(UlpError, match=str(tmp_path)):
                read(tmp_path / name)


def test_retracted_file(tmp_path):
    assert read_retracted(None) == {}
    file = tmp_path / "retracted"
    assert read_retracted(file) == {}
    file.write_text(f"# withdrawn\n{PATCH_ID}  breaks TLS\n\n{OTHER_ID.upper()}\n{PATCH_ID}\n", encoding="utf-8")
    assert read_retracted(file) == {PATCH_ID: f"{file} line 2", OTHER_ID: f"{file} line 4"}
    file.write_text(f"{PATCH_ID}\ncve-1.ulp\n", encoding="utf-8")
    with pytest.raises(UlpError, match=f"{file} line 2"):
        read_retracted(file)


def test_kill_switch(tmp_path):
    switch = tmp_path / "stop"
    assert not is_stopped(None)
    assert not is_stopped(switch)
    switch.touch()
    assert is_stopped(switch)
    assert not is_stopped(switch / "below")
    switch.unlink()
    switch.symlink_to(tmp_path / "nothing")
    assert is_stopped(switch)
    with pytest.raises(FileProblem):
        is_stopped(tmp_path / ("x" * 300))


def test_files_that_others_could_change(tmp_path):
    """Guards a hold from being released by another user: the file, its directory, or what is above it.

    Seen to fail, with the rules read or the missing file taken for none, without require_lasting().
    """
    tmp_path.chmod(0o755)
    directory = tmp_path / "etc"
    directory.mkdir(0o755)
    file = directory / "hold"
    for read in (read_hold, read_retracted):
        file.write_text("# Nothing yet.\n", encoding="utf-8")
        file.chmod(0o644)
        assert len(read(file)) == 0
        file.chmod(0o664)
        with pytest.raises(Untrusted, match=f"{file} is writable by its group; forbid that with chmod"):
            read(file)
        file.chmod(0o644)
        directory.chmod(0o777)
        with pytest.raises(Untrusted, match=f"{directory} is writable by everybody"):
            read(file)
        file.unlink()
        for path in (file, directory / "deeper" / "hold"):
            with pytest.raises(Untrusted, match=f"directory of the .* {directory} is writable by everybody"):
                read(path)
        # As /tmp is: what is there is safe from others.
        directory.chmod(0o1777)
        assert len(read(file)) == 0
        directory.chmod(0o755)
        assert len(read(directory / "deeper" / "hold")) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_others(tmp_path):
    tmp_path.chmod(0o755)
    file = tmp_path / "hold"
    file.write_text("name=a\n", encoding="utf-8")
    os.chown(file, 65534, 65534)
    with pytest.raises(Untrusted, match=f"hold file {file} is refused.* belongs to"):
        read_hold(file)
