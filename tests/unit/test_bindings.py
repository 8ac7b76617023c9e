# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a patch library that stand for something of its target: in containers, and which words they are."""

from __future__ import annotations

import json

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadContainer
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.binding import (
    ADDRESS,
    SYMBOL,
    TLS,
    Binding,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.container import (
    build_container,
    parse_container,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import FunctionPair, Target

PATCH = r"""
int *word, *other;
unsigned long pair[2];
int g(int x) { return *word + x; }
"""


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return ElfImage.open(compile_library(PATCH, name="patch.so", padding=()))


def slot(patch, name):
    return next(symbol.value for symbol in patch.symbols() if symbol.name == name)


def build(patch, *bindings):
    pair = FunctionPair("f", "g", 64, 10, slot(patch, "g"))
    data, _patch_id = build_container(patch, [Target("t.so", "/t.so", "00" * 20, [pair], (), bindings)])
    return data


def metadata_of(data):
    image = ElfImage.parse(data, "fix.ulp")
    return json.loads(image.section_data(image.section(".ulp")))


def test_bindings_come_back(patch):
    bindings = tuple(sorted([
        Binding(slot(patch, "word"), ADDRESS, "count", offset=4096, addend=-8),
        Binding(slot(patch, "other"), SYMBOL, "puts", "GLIBC_2.2.5"),
        Binding(slot(patch, "pair"), TLS, "per_thread", offset=16),
    ]))
    container = parse_container(build(patch, *bindings), "fix.ulp")
    assert container.format_version == 2
    assert container.targets[0].bindings == bindings


def test_format_1_is_written_where_nothing_of_format_2_is_needed(patch):
    """Guards the bytes that older tools read, and on which signatures and patch IDs of livepatches rest."""
    data = build(patch)
    assert metadata_of(data)["format_version"] == 1
    assert set(metadata_of(data)["targets"][0]) == {"soname", "path", "build_id", "functions"}
    assert parse_container(data, "fix.ulp").format_version == 1


@pytest.mark.parametrize(("change", "message"), [
    ({"kind": "magic"}, "count is of an unknown kind"),
    ({"offset": -1}, "the offset of the binding count is out of range"),
    ({"offset": 1 << 47}, "the offset of the binding count is out of range"),
    ({"addend": 1 << 60}, "the offset of the binding count is out of range"),
    ({"offset": True}, "offset of a binding is of the wrong type"),
    ({"name": "a\0b"}, "the name of a binding is malformed"),
    ({"name": ""}, "the name of a binding is malformed"),
    ({"version": "x" * 5000}, "the name of a binding is malformed"),
    ({"slot": 0}, "the binding count fills no word of its data"),
    ({"slot": "code"}, "the binding count fills no word of its data"),
    ({"slot": "unaligned"}, "the binding count fills no word of its data"),
    ({"slot": "beyond"}, "the binding count fills no word of its data"),
    ({"slot": 1 << 62}, "the binding count fills no word of its data"),
])
def test_a_malformed_binding_is_refused(patch, change, message):
    word = slot(patch, "word")
    last = max(segment.vaddr + segment.memsz for segment in patch.segments if segment.type == "PT_LOAD")
    places = {"code": slot(patch, "g") & ~7, "unaligned": word + 1, "beyond": last - last % 8}
    change = {key: places.get(value, value) for key, value in change.items()}
    with pytest.raises(BadContainer, match=message):
        parse_container(build(patch, Binding(word, ADDRESS, "count")._replace(**change)), "fix.ulp")


def test_two_bindings_may_not_fill_one_word(patch):
    pair = slot(patch, "pair")
    with pytest.raises(BadContainer, match="a and b fill the same word"):
        parse_container(build(patch, Binding(pair, TLS, "a"), Binding(pair + 8, ADDRESS, "b")), "fix.ulp")
    with pytest.raises(BadContainer, match="not in order"):
        parse_container(build(patch, Binding(pair, ADDRESS, "a"), Binding(pair - 8, ADDRESS, "b")), "fix.ulp")
