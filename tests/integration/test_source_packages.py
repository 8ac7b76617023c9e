# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ulp build --debian`: a fix among the patches of a source package, for a library without padding."""

from __future__ import annotations

import subprocess
import sys

import pytest
from harness.command import Ulp
from harness.paths import RUNTIME

SOURCE = """\
#include "parse.h"
static int depth;
static __attribute__((noinline)) void deeper(int n) { depth += n; }
int unit_of(int n) { return n + UNIT; }
int parse(int n)
{
    int found = 0;
    for (int i = 0; i < n; i++) {
        found += unit_of(i & 3);
        deeper(found);
    }
    return found;
}
int parsed(void)
{
    return depth;
}
"""
FIXED = SOURCE.replace("    int found = 0;\n", "    int found = 0;\n    if (n > 100)\n        return -1;\n")
HEADER = "#define UNIT 1\nint unit_of(int n);\nint parse(int n);\nint parsed(void);\n"
# Like many a package, it is compiled elsewhere, from a copy of its source.
RULES = """\
#!/usr/bin/make -f
build-arch: build/libparse.so.1
build/libparse.so.1:
\tmkdir -p build/src
\tcp parse.c parse.h build/src
\tcd build && gcc $$(dpkg-buildflags --get CFLAGS) -fPIC -c -o parse.o src/parse.c
\tcd build && gcc -shared -Wl,--build-id -Wl,-soname,libparse.so.1 -o libparse.so.1 parse.o
build: build-arch
clean:
\trm -rf build
binary binary-arch binary-indep build-indep:
"""
CONTROL = """\
Source: parse
Maintainer: Nobody <nobody@example.org>
Build-Depends: {depends}
Standards-Version: 4.6.2

Package: libparse1
Architecture: any
Description: parses
 Parses.
"""
CHANGELOG = """\
parse (1.0-1) unstable; urgency=medium

  * First.

 -- Nobody <nobody@example.org>  Thu, 01 Jan 2026 00:00:00 +0000
"""
SPEC = """\
Name: parse
Version: 1.0
Release: 1
Summary: Parses
License: MIT
Source0: parse-1.0.tar.gz
{names}
%global debug_package %{{nil}}
%description
Parses.
%prep
{prepare}
%build
gcc %{{optflags}} -fPIC -c -o parse.o parse.c
gcc -shared -Wl,--build-id -Wl,-soname,libparse.so.1 -o libparse.so.1 parse.o
"""
PROGRAM = """\
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    print(library.parse(int(line)), library.parsed(), flush=True)
"""


def diff(old, new, name):
    """A unified diff of two texts, in the form of a quilt patch."""
    import difflib

    return "".join(difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}"))


@pytest.fixture(name="package")
def fixture_package(tmp_path):
    """A function that makes a source package with patches, {name: text}, and gives the path of its .dsc."""

    def package(patches, depends="dpkg-dev", files=None, rules=RULES):
        tree = tmp_path / "parse-1.0"
        (tree / "debian" / "source").mkdir(parents=True)
        (tree / "debian" / "patches").mkdir()
        for name, text in {"parse.c": SOURCE, "parse.h": HEADER, **(files or {})}.items():
            (tree / name).write_text(text)
        subprocess.run(["tar", "czf", "parse_1.0.orig.tar.gz", "--exclude=debian", "parse-1.0"], cwd=tmp_path,
                       check=True)
        for name, text in {"control": CONTROL.format(depends=depends), "rules": rules, "changelog": CHANGELOG,
                           "source/format": "3.0 (quilt)\n", "patches/series": "\n".join(patches) + "\n",
                           **{f"patches/{name}": text for name, text in patches.items()}}.items():
            (tree / "debian" / name).write_text(text)
        (tree / "debian" / "rules").chmod(0o755)
        done = subprocess.run(["dpkg-source", "-b", "parse-1.0"], cwd=tmp_path, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return tmp_path / "parse_1.0-1.dsc"

    return package


@pytest.fixture(name="build")
def fixture_build(tmp_path):
    def build(package, *options):
        return Ulp().run("build", "--debian", package, "--work", tmp_path / "work", "--runtime", RUNTIME, "--as-root",
                         "--json", "-o", tmp_path / "out", *options)

    return build


def test_a_package_is_built_without_one_of_its_patches(package, build, tmp_path):
    """Seen to fail, as what changes nothing, where copies that the build made of the source were left as they were."""
    other = diff(FIXED, FIXED.replace("depth;\n}", "depth + 0;\n}"), "parse.c")
    source = package({"fix.patch": diff(SOURCE, FIXED, "parse.c"), "other.patch": other})
    answer = build(source, "--without-patch", "fix.patch")
    assert answer.status == 0, str(answer)
    (target,) = answer.json()["targets"]
    assert [function["name"] for function in target["functions"]] == ["parse"]
    assert "well while patched" in target["proof"]
    ulp_file = Ulp().succeed("dump", target["path"], "--json").json()
    assert ulp_file["labels"]["source_package"]["without"] == "fix.patch"
    # Debian's flags know no padding.
    assert all(function["sites"] for each in ulp_file["targets"] for function in each["functions"])
    library = tmp_path / "work" / "before" / "build" / "libparse.so.1"
    rebuilt = tmp_path / "rebuilt.so"
    (tmp_path / "parse.c").write_text(FIXED)
    (tmp_path / "parse.h").write_text(HEADER)
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-o", rebuilt, tmp_path / "parse.c"], check=True)
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(each)], stdin=subprocess.PIPE, text=True,
                                  stdout=subprocess.PIPE) for each in (library, rebuilt)]
    try:
        assert [process.stdout.readline() for process in processes] == ["loaded\n"] * 2

        def ask(process, value):
            process.stdin.write(f"{value}\n")
            process.stdin.flush()
            return process.stdout.readline()

        values = (3, 1, 200, 5)
        # Nobody has prepared it: the runtime comes with the livepatch.
        assert ask(processes[0], 200) != "-1 0\n"
        ask(processes[1], 100)
        before = int(ask(processes[0], 0).split()[1]) - int(ask(processes[1], 0).split()[1])
        Ulp().succeed("trigger", "--attach", "--runtime", RUNTIME, "-p", processes[0].pid, target["path"])

        def results(process, more):
            answers = [tuple(map(int, ask(process, value).split())) for value in values]
            return [depth - more for _found, depth in answers], [found == -1 for found, _depth in answers]

        assert results(processes[0], before) == results(processes[1], 0)
        assert results(processes[0], before)[1] == [False, False, True, False]
        Ulp().succeed("trigger", "-p", processes[0].pid, target["path"], "--revert")
        assert ask(processes[0], 200).split()[0] != "-1"
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    # What was built is kept, and nothing that changed is built again.
    assert build(source, "--without-patch", "fix.patch").json()["changed"] is False


