# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Post-processing: what is rewritten, that the library still works, and what is refused."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import (
    BadElf,
    FileProblem,
    NotPatchable,
    UlpError,
)

SOURCE = r"""
typedef int (*function)(int);
static int __attribute__((noinline)) hidden(int x) { return x * x + 7; }
int visible(int x) { return hidden(x) + 1; }
int twice(int x) { return visible(x) * 2; }
extern int also(int) __attribute__((alias("visible")));
int feeble(int x) __attribute__((weak));
int feeble(int x) { return x + 100; }
function table[] = { hidden, visible, feeble };
int through_table(int n, int x) { return table[n](x); }
function own_pointer(void) { return visible; }
"""

VERSIONED = r"""
int foo_one(int x) { return x + 1; }
int foo_two(int x) { return x + 2; }
__asm__(".symver foo_one,foo@V1");
__asm__(".symver foo_two,foo@@V2");
int same_one(int x) { return x + 3; }
__asm__(".symver same_one,same@V1");
extern int same_two(int) __attribute__((alias("same_one")));
__asm__(".symver same_two,same@@V2");
"""

IFUNC = r"""
static int fast(int x) { return x + 1; }
static int (*choose(void))(int) { return fast; }
int chosen(int x) __attribute__((ifunc("choose")));
int plain(int x) { return x + 5; }
int user(int x) { return chosen(x) * 2; }
"""


