# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that are shut in, or see another world: patched, or refused with the reason and left as they were."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import apart, snapshot
from harness.command import Ulp
from harness.library import run
from harness.paths import COMMAND, RUNTIME, TARGETS
from harness.victim import Victim

NOBODY = 65534
KILL, EPERM = 0x80000000, 0x00050001
PROT_EXEC, PROT_WRITE_EXEC = 4, 6
OPEN, MMAP, MPROTECT, OPENAT, MEMFD_CREATE, PKEY_MPROTECT = 2, 9, 10, 257, 319, 329
# read, write, exit_group: what the program itself does.
ITS_OWN = (0, 1, 231)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at seccomp filters and make namespaces")


@pytest.fixture
def build(mode_variant, target):
    return target("blocked", mode_variant)


@pytest.fixture
def open_directory():
    """A directory that every user may enter, and so may nobody's processes; pytest's own are private."""
    directory = Path(tempfile.mkdtemp(prefix="ulp-environment-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def ulp_file(ulp_file, open_directory):
    """The livepatch, in a directory of its own, which others need not see."""
    directory = open_directory / "livepatches"
    directory.mkdir(mode=0o755)
    shutil.copyfile(ulp_file, directory / ulp_file.name)
    (directory / ulp_file.name).chmod(0o644)
    return directory / ulp_file.name


@pytest.fixture
def launch(build, start):
    """A function that starts the program of tests/targets/sandbox, wrapped in words."""
    return apart.starter(start, build, "sandbox/app.c", ())


def failures(tool, victim):
    """What the runtime says of the requests that it could not carry out."""
    lines = tool.succeed("messages", "-p", victim.pid).output.splitlines()
    return [line for line in lines if ": error 0" not in line]


@pytest.fixture
def patched(preforked, ulp_file):
    """A function that applies the livepatch, looks that it is there, reverts it, and looks that nothing is left.

    A failed attempt before the one that succeeds is one too many, unless the test says that there must be one.
    """

    def patch_and_revert(victim, tool=preforked, attempts_before=0):
        before = apart.descriptors(victim.pid)
        failed = len(failures(tool, victim))
        tool.succeed("trigger", "-p", victim.pid, ulp_file)
        assert victim.number("version") == 2
        # The tool has ended; another one says so, too.
        assert tool.run("check", "-p", victim.pid, ulp_file).status == 0
        (process,) = tool.succeed("list", "-p", victim.pid, "--json").json()["processes"]
        assert [patch["status"] for patch in process["patches"]] == ["applied"]
        tool.succeed("trigger", "-p", victim.pid, ulp_file, "--revert")
        assert victim.number("version") == 1
        tool.succeed("trigger", "-p", victim.pid, ulp_file)
        assert victim.number("version") == 2
        assert apart.descriptors(victim.pid) == before
        assert len(failures(tool, victim)) == failed + attempts_before, failures(tool, victim)
        return process

    return patch_and_revert


@pytest.fixture
def refused(preforked, ulp_file):
    """A function that tries to apply the livepatch; it must be refused, and change nothing."""

    def refuse(victim, naming, tool=preforked):
        before = snapshot.of_process(victim)
        answer = tool.refuse("trigger", "-p", victim.pid, ulp_file, naming=victim.pid)
        assert naming in answer.errors
        assert snapshot.of_process(victim) == before
        assert victim.number("version") == 1

    return refuse


# ------------------------------------------------------------ memory and calls


def test_memory_deny_write_execute_of_systemd(launch, patched):
    """As MemoryDenyWriteExecute= does it: no mapping that can be written and executed, and none made executable.

    Seen to fail with mprotect(PROT_EXEC) among the calls that are needed, and without /proc/self/mem in the runtime's
    text.c, at the beginning and for a single write.
    """
    victim = launch()
    victim.ask(f"deny {MMAP} {EPERM:#x} {PROT_WRITE_EXEC}")
    for call in (MPROTECT, PKEY_MPROTECT):
        victim.ask(f"deny {call} {EPERM:#x} {PROT_EXEC}")
    patched(victim)


def test_memory_deny_write_execute_of_the_kernel(launch, patched):
    """As the kernel itself does it. Seen to fail without /proc/self/mem in the runtime's text.c, as above."""
    victim = launch()
    answer = victim.ask("mdwe")
    if answer != "denied":
        pytest.skip(f"this kernel has no PR_SET_MDWE: {answer}")
    patched(victim)


@needs_root
@pytest.mark.parametrize("action", [EPERM, KILL], ids=["error", "kill"])
@pytest.mark.parametrize("call", [OPEN, MEMFD_CREATE], ids=["open", "memfd_create"])
def test_call_that_is_not_needed(call, action, launch, patched):
    """Seen to fail (refused) with open and memfd_create among the calls that are needed."""
    victim = launch()
    victim.ask(f"deny {call} {action:#x}")
    patched(victim)


@needs_root
@pytest.mark.parametrize(
    ("denial", "name"),
    [(f"{OPENAT} {EPERM:#x}", "openat"), (f"{OPENAT} {KILL:#x}", "openat"),
     # The one way to write code without /proc/self/mem; nobody tries, lest the process be killed.
     (f"{MPROTECT} {KILL:#x} {PROT_EXEC}", "mprotect")],
    ids=["openat-error", "openat-kill", "mprotect-kill"],
)
def test_call_that_is_needed(denial, name, launch, refused):
    """Guards the look at the filter: without it, the process is killed, or says only that something failed.

    Seen so with what the look finds left unsaid.
    """
    victim = launch()
    victim.ask(f"deny {denial}")
    refused(victim, f"denies the system call {name}")


@needs_root
def test_revert_that_cannot_be_carried_out(launch, preforked, ulp_file):
    """Guards that a process which keeps its livepatch is not shown as one that never had any.

    Seen to be "not_patchable", and the revert to have succeeded.
    """
    victim = launch()
    preforked.succeed("trigger", "-p", victim.pid, ulp_file)
    victim.ask(f"deny {OPENAT} {KILL:#x}")
    answer = preforked.refuse("dispatch", "revert", ulp_file, "--name", victim.name, "--json", naming=victim.pid)
    (row,) = answer.json()
    assert (row["outcome"], row["pid"]) == ("failed", victim.pid)
    assert row["reason"].endswith("the livepatch stays applied")
    assert victim.number("version") == 2


@pytest.mark.parametrize("command", ["strict", "strict-thread"])
def test_strict_mode(command, build, refused):
    """Also of a thread that is never borrowed: it would die at its next entry. Seen to be patched without."""
    victim = Victim([build.program("sandbox/app.c")], libraries=[build.directory])
    try:
        victim.ask(command)
        refused(victim, "strict seccomp mode")
    finally:
        victim.kill()


@needs_root
@pytest.mark.parametrize("action", [EPERM, KILL], ids=["error", "kill"])
def test_memfd_create_where_the_file_is_not_seen(action, launch, refused, ulp_file):
    """The other way has its own needs. Seen to fail with can_load() in process/namespaces.py true of every path."""
    victim = launch(*apart.in_mounts(f"mount -t tmpfs none {ulp_file.parent}"))
    victim.ask(f"deny {MEMFD_CREATE} {action:#x}")
    refused(victim, "denies the system call memfd_create")


@needs_root
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_every_call_but_those_that_are_looked_for_kills(seen, launch, patched, ulp_file):
    """Guards the list of calls against a gap: one that is missing would kill a process that was found well.

    Seen to fail (the program is killed) without brk, getrandom, munmap or membarrier on the list, and, where the file
    is unseen, without memfd_create.
    """
    from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.system_calls import NUMBERS
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import seccomp_check

    listed = seccomp_check.NEEDED + seccomp_check.TOLERATED + (() if seen else seccomp_check.NEEDED_FOR_MEMORY_FILE)
    numbers = sorted({NUMBERS[name] for name, _arguments in listed}.union(ITS_OWN))
    victim = launch(*(() if seen else apart.in_mounts(f"mount -t tmpfs none {ulp_file.parent}")))
    victim.ask(f"only {KILL:#x} {','.join(map(str, numbers))}")
    patched(victim)


# --------------------------------------------------------- files and processes

# There may be one above the other.
NO_PROC = "while umount -l /proc 2>/dev/null; do :; done; test ! -e /proc/self"


@needs_root
def test_no_proc(launch, patched):
    """Code is written through mprotect() instead of /proc/self/mem.

    Seen to fail with write_unprotected() always false.
    """
    patched(launch(*apart.in_mounts(NO_PROC)))


@needs_root
def test_no_proc_and_memory_deny_write_execute(launch, refused, preforked, ulp_file):
    """Neither way to write code is left: it is found out before anything has changed.

    Seen to fail, told to be patched, with a failed mprotect() not heeded in the runtime's text.c.
    """
    victim = launch(*apart.in_mounts(NO_PROC))
    assert victim.ask("mdwe") == "denied"
    answer = preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming=victim.pid)
    assert "does not let its code be changed" in answer.errors
    assert victim.number("version") == 1


@needs_root
def test_other_mounts_and_process_numbers(launch, patched, ulp_file, tmp_path):
    """As in a container: another file lies at the livepatch's path, and the program is process 1.

    Seen to fail with can_load() in process/namespaces.py true of every path.
    """
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ulp_file.name).write_text("another file\n")
    mounts = f"mount -t proc proc /proc; mount --bind {tmp_path / 'other'} {ulp_file.parent}"
    victim = launch("unshare", "--mount", "--pid", "--fork", "--kill-child", *apart.after(mounts), forks=True)
    process = patched(victim)
    assert not process["own_root"]
    assert (tmp_path / "other" / ulp_file.name).read_text() == "another file\n"


