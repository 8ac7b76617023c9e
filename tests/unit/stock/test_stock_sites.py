# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where functions without padding can be diverted: in assembled cases, and in libraries of the distribution."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.site import decode_site, site_fields
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.sites import SiteFinder

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
# A displacement that leads out of every small library.
FAR = ".byte 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x70"
SPACE = "\n".join(["nop"] * 16)

# {name: (code, kinds and places of the sites, or what the refusal says)}; cfi_* directives are the author's part.
CASES = {
    "plain": (f"xor %eax, %eax\n{FAR}\nret", ["pun 0", "wide 0", "short 0"]),
    "push": (f"push %rbx\n.cfi_adjust_cfa_offset 8\npush %r12\n.cfi_adjust_cfa_offset 8\nmov %edi, %eax\n{FAR}\n"
             "pop %r12\n.cfi_adjust_cfa_offset -8\npop %rbx\n.cfi_adjust_cfa_offset -8\nret",
             ["pun 0", "pun 1", "pun 3", "wide 1", "wide 3", "short 1"]),
    "landing": (f"endbr64\nxor %eax, %eax\n{FAR}\nret", ["pun 4", "pun 0", "wide 4", "wide 0", "short 4"]),
    "overwrites": (f"push %rbx\n.cfi_adjust_cfa_offset 8\nmov %rdi, %rbx\n{FAR}\npop %rbx\n"
                   ".cfi_adjust_cfa_offset -8\nret", ["pun 0", "pun 1", "wide 1", "short 1"]),
    "overwrites_another": (f"push %rbx\n.cfi_adjust_cfa_offset 8\nmov %rdi, %r12\n{FAR}\npop %rbx\n"
                           ".cfi_adjust_cfa_offset -8\nret", ["pun 0"]),
    "frame": (f"push %rbp\n.cfi_adjust_cfa_offset 8\nmov %rsp, %rbp\n{FAR}\npop %rbp\n.cfi_adjust_cfa_offset -8\nret",
              ["pun 0", "pun 1", "wide 1", "short 1"]),
    "lowers": (f"sub $0x68000000, %rsp\n.cfi_adjust_cfa_offset 0x68000000\n{FAR}\nadd $0x68000000, %rsp\n"
               ".cfi_adjust_cfa_offset -0x68000000\nret", ["pun 0", "wide 0", "short 0"]),
    "data": (f"mov somewhere(%rip), %eax\n{FAR}\nret", ["pun 0", "wide 0", "short 0"]),
    "jumps": (f"jmp 1f\nnop\n{SPACE}\n1: xor %eax, %eax\nret", ["pun 0", "wide 0", "short 0"]),
    "second_is_target": (f"push %rbx\n.cfi_adjust_cfa_offset 8\n1: xor %eax, %eax\n{FAR}\njnz 1b\npop %rbx\n"
                         ".cfi_adjust_cfa_offset -8\nret", ["pun 0"]),
    "returns": ("ret", "(ret) is a return"),
    "calls": ("call plain\nret", "is a call"),
    "branches": (f"jz 1f\n{FAR}\n1: ret", "is a conditional jump"),
    "counts": (f"loop 1f\n{FAR}\n1: ret", "is a conditional jump"),
    "system": ("syscall\nret", "(syscall) is a system call"),
    "breaks": ("int3\nret", "(int3) is a breakpoint"),
    "dies": ("ud2", "(ud2) is no valid one"),
    "pops": ("pop %rdi\n.cfi_adjust_cfa_offset -8\npush %rdi\n.cfi_adjust_cfa_offset 8\nret",
             "changes the stack pointer otherwise than by a push or a subtraction"),
    "aligns": ("and $-16, %rsp\nret", "changes the stack pointer otherwise"),
    "pushes_16_bits": ("pushw %bx\nret", "changes the stack pointer otherwise"),
    "raises": ("sub $-128, %rsp\n.cfi_adjust_cfa_offset -128\nret", "changes the stack pointer otherwise"),
    "callee_saved": (f"mov %rdi, %rbx\n{FAR}\nret", "changes rbx, which belongs to the caller"),
    "misdescribed": (f"push %rbx\n{FAR}\npop %rbx\nret", "otherwise than the unwind information says"),
    "loop_head": (f"1: pause\n{FAR}\ndec %edi\njnz 1b\nret", "the head of a loop"),
    "switch_head": ("mov %edi, %edi\nlea table(%rip), %rdx\nmovslq (%rdx, %rdi, 4), %rax\nadd %rdx, %rax\n"
                    "jmp *%rax\n9: ret\n.pushsection .rodata\ntable: .long switch_head - table, 9b - table\n"
                    ".popsection", "the head of a loop"),
    "computed_head": ("add $3, %esi\nmovzbl (%rdi), %eax\nlea distances(%rip), %rcx\nmovslq (%rcx, %rax, 4), %rax\n"
                      "lea computed_head(%rip), %rdx\nadd %rdx, %rax\njmp *%rax\n9: ret\n.pushsection .rodata\n"
                      "distances: .long 0, 9b - computed_head\n.popsection", "the head of a loop"),
    "entered": (f"xor %eax, %eax\n.Linside: inc %eax\n{FAR}\nret", "enters it behind its start"),
    "enters": (f"mov %edi, %eax\n{FAR}\njmp .Linside", ["pun 0", "wide 0", "short 0"]),
    "undecodable": (".byte 0x06, 0x06\nret", "its first instruction cannot be decoded"),
    "signal": (f".cfi_signal_frame\nmov $15, %eax\n{FAR}\nsyscall", "where signal handlers return to"),
    "fragment": (".cfi_def_cfa_offset 32\nxor %eax, %eax\nret", "does not say that it is entered by a call"),
    "moved.cold": (f"xor %eax, %eax\n{FAR}\nret", "it is a part of another function"),
    "crowded": ("cld", "it is too short for a jump"),
    "resolver": (f"lea plain(%rip), %rax\n{FAR}\nret", "it chooses an implementation at load time"),
}
ASSEMBLY = "\n".join(
    # What "crowded" has no room before is the function behind it.
    f"{'' if name == 'after_crowded' else '.p2align 4'}\n.globl {name}\n.type {name}, @function\n{name}:\n"
    f".cfi_startproc\n{code}\n.cfi_endproc\n.size {name}, . - {name}\n"
    for name, code in [
        (name, code) for case, (body, _expected) in CASES.items()
        for name, code in [(case, body), *([("after_crowded", "ret")] if case == "crowded" else [])]
    ]
) + """
.globl chosen
.type chosen, @gnu_indirect_function
chosen = resolver
.data
somewhere: .long 0
.section .note.GNU-stack, "", @progbits
"""


