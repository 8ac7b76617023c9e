# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ulp build` in the directory trees of other systems: a livepatch for each, and nothing left behind in any.

tests/packages/test_roots.py has the roots and images of two releases of Debian.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.command import TIMEOUT, Ulp
from harness.modules import module
from harness.paths import COMMAND, RUNTIME
from harness.polling import wait_until
from harness.root import host_root, open_directory, own_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may mount")

SOURCE = """\
static int count;
int fix(int v)
{
    count++;
    return v * 3 + count;
}
"""
DIFF = """\
--- a/fix.c
+++ b/fix.c
@@ -3,3 +3,3 @@
 {
-    count++;
+    count += 1000;
     return v * 3 + count;
"""
MAKEFILE = """\
libfix.so.1: fix.o
\t$(CC) -shared -Wl,--build-id -Wl,-soname,libfix.so.1 -o $@ fix.o
fix.o: fix.c
\t$(CC) -O2 -g -fPIC -fpatchable-function-entry=16,14 -c fix.c
"""
PROGRAM = """\
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    print(library.fix(int(line)), flush=True)
"""
NOBODY = 65534


@pytest.fixture(name="tmp_path")
def fixture_tmp_path():
    with open_directory() as directory:
        yield directory


@pytest.fixture(name="words")
def fixture_words(tmp_path):
    """The words of a build, but for where it takes place."""
    tree = tmp_path / "the source"
    tree.mkdir()
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "fix.c").write_text(SOURCE)
    (tmp_path / "fix.patch").write_text(DIFF)
    return ["build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
            tmp_path / "work", "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out"]


@pytest.fixture(name="roots")
def fixture_roots(tmp_path):
    """Two roots with other compilers, one of them in a directory with a space in its name."""
    with host_root(tmp_path / "one", "gcc", "One 1") as one, host_root(tmp_path / "two 2", "clang", "Other") as other:
        yield [one, other]


def in_roots(*roots):
    return [word for root in roots for word in ("--root", root)]


def unproved(words):
    """The same without a proof, which other tests have."""
    position = words.index("--runtime")
    return [*words[:position], *words[position + 2:], "--no-proof"]