@needs_root
def test_own_user_namespace(launch, patched, ulp_file):
    """As a container of an ordinary user: its root is nobody here.

    Seen to fail with can_load() in process/namespaces.py true of every path.
    """
    victim = launch(
        "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child",
        *apart.after(f"mount -t proc proc /proc; mount -t tmpfs none {ulp_file.parent}"), forks=True,
    )
    patched(victim)


@needs_root
def test_chroot(launch, patched, build, ulp_file, tmp_path):
    """The livepatch is not there; the root directory can't be written; nothing is left in it.

    Seen to fail with can_load() in process/namespaces.py true of every path.
    """
    root = tmp_path / "root"
    root.mkdir()
    victim = launch(*apart.in_root(
        root, [build.directory, build.hazard.directory],
        "mkdir -p $root/proc; mount -t proc proc $root/proc; mount --rbind $root $root; mount -o remount,bind,ro $root",
    ))
    process = patched(victim)
    assert process["own_root"]
    assert not os.path.exists(f"/proc/{victim.pid}/root{ulp_file.parent}")


@needs_root
def test_chroot_without_proc(launch, refused, build, tmp_path):
    """It can't be given the bytes. Seen to fail with can_load() in process/namespaces.py true of every path."""
    root = tmp_path / "root"
    root.mkdir()
    victim = launch(*apart.in_root(root, [build.directory, build.hazard.directory]))
    refused(victim, "has no /proc through which it could be given the bytes")


