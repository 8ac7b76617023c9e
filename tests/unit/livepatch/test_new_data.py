# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that a livepatch brings along, in its metadata: format 3, only where it is needed, read with suspicion."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadLivepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.binding import ADDRESS, Binding
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import (
    make_livepatch,
    parse_livepatch,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.new_data import ANEW, NewVariable, Word
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import FunctionPair, Target

PATCH = r"""
long seen[4];
long *volatile word = seen, *volatile middle = seen + 2;
int g(int x) { return *word + *middle + x; }
"""


@pytest.fixture(name="patch", scope="module")
def fixture_patch(tmp_path_factory):
    directory = tmp_path_factory.mktemp("patch")
    (directory / "patch.c").write_text(PATCH)
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-o", "patch.so", "patch.c"], cwd=directory,
                   check=True)
    return ElfImage.open(str(directory / "patch.so"))


def place(patch, name):
    return next(symbol.value for symbol in patch.symbols() if symbol.name == name)


def seen(patch, **changes):
    words = tuple(sorted([Word(place(patch, "word"), 0), Word(place(patch, "middle"), 16)]))
    return NewVariable("fix.c/seen", place(patch, "seen"), 32, "ab" * 32, words)._replace(**changes)


def build(patch, *variables, bindings=(), replaces=()):
    pair = FunctionPair("f", "g", 64, 10, place(patch, "g"))
    target = Target("t.so", "/t.so", "00" * 20, [pair], (), tuple(bindings), variables)
    return make_livepatch(patch, [target], replaces=replaces)[0]


def test_what_is_written_is_read(patch):
    variables = (seen(patch), seen(patch, name="later", words=(), obstacle="it is thread-local", start=ANEW))
    found = parse_livepatch(build(patch, *variables, replaces=["fix-1*"]), "fix.ulp")
    assert found.format_version == 3 and found.targets[0].variables == variables


def test_format_3_is_for_variables_alone(patch):
    """Guards that hosts with an older tool take what they can carry out, and nothing else."""
    for replaces, version in (([], 1), (["fix-1*"], 2)):
        assert parse_livepatch(build(patch, replaces=replaces), "fix.ulp").format_version == version
    image = ElfImage.parse(build(patch), "fix.ulp")
    assert b"variables" not in image.section_data(image.section(".ulp"))
    old = build(patch, seen(patch)).replace(b'"format_version":3', b'"format_version":2')
    with pytest.raises(BadLivepatch, match="should have exactly the keys"):
        parse_livepatch(old, "fix.ulp")


@pytest.mark.parametrize(("change", "message"), [
    ({"name": ""}, "the name of a new variable is malformed"),
    ({"name": "a\nb"}, "the name of a new variable is malformed"),
    ({"name": "x" * 5000}, "the name of a new variable is malformed"),
    ({"type": "12"}, "the new variable fix.c/seen is malformed"),
    ({"start": "later"}, "the new variable fix.c/seen is malformed"),
    ({"obstacle": "a\x1b[2Jb"}, "the new variable fix.c/seen is malformed"),
    ({"obstacle": "none"}, "should have words, or what stands in the way"),
    ({"words": ()}, "should have words, or what stands in the way"),
    ({"size": 0}, "the place of the new variable fix.c/seen is out of range"),
    ({"size": True}, "size of a new variable is of the wrong type"),
    ({"size": 1 << 40}, "does not lie in its data"),
    ({"address": -8}, "the place of the new variable fix.c/seen is out of range"),
    ({"address": 64}, "does not lie in its data"),
    ({"words": (Word(3, 0),)}, "a word of the new variable fix.c/seen does not lie in its data"),
    ({"words": (Word(1 << 62, 0),)}, "a word of the new variable fix.c/seen does not lie in its data"),
    ({"words": (Word(0, 1 << 62),)}, "a word of the new variable fix.c/seen leads out of the variable"),
])
def test_a_malformed_variable_is_refused(patch, change, message):
    with pytest.raises(BadLivepatch, match=message):
        parse_livepatch(build(patch, seen(patch, **change)), "fix.ulp")


def test_what_does_not_fit_together_is_refused(patch):
    variable = seen(patch)
    with pytest.raises(BadLivepatch, match="the new variables of t.so are not in order"):
        parse_livepatch(build(patch, variable, variable), "fix.ulp")
    with pytest.raises(BadLivepatch, match="count and fix.c/seen fill the same word|seen and count fill the same word"):
        parse_livepatch(
            build(patch, variable, bindings=[Binding(place(patch, "word"), ADDRESS, "count")]), "fix.ulp")
    with pytest.raises(BadLivepatch, match="fill the same word"):
        parse_livepatch(build(patch, seen(patch, words=variable.words[:1] * 2)), "fix.ulp")


def test_numbers_are_numbers(patch):
    with pytest.raises(BadLivepatch, match="slot of a word of a new variable is of the wrong type"):
        parse_livepatch(build(patch, seen(patch, words=(Word(True, 0),))), "fix.ulp")