def test_a_stripped_library_as_installed_is_the_target(package, build, tmp_path):
    """Its static functions are found by the symbols of the one that is built, whose code is the same."""
    source = package({"fix.patch": diff(SOURCE, FIXED, "parse.c")})
    assert build(source, "--without-patch", "fix.patch").status == 0
    installed = tmp_path / "installed" / "libparse.so.1.0"
    installed.parent.mkdir()
    subprocess.run(["strip", "-o", installed, tmp_path / "work" / "before" / "build" / "libparse.so.1"], check=True)
    fix = tmp_path / "static.diff"
    fix.write_text(diff(SOURCE, SOURCE.replace("depth += n;", "depth += n & 0xffff;"), "parse.c"))
    answer = build(source, "--without-patch", "fix.patch", "--diff", fix, "--running", installed)
    assert answer.status == 0, str(answer)
    (target,) = answer.json()["targets"]
    assert [function["name"] for function in target["functions"]] == ["deeper"]
    assert Ulp().succeed("dump", target["path"], "--json").json()["targets"][0]["path"] == str(installed)
    assert "well while patched" in target["proof"]


@pytest.mark.parametrize("prepare", ["%autosetup -p1", "%setup -q\n%patch0 -p1\n%patch1 -p1",
                                     "%setup -q\n%patch -P0 -p1\n%patch -P 1 -p1"])
def test_a_package_of_rpm_is_built_without_one_of_its_patches(tmp_path, prepare):
    other = FIXED.replace("depth;\n}", "depth + 0;\n}")
    top = tmp_path / "top"
    (top / "SOURCES").mkdir(parents=True)
    (tmp_path / "parse-1.0").mkdir()
    (tmp_path / "parse-1.0" / "parse.c").write_text(SOURCE)
    (tmp_path / "parse-1.0" / "parse.h").write_text(HEADER)
    subprocess.run(["tar", "czf", top / "SOURCES" / "parse-1.0.tar.gz", "parse-1.0"], cwd=tmp_path, check=True)
    (top / "SOURCES" / "fix.patch").write_text(diff(SOURCE, FIXED, "parse.c"))
    (top / "SOURCES" / "other.patch").write_text(diff(FIXED, other, "parse.c"))
    (tmp_path / "parse.spec").write_text(SPEC.format(names="Patch0: fix.patch\nPatch1: other.patch", prepare=prepare))
    subprocess.run(["rpmbuild", "--define", f"_topdir {top}", "-bs", tmp_path / "parse.spec"], check=True,
                   stdout=subprocess.DEVNULL)
    answer = Ulp().succeed(
        "build", "--srpm", top / "SRPMS" / "parse-1.0-1.src.rpm", "--without-patch", "fix.patch", "--work",
        tmp_path / "work", "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out")
    (target,) = answer.json()["targets"]
    assert [function["name"] for function in target["functions"]] == ["parse"]
    assert "well while patched" in target["proof"]
    assert "return -1" not in (tmp_path / "work" / "before" / "BUILD" / "parse-1.0" / "parse.c").read_text()