@needs_root
def test_chroot_without_proc_but_with_the_livepatch(launch, patched, build, ulp_file, tmp_path):
    """What it sees it loads by the path.  Seen to fail with can_load() in process/namespaces.py true of no path."""
    root = tmp_path / "root"
    root.mkdir()
    patched(launch(*apart.in_root(root, [build.directory, build.hazard.directory, ulp_file.parent])))


@needs_root
def test_link_inside_that_leads_astray(launch, patched, build, ulp_file, tmp_path):
    """A link is followed in the process's own tree, not in ours: there it leads to the very file.

    Seen to fail (a first attempt does) without the look at every step of the path: then the process is to load what it
    finds by itself.
    """
    root = tmp_path / "root"
    (root / ulp_file.parent.parent.relative_to("/")).mkdir(parents=True)
    # For us, through /proc/PID/root, this leads to the livepatch; for the process, to nothing.
    (root / ulp_file.parent.relative_to("/")).symlink_to(ulp_file.parent.with_name("elsewhere"))
    ulp_file.parent.with_name("elsewhere").symlink_to(ulp_file.parent)
    patched(launch(*apart.in_root(
        root, [build.directory, build.hazard.directory], "mkdir -p $root/proc; mount -t proc proc $root/proc")))


@needs_root
def test_file_on_a_mount_from_which_nothing_is_executed(launch, patched, ulp_file):
    """Seen to fail without the look at the mount: a first attempt does, as the loader cannot map a segment."""
    patched(launch(*apart.in_mounts(
        f"mount --bind {ulp_file.parent} {ulp_file.parent}; mount -o remount,bind,noexec {ulp_file.parent}")))


@needs_root
def test_file_that_landlock_shuts_out(launch, patched, ulp_file):
    """Nothing shows that but an attempt: the file's owner and mode permit it. Then the process is given the bytes.

    Seen to fail with "cannot open shared object file: Permission denied" without the second attempt.
    """
    victim = launch()
    answer = victim.ask("landlock")
    if answer != "denied":
        pytest.skip(f"this kernel has no Landlock: {answer}")
    patched(victim, attempts_before=1)
    assert "/memfd:ulp:" in Path(f"/proc/{victim.pid}/maps").read_text()


