# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packing: what a livepatch holds, that it loads like any library, and that no damaged one is believed."""

from __future__ import annotations

import ctypes
import hashlib
import json
import stat
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.section import append_section
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import (
    BadDescription,
    BadElf,
    BadLivepatch,
    NotPatchable,
    UlpError,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import (
    describe,
    parse_description,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import dump
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import (
    parse_livepatch,
    read_livepatch,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.metadata import canonical_json
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import default_destination, pack

TARGET = r"""
static int __attribute__((noinline)) hidden(int x) { return x * x + 7; }
int visible(int x) { return hidden(x) + 1; }
extern int also(int) __attribute__((alias("visible")));
__attribute__((patchable_function_entry(0, 0))) int bare(int x) { return x; }
__attribute__((patchable_function_entry(20, 18))) static int __attribute__((noinline)) odd(int x) { return x * 3; }
int use(int x) { return odd(x) + bare(x); }
static int implementation(int x) { return x; }
static int (*choose(void))(int) { return implementation; }
int chosen(int x) __attribute__((ifunc("choose")));
int data = 4;
"""
PATCH = r"""
extern int visible(int);
static int __attribute__((noinline, used)) new_hidden(int x) { return x + 1; }
int new_visible(int x) { return visible(x) + 2; }
int new_data = 3;
"""


@pytest.fixture(name="target")
def fixture_target(compile_library):
    return compile_library(TARGET, "-Wl,-soname,libtarget.so.1", name="target.so")


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return compile_library(PATCH, name="patch.so", padding=())


@pytest.fixture(name="written")
def fixture_written(tmp_path, target, patch):
    """A function that writes a description with these pairs and returns its path."""

    def write(*pairs):
        path = tmp_path / "fix.dsc"
        path.write_text("\n".join([str(patch), f"@{target}", *pairs]) + "\n", encoding="utf-8")
        return path

    return write


def symbol_value(path, name):
    return next(symbol.value for symbol in ElfImage.open(path).symbols() if symbol.name == name)


@pytest.mark.parametrize("processed", [False, True])
def test_a_livepatch_says_what_it_replaces(written, target, patch, processed):
    hidden, visible = symbol_value(target, "hidden"), symbol_value(target, "visible")
    if processed:
        # bare and odd are in the way of post: a target without them.
        text = (target.parent / "target.so.c").read_text(encoding="utf-8")
        text = text.replace("patchable_function_entry(0, 0)", "unused").replace("patchable_function_entry(20, 18)",
                                                                                "unused")
        (target.parent / "target.so.c").write_text(text, encoding="utf-8")
        subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-fpatchable-function-entry=16,14",
                        "-Wl,-soname,libtarget.so.1", "-o", str(target), str(target) + ".c"], check=True)
        hidden, visible = symbol_value(target, "hidden"), symbol_value(target, "visible")
        post_process(target)
    result = pack(parse_description(written("visible:new_visible", "hidden:new_hidden")), labels={"cve": ["CVE-1"]})
    assert result.changed and result.path == str(target.parent / "fix.ulp")
    livepatch = read_livepatch(result.path)
    assert livepatch.patch_id == result.patch_id
    assert livepatch.patch_build_id == ElfImage.open(patch).build_id.hex()
    assert livepatch.image_text == ElfImage.open(patch).text_range
    assert livepatch.jumps == frozenset()
    (found,) = livepatch.targets
    assert (found.soname, found.path) == ("libtarget.so.1", str(target))
    assert found.build_id == ElfImage.open(target).build_id.hex()
    pairs = {pair.old: pair for pair in found.functions}
    assert (pairs["hidden"].old_offset, pairs["visible"].old_offset) == (hidden, visible)
    assert pairs["hidden"].new_offset == symbol_value(patch, "new_hidden")
    assert pairs["visible"].new_offset == symbol_value(patch, "new_visible")
    assert pairs["visible"].old_size > 0
    metadata = dump(result.path)
    assert metadata["labels"] == {"cve": ["CVE-1"]} and metadata["dependencies"] == []
    assert json.loads(json.dumps(metadata))["targets"][0]["functions"][0]["old"] in pairs


def test_a_livepatch_loads_like_the_library_it_was_made_from(compile_library, tmp_path):
    target = compile_library("int f(int x) { return x; }", name="target.so")
    patch = compile_library("int g(int x) { return x + 40; }", name="patch.so", padding=())
    result = pack(describe(str(patch), str(target), {"f": "g"}))
    assert ctypes.CDLL(result.path).g(2) == 42
    shown = subprocess.run(["readelf", "-p", ".ulp", result.path], check=True, capture_output=True, encoding="utf-8")
    assert result.patch_id in shown.stdout and '"old":"f"' in shown.stdout
    assert shown.stderr == ""
    listed = subprocess.run(["readelf", "-aW", result.path], check=True, capture_output=True, encoding="utf-8")
    assert listed.stderr == ""
    subprocess.run(["strip", "--strip-debug", "-o", str(tmp_path / "stripped.ulp"), result.path], check=True)


def test_equal_input_gives_equal_bytes_and_writes_once(written, tmp_path):
    description = parse_description(written("visible:new_visible"))
    first = pack(description, tmp_path / "one.ulp", labels={"b": 1, "a": {"d": 2, "c": [1.5, None]}, "3": "grün"})
    second = pack(description, tmp_path / "two.ulp", labels={"a": {"c": [1.5, None], "d": 2}, "3": "grün", "b": 1})
    assert (tmp_path / "one.ulp").read_bytes() == (tmp_path / "two.ulp").read_bytes()
    assert first.patch_id == second.patch_id
    status = (tmp_path / "one.ulp").stat()
    again = pack(description, tmp_path / "one.ulp", labels={"a": {"c": [1.5, None], "d": 2}, 3: "grün", "b": 1})
    assert not again.changed and again.before == again.after and (tmp_path / "one.ulp").stat() == status
    other = pack(description, tmp_path / "one.ulp", labels={"a": "other"})
    assert other.changed and other.patch_id != first.patch_id and other.before != other.after


def test_the_patch_id_is_the_hash_that_the_documentation_promises(written):
    result = pack(parse_description(written("visible:new_visible")))
    with open(result.path, "rb") as stream:
        data = stream.read()
    assert data.count(result.patch_id.encode()) == 1
    assert hashlib.sha256(data.replace(result.patch_id.encode(), b"0" * 64)).hexdigest() == result.patch_id


def test_check_writes_nothing(written, tmp_path):
    result = pack(parse_description(written("visible:new_visible")), check=True)
    assert result.changed and result.before == "" and result.patch_id in result.after
    assert not (tmp_path / "fix.ulp").exists()


def test_the_destination_and_its_mode(written, patch, tmp_path):
    description = parse_description(written("visible:new_visible"))
    assert default_destination(description) == str(tmp_path / "fix.ulp")
    assert default_destination(description._replace(source=None)) == str(tmp_path / "patch.ulp")
    assert default_destination(description._replace(source="/d/no-extension")) == "/d/no-extension.ulp"
    patch.chmod(0o755)
    assert stat.S_IMODE((tmp_path / "fix.ulp").stat().st_mode if pack(description).changed else 0) == 0o755
    for path in (description.patch_library, description.targets[0].path, description.source):
        with pytest.raises(BadDescription, match="one of the files it is made from"):
            pack(description, path)
    with pytest.raises(BadDescription, match="it is a directory"):
        pack(description, tmp_path)


@pytest.mark.parametrize(("pair", "kind", "message"), [
    ("absent:new_visible", BadDescription, "has no function absent"),
    ("visible:absent", BadDescription, "patch.so has no function absent"),
    ("visible:new_data", BadDescription, "patch.so has no function new_data"),
    ("data:new_visible", BadDescription, "data of .*target.so is not a function"),
    ("bare:new_visible", NotPatchable, "the function bare of .* was compiled without padding"),
    ("odd:new_visible", NotPatchable, "the function odd of .* padding is 18 bytes long instead of 14"),
    ("chosen:new_visible", NotPatchable, "the function chosen of .* is chosen at load time"),
    ("visible:visible", BadDescription, "patch.so has no function visible"),
])
def test_functions_that_cannot_be_replaced_are_named(written, pair, kind, message):
    description = parse_description(written("hidden:new_hidden", pair))
    with pytest.raises(kind, match=message) as caught:
        pack(description)
    assert str(caught.value).startswith(f"{description.source}:4: ")
    if kind is NotPatchable:
        assert caught.value.functions == [pair.split(":", maxsplit=1)[0]]


def test_two_names_of_one_function_are_refused(written):
    with pytest.raises(BadDescription, match=r":4: visible and also are two names of one function"):
        pack(parse_description(written("visible:new_visible", "also:new_hidden")))


def test_static_functions_of_one_name_are_refused(compile_library, patch, tmp_path):
    one, two = tmp_path / "one.c", tmp_path / "two.c"
    static = "static int __attribute__((noinline)) same(int x)"
    one.write_text(static + "{ return x * x; } int a(int x) { return same(x); }", encoding="utf-8")
    two.write_text(static + "{ return x / 3; } int b(int x) { return same(x); }", encoding="utf-8")
    target = compile_library("", str(one), str(two), name="twins.so")
    with pytest.raises(BadDescription, match="has several functions called same"):
        pack(describe(str(patch), str(target), {"same": "new_hidden"}))


def test_versions_are_told_apart(compile_library, patch, tmp_path):
    (tmp_path / "v.map").write_text("V1 { global: foo; local: *; };\nV2 { global: foo; } V1;\n", encoding="utf-8")
    source = ('int one(int x) { return x + 1; } __asm__(".symver one,foo@V1");'
              'int two(int x) { return x + 2; } __asm__(".symver two,foo@@V2");')
    target = compile_library(source, f"-Wl,--version-script={tmp_path}/v.map", name="versioned.so")
    expected = {"foo@V1": "one", "foo": "two", "foo@V2": "two", "foo@@V2": "two"}
    offsets = {name: symbol_value(target, name) for name in ("one", "two")}
    for strip in (False, True):
        if strip:
            subprocess.run(["strip", str(target)], check=True)
        for name, function in expected.items():
            result = pack(describe(str(patch), str(target), {name: "new_visible"}), tmp_path / "v.ulp")
            assert result.functions[0].old_offset == offsets[function], name


def test_a_stripped_target_hints_at_the_missing_names(written, target):
    subprocess.run(["strip", str(target)], check=True)
    with pytest.raises(BadDescription, match="has no function hidden; its symbol table is stripped"):
        pack(parse_description(written("hidden:new_hidden")))


def test_copies_made_by_the_compiler_are_warned_of(compile_library, patch):
    source = r"""
    int sink;
    static int __attribute__((noinline)) scale(int x, int by)
    { for (int i = 0; i < x; i++) sink += i * by; return sink; }
    int a(int x) { return scale(x, 12345); }
    """
    target = compile_library(source, name="clones.so")
    names = {symbol.name for symbol in ElfImage.open(target).symbols()}
    (clone,) = [name for name in names if name.startswith("scale.")]
    with pytest.raises(BadDescription, match=f"has scale only as {clone}"):
        pack(describe(str(patch), str(target), {"scale": "new_visible"}))
    source = """
    int f(int x) { return x; }
    int copy(int) __asm__("f.isra.0");
    int copy(int x) { return x + 1; }
    int other(int) __asm__("f.isra");
    int other(int x) { return x + 2; }
    """
    target = compile_library(source, name="copies.so")
    result = pack(describe(str(patch), str(target), {"f": "new_visible"}))
    assert result.warnings == [f"{target} also has f.isra.0, a copy of f that is not replaced"]


def test_unseen_ways_into_a_target_are_warned_of(compile_library, patch):
    """Guards that the author hears what every process would be refused for. Seen to fail, without any warning."""
    source = """
    int f(int x) { return x; }
    __attribute__((patchable_function_entry(0, 0))) int bare(int x) { return x; }
    __attribute__((patchable_function_entry(20, 18))) int strange(int x) { return x; }
    """
    target = compile_library(source, name="unseen.so")
    (warning,) = pack(describe(str(patch), str(target), {"f": "new_visible"})).warnings
    assert warning.startswith(f"threads can enter {target} unseen through strange, bare (strange: ")
    assert "post-process it" in warning
    # A static function without padding is no way in, and neither is an untracked one that somebody accepted.
    target = compile_library(source.replace("int bare", "static int bare").replace("(20, 18)", "(0, 0)"),
                             name="accepted.so")
    assert "through strange (no padding)" in pack(describe(str(patch), str(target), {"f": "new_visible"})).warnings[0]
    post_process(target, allow_untracked=True)
    assert pack(describe(str(patch), str(target), {"f": "new_visible"})).warnings == []


@pytest.mark.parametrize("which", ["patch", "target"])
def test_libraries_that_will_not_do(written, request, which, tmp_path):
    path = request.getfixturevalue(which)
    line = {"patch": 1, "target": 2}[which]
    description = parse_description(written("visible:new_visible"))
    where = f"{description.source}:{line}: "
    sound = path.read_bytes()
    for content, message in ((b"text", f"{path} is not an ELF file"),
                             (sound[:3000], f"{path} is truncated or damaged"),
                             (sound.replace(b"GNU\0" + ElfImage.open(path).build_id, b"gnu\0" + bytes(20)),
                              f"{path} has no build ID")):
        path.write_bytes(content)
        with pytest.raises(BadElf) as caught:
            pack(description)
        assert str(caught.value).startswith(where + message)
    path.unlink()
    with pytest.raises(BadDescription) as caught:
        pack(description)
    assert str(caught.value) == f"{where}the {which} library {path} does not exist"
    assert not (tmp_path / "fix.ulp").exists()


def test_dependencies_and_labels_are_checked(written):
    description = parse_description(written("visible:new_visible"))
    with pytest.raises(BadDescription, match="is not a patch ID"):
        pack(description, dependencies=["abc"])
    with pytest.raises(BadDescription, match="cannot be written as JSON"):
        pack(description, labels={"a": {1, 2}})
    result = pack(description, dependencies=["ab" * 32, "00" * 32])
    assert read_livepatch(result.path).dependencies == ["00" * 32, "ab" * 32]


def test_a_livepatch_cannot_be_packed_again(written, tmp_path):
    result = pack(parse_description(written("visible:new_visible")))
    target = parse_description(tmp_path / "fix.dsc").targets[0].path
    with pytest.raises(BadElf, match=r"already has a section \.ulp"):
        pack(describe(result.path, target, {"visible": "new_visible"}), tmp_path / "twice.ulp")


@pytest.fixture(scope="module", name="livepatch")
def fixture_livepatch(tmp_path_factory):
    directory = tmp_path_factory.mktemp("livepatch")
    (directory / "target.c").write_text("int f(int x) { return x; }", encoding="utf-8")
    (directory / "patch.c").write_text("int g(int x) { return x + 1; }", encoding="utf-8")
    for name in ("target", "patch"):
        subprocess.run(["gcc", "-O2", "-g", "-fPIC", "-shared", "-Wl,--build-id", "-fpatchable-function-entry=16,14",
                        "-o", str(directory / f"{name}.so"), str(directory / f"{name}.c")], check=True)
    result = pack(describe(str(directory / "patch.so"), str(directory / "target.so"), {"f": "g"}),
                  labels={"note": "x"})
    with open(result.path, "rb") as stream:
        return stream.read()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_livepatch_is_found(livepatch, data):
    damaged = bytearray(livepatch)
    position = data.draw(st.integers(0, len(livepatch) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UlpError) as caught:
        parse_livepatch(bytes(damaged), "fix.ulp")
    assert "fix.ulp" in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_truncated_livepatch_is_found(livepatch, data):
    length = data.draw(st.integers(0, len(livepatch) - 1))
    with pytest.raises(UlpError, match=r"fix\.ulp"):
        parse_livepatch(livepatch[:length], "fix.ulp")


def forge(livepatch, change):
    """The livepatch with other metadata and a patch ID that is right for them."""
    image = ElfImage.parse(livepatch, "fix.ulp")
    metadata = json.loads(image.section_data(image.section(".ulp")))
    bare = ElfImage.parse(livepatch.replace(b"\0.ulp\0", b"\0.old\0"), "fix.ulp")
    metadata["patch_id"] = "0" * 64
    change(metadata)
    patch_id = hashlib.sha256(append_section(bare, ".ulp", canonical_json(metadata))).hexdigest()
    if metadata.get("patch_id") == "0" * 64:
        metadata["patch_id"] = patch_id
    return append_section(bare, ".ulp", canonical_json(metadata))


def set_item(path, value):
    def change(metadata):
        *parents, last = path
        for key in parents:
            metadata = metadata[key]
        metadata[last] = value

    return change


def replacing(*patterns):
    def change(metadata):
        metadata.update(replaces=list(patterns), format_version=2)

    return change


def test_what_it_replaces(livepatch):
    found = parse_livepatch(forge(livepatch, replacing("0" * 64, "fix*")), "fix.ulp")
    assert found.format_version == 2
    assert found.is_replacement_of("0" * 64, "x") and found.is_replacement_of("1" * 64, "fix2.ulp")
    assert not found.is_replacement_of("1" * 64, "other.ulp")
    assert not parse_livepatch(livepatch, "fix.ulp").is_replacement_of("1" * 64, "fix2.ulp")


@pytest.mark.parametrize("patterns", [("b", "a"), ("a", "a"), ("",), (1,), ("a\nb",), ("x" * 300,), ([],)])
def test_what_it_replaces_is_well_formed(livepatch, patterns):
    with pytest.raises(BadLivepatch, match="what it replaces is malformed"):
        parse_livepatch(forge(livepatch, replacing(*patterns)), "fix.ulp")


def test_an_honest_forgery_is_read(livepatch):
    assert parse_livepatch(forge(livepatch, lambda metadata: None), "fix.ulp").labels == {"note": "x"}


@pytest.mark.parametrize(("change", "message"), [
    (set_item(["format_version"], 4), "has livepatch format 4, but this version of ulp reads formats 1 to 3"),
    (set_item(["format_version"], 2), "it has format 2, but nothing of that format"),
    (set_item(["format_version"], "1"), "no format version"),
    (set_item(["patch_id"], "xyz"), "its patch ID is malformed"),
    (set_item(["patch_build_id"], "00" * 20), "its build ID is not the one"),
    (set_item(["targets"], []), "it names no target library"),
    (set_item(["targets"], {}), "targets of the metadata is of the wrong type"),
    (set_item(["targets", 0, "functions"], []), "it names no function of target.so"),
    (set_item(["targets", 0, "build_id"], "0g"), "the build ID of a target is malformed"),
    (set_item(["targets", 0, "extra"], 1), "a target should have exactly the keys"),
    (set_item(["targets", 0, "functions", 0, "old_offset"], -1), "offset of the function f is out of range"),
    (set_item(["targets", 0, "functions", 0, "old_offset"], True), "of the wrong type"),
    (set_item(["targets", 0, "functions", 0, "old_size"], 1 << 32), "size of the function f is out of range"),
    (set_item(["targets", 0, "functions", 0, "new_offset"], 1 << 40), "the function g does not lie in its code"),
    (replacing(), "replaces of the metadata is empty"),
    (set_item(["replaces"], ["a"]), "the metadata should have exactly the keys"),
    (set_item(["dependencies"], ["abc"]), "the patch ID of a dependency is malformed"),
    (lambda metadata: metadata.pop("labels"), "the metadata should have exactly the keys"),
    (lambda metadata: metadata["targets"].append(metadata["targets"][0]), "it names a target library twice"),
    (lambda metadata: metadata["targets"][0]["functions"].append(metadata["targets"][0]["functions"][0]),
     "the functions of target.so are not in order"),
])
def test_malformed_metadata_are_refused(livepatch, change, message):
    with pytest.raises(BadLivepatch, match=message):
        parse_livepatch(forge(livepatch, change), "fix.ulp")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100000, b'{"format_version":1e999}', b"NaN",
                                     b'{"format_version": 1}'])