@pytest.mark.parametrize("applied", [False, True])
def test_an_unpacked_package_is_built_without_one_of_its_patches(package, build, tmp_path, applied):
    """Whether its patches are applied already or not; the directory itself stays as it is."""
    package({"fix.patch": diff(SOURCE, FIXED, "parse.c")})
    tree = tmp_path / "parse-1.0"
    if applied:
        subprocess.run(["dpkg-source", "--before-build", tree], check=True, stdout=subprocess.DEVNULL)
    before = (tree / "parse.c").read_text()
    answer = build(tree, "--without-patch", "fix.patch")
    assert answer.status == 0, str(answer)
    assert [function["name"] for function in answer.json()["targets"][0]["functions"]] == ["parse"]
    assert (tree / "parse.c").read_text() == before
    assert "return -1" not in (tmp_path / "work" / "before" / "parse.c").read_text()


def test_one_of_several_patches_that_were_left_out_is_the_fix(package, build):
    second = FIXED.replace("return depth;\n}", "return depth > 9 ? 9 : depth;\n}")
    source = package({"fix.patch": diff(SOURCE, FIXED, "parse.c"), "second.patch": diff(FIXED, second, "parse.c")})
    answer = build(source, "--without-patch", "fix.patch", "--without-patch", "second.patch", "--diff", "second.patch")
    assert answer.status == 0, str(answer)
    assert [function["name"] for function in answer.json()["targets"][0]["functions"]] == ["parsed"]


@pytest.mark.timeout(1500)
def test_a_package_of_the_distribution(tmp_path):
    """What jbig2dec was before Debian took over a fix of its authors; `make check-packages` has many more."""
    command = ["build", "--debian", "jbig2dec=0.19-3", "--without-patch", "020210310~ade8a55.patch", "--work",
               tmp_path / "work", "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out"]
    answer = Ulp().succeed(*command, timeout=1200)
    (target,) = answer.json()["targets"]
    assert target["name"] == "libjbig2dec.so.0"
    assert [function["name"] for function in target["functions"]] == ["jbig2_pattern_dictionary"]
    assert target["proof"][-1] == "well after the revert"
    ulp_file = Ulp().succeed("dump", target["path"], "--json").json()
    assert ulp_file["labels"]["source_package"]["from"] == "apt, which verified its signature"


@pytest.mark.parametrize("patches, options, message", [
    ({}, ("--without-patch", "other.patch"), "parse_1.0-1.dsc has no patch other.patch; it has fix.patch, more.patch"),
    ({}, ("--without-patch", "fix.patch"), "the patch more.patch of parse_1.0-1.dsc does not apply without fix.patch"),
    ({}, (), "the fix is missing"),
    ({"depends": "no-such-package-of-debian"}, ("--without-patch", "more.patch"),
     "not installed: no-such-package-of-debian; install them as root: apt-get"),
])
def test_what_cannot_be_built_is_told(package, build, patches, options, message):
    more = FIXED.replace("return -1", "return -2")
    answer = build(package({"fix.patch": diff(SOURCE, FIXED, "parse.c"), "more.patch": diff(FIXED, more, "parse.c")},
                           **patches), *options)
    assert answer.status != 0, str(answer)
    assert message in answer.errors
    assert not answer.output


def test_build_profiles_of_the_environment_count(package, build, monkeypatch):
    """Seen to fail: what only another profile needs was missing all the same."""
    monkeypatch.setenv("DEB_BUILD_PROFILES", "nobiarch")
    answer = build(package({"fix.patch": diff(SOURCE, FIXED, "parse.c")},
                           depends="no-such-package <!nobiarch>, neither-this-one"), "--without-patch", "fix.patch")
    assert "not installed: neither-this-one; install" in answer.errors, str(answer)
    assert " -Pnocheck,nodoc,nobiarch build-dep " in answer.errors


def test_what_a_file_is_generated_from_has_the_package_built_again(package, build):
    """Seen to fail, as a file that nothing reads, where only what compilers read was compiled again."""
    header = HEADER.replace("1\n", "@UNIT@\n", 1)
    source = package({"fix.patch": diff("1\n", "3\n", "unit.in")}, files={"unit.in": "1\n", "parse.h.in": header},
                     rules=RULES.replace("parse.h build/src", "build/src\n"
                                         "\tsed s/@UNIT@/$$(cat unit.in)/ parse.h.in >build/src/parse.h"))
    answer = build(source, "--without-patch", "fix.patch")
    assert answer.status == 0, str(answer)
    assert [function["name"] for function in answer.json()["targets"][0]["functions"]] == ["unit_of"]
    assert "begin anew, since unit.in" in answer.errors