@needs_root
def test_file_that_landlock_shuts_out_and_no_other_way(launch, preforked, ulp_file):
    """The reason of the first attempt is the one to tell; the second one is given up before the process is touched.

    Seen to fail, with "denies the system call memfd_create", without that exception in trigger.operations.exchange.
    """
    victim = launch()
    victim.ask(f"deny {MEMFD_CREATE} {KILL:#x}")
    answer = victim.ask("landlock")
    if answer != "denied":
        pytest.skip(f"this kernel has no Landlock: {answer}")
    answer = preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming=victim.pid)
    assert f"{ulp_file}: cannot open shared object file: Permission denied" in answer.errors
    assert victim.number("version") == 1


@needs_root
def test_two_livepatches_as_bytes(launch, preforked, build, ulp_file):
    """Guards the name under which the loader knows a memory file: descriptors have the same number again.

    That bytes come at all: seen to fail with can_load() in process/namespaces.py true of every path.
    """
    newest = build.patch("patch3", {"version": "patched_version"}, flags=("-DVERSION=3",))
    second = shutil.copyfile(newest, ulp_file.with_name("second.ulp"))
    victim = launch(*apart.in_mounts(f"mount -t tmpfs none {ulp_file.parent}"))
    preforked.succeed("trigger", "-p", victim.pid, ulp_file)
    preforked.succeed("trigger", "-p", victim.pid, second)
    assert victim.number("version") == 3
    preforked.succeed("trigger", "-p", victim.pid, second, "--revert")
    assert victim.number("version") == 2
    assert failures(preforked, victim) == []


@needs_root
def test_memory_files_are_never_executable(launch, patched, ulp_file):
    """vm.memfd_noexec=2 forbids memory files that could be executed; the loader has no need of that.

    Seen to fail with the runtime asking for MFD_EXEC.
    """
    setting = "/proc/sys/vm/memfd_noexec"
    if not os.path.exists(setting):
        pytest.skip("this kernel has no vm.memfd_noexec")
    # It counts for the PID namespace in which it is set.
    victim = launch(
        "unshare", "--mount", "--pid", "--fork", "--kill-child",
        *apart.after(f"mount -t proc proc /proc; echo 2 > {setting}; mount -t tmpfs none {ulp_file.parent}"),
        forks=True,
    )
    patched(victim)


@needs_root
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_no_descriptor_is_left(seen, launch, preforked, patched, ulp_file):
    """A program at its limit of open files: refused, and as it was; with room again, patched.

    Seen to fail with a descriptor left open by the runtime's descriptor.c.
    """
    victim = launch(*(() if seen else apart.in_mounts(f"mount -t tmpfs none {ulp_file.parent}")))
    before = apart.descriptors(victim.pid)
    limits = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (len(before), resource.getrlimit(
        resource.RLIMIT_NOFILE)[1]))
    answer = preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming=victim.pid)
    assert "Too many open files" in answer.errors or "cannot open shared object file" in answer.errors
    assert apart.descriptors(victim.pid) == before
    assert victim.number("version") == 1
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, limits)
    patched(victim)


# ------------------------------------------------------------------- the loader


def test_bind_now(build, start, patched):
    """Nothing counts on symbols that are bound late, so nothing could be taken out to see it fail."""
    patched(start(build, "sandbox/app.c", environment={"LD_BIND_NOW": "1"}))


def test_static_thread_local_storage_is_full(launch, patched, tmp_path):
    """A livepatch needs none of it; nor does the runtime, which has its own since the start.

    The test itself makes sure that nothing is left of it; no way was found to make the runtime need more.  Seen to fail
    ("cannot allocate memory in static TLS block") with a livepatch that has a thread-local variable of the initial-exec
    kind.
    """
    for name, size in (("large", 128), ("small", 8)):
        source = tmp_path / f"{name}.c"
        source.write_text(f"__thread char storage[{size}];\nchar *where(void) {{ return storage; }}\n")
        run(["gcc", "-shared", "-fPIC", "-ftls-model=initial-exec", "-nostdlib", "-o", tmp_path / name, source])
        for number in range(200):
            shutil.copyfile(tmp_path / name, tmp_path / f"{name}.{number}")
    victim = launch()
    for name in ("large", "small"):
        answer = victim.ask(f"tls {tmp_path / name}")
        assert "cannot allocate memory in static TLS block" in answer, answer
    patched(victim)


# -------------------------------------------------------------- who may do what


