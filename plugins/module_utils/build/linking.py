# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link a patch library from edited objects."""

from __future__ import annotations

import os
import re

from ..arch.elf_format import LOADER
from ..elf.image import ElfImage
from ..errors import BadElf
from .commands import run
from .compiler_wrapper import COMPILERS, name_of_program
from .errors import BuildFailed
from .extraction import Extracted
from .recording import Link, Unit
from .refusals import NEEDED, REFERENCE, Refusals
from .shadows import compile_otherwise
from .slots import Slots
from .target_library import TargetLibrary

# What is in an object other than functions and data: what the target has done already, and lists of its padding.
_DROPPED = (".init_array*", ".ctors*", ".preinit_array*", ".fini_array*", ".dtors*", "__patchable_function_entries*",
            ".gnu.build.attributes*", ".llvm_addrsig*")
# Of the target's own command line, what tells where libraries are and how they are linked.
_KEPT = re.compile(r"-L.+|-l.+|-B.+|-fuse-ld=.+|--sysroot=.+|-m64|-pthread|-static-libgcc|-static-libstdc\+\+"
                   r"|-stdlib=.+|-fopenmp.*|-fsanitize=.+")
# ld(1): undefined references to NAME are to __wrap_NAME, and those to __real_NAME are to NAME.
_WRAP = re.compile(r"--?wrap(?:=(.+))?")
# As GNU ld, gold, lld and mold say it.
_UNDEFINED = re.compile(r"undefined (?:reference to|symbol:) [`']?([^\s`']+)")


def without_debug_information(unit: Unit, shadow: str, directory: str) -> str:
    """A copy of a shadow object to take functions from; its path."""
    path = os.path.join(directory, os.path.basename(shadow))
    run(["objcopy", "-g", *[f"--remove-section={name}" for name in _DROPPED],
         *[f"--remove-section=.rela{name}" for name in _DROPPED], shadow, path],
        f"prepare the object of {unit.name}")
    return path


def compile_medium(unit: Unit, directory: str) -> str:
    """Compile a unit with the medium code model, and return the object's path."""
    path = os.path.join(directory, f"medium-{os.path.basename(str(unit.shadow))}")
    options = ["-fPIC", "-mcmodel=medium", "-ffunction-sections", "-fdata-sections", "-g0", "-w"]
    what = f"compile {unit.name} with the medium code model"
    try:
        # Compilers that do not know the threshold take all data for large.
        compile_otherwise(unit, path, [*options, "-mlarge-data-threshold=0"], what)
    except BuildFailed:
        compile_otherwise(unit, path, options, what)
    return path


def link(
    output: str, extracted: Extracted, slots: Slots, units: dict[str, Unit], how: Link, target: TargetLibrary,
    refusals: Refusals, directory: str,
) -> ElfImage | None:
    """Link the patch library ``output``.

    :param how: how the target was linked.
    :param directory: for objects; its contents do not matter afterwards.
    :return: elf.image.ElfImage of it; None where something is undefined.
    """
    objects = []
    for number, (_key, data) in enumerate(sorted(extracted.objects.items())):
        path = os.path.join(directory, f"{number}.o")
        with open(path, "wb") as stream:
            stream.write(data)
        objects.append(path)
    source = os.path.join(directory, "slots.s")
    with open(source, "w", encoding="utf-8") as text:
        text.write(slots.assembly())
    # The build may have called the linker itself.
    compilers = [each for each in (how.compiler, *(units[key].compiler for key in sorted(extracted.objects)))
                 if name_of_program(each) in COMPILERS]
    run([compilers[0], "-c", source, "-o", os.path.join(directory, "slots.o")],
        "assemble the words of the patch library")
    # The compiler of C++ adds what C++ needs.
    compiler = next((each for each in compilers if "++" in os.path.basename(each)), compilers[0])
    said = run(
        [compiler, "-shared", "-nostartfiles", "-o", output, *objects, os.path.join(directory, "slots.o"),
         "-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,--warn-unresolved-symbols", "-Wl,--no-demangle", "-Wl,-z,now",
         "-Wl,-z,relro", "-Wl,-z,noexecstack", "-Wl,-Bsymbolic", "-Wl,--build-id=sha1", "-Wl,--as-needed",
         *[f"-Wl,--wrap={name}" for name in wrapped_names(how)], *_libraries(how, target)],
        "link the patch library", directory=how.directory)
    # What the target itself finds in the program that loads it, as a module of Python does, new code finds there too.
    missing = set(_UNDEFINED.findall(said)) - {symbol.name for symbol in target.image.dynamic_symbols()
                                               if not symbol.defined}
    if missing:
        for name in sorted(missing):
            refusals.add(NEEDED, name, f"{name} is needed by new code, and no library that {target.image.name} needs"
                         " has it")
        return None
    image = ElfImage.open(output)
    _check(image, target, refusals)
    return image


def wrapped_names(how: Link) -> list[str]:
    """The names that the linker was told to wrap."""
    words = [part for word in how.arguments for part in word.split(",") if part not in ("-Wl", "-Xlinker")]
    found = []
    for word, following in zip(words, [*words[1:], ""]):
        match = _WRAP.fullmatch(word)
        if match:
            found.append(match.group(1) or following)
    return found


def _libraries(how: Link, target: TargetLibrary) -> list[str]:
    """The options that lead to the libraries the target needs."""
    words: list[str] = []
    following = iter(how.arguments)
    for word in following:
        if word in ("-L", "-l", "-B"):
            words.append(word + next(following, ""))
        elif _KEPT.fullmatch(word):
            words.append(word)
        elif word.endswith(".so") or ".so." in os.path.basename(word):
            path = os.path.join(how.directory, word)
            if os.path.isfile(path) and os.path.realpath(path) != os.path.realpath(how.output):
                try:
                    # Never the target itself: what belongs to it is reached by words.
                    if ElfImage.open(path).soname != target.image.soname:
                        words.append(path)
                except BadElf:
                    # A linker script.
                    words.append(path)
    return words


def _check(image: ElfImage, target: TargetLibrary, refusals: Refusals) -> None:
    """Refuse what would be looked up by name although the target has it, and libraries that a process may not have."""
    imported = {symbol.name for symbol in image.dynamic_symbols() if not symbol.defined and symbol.name}
    for name in sorted(imported & set(target.exported)):
        refusals.add(REFERENCE, name, f"{name} belongs to {target.image.name}, and the patch library would look it up"
                     " by name")
    known = {*target.image.needed, target.image.soname, "libc.so.6", "libgcc_s.so.1", "libm.so.6",
             # It is the loader, which has __tls_get_addr.
             LOADER}
    for name in image.needed:
        if name not in known:
            refusals.add(NEEDED, name, f"{name} is needed by new code, and {target.image.name} does not need it")
