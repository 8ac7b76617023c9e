# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of what the target defines, in patch libraries: which are refused, which warned of, and which do no harm.

All of it was seen to be packed in silence.
"""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack

TARGET = r"""
int counter;
static int cache = 1;
static __thread int depth;
const int limits[] = {1, 2, 3};
static const char *const texts[] = {"one", "two"};
static int __attribute__((noipa)) helper(int k) { return k * 2 + cache++ + depth++; }
int __attribute__((noipa)) exported_helper(int k) { return k * 3 + counter++; }
__attribute__((visibility("hidden"), noipa)) int hidden_helper(int k) { return k + limits[k % 3]; }
int __attribute__((noipa)) answer(int k) { static int calls; return helper(k) + ++calls + texts[k % 2][0]; }
int __attribute__((noipa)) second(int k) { return exported_helper(hidden_helper(k)) + answer(k); }
"""


@pytest.fixture(name="packed")
def fixture_packed(compile_library, tmp_path):
    """A function that packs a patch library from source text; pairs by keyword ``old=new``."""

    def packed(source, *flags, target=TARGET, target_flags=(), allow=(), compiler="gcc", suffix=".c", **pairs):
        library = compile_library(target, *target_flags, name="target.so", compiler=compiler, suffix=suffix)
        patch = compile_library(source, *flags, name="patch.so", padding=(), compiler=compiler, suffix=suffix)
        description = describe(str(patch), str(library), pairs or {"answer": "new_answer"})
        return pack(description, tmp_path / "fix.ulp", allow_duplicates=allow)

    return packed


USED = "int __attribute__((noipa)) new_answer(int k) {{ return {}; }}"
HARMFUL = [
    ("counter", "int counter; " + USED.format("k + counter++"), ()),
    ("counter", "__attribute__((visibility(\"hidden\"))) int counter = 7; " + USED.format("k + counter++"), ()),
    ("counter", "static int counter; " + USED.format("k + counter++"), ()),
    ("counter", "__attribute__((weak)) int counter; " + USED.format("k + counter++"), ()),
    ("counter", "__thread int counter; " + USED.format("k + counter++"), ()),
    ("cache", "static int cache; " + USED.format("k + cache++"), ()),
    ("cache", "int cache; " + USED.format("k + cache++"), ("-fcommon",)),
    ("depth", "static __thread int depth; " + USED.format("k + depth++"), ()),
    # What is constant in the target alone is another thing.
    ("limits", "int limits[3]; " + USED.format("limits[k]++"), ()),
    ("calls", "int __attribute__((noipa)) new_answer(int k) { static int calls; return k + ++calls; }", ()),
    ("exported_helper", "int __attribute__((noipa)) exported_helper(int k) { return k; } "
     + USED.format("exported_helper(k)"), ()),
    ("exported_helper", "static int __attribute__((noipa)) exported_helper(int k) { return k; } "
     + USED.format("exported_helper(k)"), ()),
    ("second", USED.format("k") + " extern int second(int) __attribute__((alias(\"new_answer\")));", ()),
    # The old function, copied beside its replacement.
    ("answer", "static int __attribute__((noipa)) answer(int k) { return k; } " + USED.format("answer(k) + 1"), ()),
]


@pytest.mark.parametrize(("name", "source", "flags"), HARMFUL)
def test_a_copy_that_does_harm_is_refused_by_name(packed, name, source, flags):
    with pytest.raises(NotPatchable) as caught:
        packed(source, *flags)
    assert caught.value.functions == [name] and f"({name}: " in str(caught.value)
    allowed = packed(source, *flags, allow=[name])
    assert (allowed.duplicates, allowed.warnings) == ([name], [])


def test_the_static_variable_of_a_function_that_clang_names_after_it(packed):
    source = "int __attribute__((noinline)) new_answer(int k) { static int calls; return k + ++calls; }"
    with pytest.raises(NotPatchable, match=r"\(answer.calls: new code would use variables"):
        packed(source, target=TARGET.replace("noipa", "noinline"), compiler="clang")


@pytest.mark.parametrize("name", ["helper", "hidden_helper"])
def test_a_copy_of_what_can_not_be_called_is_warned_of(packed, name):
    """Such a function can be had in no other way."""
    source = f"static int __attribute__((noipa)) {name}(int k) {{ return k; }} " + USED.format(f"{name}(k)")
    result = packed(source)
    (warning,) = result.warnings
    assert f"both define {name}: functions of which new code has copies" in warning
    assert result.duplicates == []
    assert packed(source, allow=[name]).warnings == []


@pytest.mark.parametrize("flags", [(), ("-Wl,-Bsymbolic",), ("-fvisibility=hidden",), ("-fno-plt",)])
def test_a_new_function_that_calls_itself_by_the_old_name(packed, flags):
    """A wrapper that means the old function would call itself until the stack is full."""
    visible = "__attribute__((noipa, visibility(\"default\"))) "
    wraps = f"int {visible} second(int k) {{ int old = second(k); __asm__(\"\" : \"+r\"(old)); return old + 1; }}"
    with pytest.raises(NotPatchable, match=r"\(second: new functions with the name of the old one"):
        packed(wraps, *flags, second="second")
    assert packed(wraps, *flags, allow=["second"], second="second").duplicates == ["second"]
    assert packed(f"int {visible} second(int k) {{ return k + 1; }}", *flags, second="second").warnings == []


POINTERS = {
    "static": "static int (*volatile old)(int) = second; {} {{ return old(k) + 1; }}",
    "in a table": "static int (*const table[2])(int) = {{0, second}}; {} {{ return table[k & 1](k) + 1; }}",
    "taken by code": "int (*volatile old)(int); {} {{ old = second; return old(k) + 1; }}",
}


@pytest.mark.parametrize("visibility", ["default", "hidden"])
@pytest.mark.parametrize("flags", [(), ("-mcmodel=large",), ("-Wl,-z,pack-relative-relocs",), ("-fno-plt",)])
@pytest.mark.parametrize("pointer", sorted(POINTERS))
def test_a_new_function_that_calls_itself_by_a_pointer(packed, pointer, flags, visibility):
    """The same wrapper, which goes through a pointer. Seen to be packed in silence where the function is hidden."""
    declared = f"int __attribute__((noipa, visibility(\"{visibility}\"))) second(int k)"
    source = f"{declared}; " + POINTERS[pointer].format(declared)
    with pytest.raises(NotPatchable, match=r"\(second: new functions with the name of the old one"):
        packed(source, *flags, second="second")
    assert packed(source, *flags, allow=["second"], second="second").duplicates == ["second"]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_weak_variables_of_both(packed, compiler):
    """The patch library's is another one where the target was loaded by dlopen. Seen to be merely warned of."""
    weak = "__attribute__((weak)) int "
    target = f"{weak} level; int __attribute__((noinline)) answer(int k) {{ return k + level++; }}"
    source = f"{weak} level; int new_answer(int k) {{ return k + level++; }}"
    with pytest.raises(NotPatchable, match=r"\(level: weak variables"):
        packed(source, target=target, compiler=compiler)
    assert packed(source, target=target, compiler=compiler, allow=["level"]).duplicates == ["level"]