@pytest.fixture
def as_nobody(open_directory):
    """The command, as an ordinary user runs it; behind ``wrap``."""
    command = shutil.copy(COMMAND, open_directory / "ulp")
    os.chmod(command, 0o755)

    def tool(*wrap):
        return Ulp(("/usr/bin/python3", str(command)), wrap=(
            *wrap, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))

    return tool


@pytest.fixture
def launch_as_nobody(build, open_directory):
    """A function that starts the program as an ordinary user."""
    victims = []
    library = shutil.copy(build.library, open_directory)
    program = shutil.copy(build.program("sandbox/app.c"), open_directory)
    runtime = shutil.copy(RUNTIME, open_directory)
    for path in (library, program, runtime):
        os.chmod(path, 0o755)

    def launch():
        victims.append(Victim([program], libraries=[open_directory], preload=[runtime], user=NOBODY))
        return victims[-1]

    yield launch
    for victim in victims:
        victim.finish()


@needs_root
def test_program_that_the_kernel_protects(launch_as_nobody, as_nobody, refused, patched):
    """As a server after it has given up its privileges: its own user may not look at it, root may.

    Seen to fail, with another sentence, where EACCES is an error like any other in process/procfs.py.
    """
    victim = launch_as_nobody()
    victim.ask("undumpable")
    refused(victim, "may not be examined by this user; run as root", as_nobody())
    patched(victim)


@needs_root
def test_program_that_the_kernel_protects_gets_bytes(launch_as_nobody, preforked, ulp_file):
    """It may not open /proc/self/mem, but it may load /proc/thread-self/fd: what it can't read comes as bytes.

    Seen to fail with can_load() in process/namespaces.py true of every path.
    """
    ulp_file.chmod(0o600)
    victim = launch_as_nobody()
    victim.ask("undumpable")
    preforked.succeed("trigger", "-p", victim.pid, ulp_file)
    assert victim.number("version") == 2
    assert failures(preforked, victim) == []


def mdwe_of_the_kernel(victim):
    assert victim.ask("mdwe") == "denied"


def mdwe_of_systemd(victim):
    for call in (MPROTECT, PKEY_MPROTECT):
        victim.ask(f"deny {call} {EPERM:#x} {PROT_EXEC}")


@needs_root
@pytest.mark.parametrize("deny", [mdwe_of_the_kernel, mdwe_of_systemd], ids=["kernel", "systemd"])
def test_program_that_the_kernel_protects_and_memory_deny_write_execute(deny, launch_as_nobody, preforked, ulp_file):
    """Neither way to write code is left: not patchable, which stops no rollout, with the reason.

    Seen to fail, with the outcome "failed", without the question for TEXT_UNWRITABLE in trigger.judgement.verdict.
    """
    victim = launch_as_nobody()
    victim.ask("undumpable")
    deny(victim)
    for _attempt in range(2):
        (row,) = preforked.run("dispatch", "patch", ulp_file, victim.pid, "--json").json()
        assert row["outcome"] == "not_patchable"
        assert "can neither open /proc/self/mem for writing, nor may it make memory executable" in row["reason"]
        assert victim.number("version") == 1


@needs_root
def test_revert_in_a_program_that_has_shut_itself_in_since(launch_as_nobody, preforked, ulp_file):
    """What is patched is not called impossible to patch: the revert has failed, and the livepatch stays applied.

    Seen to fail with the question for TEXT_UNWRITABLE in trigger.judgement.verdict put for a revert, too.
    """
    victim = launch_as_nobody()
    preforked.succeed("trigger", "-p", victim.pid, ulp_file)
    victim.ask("undumpable")
    mdwe_of_the_kernel(victim)
    (row,) = preforked.run("dispatch", "revert", ulp_file, victim.pid, "--json").json()
    assert row["outcome"] == "failed"
    assert "does not let its code be changed" in row["reason"]
    assert victim.number("version") == 2
    assert preforked.run("check", "-p", victim.pid, ulp_file).status == 0


@needs_root
def test_setuid_program(build, ulp_file, preforked, open_directory):
    """The loader heeds no LD_PRELOAD there, so there is no runtime in it, and the reason says so.

    Seen to fail with a process without runtime told to have ended.
    """
    program = open_directory / "setuid"
    shutil.copy(build.library, open_directory)
    # The loader heeds no LD_LIBRARY_PATH either.
    run(["gcc", "-O2", "-o", program, TARGETS / "sandbox" / "app.c", build.library, f"-Wl,-rpath,{open_directory}"])
    program.chmod(0o755 | stat.S_ISUID)
    victim = Victim([program], user=NOBODY)
    try:
        before = snapshot.of_process(victim)
        preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming="started without the livepatch runtime")
        assert snapshot.of_process(victim) == before
        assert victim.number("version") == 1
    finally:
        victim.finish()


