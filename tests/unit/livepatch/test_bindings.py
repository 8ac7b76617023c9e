# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a patch library that stand for something of its target: in livepatches, and which words they are."""

from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.separate_symbols import symbols_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadDescription, BadLivepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.binding import (
    ADDRESS,
    SYMBOL,
    TLS,
    TLS_WORDS,
    WORD,
    Binding,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import dump
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import (
    make_livepatch,
    parse_livepatch,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.reference import meaning, word_of
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
    data, _patch_id = make_livepatch(patch, [Target("t.so", "/t.so", "00" * 20, [pair], (), bindings)])
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
    livepatch = parse_livepatch(build(patch, *bindings), "fix.ulp")
    assert livepatch.format_version == 2
    assert livepatch.targets[0].bindings == bindings


def test_format_1_is_written_where_nothing_of_format_2_is_needed(patch):
    """Guards the bytes that older tools read, and on which signatures and patch IDs of livepatches rest."""
    data = build(patch)
    assert metadata_of(data)["format_version"] == 1
    assert set(metadata_of(data)["targets"][0]) == {"soname", "path", "build_id", "functions"}
    assert parse_livepatch(data, "fix.ulp").format_version == 1


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
    with pytest.raises(BadLivepatch, match=message):
        parse_livepatch(build(patch, Binding(word, ADDRESS, "count")._replace(**change)), "fix.ulp")


def test_two_bindings_may_not_fill_one_word(patch):
    pair = slot(patch, "pair")
    with pytest.raises(BadLivepatch, match="a and b fill the same word"):
        parse_livepatch(build(patch, Binding(pair, TLS, "a"), Binding(pair + 8, ADDRESS, "b")), "fix.ulp")
    with pytest.raises(BadLivepatch, match="not in order"):
        parse_livepatch(build(patch, Binding(pair, ADDRESS, "a"), Binding(pair - 8, ADDRESS, "b")), "fix.ulp")


TARGET = r"""
#include <stdio.h>
__attribute__((visibility("hidden"))) int hidden = 2;
static int count = 3;
int exported = 4;
int unused = 5;
static __thread int errors = 6;
__thread int shared_errors = 7;
static int only(int x) { return x + count; }
static int implementation(int x) { return x; }
static int (*choose(void))(int) { return implementation; }
static int chosen(int x) __attribute__((ifunc("choose")));
__attribute__((visibility("protected"))) int guarded(int x) { return x; }
int called(int x) { return x; }
int f(int x)
{
    puts("f");
    return only(x) + called(x) + guarded(x) + chosen(x) + count++ + hidden++ + exported++ + errors++ + shared_errors++;
}
int never_called(int x) { return x; }
"""


@pytest.fixture(name="target")
def fixture_target(compile_library):
    return ElfImage.open(compile_library(TARGET, "-fno-inline", name="target.so"))


def value(image, name):
    return next(symbol.value for symbol in image.symbols() if symbol.name == name)


@pytest.mark.parametrize(("name", "kind"), [
    ("count", ADDRESS), ("hidden", ADDRESS), ("only", ADDRESS), ("guarded", ADDRESS), ("target.so.c/count", ADDRESS),
    ("exported", WORD), ("called", ADDRESS), ("puts", ADDRESS), ("never_called", SYMBOL), ("unused", SYMBOL),
])
def test_what_the_target_means(target, name, kind):
    binding = meaning(target, name)
    assert binding.kind == kind
    if name in ("called", "puts"):
        # The stub of its PLT, which leads on.
        plt = next(section for section in target.sections if section.name in (".plt.sec", ".plt"))
        assert plt.address <= binding.offset < plt.address + plt.size
    elif kind == ADDRESS:
        assert binding.offset == value(target, name.rpartition("/")[2])
    elif kind == WORD:
        assert target.is_writable_range(binding.offset, 8)


@pytest.mark.parametrize(("name", "kind"), [("errors", TLS), ("shared_errors", TLS_WORDS)])
def test_what_the_target_means_of_each_thread(target, name, kind):
    binding = meaning(target, name, thread_local=True)
    assert binding.kind == kind and binding.size == 16
    if kind == TLS:
        assert binding.offset == value(target, name)


@pytest.mark.parametrize(("name", "thread_local", "message"), [
    ("absent", False, "target.so has no variable or function absent"),
    ("absent", True, "target.so has no thread-local variable absent"),
    ("errors", False, "is thread-local; refer to it by a line that begins with #%"),
    ("count", True, "is not thread-local; refer to it by a line that begins with # alone"),
    ("chosen", False, "is chosen at load time"),
    ("other.c/count", False, "has no other.c/count; it has count in target.so.c"),
])
def test_what_is_not_there(target, name, thread_local, message):
    with pytest.raises(BadDescription, match=message):
        meaning(target, name, thread_local)


def test_static_names_of_several_files(compile_file, tmp_path):
    """Guards against a reference to one of several variables of a name, whichever comes first in the symbol table."""
    objects = []
    for name in ("a", "b"):
        source = tmp_path / f"{name}.c"
        source.write_text(f"static volatile int count; int f_{name}(int x) {{ return x + count++; }}")
        objects.append(tmp_path / f"{name}.o")
        subprocess.run(["gcc", "-O2", "-fPIC", "-c", "-o", objects[-1], source], check=True)
    library = tmp_path / "two.so"
    subprocess.run(["gcc", "-shared", "-Wl,--build-id", "-o", library, *objects], check=True)
    image = ElfImage.open(library)
    several = r"\(a\.c/count at 0x\w+, b\.c/count at 0x\w+\); say which by a\.c/count, or"
    with pytest.raises(BadDescription, match=several):
        meaning(image, "count")
    assert meaning(image, "a.c/count").offset != meaning(image, "b.c/count").offset
    by_name = meaning(image, "b.c/count")
    subprocess.run(["objcopy", "--only-keep-debug", library, tmp_path / "two.debug"], check=True)
    subprocess.run(["strip", library], check=True)
    separate = symbols_of(ElfImage.open(library), tmp_path / "two.debug").symbols
    assert meaning(ElfImage.open(library), "b.c/count", symbols=separate) == by_name
    with pytest.raises(BadDescription, match="its symbol table is stripped, .* #name:word:0x4010:0"):
        meaning(ElfImage.open(library), "count")


@pytest.mark.parametrize(("word", "thread_local", "message"), [
    ("absent", False, "patch.so has no variable absent"),
    ("small", False, "the variable small of .* has 4 bytes, and should be a pointer, of 8"),
    ("pointer", True, "has 8 bytes, and should be a tls_index, two words, of 16"),
    ("constant", False, "lies in read-only memory"),
])
def test_words_that_cannot_be_filled(compile_library, word, thread_local, message):
    patch = ElfImage.open(compile_library(
        "int small; int *pointer; int *const constant = 0; int g(int x) { return x; }", name="patch.so", padding=()))
    with pytest.raises(BadDescription, match=message):
        word_of(patch, word, thread_local)


def test_the_debug_file_of_a_stripped_target(compile_library, tmp_path, target):
    """Guards that a stripped target with padding can be referred to by name, too."""
    patch = compile_library(PATCH, name="patch.so", padding=())
    debug = tmp_path / "target.debug"
    subprocess.run(["objcopy", "--only-keep-debug", target.name, debug], check=True)
    subprocess.run(["strip", target.name], check=True)
    path = tmp_path / "fix.dsc"
    path.write_text("\n".join([str(patch), f"@{target.name}", "f:g", "#count:word"]))
    with pytest.raises(BadDescription, match="name its debug file by --symbols"):
        pack(parse_description(path))
    (binding,) = pack(parse_description(path), symbols=[str(debug)]).targets[0].bindings
    assert binding.offset == value(target, "count")


def test_lines_of_a_description(compile_library, tmp_path, target):
    patch = compile_library(PATCH, name="patch.so", padding=())
    path = tmp_path / "fix.dsc"
    address = value(target, "hidden")
    lines = [str(patch), f"@{target.name}", "f:g", "#count:word", "#%errors:pair", f"#by_address:other:{address:x}:0"]
    path.write_text("\n".join(lines))
    result = pack(parse_description(path))
    found = {binding.name: binding for binding in result.targets[0].bindings}
    assert found["by_address"].offset == address and found["count"].kind == ADDRESS
    assert [binding["name"] for binding in dump(result.path)["targets"][0]["bindings"]] == [
        binding.name for binding in result.targets[0].bindings]
    code = value(ElfImage.open(patch), "g") & ~7
    for line, message in {
        "#count:word": "fix.dsc:7: .*fill the same word", "#count:g": "fix.dsc:7: .* has no variable g",
        "#absent:other": "fix.dsc:7: ", f"#x:y:10:{code:x}": "fills no word of its data",
    }.items():
        path.write_text("\n".join([*lines, line]))
        with pytest.raises(BadDescription, match=message):
            pack(parse_description(path))