def run_python(program, *arguments):
    """Run a program in a process of its own, so that no library loaded before is in the way."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, encoding="utf-8",
        env=dict(os.environ, LD_BIND_NOW="1")).stdout.split()


def dynamic(path):
    return {symbol.name: symbol for symbol in ElfImage.open(path).dynamic_symbols() if symbol.defined}


@pytest.mark.parametrize("flags", [(), ("-fcf-protection",), ("-Wl,-Bsymbolic",), ("-fno-plt", "-Wl,-z,now"),
                                   ("-Wl,--hash-style=sysv",), ("-Wl,-z,pack-relative-relocs",)])
def test_symbols_lead_to_trampolines_and_all_calls_still_work(compile_library, flags):
    path = compile_library(SOURCE, *flags)
    before = dynamic(path)
    text_before = [symbol for symbol in ElfImage.open(path).symbols() if symbol.type == "STT_FUNC"]
    result = post_process(path)
    assert result.changed
    assert (result.functions, result.trampolines) == (6, 5)
    after = dynamic(path)
    image = ElfImage.open(path)
    assert result.build_id == image.build_id.hex()
    for name in ("visible", "also", "twice", "feeble", "through_table", "own_pointer"):
        assert after[name].value == before[name].value - 14, name
        assert after[name].size == before[name].size + 14, name
        assert image.read(after[name].value, 14) == b"\xeb\x0c" + b"\x90" * 12
    assert after["table"] == before["table"]
    assert [symbol for symbol in image.symbols() if symbol.type == "STT_FUNC"] == text_before
    for function in patchable_functions(image):
        assert image.read(function.entry, 2) == b"\x66\x90"
    assert run_python(
        "import ctypes, sys\n"
        "l = ctypes.CDLL(sys.argv[1])\n"
        "print(l.visible(3), l.also(3), l.twice(3), l.feeble(1), *[l.through_table(n, 2) for n in range(3)])\n",
        path) == ["17", "17", "34", "101", "11", "12", "102"]


def test_function_pointers_from_inside_and_outside_are_equal(compile_library):
    path = compile_library(SOURCE)
    assert post_process(path).warnings == []
    assert run_python(
        "import ctypes, sys\n"
        "l = ctypes.CDLL(sys.argv[1])\n"
        "l.own_pointer.restype = ctypes.c_void_p\n"
        "address = ctypes.cast(l.visible, ctypes.c_void_p).value\n"
        "print(l.own_pointer() == address, (ctypes.c_void_p * 3).in_dll(l, 'table')[1] == address)\n",
        path) == ["True", "True"]


def test_pointers_that_bypass_the_symbol_table_are_warned_of(compile_library):
    result = post_process(compile_library(SOURCE, "-Wl,-Bsymbolic"))
    assert len(result.warnings) == 1
    assert "may take the address of also, feeble without the symbol table" in result.warnings[0]


def test_a_linked_program_uses_the_trampolines(compile_library, compile_file, tmp_path):
    path = compile_library(SOURCE, name="libvisible.so")
    main = compile_file(
        "#include <stdio.h>\nint twice(int); int feeble(int);\n"
        'int main(void) { printf("%d %d", twice(3), feeble(1)); return 0; }\n',
        "-c", name="main.o")
    program = tmp_path / "program"
    subprocess.run(["gcc", "-o", str(program), str(main), str(path), f"-Wl,-rpath,{tmp_path}"], check=True)
    post_process(path)
    for lazy in ("", "1"):
        output = subprocess.run([str(program)], check=True, stdout=subprocess.PIPE,
                                env=dict(os.environ, LD_BIND_NOW=lazy)).stdout
        assert output == b"34 101"


def test_symbol_versions_survive(compile_library, tmp_path):
    (tmp_path / "versions.map").write_text(
        "V1 { global: foo; same; local: *; };\nV2 { global: foo; same; } V1;\n", encoding="utf-8")
    path = compile_library(VERSIONED, f"-Wl,--version-script={tmp_path}/versions.map")
    result = post_process(path)
    assert sorted(symbol.name for symbol in result.moved) == ["foo", "foo@V1", "same", "same@V1"]
    moved = {symbol.name: symbol for symbol in result.moved}
    assert moved["foo"].function != moved["foo@V1"].function
    assert moved["same"].function == moved["same@V1"].function
    assert run_python(
        "import ctypes, sys\n"
        "l = ctypes.CDLL(sys.argv[1])\n"
        "find = ctypes.CDLL(None).dlvsym\n"
        "find.restype = ctypes.c_void_p\n"
        "find.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p\n"
        "call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n"
        "print(l.foo(0), *[call(find(l._handle, n, v))(0) for n in (b'foo', b'same') for v in (b'V1', b'V2')])\n",
        path) == ["2", "1", "2", "3", "3"]


def test_indirect_functions_are_left_alone(compile_library):
    path = compile_library(IFUNC)
    before = dynamic(path)["chosen"]
    result = post_process(path)
    assert dynamic(path)["chosen"] == before
    assert sorted(symbol.name for symbol in result.moved) == ["plain", "user"]
    assert run_python("import ctypes, sys; l = ctypes.CDLL(sys.argv[1]); print(l.chosen(1), l.user(1), l.plain(1))",
                      path) == ["2", "4", "6"]


def test_multi_byte_padding_and_entries_become_the_same(compile_library):
    source = r"""__asm__(".text; .balign 16; 1: .nops 14; .globl f; .type f, @function; f: .nops 2; "
        "lea 1(%rdi), %eax; ret; .size f, . - f; "
        ".section __patchable_function_entries, \"awo\", @progbits, .text; .balign 8; .quad 1b; .text");"""
    path = compile_library(source, padding=())
    post_process(path)
    image = ElfImage.open(path)
    assert image.read(image.find_dynamic_symbol("f").value, 16) == b"\xeb\x0c" + b"\x90" * 12 + b"\x66\x90"
    assert ctypes.CDLL(str(path)).f(4) == 5


def test_the_second_time_changes_nothing(compile_library):
    path = compile_library(SOURCE)
    post_process(path)
    status, data = path.stat(), path.read_bytes()
    result = post_process(path, backup=True)
    assert (result.changed, result.moved, result.backup_file) == (False, [], None)
    assert (result.functions, result.trampolines) == (6, 5)
    assert result.before == result.after
    assert path.stat() == status and path.read_bytes() == data


def test_check_tells_and_writes_nothing(compile_library, tmp_path):
    path = compile_library(SOURCE)
    status = path.stat()
    result = post_process(path, check=True, backup=True)
    assert result.changed and result.backup_file is None and path.stat() == status
    assert result.before.splitlines()[1:] != result.after.splitlines()[1:]
    assert post_process(path, tmp_path / "new.so", check=True).changed
    assert not (tmp_path / "new.so").exists()


def test_another_destination_leaves_the_input_alone(compile_library, tmp_path):
    path = compile_library(SOURCE)
    path.chmod(0o751)
    data = path.read_bytes()
    output = tmp_path / "output.so"
    result = post_process(path, output)
    assert result.changed and result.before == "" and path.read_bytes() == data
    assert stat.S_IMODE(output.stat().st_mode) == 0o751 & ~0o022
    assert not post_process(path, output).changed
    output.write_bytes(b"something else")
    output.chmod(0o640)
    assert post_process(path, output).changed
    assert stat.S_IMODE(output.stat().st_mode) == 0o640
    with pytest.raises(UlpError, match="is a directory"):
        post_process(path, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UlpError, match="it is not a regular file"):
        post_process(path, tmp_path / "fifo")
    with pytest.raises(FileProblem, match=r"cannot write .*: No such file or directory"):
        post_process(path, tmp_path / "absent" / "output.so")


def test_mode_owner_attributes_and_link_stay(compile_library, tmp_path):
    path = compile_library(SOURCE)
    link = tmp_path / "link.so"
    link.symlink_to(path.name)
    path.chmod(0o2750)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        path.chmod(0o2750)
    try:
        os.setxattr(path, "user.origin", b"test")
        attributes = True
    except OSError:
        attributes = False
    before = path.stat()
    post_process(link)
    after = path.stat()
    assert link.is_symlink() and os.readlink(link) == path.name
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert not attributes or os.getxattr(path, "user.origin") == b"test"
    assert sorted(name.name for name in tmp_path.iterdir()) == ["library.so", "library.so.c", "link.so"]


def test_a_backup_is_the_old_file(compile_library):
    path = compile_library(SOURCE)
    data, status = path.read_bytes(), path.stat()
    result = post_process(path, backup=True)
    with open(result.backup_file, "rb") as stream:
        assert stream.read() == data
    backup = os.stat(result.backup_file)
    assert (backup.st_mode, backup.st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    assert os.path.dirname(result.backup_file) == str(path.parent)


def test_a_failed_write_leaves_the_file_and_no_litter(compile_library, monkeypatch):
    path = compile_library(SOURCE)
    data = path.read_bytes()
    names = sorted(path.parent.iterdir())

    def refuse(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileProblem, match=r"cannot write .*library\.so: No space left on device"):
        post_process(path)
    assert path.read_bytes() == data and sorted(path.parent.iterdir()) == names


def refused(path, **parameters):
    data = path.read_bytes()
    with pytest.raises(UlpError) as caught:
        post_process(path, **parameters)
    assert path.read_bytes() == data
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return caught.value


def test_libraries_that_cannot_be_handled_are_refused(compile_library, compile_file):
    error = refused(compile_library(SOURCE, padding=()))
    assert isinstance(error, NotPatchable) and "compile it with -fpatchable-function-entry=16,14" in str(error)
    error = refused(compile_library(SOURCE, "-Wl,--build-id=none", name="noid.so"))
    assert isinstance(error, BadElf) and "has no build ID" in str(error)
    error = refused(compile_file("int main(void) { return 0; }", "-no-pie", "-Wl,--build-id", name="executable"))
    assert "is a program, which needs no post-processing" in str(error)
    path = compile_library(SOURCE, name="no-sections.so")
    data = bytearray(path.read_bytes())
    data[40:48], data[60:64] = bytes(8), bytes(4)
    path.write_bytes(data)
    error = refused(path)
    assert isinstance(error, NotPatchable) and "has no section headers" in str(error)


def test_exported_functions_without_padding_are_all_named(compile_library):
    source = SOURCE + r"""
    __attribute__((patchable_function_entry(0, 0))) int bare(int x) { return x; }
    __asm__(".globl coded; .type coded, @function; coded: mov %edi, %eax; ret; .size coded, . - coded");
    __asm__(".globl label; label: mov %edi, %eax; ret");
    """
    path = compile_library(source)
    error = refused(path)
    assert isinstance(error, NotPatchable)
    assert error.functions == ["bare", "coded", "label"]
    assert all(name in str(error) for name in error.functions)
    result = post_process(path, allow_untracked=True)
    assert result.untracked == ["bare", "coded", "label"]
    assert not post_process(path, allow_untracked=True).changed
    library = ctypes.CDLL(str(path))
    assert [library.bare(3), library.coded(4), library.label(5), library.visible(3)] == [3, 4, 5, 17]


def test_every_function_that_is_in_the_way_is_named(compile_library):
    source = SOURCE + r"""
    __attribute__((patchable_function_entry(20, 18))) int long_padding(int x) { return x; }
    __attribute__((patchable_function_entry(14, 14))) int no_entry(int x) { return x; }
    __attribute__((patchable_function_entry(0, 0))) int bare(int x) { return x; }
    """
    error = refused(compile_library(source))
    assert sorted(error.functions) == ["bare", "long_padding", "no_entry"]
    error = refused(compile_library(source, name="again.so"), allow_untracked=True)
    assert sorted(error.functions) == ["long_padding", "no_entry"]


def test_unaligned_functions_are_refused(compile_library):
    source = SOURCE + r"""
    __asm__(".text; .balign 16; nop; 1: .zero 14, 0x90; .globl odd; .type odd, @function; odd: nop; nop; ret; "
        ".size odd, . - odd; .section __patchable_function_entries, \"awo\", @progbits, .text; .balign 8; .quad 1b;"
        ".text");
    """
    error = refused(compile_library(source))
    assert error.functions == ["odd"] and "is not aligned" in str(error)


# One byte, behind which gcc puts the function that it takes for cold.
COLD = r"""
__asm__(".section .text.unlikely, \"ax\"; .balign 16; .zero 1; .text");
int state;
ATTRIBUTE __attribute__((noipa, cold)) int odd(int x) { state++; return x; }
"""


@pytest.mark.parametrize("level", ["-O2", "-Os"])
def test_advice_for_what_gcc_never_aligns(compile_library, level):
    """Seen to fail with -falign-functions alone, of which gcc makes nothing here."""
    error = refused(compile_library(COLD.replace("ATTRIBUTE", ""), level, "-falign-functions=16"))
    advice = "__attribute__((aligned(16)))"
    assert error.functions == ["odd"] and advice in str(error)
    assert post_process(compile_library(COLD.replace("ATTRIBUTE", advice), level, name="aligned.so")).functions == 1


def test_ten_of_a_hundred_are_named(compile_library):
    """All are in the error's list; seen to fail with a sentence of 100 names."""
    functions = [f"function_{number:03}" for number in range(100)]
    text = "".join(f"__attribute__((patchable_function_entry(0, 0))) int {name}(int x) {{ return x; }}\n"
                   for name in functions)
    error = refused(compile_library(SOURCE + text))
    assert error.functions == functions
    assert f"{functions[9]} and 90 more: exported without" in str(error) and functions[10] not in str(error)
    text = "".join(f"int {name}(int x) {{ return x + {len(name)}; }}\n" for name in functions)
    path = compile_library(text, "-O0", name="unaligned.so")
    error = refused(path)
    assert len(error.functions) > 10
    assert f" and {len(error.functions) - 10} more: its entry is not aligned" in str(error)
    assert "-falign-functions=16" in str(error)
    assert post_process(compile_library(text, "-O0", "-falign-functions=16", name="aligned.so")).functions == 100