def outputs(tmp_path):
    return {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_each_root_gets_its_own(words, roots, tmp_path):
    """Guards a run over several roots: names, report, page; one that is none keeps nobody from the others.

    A dispatch takes the directory, and each process gets the one for its library.  Seen to fail with ``ulp build has no
    option --root``.
    """
    before = [own_files(root) for root in roots]
    answer = Ulp().run(*words, *in_roots(*roots, tmp_path / "absent"), "--json")
    assert answer.status == 1, str(answer)
    assert f"in the root {tmp_path}/absent: it is no directory" in answer.errors
    report = answer.json()
    assert [part["root"] for part in report["builds"]] == [*map(str, roots), f"{tmp_path}/absent"]
    assert [part["error"] for part in report["builds"]] == [None, None, "it is no directory"]
    assert [part["changed"] for part in report["builds"]] == [True, True, False]
    assert [part["built_in"] for part in report["builds"][:2]] == [
        f"the root {roots[0]} (One 1)", f"the root {roots[1]} (Other)"]
    (refusal,) = report["refused"]
    assert refusal["kind"] == "failed build" and not refusal["can_be_allowed"]
    targets = report["targets"]
    assert [target["path"] for target in targets] == [
        f"{tmp_path}/out/libfix.so.1-{target['build_id'][:8]}.ulp" for target in targets]
    assert all(target["proof"] for target in targets)
    for root, target in zip(roots, targets):
        assert f"the root {root} (" in Path(target["path"].replace(".ulp", ".html")).read_text()
        assert json.loads(Ulp().succeed("dump", "--json", target["path"]).output)["patch_id"] == target["patch_id"]
    assert len(outputs(tmp_path)) == 4 and targets[0]["build_id"] != targets[1]["build_id"]
    assert [own_files(root) for root in roots] == before

    was = outputs(tmp_path)
    again = Ulp().succeed(*words, *in_roots(*roots), "--json")
    assert again.json()["changed"] is False and outputs(tmp_path) == was
    assert again.errors.count("nothing has changed since the last run") == 2
    # What somebody has removed is there again, without another build.
    Path(targets[0]["path"]).unlink()
    again = Ulp().succeed(*words, *in_roots(*roots), "--json")
    assert [part["changed"] for part in again.json()["builds"]] == [True, False] and outputs(tmp_path) == was
    assert again.errors.count("nothing has changed since the last run") == 2

    libraries = sorted((tmp_path / "work").glob("root-*/work/before/libfix.so.1"))
    victims = [subprocess.Popen([sys.executable, "-c", PROGRAM, library], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, env={**os.environ, "LD_PRELOAD": str(RUNTIME)})
               for library in libraries]
    try:
        assert [victim.stdout.readline() for victim in victims] == ["loaded\n"] * 2
        rows = Ulp().succeed("dispatch", "patch", tmp_path / "out", *(victim.pid for victim in victims),
                             "--json").json()
        assert [row["outcome"] for row in rows] == ["patched", "patched"]
        assert {row["patch_id"] for row in rows} == {target["patch_id"] for target in targets}
        assert [victim.communicate("1\n")[0] for victim in victims] == ["1003\n"] * 2
    finally:
        for victim in victims:
            victim.kill()
            victim.communicate()


def test_two_roots_that_build_the_very_same(words, tmp_path):
    """Guards one livepatch for one build: two of them would be taken for two fixes of one library.

    Seen to fail with two patch IDs for one file, which each root wrote over.
    """
    # Debug information would name the work directory of each root, and give its library another build ID.
    (tmp_path / "the source" / "Makefile").write_text(MAKEFILE.replace(" -g ", " "))
    words = unproved(words)
    with host_root(tmp_path / "one") as one, host_root(tmp_path / "two") as two:
        report = Ulp().succeed(*words, *in_roots(one, two), "--json").json()
        paths = {target["path"] for target in report["targets"]}
        assert len(paths) == 1 and {target["patch_id"] for target in report["targets"]} == {
            Ulp().succeed("dump", "--json", *paths).json()["patch_id"]}
        assert "one livepatch is for both" in report["builds"][1]["warnings"][0]
        assert len(outputs(tmp_path)) == 2
        assert Ulp().succeed(*words, *in_roots(one, two), "--json").json()["changed"] is False


def test_a_root_that_changes_is_built_in_anew(words, tmp_path):
    """Guards against a livepatch of an older compiler's; seen to fail with ``nothing has changed``."""
    words = unproved(words)
    with host_root(tmp_path / "root") as root:
        Ulp().succeed(*words, *in_roots(root))
        (root / "var" / "lib" / "dpkg" / "status").write_text("Package: gcc-99\n")
        assert "build before the diff" in Ulp().succeed(*words, *in_roots(root)).errors


def test_an_ordinary_user(words, roots, tmp_path):
    """Guards user namespaces: no right of root is needed, and none is had by what the build runs.

    Seen to fail, with a test that ran without the livepatch, while the process that builds could still mount: it was
    closed to the processes of the test then.
    """
    command = shutil.copy(COMMAND, tmp_path / "ulp")
    runtime = shutil.copy(RUNTIME, tmp_path / "libpulp.so")
    for name in ("work", "out"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, NOBODY, NOBODY)
    tree = tmp_path / "the source"
    (tree / "try.c").write_text("int fix(int v);\nint main(void) { return fix(0) < 1000; }\n")
    (tree / "Makefile").write_text(
        "all: libfix.so.1 try\n" + MAKEFILE.replace(
            "fix.o: fix.c\n", "fix.o: fix.c\n\tid -u >&2; ! mount -t tmpfs none /mnt\n\t! touch /usr/x\n")
        + "try: try.c libfix.so.1\n\t$(CC) -o $@ try.c ./libfix.so.1\n")
    words[words.index("--runtime") + 1] = runtime
    words.remove("--as-root")
    user = Ulp(command=(sys.executable, command), wrap=(
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
    report = user.succeed(*words, *in_roots(*roots), "--test", "./try", "--json").json()
    assert len(report["targets"]) == 2 and all(target["proof"] for target in report["targets"])
    assert all(part["test"]["patched"] for part in report["builds"])
    (log, *_others) = (tmp_path / "work").glob("root-*/work/build-before.log")
    assert str(NOBODY) in log.read_text().splitlines()


def test_what_a_root_may_lack(words, tmp_path):
    """Guards one sentence with the root and what to do."""
    def refused(naming, *places):
        answer = Ulp().run(*words, *places)
        assert answer.status == 1 and "Traceback" not in answer.errors, str(answer)
        assert naming in answer.errors.splitlines()[-1], str(answer)
        assert not (tmp_path / "out").exists()

    bare = tmp_path / "bare"
    (bare / "bin").mkdir(parents=True)
    refused(f"in the root {bare}: it is no system to build in, as it has no /bin/sh", "--root", bare)
    shutil.copy("/bin/dash", bare / "bin" / "sh")
    refused(f"in the root {bare}: it lacks what a build takes: install there binutils, coreutils, diffutils, gcc,"
            " patch, python3", "--root", bare)
    program = bytearray((bare / "bin" / "sh").read_bytes())
    program[18:20] = (183).to_bytes(2, "little")
    (bare / "bin" / "sh").write_bytes(program)
    refused(f"in the root {bare}: it is a system for another machine", "--root", bare)
    (bare / "bin" / "sh").write_text("#!/bin/sh\n")
    refused(f"in the root {bare}: it is no system to build in", "--root", bare)
    refused("in the root /: it is the root of this system itself", "--root", "/")
    if shutil.which("podman"):
        refused("in the image localhost/ulp-absent: podman has no such image", "--image", "localhost/ulp-absent")
    words[words.index("-o") + 1] = tmp_path / "one.ulp"
    refused("name a directory instead of", "--root", bare, "--build", "true")
    words.remove("--as-root")
    words[words.index("--work") + 1] = tmp_path / "no work"
    refused("should not run as root", "--root", bare)
    refused("should not run as root")
    assert not (tmp_path / "no work").exists()


def test_a_runtime_that_the_root_cannot_load(words, roots, tmp_path):
    """Guards the truth: what could not be tried there is not called proved, and no test of it passes.

    Seen to fail, without any livepatch, as the trial process did not load the library.
    """
    absent, runtime = tmp_path / "libabsent.so", tmp_path / "runtime.so"
    for path, more in ((absent, []), (runtime, ["-Wl,--no-as-needed", absent])):
        subprocess.run(["gcc", "-shared", "-o", path, "-x", "c", os.devnull, "-x", "none", *more], check=True)
    absent.unlink()
    words[words.index("--runtime") + 1] = runtime
    answer = Ulp().succeed(*words, *in_roots(roots[0]), "--json")
    (target,) = answer.json()["targets"]
    assert target["proof"] is None and target["path"]
    assert f"nothing is proved in the root {roots[0]}, where the runtime {runtime} cannot be loaded" in answer.errors
    assert "no: try it yourself" in Ulp().succeed(*words, *in_roots(roots[0])).output
    tested = Ulp().run(*words, *in_roots(roots[0]), "--test", "true")
    assert tested.status == 1 and "a test runs under the livepatch, and the runtime" in tested.errors


def test_a_root_in_which_something_is_mounted(words, tmp_path):
    """As in one that somebody has entered with chroot(8).  Seen to fail with ``cannot enter``."""
    with host_root(tmp_path / "root") as root:
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        try:
            Ulp().succeed(*unproved(words), *in_roots(root))
        finally:
            subprocess.run(["umount", root / "proc"], check=True)


def test_links_that_lead_out_of_a_root(words, tmp_path):
    """Guards the host: what a root's symbolic links name is looked for in the root; nothing is written through them."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "seen").touch()
    with host_root(tmp_path / "root") as root:
        shutil.rmtree(root / "var")
        (root / "var").symlink_to(outside)
        (root / "home").symlink_to(f"../../../../../../../../..{outside}")
        (root / "tmp").rmdir()
        (root / "tmp").symlink_to(outside)
        (tmp_path / "the source" / "Makefile").write_text(MAKEFILE.replace(
            "fix.o: fix.c\n", "fix.o: fix.c\n\ttouch /tmp/written /var/tmp/written; ! ls /home/seen\n"))
        Ulp().succeed(*unproved(words), *in_roots(root))
    assert os.listdir(outside) == ["seen"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(words, roots, tmp_path, number):
    """Guards the end of all that runs in a root, however ulp ends; the next run goes on."""
    slow = [*words]
    slow[slow.index("make")] = "setsid sleep 98765 & touch mark; sleep 98765"
    mounts = Path("/proc/self/mountinfo").read_text()
    process = subprocess.Popen([*Ulp().command, *map(str, [*slow, *in_roots(*roots)])], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: list((tmp_path / "work").glob("root-*/work/tree/mark")), "the build runs")
        process.send_signal(number)
        errors = process.communicate(timeout=TIMEOUT)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors
    wait_until(lambda: not sleepers(), "nothing of the build is left")
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert "Traceback" not in errors and not (tmp_path / "out").exists()
    Ulp().succeed(*unproved(words), *in_roots(roots[0]))


def sleepers():
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and b"98765" in command_line(pid)]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_what_ends_in_the_middle(words, roots, tmp_path):
    """Guards what was built before, in this root and in others, where something ends the process that builds."""
    first = [*unproved(words), *in_roots(roots[0])]
    deadly = [*first, "--build", "kill -KILL 2", *in_roots(roots[1])]
    answer = Ulp().run(*deadly, "--json")
    assert answer.status == 1 and answer.errors.count("the process that builds was killed") == 2, str(answer)
    parts = answer.json()["builds"]
    assert [(part["root"], part["build"], part["error"] is None) for part in parts] == [
        (str(root), command, command is not None) for root in roots for command in ("make", None)]
    assert len(outputs(tmp_path)) == 4


def test_time_is_bounded(words, roots):
    slow = [*words, "--build-timeout", "1"]
    slow[slow.index("make")] = "sleep 98765"
    answer = Ulp().run(*slow, *in_roots(roots[0]))
    assert answer.status == 1 and "build before the diff took longer than 1 s" in answer.errors
    assert not sleepers()


def test_two_runs_at_once(words, roots):
    """Guards the lock of the work directory: both give the same, and the second one builds nothing."""
    command = [*Ulp().command, *map(str, [*unproved(words), *in_roots(*roots)])]
    both = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True) for _each in range(2)]
    errors = [process.communicate(timeout=TIMEOUT)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sorted(text.count("build before the diff") for text in errors) == [0, 2], errors


def test_check_mode(words, roots, tmp_path):
    """Guards that the module writes nothing in check mode, and tells what comes; test_playbooks.py has the rest."""
    checked = module(
        "ulp_build", "--check", source=str(tmp_path / "the source"), build="make",
        diffs=[str(tmp_path / "fix.patch")], work=str(tmp_path / "work"), proof=False, as_root=True,
        dest=str(tmp_path / "out"), roots=list(map(str, roots)))
    assert checked["changed"] and [part["root"] for part in checked["builds"]] == list(map(str, roots))
    assert not (tmp_path / "out").exists()
