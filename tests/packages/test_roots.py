# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fix for Debian 12 and 13 in one run: in their roots and their images, also of source packages.

The roots are made once, in build/roots, which takes a minute or two each, and 500 MB.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from harness.command import Ulp
from harness.paths import BUILD, COMMAND, RUNTIME
from harness.root import open_directory

# The first test makes the roots as well.
pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may make roots"), pytest.mark.timeout(2400)]

SUITES = {"bookworm": "12", "trixie": "13"}
INCLUDE = "build-essential,debhelper,python3,ca-certificates"
# What lz4 is built with, which is stock as Debian 13 built it last.
MORE = {"trixie": ",liblz4-1,cmake,libxxhash-dev,pkgconf"}
MIRROR = "http://deb.debian.org"
SOURCE = "static int count;\nint fix(int v)\n{\n\tcount++;\n\treturn v * 3 + count;\n}\n"
DIFF = "--- a/fix.c\n+++ b/fix.c\n@@ -3,3 +3,3 @@\n {\n-\tcount++;\n+\tcount += 1000;\n \treturn v * 3 + count;\n"
MAKEFILE = """\
libfix.so.1: fix.c
\t$(CC) -O2 -g -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id -Wl,-soname,libfix.so.1 -o $@ fix.c
"""
# For jansson, which both releases have in version 2.14.
JANSSON_DIFF = """\
--- a/src/version.c
+++ b/src/version.c
@@ -17,5 +17,5 @@
     int diff;
\x20
-    if ((diff = JANSSON_MAJOR_VERSION - major)) {
+    if ((diff = JANSSON_MAJOR_VERSION - major % 4000)) {
         return diff;
     }
"""
ZLIB_DIFF = """\
--- a/compress.c
+++ b/compress.c
@@ -80,3 +80,3 @@
     return sourceLen + (sourceLen >> 12) + (sourceLen >> 14) +
-           (sourceLen >> 25) + 13;
+           (sourceLen >> 25) + (sourceLen == 4711 ? 1000 : 13);
 }
"""
LZ4_DIFF = """\
--- a/lib/lz4.c
+++ b/lib/lz4.c
@@ -745 +745 @@
-int LZ4_versionNumber (void) { return LZ4_VERSION_NUMBER; }
+int LZ4_versionNumber (void) { return LZ4_VERSION_NUMBER + 7; }
"""
PROGRAM = """\
import ctypes, sys
function = getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])
print("loaded", flush=True)
for line in sys.stdin:
    print(function(*map(int, line.split())), flush=True)
"""
NOBODY = 65534
SECONDS = 1200


@pytest.fixture(scope="session", name="roots")
def fixture_roots():
    """{suite: a root}."""
    for suite in SUITES:
        root = BUILD / "roots" / suite
        if not root.exists():
            root.parent.mkdir(exist_ok=True)
            unfinished = root.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase",
                            f"--include={INCLUDE}{MORE.get(suite, '')}", suite, unfinished,
                            f"{MIRROR}/debian", f"deb {MIRROR}/debian-security {suite}-security main"], check=True)
            unfinished.rename(root)
    return {suite: (BUILD / "roots" / suite).resolve() for suite in SUITES}


@pytest.fixture(scope="session", name="images")
def fixture_images(roots):
    """Names of images with the same."""
    names = []
    try:
        for root in roots.values():
            names.append(f"localhost/ulp-root-{uuid.uuid4().hex[:8]}:1")
            with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
                subprocess.run(["podman", "import", "--quiet", "-", names[-1]], stdin=archive.stdout, check=True)
        yield names
    finally:
        subprocess.run(["podman", "rmi", "--force", *names], check=True)


