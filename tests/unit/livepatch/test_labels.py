# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a livepatch is about: out of comments and arguments, into the livepatch, and out of the file again."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadDescription
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import dump
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.labels import (
    mentioned,
    merged,
    parse_label,
    shown,
    shown_labels,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack


@pytest.mark.parametrize(("text", "labels"), [
    ("Fixes bsc#1200316, jsc#SLE-20049, and CVE-2021-3449.",
     {"cve": ["CVE-2021-3449"], "references": ["bsc#1200316", "jsc#SLE-20049"]}),
    ("cve-2026-12345 CVE-2026-12345 Bug#1012345 (GH#77)",
     {"cve": ["CVE-2026-12345"], "references": ["Bug#1012345", "GH#77"]}),
    ("CVE-26-1, #12, issue #12, a#b, xCVE-2026-0001", {}),
])
def test_what_a_comment_mentions(text, labels):
    assert mentioned(text) == labels


@pytest.mark.parametrize(("text", "labels"), [
    ("CVE-2026-0001", {"cve": ["CVE-2026-0001"]}), ("ticket=OPS-1 = 2", {"ticket": ["OPS-1 = 2"]}),
    ("made by hand", {"notes": ["made by hand"]}),
])
def test_labels_that_are_given(text, labels):
    assert parse_label(text) == labels


@pytest.mark.parametrize("text", ["", " ", "=x", "a b=c", "key=", "note=\udcff"])
def test_labels_that_say_nothing(text):
    with pytest.raises(BadDescription, match="label"):
        parse_label(text)


def test_what_is_given_comes_first():
    given = {"cve": "CVE-2026-0001", "nested": {"a": 1}, "note": "x"}
    more = {"cve": ["CVE-2026-0002", "CVE-2026-0001"], "nested": ["lost"], "references": ["bsc#1"]}
    assert merged(given, [more]) == {
        "cve": ["CVE-2026-0001", "CVE-2026-0002"], "nested": {"a": 1}, "note": "x", "references": ["bsc#1"]}


def test_what_is_shown_fits_on_a_line():
    """Guards a terminal, and a list of facts, against what anybody may have written."""
    found = shown({"a\x1b": ["b\x1b[2J", {"c": 1}, 2], "d": {}, "e": "x" * 1000, **{f"k{n}": "v" for n in range(100)}})
    assert found["a?"] == ["b?[2J", "2"] and "d" not in found and len(found["e"][0]) == 256 and len(found) <= 32


def test_from_a_description_to_the_file(compile_library, tmp_path):
    target = compile_library("int f(int x) { return x; }", name="target.so")
    patch = compile_library("int g(int x) { return x + 1; }", name="patch.so", padding=())
    path = tmp_path / "fix.dsc"
    path.write_text(f"! For CVE-2026-0001.\n{patch}\n@{target}\nf:g\n! bsc#12\n")
    result = pack(parse_description(path), labels={"cve": ["CVE-2026-0002"]})
    labels = {"cve": ["CVE-2026-0002", "CVE-2026-0001"], "references": ["bsc#12"]}
    assert dump(result.path)["labels"] == labels
    assert shown_labels(ElfImage.open(result.path)) == labels
    assert shown_labels(ElfImage.open(target)) == {}