WITHOUT_PROC = ("unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /proc; exec "$@"', "sh")
OTHER_PROC = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


@needs_root
@pytest.mark.parametrize("wrap", [WITHOUT_PROC, OTHER_PROC])
@pytest.mark.parametrize("asked", [(), ("-p", "2")])
def test_proc_is_not_ours(wrap, asked):
    """Guards processes that have the PID of another one in another PID namespace.

    Seen to fail: it said that there is nothing, or served other processes than those that were asked for.
    """
    Ulp(wrap=wrap).refuse("list", *asked, naming="/proc does not show this process")


HIDDEN = ("unshare", "--mount", "sh", "-e", "-c", 'mount -t proc -o hidepid=2 proc /proc; exec "$@"', "sh")


@needs_root
def test_hidepid(launch, launch_as_nobody, as_nobody, refused, patched, ulp_file):
    """A user patches their own processes; of somebody else's they are told that it is hidden, not that it has ended.

    Seen to fail with hides_processes() always false.
    """
    tool = as_nobody(*HIDDEN)
    patched(launch_as_nobody(), tool)
    refused(launch(), "is hidden from this user", tool)
    with subprocess.Popen(["true"]) as process:
        process.wait()
    tool.refuse("trigger", "-p", process.pid, ulp_file, naming="does not exist, or it has ended")
    warning = tool.run("dispatch", "check", ulp_file).errors
    assert "hidepid" in warning


@needs_root
@pytest.mark.skipif(shutil.which("fuse-overlayfs") is None, reason="needs fuse-overlayfs")
def test_file_system_of_a_user(build, ulp_file, preforked, patched, tmp_path):
    """As rootless podman on older kernels: not even root sees the files, and says so; in the user's namespace it works.

    Seen to fail, with "may not be examined by this user", when what cannot be reached counts as some other file.
    """
    for name in ("lower/opt", "lower/proc", "lower/old", "upper", "work", "root"):
        (tmp_path / name).mkdir(parents=True)
    for path in (build.program("sandbox/app.c"), build.library, RUNTIME):
        shutil.copy(path, tmp_path / "lower" / "opt")
    script = "\n".join([
        f"cd {tmp_path}",
        "fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work root 2>fuse.log",
        "for path in usr lib lib64; do mkdir -p root/$path; mount --rbind /$path root/$path; done",
        "mount -t proc proc root/proc; cd root; pivot_root . old; umount -l /old",
        'exec env LD_PRELOAD=/opt/libpulp.so LD_LIBRARY_PATH=/opt "$@"',
    ])
    program = f"/opt/{build.program('sandbox/app.c').name}"
    victim = Victim(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child",
                     "sh", "-ec", script, "sh", program], preload=())
    victim.pid = apart.child_of(victim)
    try:
        inside = ("nsenter", "-U", "-t", str(victim.pid), "--preserve-credentials")
        answer = preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming=" ".join(inside))
        assert "a file that cannot be reached any more by this user" in answer.errors
        rows = preforked.run("dispatch", "check", ulp_file, "--json").json()
        assert {row["pid"]: row["outcome"] for row in rows}[victim.pid] == "not_patchable"
        assert victim.number("version") == 1
        patched(victim, Ulp(wrap=inside))
    finally:
        victim.finish()


@needs_root
def test_library_that_cannot_be_reached(launch_as_nobody, as_nobody, patched, ulp_file, open_directory, build):
    """A user does not get at a library that has been replaced on disk: not known is not the same as not concerned.

    Seen to fail, with "has not loaded", when what cannot be reached counts as some other file.
    """
    victim = launch_as_nobody()
    other = open_directory / "other"
    shutil.copy(build.library, other)
    os.rename(other, open_directory / build.library.name)
    for words in (("trigger", "-p", victim.pid, ulp_file), ("dispatch", "patch", ulp_file, victim.pid)):
        answer = as_nobody().run(*words)
        assert answer.status == 1
        assert f"process {victim.pid}" in answer.errors
        assert "a file that cannot be reached any more by this user" in answer.errors
    answer = as_nobody().run("dispatch", "check", ulp_file, "--json")
    assert {row["pid"]: row["outcome"] for row in answer.json()}[victim.pid] == "not_patchable"
    assert victim.number("version") == 1
    # Root does.
    patched(victim)
