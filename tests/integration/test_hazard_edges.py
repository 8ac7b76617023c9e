# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The very first and the very last function of a library's executable segment."""

from __future__ import annotations

import re

import pytest
from harness.library import WARNINGS, Build, Hazard, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import TRM

PADDING_BEFORE = 14
PAGE = 4096


class Edges(Build):
    """Nothing is linked before first.c and behind last.c: no start files, no procedure linkage table."""

    def _compile(self, name, *flags):
        made = self.directory / f"{name}.o"
        run([self.variant.compilers[0], *WARNINGS, *self.variant.flags, *flags, *self.variant.patchable,
             "-fPIC", "-fno-plt", "-c", "-o", made, self.hazard.folder / f"{name}.c"])
        return made

    def _link(self) -> None:
        _address, size = addresses(self._compile("last", "-DTAIL=0"))["last"]
        last = self._compile("last", f"-DTAIL={PAGE - padding_before(self.variant) - size}")
        tracking = [TRM] if self.variant.post_processed else []
        run([self.variant.compilers[0], "-shared", "-nostartfiles", "-Wl,-z,now", "-Wl,-z,separate-code",
             "-Wl,--build-id", f"-Wl,-soname,{self.hazard.soname}", "-o", self.library, self._compile("first"),
             self._compile("middle"), *tracking, last])


@pytest.fixture(scope="session")
def edges(tmp_path_factory, preforked):
    hazard = Hazard("edges", tmp_path_factory.mktemp("edges"), kind=Edges)
    return lambda variant: hazard.build(variant, preforked)


def padding_before(variant):
    """Bytes before a function that belong to it."""
    return 0 if variant.stock else PADDING_BEFORE


def addresses(path):
    """Address and size of the functions first and last, as far as the file has them."""
    found = {}
    for line in run(["nm", "--print-size", path]).splitlines():
        fields = line.split()
        if fields[-1] in ("first", "last") and fields[-2] == "T":
            found[fields[-1]] = int(fields[0], 16), int(fields[1], 16)
    return found


def executable_segment(library):
    """Its first and its end address, by readelf."""
    (line,) = (line for line in run(["readelf", "-lW", library]).splitlines()
               if re.match(r"\s+LOAD .* R E ", line))
    _kind, _offset, start, _physical, _file_size, size = line.split()[:6]
    return int(start, 16), int(start, 16) + int(size, 16)


def test_first_and_last_of_the_segment(variant, edges, start, livepatch):
    """Guards the judgement of a function by the bytes around it, and every write to them: some do not exist here.

    Seen to fail with a judgement that also wants the byte before the padding, or that a page behind it, to be code.
    """
    build = edges(variant)
    begin, end = executable_segment(build.library)
    functions = addresses(build.library)
    assert functions["first"][0] - padding_before(variant) == begin
    assert sum(functions["last"]) == end
    assert end % PAGE == 0

    patch = livepatch(build.patch("edges", {"first": "new_version", "last": "new_version"}))
    victim = start(build)
    for _round in range(2):
        assert victim.numbers("all") == [1, 1, 11]
        patch.apply(victim)
        assert victim.numbers("all") == [2, 2, 22]
        patch.wait_for_check(victim, APPLIED)
        patch.revert(victim)
        patch.wait_for_check(victim, NOT_APPLIED)
    assert victim.numbers("all") == [1, 1, 11]
