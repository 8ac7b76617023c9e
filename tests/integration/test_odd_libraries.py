# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries whose text ends early, that a tool changed after they were linked, or whose code a tool translates."""

from __future__ import annotations

from functools import partial

import pytest
from harness.library import WARNINGS, Build, Hazard, run
from harness.livepatch import APPLIED
from harness.paths import RUNTIME, TRM
from harness.variant import PADDING_ONLY, POST, STOCK, Variant
from harness.victim import Victim

LONG = "/a/directory/with/a/name/that/does/not/fit/where/nothing/was/before" * 3
CHANGES = {
    "set-rpath": [["patchelf", "--set-rpath", LONG]],
    "add-needed": [["patchelf", "--add-needed", "libm.so.6"]],
    "everything": [["patchelf", "--set-rpath", LONG], ["patchelf", "--add-needed", "libm.so.6"],
                   ["patchelf", "--force-rpath", "--set-rpath", LONG * 2], ["strip", "--strip-debug"]],
    "objcopy": [["objcopy", "--add-section", ".extra=/etc/hostname", "--strip-debug"]],
    "strip": [["strip", "--strip-unneeded"]],
}


class Changed(Build):
    """The library, changed by tools after it was linked, or after it was post-processed as well."""

    def __init__(self, hazard, variant, ulp, change, last) -> None:
        self.change = change
        self.last = last
        super().__init__(hazard, variant, ulp)
        if last:
            self._change()

    def _link(self) -> None:
        super()._link()
        if not self.last:
            self._change()

    def _change(self) -> None:
        for command in CHANGES[self.change]:
            run([*command, self.library])


@pytest.mark.parametrize("last", [False, True], ids=["before-post", "after-post"])
@pytest.mark.parametrize("change", CHANGES)
def test_tool_that_changed_the_library(change, last, tmp_path, preforked, start, livepatch):
    """Guards what the note of trm.o leads to where patchelf has moved the note.

    Seen to fail with "is damaged: the note of trm.o leads out of the library".
    """
    kind = partial(Changed, change=change, last=last)
    build = Hazard("blocked", tmp_path, kind=kind).build(Variant(POST), preforked)
    pairs = {"version": "patched_version"}
    patch = livepatch(build.patch("patch", pairs, flags=("-DVERSION=2",)))
    victim = start(build)
    assert victim.number("version") == 1
    patch.apply(victim)
    assert (victim.number("version"), victim.number("fresh"), patch.check(victim)) == (2, 2, APPLIED)
    patch.revert(victim)
    assert victim.number("version") == 1


@pytest.mark.parametrize("mode", [POST, PADDING_ONLY, STOCK])
def test_library_without_section_headers(mode, tmp_path, preforked, start):
    """Guards what can't be found without them: functions, and the jumps between them; the loader does not need them.

    Seen to fail with "no padding at the address of version; pack the livepatch again", or speaking of damage.
    """
    build = Hazard("blocked", tmp_path).build(Variant(mode), preforked)
    ulp_file = build.patch("patch", {"version": "patched_version"}, flags=("-DVERSION=2",))
    build.program()
    data = bytearray(build.library.read_bytes())
    # What strip --strip-sections leaves of the ELF header: e_shoff, e_shnum and e_shstrndx are 0.
    data[40:48], data[60:64] = bytes(8), bytes(4)
    build.library.unlink()
    build.library.write_bytes(data)
    victim = start(build)
    answer = preforked.run("dispatch", "patch", ulp_file, victim.pid, "--json")
    (row,) = answer.json()
    assert (answer.status, row["outcome"]) == (1, "not_patchable")
    assert f"{build.library} has no section headers" in row["reason"]
    assert victim.number("version") == 1


# Linkers, with what makes .text the last of the code: bfd places .fini behind it; gold and lld mostly something else.
TEXT_LAST = {"bfd": ("-nostartfiles",), "mold": ()}


class Ending(Build):
    """The library, with a function of one instruction as the last of its text."""

    def __init__(self, hazard, variant, ulp, linker) -> None:
        self.linker = linker
        super().__init__(hazard, variant, ulp)

    def _link(self) -> None:
        last = self.directory / "last.c"
        last.write_text("void last(void);\nvoid last(void) {}\n")
        tracking = [TRM] if self.variant.post_processed else []
        run([self.variant.compilers[0], *WARNINGS, *self.variant.flags, *self.variant.patchable, "-fPIC", "-shared",
             f"-fuse-ld={self.linker}", *TEXT_LAST[self.linker], "-Wl,--build-id", f"-Wl,-soname,{self.hazard.soname}",
             "-o", self.library, self.hazard.folder / "library.c", *tracking, last])


@pytest.mark.parametrize("mode", [POST, PADDING_ONLY])
@pytest.mark.parametrize("linker", TEXT_LAST)
def test_text_that_ends_with_an_empty_function(linker, mode, tmp_path, preforked, start, livepatch):
    """Guards what the runtime wants behind the padding at an entry, which is no more than the function has.

    Seen to fail, all four, with "the runtime found the request malformed".
    """
    build = Hazard("blocked", tmp_path, kind=partial(Ending, linker=linker)).build(Variant(mode), preforked)
    patch = livepatch(build.patch("patch", {"version": "patched_version", "last": "patched_version"},
                                  flags=("-DVERSION=2",)))
    victim = start(build)
    assert victim.number("version") == 1
    patch.apply(victim)
    assert (victim.number("version"), patch.check(victim)) == (2, APPLIED)
    patch.revert(victim)
    assert victim.number("version") == 1


def test_program_under_valgrind(build, ulp_file, ulp, tmp_path):
    """One sentence that names valgrind, and nothing is touched.

    Seen to fail with "runs a statically linked program", and with the runtime preloaded with "has too little stack
    left", after threads of valgrind's had been stopped.
    """
    for preload in ((), (RUNTIME,)):
        victim = Victim(["valgrind", "--quiet", f"--log-file={tmp_path}/log", build.program()],
                        libraries=[build.directory], preload=preload)
        try:
            assert victim.number("version") == 1
            for verb in (("trigger", "-p", victim.pid, ulp_file), ("dispatch", "patch", ulp_file, victim.pid)):
                answer = ulp.run(*verb)
                assert answer.status == 1
                assert "runs under valgrind" in answer.errors + answer.output
            assert victim.number("version") == 1
        finally:
            victim.finish()
