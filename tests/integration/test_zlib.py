# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A library that nobody here wrote, under a program that nobody here wrote: Debian's zlib and Debian's python3."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import debian
from harness.library import run
from harness.livepatch import NOT_APPLIED
from harness.paths import RUNTIME, TARGETS, TRM
from harness.variant import PADDING, PADDING_ONLY, POST
from harness.victim import Victim

PYTHON = "/usr/bin/python3"
THREADS = 4
CYCLES = 10
PAIRS = {"zlibVersion": "patched_version", "adler32": "patched_adler32", "crc32": "patched_crc32"}


class Zlib(NamedTuple):
    """A build of it: the library as programs find it, and a livepatch that was made for it."""

    directory: Path
    library: Path
    ulp_file: Path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Debian's source, configured and compiled with the padding; how it is linked depends on the mode."""
    directory = debian.fetch_source("zlib", tmp_path_factory.mktemp("zlib"))
    debian.run(["./configure"], cwd=directory, env={"PATH": "/usr/bin:/bin", "CFLAGS": f"-O2 -g {PADDING}"})
    return directory


@pytest.fixture(scope="module", params=[POST, PADDING_ONLY])
def zlib(request, source, tmp_path_factory, preforked):
    """libz.so.1 with a build ID, post-processed with trm.o or with the padding only."""
    directory = tmp_path_factory.mktemp(request.param)
    shutil.rmtree(directory)
    shutil.copytree(source, directory, symlinks=True)
    extra = f" {TRM}" if request.param == POST else ""
    linker = "gcc -shared -Wl,-soname,libz.so.1,--version-script,zlib.map -Wl,--build-id"
    debian.run(["make", "-j2", f"LDSHARED={linker}", f"LDSHAREDLIBC=-lc{extra}", "shared"], cwd=directory)
    library = directory / "libz.so.1"
    if request.param == POST:
        preforked.succeed("post", library)
    patch = directory / "patch.so"
    run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-Wl,--build-id", "-o", patch,
         TARGETS / "zlib" / "patch.c"])
    description = directory / "patch.dsc"
    lines = [str(patch), f"@{library.resolve()}", *(f"{old}:{new}" for old, new in PAIRS.items())]
    description.write_text("\n".join(lines) + "\n")
    ulp_file = directory / "patch.ulp"
    preforked.succeed("pack", description, "-o", ulp_file)
    return Zlib(directory, library, ulp_file)


def test_zlib_is_patched_while_python_works(zlib, livepatch):
    """Guards the whole way with real code: every compressed byte and every checksum stays right, whatever is applied.

    The new functions are other implementations, so a call with the wrong arguments, or a mix, would show.
    """
    patch = livepatch(zlib.ulp_file)
    victim = Victim([PYTHON, TARGETS / "zlib" / "workload.py"], libraries=[zlib.directory])
    try:
        assert str(zlib.library.resolve()) in victim.mapped()
        old_version, old_sum = victim.ask("version").split()
        assert "livepatched" not in old_version
        assert victim.ask(f"work {THREADS}") == "working"
        assert victim.numbers("rounds")[1] == 0
        for _cycle in range(CYCLES):
            patch.apply(victim)
            assert victim.ask("version") == "1.2.13-livepatched 600d"
            assert victim.numbers("rounds")[1] == 0
            patch.revert(victim)
            assert victim.ask("version") == f"{old_version} {old_sum}"
            assert victim.numbers("rounds")[1] == 0
        rounds, errors = victim.numbers("stop")
        assert errors == 0
        assert rounds > CYCLES * 2 * THREADS
        patch.wait_for_check(victim, NOT_APPLIED)
        victim.finish()
    finally:
        victim.kill()


def test_zlib_works_post_processed_without_the_runtime(zlib):
    """Guards that a livepatchable build is an ordinary library for whoever does not preload anything."""
    victim = Victim([PYTHON, TARGETS / "zlib" / "workload.py"], libraries=[zlib.directory], preload=())
    try:
        assert RUNTIME.name not in victim.mapped()
        assert victim.ask(f"work {THREADS}") == "working"
        for _round in range(5):
            assert victim.numbers("rounds")[1] == 0
        assert victim.numbers("stop")[1] == 0
        victim.finish()
    finally:
        victim.kill()