def test_what_does_no_harm(packed):
    """Constants, new names, and what only looks the same; the start files' own besides."""
    source = r"""
        extern int counter;
        const int limits[] = {1, 2, 3};
        static const char *const texts[] = {"one", "two"};
        static int new_state;
        int exported_helper(int);
        int __attribute__((noipa)) new_answer(int k)
        { return exported_helper(k) + counter++ + limits[k % 3] + texts[k % 2][0] + new_state++; }
    """
    result = packed(source)
    assert (result.warnings, result.duplicates) == ([], [])


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld", "mold"])
@pytest.mark.parametrize("flags", [(), ("-fsanitize=undefined", "-fstack-protector-all", "-mindirect-branch=thunk")])
def test_what_tools_define_everywhere(packed, linker, flags):
    flags = (f"-fuse-ld={linker}", *flags)
    target = "#include <stdlib.h>\n" + TARGET + "void bye(void) {} int reg(void) { return atexit(bye); }"
    source = ("#include <stdlib.h>\nvoid bye2(void) {} int reg2(void) { return atexit(bye2); }"
              "int new_answer(int k) { return k * 5; }")
    result = packed(source, *flags, target=target, target_flags=flags)
    assert (result.warnings, result.duplicates) == ([], [])


PLUS_PLUS = r"""
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
struct Base { virtual ~Base() {} virtual int value() { return 3; } };
template <typename T> struct Counted {
    static int count;
    static int next() { static int calls; return ++calls + ++count; }
};
template <typename T> int Counted<T>::count;
inline int shared_variable = 5;
inline int twice(int k) { static std::map<int, std::string> seen; seen[k] = "x"; return k * 2 + (int)seen.size(); }
extern "C" __attribute__((noinline)) int NAME(int k)
{
    Base *base = new Base;
    try {
        if (k > 100)
            throw std::runtime_error("too much");
        k += base->value() + Counted<int>::next() + shared_variable++ + twice(k);
    } catch (const std::exception &) {
        k = 0;
    }
    delete base;
    return k;
}
"""