@pytest.fixture(scope="module", name="assembled")
def fixture_assembled(tmp_path_factory):
    """{name: Found} of the cases."""
    directory = tmp_path_factory.mktemp("stock")
    (directory / "cases.s").write_text(ASSEMBLY, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,-Bsymbolic", "-o", directory / "cases.so",
                    directory / "cases.s"], check=True)
    image = ElfImage.open(directory / "cases.so")
    addresses = {symbol.name: symbol.value for symbol in image.symbols() if symbol.name in CASES}
    found = SiteFinder(image, all_symbols(image)).find(addresses.values())
    return {name: (address, found[address]) for name, address in addresses.items()}


@pytest.mark.parametrize("name", CASES)
def test_assembled_functions(assembled, name):
    expected = CASES[name][1]
    address, found = assembled[name]
    if isinstance(expected, str):
        assert expected in (found.refusal or ""), found
        assert not found.sites
    else:
        # One of the gaps; some have several.
        assert list(dict.fromkeys(f"{site.kind} {site.offset - address}" for site in found.sites)) == expected, found
        assert sum(site.kind == "short" for site in found.sites) <= 4
        assert found.refusal is None


@pytest.mark.parametrize("linker", ["bfd", "lld"])
def test_table_of_addresses(linker, tmp_path):
    """lld leaves the words empty, and only the relocations tell: seen to find a site at the head of the loop."""
    if not shutil.which(f"ld.{linker}"):
        pytest.skip(f"ld.{linker} is not installed")
    (tmp_path / "table.s").write_text(
        ".globl f\n.type f, @function\n.p2align 4\nf: .cfi_startproc\nadd $3, %esi\nlea table(%rip), %rdx\n"
        "mov (%rdx, %rdi, 8), %rax\njmp *%rax\n9: ret\n.cfi_endproc\n.size f, . - f\n"
        '.section .data.rel.ro, "aw"\ntable: .quad 9b, f\n.section .note.GNU-stack, "", @progbits\n', encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,-Bsymbolic", f"-fuse-ld={linker}", "-o", tmp_path / "table.so",
                    tmp_path / "table.s"], check=True)
    image = ElfImage.open(tmp_path / "table.so")
    (address,) = {symbol.value for symbol in image.symbols() if symbol.name == "f"}
    assert "the head of a loop" in (SiteFinder(image, all_symbols(image)).find([address])[address].refusal or "")


# Of the gap between them a jump in either leads anywhere; of what is around, none is within reach.
ONE_GAP = "\n".join(
    f".p2align {alignment}\n.globl {name}\n.type {name}, @function\n{name}: .cfi_startproc\n{code}\n.cfi_endproc\n"
    f".size {name}, . - {name}" for name, alignment, code in (
        ("before", 4, f"xor %eax, %eax\n.rept 40\n{FAR}\n.endr\nret\n.p2align 4"),
        ("whole", 4, "mov $-1, %r8d\njmp whole@PLT"),
        ("needy", 4, f"mov %rdi, %rax\n.rept 40\n{FAR}\n.endr\nret\n.p2align 4"),
    )) + "\n.section .note.GNU-stack, \"\", @progbits\n"