INLINE = r"""
inline __attribute__((noinline)) int shared(int k) { __asm__ volatile(""); return k + 1; }
extern "C" int NAME(int k) { return shared(k); }
extern "C" __attribute__((visibility("hidden"))) int hidden_NAME(int k) { return k + 3; }
"""


@pytest.fixture(name="two_files")
def fixture_two_files(compile_file):
    """A function that links two C++ files which share an inline function."""

    def two_files(*flags, compiler="g++", linker="bfd"):
        objects = [compile_file(INLINE.replace("NAME", name), "-O2", "-fPIC", "-c",
                                "-fpatchable-function-entry=16,14", *flags, name=f"{name}.o", compiler=compiler,
                                suffix=".cc") for name in ("first", "second")]
        library = objects[0].with_name("two.so")
        subprocess.run([compiler, "-shared", f"-fuse-ld={linker}", "-Wl,--build-id",
                        *(flag for flag in flags if flag.startswith("-Wl,")), "-o", library, *objects], check=True,
                       stderr=subprocess.PIPE)
        return library

    return two_files


def test_entries_that_the_linker_has_lost(two_files):
    """What happened and what to do is said; seen to fail with the advice to compile with the padding."""
    path = two_files()
    error = refused(path)
    assert error.functions == ["second"]
    assert "the linker has lost the entries" in str(error) and "link with mold" in str(error)
    assert "compile with -fpatchable" not in str(error)
    result = post_process(path, allow_untracked=True)
    assert result.untracked == ["second"]
    (warning,) = result.warnings
    assert "hidden_second can't be replaced" in warning and "the linker has lost the entries" in warning


def test_what_to_do_about_lost_entries_helps(two_files):
    assert post_process(two_files(linker="mold")).warnings == []
    assert post_process(two_files(compiler="clang++")).warnings == []
    error = refused(two_files("-Wl,--gc-sections", compiler="clang++", linker="gold"))
    assert "was built with padding, but the linker has lost" in str(error)
    assert post_process(two_files(compiler="clang++", linker="gold")).warnings == []


@pytest.mark.parametrize("flags", [("-Wl,--image-base=0x3e00000000", "-fuse-ld=lld"),
                                   ("-Wl,-Ttext-segment=0x3e00000000",)])
def test_a_library_that_is_linked_far_up(compile_library, flags):
    """Seen to be accepted, and then called larger than 4 GiB by pack."""
    error = refused(compile_library(SOURCE, *flags))
    assert "only the first 4 GiB are within reach; link at address 0" in str(error)