def test_what_plus_plus_defines_wherever_it_is_used(packed):
    """Templates, inline functions, vtables, and their variables, of which the loader makes one (STB_GNU_UNIQUE).

    Seen to fail with what <iostream> of libstdc++ brings along.
    """
    result = packed(PLUS_PLUS.replace("NAME", "new_answer"), "-std=c++17", target=PLUS_PLUS.replace("NAME", "answer"),
                    target_flags=("-std=c++17",), compiler="g++", suffix=".cc")
    assert (result.warnings, result.duplicates) == ([], [])


def test_variables_of_plus_plus_that_are_weak_only(packed):
    """clang++ has no STB_GNU_UNIQUE: two libraries have one variable only where names are looked up globally.

    Seen to be merely warned of.
    """
    def pack_it(**options):
        return packed(PLUS_PLUS.replace("NAME", "new_answer"), "-std=c++17", target=PLUS_PLUS.replace("NAME", "answer"),
                      target_flags=("-std=c++17",), compiler="clang++", suffix=".cc", **options)

    with pytest.raises(NotPatchable, match="dlopen") as caught:
        pack_it()
    assert {"shared_variable", "_ZN7CountedIiE5countE"}.issubset(caught.value.functions)
    assert pack_it(allow=["_Z*", "shared_variable"]).warnings == []


def test_hidden_variables_of_plus_plus(packed):
    with pytest.raises(NotPatchable, match="_ZN7CountedIiE5countE.*: new code would use variables"):
        packed(PLUS_PLUS.replace("NAME", "__attribute__((visibility(\"default\"))) new_answer"), "-std=c++17",
               "-fvisibility=hidden", target=PLUS_PLUS.replace("NAME", "answer"), target_flags=("-std=c++17",),
               compiler="g++", suffix=".cc")


def test_versions_of_symbols(packed, tmp_path):
    """A version is no variable of that name, and each version of a function counts."""
    script = tmp_path / "map"
    script.write_text("LIB_1 { global: *; };\n")
    flags = (f"-Wl,--version-script={script}",)
    assert packed("int new_answer(int k) { return k; }", *flags, target_flags=flags).warnings == []
    with pytest.raises(NotPatchable, match=r"\(exported_helper: new code would call"):
        packed("int exported_helper(int k) { return k; } int new_answer(int k) { return exported_helper(k); }", *flags,
               target_flags=flags)


def test_a_stripped_patch_library(packed):
    """What can't be seen is said."""
    result = packed("static int cache; int new_answer(int k) { return k + cache++; }", "-Wl,-s")
    (warning,) = result.warnings
    assert "is stripped" in warning
    with pytest.raises(NotPatchable, match=r"\(counter: new code"):
        packed("int counter; int new_answer(int k) { return k + counter++; }", "-Wl,-s")


def test_patterns(packed):
    """Who compiles a fix with the library's own source has many copies."""
    source = "".join(f"int {name}(int k) {{ return k; }}\n" for name in ("second", "exported_helper", "new_answer"))
    result = packed(source, allow=["sec*", "exported_?elper", "third*"])
    assert result.duplicates == ["exported_helper", "second"]
    assert result.warnings == ["third* is allowed as a duplicate, but is not one"]


def test_a_name_that_is_no_duplicate(packed):
    result = packed("int new_answer(int k) { return k; }", allow=["nobody"])
    assert result.warnings == ["nobody is allowed as a duplicate, but is not one"] and result.duplicates == []


def test_the_command_says_what_it_accepted(compile_library, tmp_path, capsys):
    """Seen to fail for ``--allow-untracked``, which was silent."""
    library = compile_library(
        TARGET + "__attribute__((patchable_function_entry(0, 0))) int bare(int k) { return k; }", name="target.so")
    patch = compile_library("int counter; int cache; int new_answer(int k) { return k + counter++ + cache; }",
                            name="patch.so", padding=())
    description = tmp_path / "fix.dsc"
    description.write_text(f"{patch}\n@{library}\nanswer:new_answer\n", encoding="utf-8")
    assert main(["post", str(library)]) != 0
    assert main(["post", "--allow-untracked", str(library)]) == 0
    assert "accepted without padding: bare" in capsys.readouterr().out
    assert main(["pack", str(description), "--allow-duplicate", "counter"]) != 0
    assert "(cache: new code" in capsys.readouterr().err and not (tmp_path / "fix.ulp").exists()
    assert main(["pack", str(description), "--allow-duplicate", "counter", "--allow-duplicate", "cache"]) == 0
    assert "accepted duplicates: cache, counter" in capsys.readouterr().out
