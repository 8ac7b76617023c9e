# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packing for targets that were compiled without padding, as distributions ship them."""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf import separate_symbols
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadDescription, NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import (
    describe,
    parse_description,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack

LIBZ = "/usr/lib/x86_64-linux-gnu/libz.so.1"
TARGET = r"""
extern int puts(const char *);
static int __attribute__((noinline)) hidden(int x) { return puts("hidden") + x * x; }
int visible(int x) { return hidden(x) + 1; }
int other(int x) { return hidden(x + 2) / 3; }
int lonely(int x) { return puts("lonely") + x; }
"""
PATCH = "int new_one(int x) { return x + 1; }\nint new_two(int x) { return x + 2; }\n"


@pytest.fixture(name="target")
def fixture_target(compile_library):
    return compile_library(TARGET, "-g", "-Wl,-soname,libtarget.so.1", name="target.so", padding=())


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return compile_library(PATCH, name="patch.so", padding=())


@pytest.fixture(name="stripped")
def fixture_stripped(target):
    """The target, stripped, and its debug file."""
    debug = target.with_name("target.debug")
    subprocess.run(["objcopy", "--only-keep-debug", target, debug], check=True)
    unstripped = target.with_name("unstripped.so")
    unstripped.write_bytes(target.read_bytes())
    subprocess.run(["strip", target], check=True)
    return target, debug, unstripped


def offset(path, name):
    return next(symbol.value for symbol in ElfImage.open(path).symbols() if symbol.name == name)


def packed(result):
    ((target,), livepatch) = (result.targets, read_livepatch(result.path))
    assert livepatch.targets == [target] and livepatch.format_version == 2
    return {pair.old: pair for pair in target.functions}


def test_a_library_of_the_distribution(patch, tmp_path):
    result = pack(describe(str(patch), LIBZ, {"zlibVersion": "new_one", "crc32": "new_two"}, ["deflate"]),
                  tmp_path / "fix.ulp")
    pairs = packed(result)
    image = ElfImage.open(LIBZ)
    for name in ("zlibVersion", "crc32"):
        symbol = image.find_dynamic_symbol(name)
        assert pairs[name].old_offset == symbol.value
        assert pairs[name].sites and pairs[name].sites[0].offset == symbol.value
        code = image.read(symbol.value, pairs[name].old_size)
        assert pairs[name].old_digest == hashlib.sha256(code).hexdigest()
    (guard,) = result.guards
    assert (guard.name, guard.offset) == ("deflate", image.find_dynamic_symbol("deflate").value)
    again = pack(describe(str(patch), LIBZ, {"zlibVersion": "new_one", "crc32": "new_two"}, ["deflate"]),
                 tmp_path / "fix.ulp")
    assert not again.changed


def test_static_functions_by_the_symbol_table(target, patch):
    pairs = packed(pack(describe(str(patch), str(target), {"hidden": "new_one"})))
    assert pairs["hidden"].old_offset == offset(target, "hidden")


@pytest.mark.parametrize("which", [1, 2])
def test_static_functions_of_a_stripped_library(stripped, patch, which):
    """Through its debug file, or through what it was before it was stripped."""
    target, hidden = stripped[0], offset(stripped[2], "hidden")
    with pytest.raises(BadDescription, match="has no function hidden; .*--symbols"):
        pack(describe(str(patch), str(target), {"hidden": "new_one"}))
    result = pack(describe(str(patch), str(target), {"hidden": "new_one"}), symbols=[str(stripped[which])])
    assert packed(result)["hidden"].old_offset == hidden


def test_a_debug_file_that_is_installed(stripped, patch, tmp_path, monkeypatch):
    target, debug, unstripped = stripped
    build_id = ElfImage.open(target).build_id.hex()
    installed = tmp_path / "debug" / build_id[:2] / f"{build_id[2:]}.debug"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(debug.read_bytes())
    monkeypatch.setattr(separate_symbols, "DEBUG_DIRECTORY", str(tmp_path / "debug"))
    result = pack(describe(str(patch), str(target), {"hidden": "new_one"}))
    assert packed(result)["hidden"].old_offset == offset(unstripped, "hidden")
    installed.write_bytes(b"something else")
    with pytest.raises(BadDescription, match="has no function hidden"):
        pack(describe(str(patch), str(target), {"hidden": "new_one"}))


def test_a_minimal_symbol_table_inside_the_file(stripped, patch):
    target, debug, unstripped = stripped
    minimal = target.with_name("minimal.xz")
    subprocess.run(["objcopy", "--strip-debug", debug, target.with_name("minimal")], check=True)
    minimal.write_bytes(lzma.compress(target.with_name("minimal").read_bytes()))
    subprocess.run(["objcopy", "--add-section", f".gnu_debugdata={minimal}", target], check=True)
    result = pack(describe(str(patch), str(target), {"hidden": "new_one"}))
    assert packed(result)["hidden"].old_offset == offset(unstripped, "hidden")


def test_symbols_of_other_code_are_refused(stripped, patch, compile_library):
    target, debug, _unstripped = stripped
    rebuilt = compile_library(TARGET.replace("x * x", "x * 7"), "-g", name="rebuilt.so", padding=())
    other_debug = rebuilt.with_name("rebuilt.debug")
    subprocess.run(["objcopy", "--only-keep-debug", rebuilt, other_debug], check=True)
    description = describe(str(patch), str(target), {"visible": "new_one"})
    for path, message in ((rebuilt, r"is not the same code as .*: their sections \.text differ"),
                          (other_debug, "is not the debug file of|their sections"),
                          (target, "has no symbol table")):
        with pytest.raises(NotPatchable, match=message):
            pack(description, symbols=[str(path)])
    # Several targets, several files: each is for one of them.
    with pytest.raises(NotPatchable, match="is not the same code"):
        pack(description, symbols=[str(debug), str(rebuilt)])
    assert pack(description, symbols=[str(debug)]).changed


def test_symbols_of_a_target_with_padding_are_not_needed(compile_library, patch, stripped):
    padded = compile_library("int f(int x) { return x; }", name="padded.so")
    with pytest.raises(NotPatchable, match="the symbols in .* are not needed"):
        pack(describe(str(patch), str(padded), {"f": "new_one"}), symbols=[str(stripped[1])])


def test_functions_that_cannot_be_diverted_are_named(patch, tmp_path):
    description = tmp_path / "fix.dsc"
    libc = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    description.write_text(f"{patch}\n@{libc}\nstrfmon:new_one\nvfork:new_two\n", encoding="utf-8")
    with pytest.raises(NotPatchable) as caught:
        pack(parse_description(description))
    assert caught.value.functions == ["vfork"]
    assert str(caught.value).startswith(f"{description}:4: the function vfork of {libc} cannot be replaced: its first")


def test_guards_are_named_once_and_for_targets_without_padding(target, patch, compile_library, tmp_path):
    description = tmp_path / "fix.dsc"
    for lines, error, message in (
            (["visible:new_one", "guard other", "guard lonely"], None, None),
            (["guard:new_one"], BadDescription, "has no function guard"),
            (["visible:new_one", "guard"], BadDescription, ":4: expected guard and the name of a function"),
            (["visible:new_one", "guard other lonely"], BadDescription, ":4: expected guard and the name"),
            (["visible:new_one", "guard visible"], BadDescription, "visible was already replaced in line 3"),
            (["visible:new_one", "guard other", "other:new_two"], BadDescription, "already named as a guard in line 4"),
            (["visible:new_one", "guard absent"], BadDescription, ":4: .* has no function absent"),
            (["guard other"], BadDescription, "no old:new pair follows")):
        description.write_text("\n".join([str(patch), f"@{target}", *lines]), encoding="utf-8")
        if error is None:
            result = pack(parse_description(description))
            assert {guard.name for guard in result.guards} == {"other", "lonely"}
        else:
            with pytest.raises(error, match=message):
                pack(parse_description(description))
    padded = compile_library("int f(int x) { return x; } int g(int x) { return x; }", name="padded.so")
    with pytest.raises(BadDescription, match="g cannot be a guard; replace it"):
        pack(describe(str(patch), str(padded), {"f": "new_one"}, ["g"]))


WAYS_BACK = r"""
extern int puts(const char *);
static int __attribute__((noinline)) inner(int x) { return puts("inner") + x; }
static int __attribute__((noinline)) more(int x) { return inner(x) + inner(x + 1); }
int __attribute__((noinline)) middle(int x) { return more(x) + 1; }
int front(int x) { puts("front"); return middle(x + 2); }
int alone(int x) { return puts("alone") + middle(x); }
"""


def test_what_threads_would_come_back_by_becomes_a_guard(compile_library, patch):
    """front() goes on in middle() by a jump, so middle() belongs to it, and calls what is replaced.

    Seen to fail: every process refused the livepatch.
    """
    target = compile_library(WAYS_BACK, name="target.so", padding=())
    result = pack(describe(str(patch), str(target), {"front": "new_one", "inner": "new_two"}))
    assert [guard.name for guard in result.guards] == ["middle"]
    (warning,) = result.warnings
    assert "middle of " in warning and "becomes a guard as well" in warning
    # Neither calls what is replaced, nor needs one, or the author has named it already.
    for functions, guards in (({"front": "new_one"}, ()), ({"alone": "new_one", "inner": "new_two"}, ()),
                              ({"front": "new_one", "inner": "new_two"}, ("middle",))):
        result = pack(describe(str(patch), str(target), functions, guards))
        assert ([guard.name for guard in result.guards], result.warnings) == (list(guards), [])


def test_the_command_shows_sites_and_guards(target, patch, tmp_path, capsys):
    description = tmp_path / "fix.dsc"
    description.write_text(f"{patch}\n@{target}\nhidden:new_one\nguard visible\n", encoding="utf-8")
    assert main(["pack", str(description), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["guards"] == ["visible"]
    assert main(["dump", str(tmp_path / "fix.ulp")]) == 0
    shown = capsys.readouterr().out
    assert f"hidden is replaced by new_one, diverted by pun at {offset(target, 'hidden'):#x}" in shown
    assert "visible is a guard, diverted by " in shown
    assert main(["dump", str(tmp_path / "fix.ulp"), "--json"]) == 0
    function = json.loads(capsys.readouterr().out)["targets"][0]["functions"][0]
    assert {"kind", "offset", "length", "original"} <= set(function["sites"][0])


def test_where_capstone_is_missing(target, patch, tmp_path):
    """One sentence names the package; a target with padding needs none. Seen to fail with a traceback."""
    script = tmp_path / "pack.py"
    description = tmp_path / "fix.dsc"
    description.write_text(f"{patch}\n@{target}\nhidden:new_one\n", encoding="utf-8")
    collections = Path(__file__).resolve().parents[3] / "build" / "collections"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(collections)!r})\nsys.modules['capstone'] = None\n"
        "from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main\n"
        f"sys.exit(main(['pack', {str(description)!r}]))\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "the Python module capstone is missing" in done.stderr and "python3-capstone" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("compiler", "function", "warned"), [
    ("clang", "local", True), ("clang", "user", False), ("gcc", "local", False)])
def test_parameters_that_the_compiler_may_have_dropped(compile_library, patch, compiler, function, warned):
    """clang passes the pointer in the first register; a replacement took what it found there for ``unused``."""
    target = compile_library(
        "struct s { int a, b; };\n"
        "static __attribute__((noinline)) int local(int unused, const struct s *p, int k)\n"
        "{ for (int i = 0; i < k; i++) if (p->b == i * i) return k + 7; return p->b * k; }\n"
        "int user(int a, struct s *p) { if (a == 5) return 1; return local(a, p, 3) + local(a, p, a); }\n",
        name="target.so", padding=(), compiler=compiler)
    names = [symbol.name for symbol in ElfImage.open(target).symbols() if symbol.name.startswith(function)]
    result = pack(describe(str(patch), str(target), {names[0]: "new_one"}))
    assert any(f"{function} of {target} is local, and clang" in warning for warning in result.warnings) == warned