def test_a_gap_is_for_who_needs_it(tmp_path):
    """Of zlib's compress and compressBound the first took the one that both reach, and can do without."""
    (tmp_path / "gap.s").write_text(ONE_GAP, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-nostdlib", "-o", tmp_path / "gap.so", tmp_path / "gap.s"], check=True)
    image = ElfImage.open(tmp_path / "gap.so")
    addresses = {symbol.name: symbol.value for symbol in image.symbols() if symbol.name in ("whole", "needy")}
    finder = SiteFinder(image, all_symbols(image))

    def kinds(names):
        found = finder.find([addresses[name] for name in names])
        return [[site.kind for site in found[addresses[name]].sites] for name in names]

    assert kinds(["whole"]) == [["wide", "short"]]
    assert kinds(["whole", "needy"]) == [["wide"], ["pun", "wide", "short"]]


def test_what_is_said_of_the_frame(assembled):
    start, found = assembled["push"]
    assert [(site.offset - start, site.cfa_before, site.cfa_after) for site in found.sites if site.kind == "pun"] == [
        (0, 8, 16), (1, 16, 24), (3, 24, 24)]
    assert assembled["lowers"][1].sites[0].cfa_after == 8 + 0x68000000


def test_what_becomes_of_the_instruction(assembled):
    site = assembled["data"][1].sites[0]
    assert (site.instruction, site.displacement, site.length) == ("rip_relative", 2, 6)
    assert [site.overwrites for site in assembled["overwrites"][1].sites] == ["", "rbx", "rbx", "rbx"]
    assert [site.overwrites for site in assembled["frame"][1].sites] == ["", "rbp", "rbp", "rbp"]
    site = assembled["jumps"][1].sites[0]
    assert (site.instruction, site.displacement) == ("jump", 1)


def all_symbols(image):
    return image.symbols() + image.dynamic_symbols()


def listing(path, limit):
    """{address: bytes} of the instructions that objdump finds below the address ``limit``."""
    shown = subprocess.run(["objdump", "-d", "-w", f"--stop-address={limit}", path], check=True,
                           capture_output=True, encoding="utf-8").stdout
    return {
        int(address, 16): bytes.fromhex(code)
        for address, code in re.findall(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+)", shown, re.MULTILINE)
    }


def frames(path):
    """{address: CFA in readelf's words} of all rows of unwind information."""
    shown = subprocess.run(["readelf", "-wN", "--debug-dump=frames-interp", path], check=True, capture_output=True,
                           encoding="utf-8").stdout
    return {int(address, 16): cfa for address, cfa in re.findall(r"^([0-9a-f]{16}) (\S+)", shown, re.MULTILINE)}


# All of libcrypto and of its unwind information takes objdump and readelf half a minute.
@pytest.mark.parametrize(("name", "least", "limit"), [
    ("libz.so.1", 0.98, 1 << 32), ("libexpat.so.1", 0.97, 1 << 32), ("libc.so.6", 0.92, 1 << 32),
    ("libcrypto.so.3", 0.96, 0x100000),
])
def test_libraries_of_the_distribution(name, least, limit):
    """Every site is an instruction that objdump sees, too, nothing jumps into it, and most functions have some."""
    path = LIBRARIES / name
    image = ElfImage.open(path)
    finder = SiteFinder(image, all_symbols(image))
    found = finder.find(extent.start for extent in finder.code.extents if extent.end < limit)
    instructions, rows = listing(path, limit), frames(path) if limit == 1 << 32 else {}
    with_sites = {address: each for address, each in found.items() if each.sites}
    assert len(with_sites) >= least * len(found)
    taken = []
    for address, each in with_sites.items():
        for site in each.sites:
            assert decode_site(site_fields(site)) == site
            assert instructions[site.offset] == site.original[:site.length]
            assert image.read(site.offset, len(site.original)) == site.original
            assert address <= site.offset and site.end <= address + each.size
            if site.offset in rows:
                assert rows[site.offset] == f"rsp+{site.cfa_before}"
            if site.end in rows and rows[site.end].startswith("rsp"):
                assert rows[site.end] == f"rsp+{site.cfa_after}"
            if site.instruction == "rip_relative":
                assert struct.unpack_from("<i", site.original, site.displacement)
            if site.gap is not None:
                taken.append((site.gap.offset, site.gap.offset + 5))
        # A jump into the middle of what is written would find another instruction there.
        reached = finder.code.reached(address + 1, max(site.end for site in each.sites))
        assert not {site.offset for site in each.sites if site.offset != address}.intersection(reached)
    taken.sort()
    assert all(end <= start for (_start, end), (start, _end) in zip(taken, taken[1:]))
    # Gaps are what objdump takes for filling as well.
    assert all(not finder.code.reached(start, end) for start, end in taken)


@pytest.mark.parametrize(("name", "why"), [
    ("pthread_spin_lock", "head of a loop"), ("vfork", "changes the stack pointer"), ("envz_get", "is a call"),
])
def test_functions_of_libc_that_cannot_be_diverted(name, why):
    image = ElfImage.open(LIBRARIES / "libc.so.6")
    address = image.find_dynamic_symbol(name).value
    assert why in SiteFinder(image, all_symbols(image)).find([address])[address].refusal