@contextlib.contextmanager
def running(root, library, function, preload=None):
    """A process in the root that has loaded a library of the host, or one of the root's own if that is a name."""
    place = Path(tempfile.mkdtemp(dir=root / "tmp"))
    words = ["unshare", "--mount", "sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', root, "env"]
    try:
        if os.sep in str(library):
            library = "/" + str(Path(shutil.copy(library, place)).relative_to(root))
        if preload is not None:
            words.append("LD_PRELOAD=/" + str(Path(shutil.copy(preload, place)).relative_to(root)))
        with subprocess.Popen([*words, "python3", "-c", PROGRAM, library, function], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout.readline() == "loaded\n"
                yield process
            finally:
                process.kill()
    finally:
        shutil.rmtree(place)


def ask(process, *numbers):
    """What the function makes of these."""
    process.stdin.write(" ".join(map(str, numbers)) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@pytest.fixture(name="tmp_path")
def fixture_tmp_path():
    with open_directory() as directory:
        yield directory


@pytest.fixture(name="tree")
def fixture_tree(tmp_path):
    tree = tmp_path / "source"
    tree.mkdir()
    (tree / "fix.c").write_text(SOURCE)
    (tree / "Makefile").write_text(MAKEFILE)
    (tmp_path / "fix.patch").write_text(DIFF)
    return tree


def test_two_releases_by_an_ordinary_user(roots, tree, tmp_path):
    """Guards all of it where compilers, C libraries and Pythons are others than the host's.

    Each process in a root then gets the livepatch of its release from the one directory.
    """
    command, runtime = shutil.copy(COMMAND, tmp_path / "ulp"), shutil.copy(RUNTIME, tmp_path / "libpulp.so")
    for name in ("work", "out"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, NOBODY, NOBODY)
    user = Ulp(command=(sys.executable, command), wrap=(
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
    words = ["build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
             tmp_path / "work", "--runtime", runtime, "-o", tmp_path / "out", "--json"]
    for root in roots.values():
        words += ["--root", root]
    report = user.succeed(*words).json()
    assert [part["error"] for part in report["builds"]] == [None, None]
    for part, (suite, root) in zip(report["builds"], roots.items()):
        assert part["built_in"].startswith(f"the root {root} (Debian GNU/Linux {SUITES[suite]} ({suite})")
        assert part["targets"][0]["proof"]
    assert user.succeed(*words).json()["changed"] is False
    with contextlib.ExitStack() as stack:
        processes = {}
        for root in roots.values():
            (library,) = (tmp_path / "work").glob(f"root-{digest(root)}/work/before/libfix.so.1")
            processes[root] = stack.enter_context(running(root, library, "fix", RUNTIME))
        assert [ask(process, 1) for process in processes.values()] == [4, 4]
        # Root trusts no livepatch that somebody else could change.
        reviewed = shutil.copytree(tmp_path / "out", tmp_path / "reviewed")
        rows = Ulp().succeed("dispatch", "patch", reviewed, *(each.pid for each in processes.values()), "--json").json()
        wanted = {process.pid: part["targets"][0]["patch_id"]
                  for process, part in zip(processes.values(), report["builds"])}
        assert {row["pid"]: (row["outcome"], row["patch_id"]) for row in rows} == {
            pid: ("patched", patch_id) for pid, patch_id in wanted.items()}
        assert [ask(process, 1) for process in processes.values()] == [1004, 1004]


def digest(root):
    return hashlib.sha256(str(root).encode()).hexdigest()[:12]


def test_two_images(images, tree, tmp_path):
    words = ["build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
             tmp_path / "work", "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out", "--json"]
    before = containers()
    for image in images:
        words += ["--image", image]
    answer = Ulp().succeed(*words)
    parts = answer.json()["builds"]
    assert [part["image"] for part in parts] == images
    assert all(part["targets"][0]["proof"] for part in parts)
    assert answer.errors.count("unpack the image") == 2
    again = Ulp().succeed(*words)
    assert again.json()["changed"] is False and "unpack the image" not in again.errors
    assert containers() == before


def containers():
    return subprocess.run(["podman", "ps", "--all", "--quiet"], stdout=subprocess.PIPE, check=True).stdout


def test_a_source_package_of_two_releases(roots, tmp_path):
    """Guards source packages: apt of each root fetches its own, and the root's compiler and debhelper build it.

    Processes of both releases that nobody prepared are then patched in one dispatch.
    """
    (tmp_path / "fix.patch").write_text(JANSSON_DIFF)
    words = ["build", "--debian", "jansson", "--diff", tmp_path / "fix.patch", "--work", tmp_path / "work",
             "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out", "--json"]
    for root in roots.values():
        words += ["--root", root]
    answer = Ulp().run(*words, timeout=SECONDS)
    assert answer.status == 0, str(answer)
    parts = answer.json()["builds"]
    assert all(part["targets"][0]["proof"] for part in parts)
    again = Ulp().succeed(*words)
    assert again.json()["changed"] is False and again.errors.count("nothing has changed") == 2
    with contextlib.ExitStack() as stack:
        processes = []
        for root in roots.values():
            (library,) = (tmp_path / "work").glob(f"root-{digest(root)}/work/before/**/libjansson.so.4.*")
            processes.append(stack.enter_context(running(root, library, "jansson_version_cmp")))
        assert [ask(process, 4711, 0, 0) for process in processes] == [2 - 4711] * 2
        pids = [process.pid for process in processes]
        rows = Ulp().succeed("dispatch", "patch", tmp_path / "out", *pids, "--runtime", RUNTIME, "--json").json()
        assert {row["pid"]: row["patch_id"] for row in rows} == {
            pid: part["targets"][0]["patch_id"] for pid, part in zip(pids, parts)}
        assert [ask(process, 4711, 0, 0) for process in processes] == [2 - 711] * 2
        Ulp().succeed("dispatch", "revert", tmp_path / "out", *pids)
        assert [ask(process, 4711, 0, 0) for process in processes] == [2 - 4711] * 2


def test_build_dependencies_are_those_of_the_root(roots, tmp_path):
    """Guards their names in the words of each release's dpkg; seen to fail with that of Debian 13."""
    debian = tmp_path / "package" / "debian"
    debian.mkdir(parents=True)
    (debian / "changelog").write_text(
        "answer (1.0) unstable; urgency=low\n\n  * New.\n\n -- A B <a@b.example>  Thu, 01 Jan 2026 00:00:00 +0000\n")
    (debian / "control").write_text(
        "Source: answer\nMaintainer: A B <a@b.example>\nBuild-Depends: no-such-package-of-debian\n\n"
        "Package: answer\nArchitecture: any\nDescription: an answer\n")
    (debian / "rules").write_text("#!/usr/bin/make -f\n%:\n\ttrue\n")
    (tmp_path / "fix.patch").write_text(DIFF)
    words = ["build", "--debian", debian.parent, "--diff", tmp_path / "fix.patch", "--work", tmp_path / "work",
             "--no-proof", "--as-root", "-o", tmp_path / "out"]
    for root in roots.values():
        words += ["--root", root]
    answer = Ulp().run(*words)
    assert answer.status == 1
    for root in roots.values():
        assert f"in the root {root}: answer 1.0 cannot be built here" in answer.errors, str(answer)
        assert (f"not installed: no-such-package-of-debian; install them there: chroot {root} apt-get install"
                " --no-install-recommends no-such-package-of-debian") in answer.errors, str(answer)


@pytest.mark.parametrize("suite, source, package, diff, library, function, arguments, more", [
    ("bookworm", "zlib", "zlib1g", ZLIB_DIFF, "libz.so.1", "compressBound", (4711,), 987),
    ("trixie", "lz4", "liblz4-1", LZ4_DIFF, "liblz4.so.1", "LZ4_versionNumber", (), 7),
], ids=["zlib of 12", "lz4 of 13"])
def test_a_library_as_it_is_shipped(roots, tmp_path, monkeypatch, suite, source, package, diff, library, function,
                                    arguments, more):
    """Guards that what runs is the root's own library, which its package installed.

    It was built by the compiler of the release, as not every library was.
    """
    monkeypatch.setenv("DEB_BUILD_PROFILES", "nobiarch")
    (tmp_path / "fix.patch").write_text(diff)
    root = roots[suite]
    report = Ulp().succeed(
        "build", "--debian", source, "--running", package, "--diff", tmp_path / "fix.patch", "--work",
        tmp_path / "work", "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out", "--json", "--root", root,
        timeout=SECONDS).json()
    (target,) = report["targets"]
    assert target["proof"] and target["path"] == f"{tmp_path}/out/{library}.ulp"
    with running(root, library, function) as process:
        old = ask(process, *arguments)
        Ulp().succeed("dispatch", "patch", target["path"], process.pid, "--runtime", RUNTIME)
        assert ask(process, *arguments) == old + more
        Ulp().succeed("dispatch", "revert", target["path"], process.pid)
        assert ask(process, *arguments) == old