def test_metadata_that_are_not_an_object_are_refused(livepatch, content):
    bare = ElfImage.parse(livepatch.replace(b"\0.ulp\0", b"\0.old\0"), "fix.ulp")
    with pytest.raises(BadLivepatch):
        parse_livepatch(append_section(bare, ".ulp", content), "fix.ulp")


@pytest.mark.parametrize(("content", "message"), [
    (b'{"a":' * 984 + b"1" + b"}" * 984, "nested more than 64 deep"),
    (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
    (b"[" * 1000000, "cannot be read as JSON"),
    (b'{"format_version":1' + b"0" * 4000 + b"}", "a number of 4001 digits"),
    (b'{"format_version":' + b"9" * 3000000 + b"}", "a number of 3000000 digits"),
    (b'{"format_version":1e400}', "no format version"),
    (b'{"format_version":1,"format_version":1}', "should have exactly the keys"),
    (b'{"format_version":"\xed\xa0\x80"}', "cannot be read as JSON"),
    (b" " * ((1 << 24) + 1), "bytes long, and may have"),
])
def test_metadata_of_absurd_sizes_are_refused(livepatch, content, message):
    """Guards against a traceback, or minutes of work. Seen to fail with ``RecursionError``."""
    bare = ElfImage.parse(livepatch.replace(b"\0.ulp\0", b"\0.old\0"), "fix.ulp")
    with pytest.raises(BadLivepatch, match=message):
        parse_livepatch(append_section(bare, ".ulp", content), "fix.ulp")


def nested(depth):
    value = {}
    for _level in range(depth):
        value = {"a": value}
    return value


def test_labels_are_refused_that_no_reader_would_take(written, tmp_path):
    """Guards that pack writes nothing that it would not read. Seen to fail with a livepatch that could not be read."""
    description = parse_description(written("visible:new_visible"))
    for labels, why in ((nested(64), "nested more than 64 deep"), (nested(100000), "nested too deep"),
                        ({"a": 10 ** 30}, "a number of 31 digits")):
        with pytest.raises(BadDescription, match=f"the labels cannot be written as JSON: .*{why}"):
            pack(description, tmp_path / "fix.ulp", labels=labels)
    result = pack(description, tmp_path / "fix.ulp", labels=nested(62))
    assert read_livepatch(result.path).labels == nested(62)


def test_duplicate_keys_and_numbers_that_json_does_not_have(livepatch):
    for before, after in ((b'"labels":{"note":"x"}', b'"labels":{"a":1,"a":2}'),
                          (b'"labels":{"note":"x"}', b'"labels":{"notes":NaN}')):
        image = ElfImage.parse(livepatch, "fix.ulp")
        contents = image.section_data(image.section(".ulp")).replace(before, after)
        bare = ElfImage.parse(livepatch.replace(b"\0.ulp\0", b"\0.old\0"), "fix.ulp")
        with pytest.raises(BadLivepatch, match="not in canonical form|hold what JSON cannot"):
            parse_livepatch(append_section(bare, ".ulp", contents), "fix.ulp")


def test_other_files_are_not_livepatches(target, tmp_path):
    with pytest.raises(BadLivepatch, match=r"is not a livepatch: it has no section \.ulp"):
        read_livepatch(target)
    text = tmp_path / "text.ulp"
    text.write_text("text", encoding="utf-8")
    with pytest.raises(BadElf, match="is not an ELF file"):
        read_livepatch(text)
