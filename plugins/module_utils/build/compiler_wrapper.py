# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in place of a compiler while a build is recorded.

It runs the real compiler first, with the arguments as they are, so that the build gets what it would get without it.
Then it writes one record, a JSON file:

- for each source file that was compiled, how, and where its *shadow object* goes: the same file compiled again with a
  section for each function and each variable (``-ffunction-sections -fdata-sections``).  Few are ever needed, and each
  takes as long as the object itself, so for now the file is only preprocessed: from its text, the shadow object can be
  compiled at any time, whatever the build does to its files meanwhile.  What was read is kept beside the text;
- for each file that was linked, which object files went into it, as the linker itself tells (``--trace``).

A linker that the build calls itself is recorded in the same way.  Where a file loses its symbols, since it is linked
with ``-s`` or stripped, a copy with them is kept under the digest of the file without them.

It is started with Python's standard library alone, once for each call of the compiler.
Source: gcc(1), "Overall Options"; ld(1), ``--trace``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from .archives import member_digests

RECORDS = "ULP_BUILD_RECORDS"
WRAPPERS = "ULP_BUILD_WRAPPERS"
# While the build after the diff is recorded: the records of the one before it, the tree, and what the tree was then.
EARLIER = "ULP_BUILD_EARLIER"

# What compilers, linkers and strip(1) are called, but for a prefix, as in x86_64-linux-gnu-gcc, and a version.
COMPILERS = ("gcc", "g++", "cc", "c++", "clang", "clang++", "c99", "c89")
LINKERS = ("ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold")
STRIPPERS = ("strip",)

# Their text needs no preprocessor.
_PREPROCESSED = (".i", ".ii")
_PREPROCESSED_LANGUAGES = {"c": "cpp-output", "c++": "c++-cpp-output"}
C_FAMILY = (".c", ".cc", ".cp", ".cxx", ".cpp", ".CPP", ".c++", ".C", *_PREPROCESSED)
ASSEMBLY = (".S", ".s", ".sx", ".asm")
_INPUTS = (".o", ".lo", ".obj", ".a", ".so")

# Options whose argument is the next word.
_WITH_ARGUMENT = {
    "-o", "-x", "-I", "-D", "-U", "-L", "-l", "-B", "-T", "-u", "-z", "-e", "-h", "-include", "-imacros", "-isystem",
    "-iquote", "-idirafter", "-iprefix", "-iwithprefix", "-isysroot", "-MF", "-MT", "-MQ", "-MJ", "-Xlinker",
    "-Xassembler", "-Xpreprocessor", "-Xclang", "-mllvm", "--param", "-aux-info", "-dumpbase", "-dumpdir", "-wrapper",
    "-target", "-arch", "-soname", "-rpath", "-G",
}
# What does not lead to an object or a linked file.
_OTHER_STEPS = ("-E", "-S", "-M", "-MM", "-fsyntax-only", "--version", "-v", "-V", "-###", "--help", "-dumpversion",
                "-dumpmachine")
# Options that name or make a file other than the object: the second compilation must leave that of the first alone.
_OWN_FILE_PAIRS = ("-o", "-MF", "-MT", "-MQ", "-MJ", "-aux-info", "-dumpbase", "-dumpdir")
_OWN_FILE = re.compile(
    r"-M[DMPGF].*|-MD|-Wp,-M.*|-save-temps.*|-fdump-.*|-gsplit-dwarf.*|-fstack-usage|--coverage|-ftest-coverage"
    r"|-ftime-trace.*|-frecord-command-line")
_LINKING = re.compile(r"-Wl,.*|-l.+|-L.+|-shared|-static|-static-.*|-r|-pie|-no-pie|-rdynamic|-nostdlib|-nostartfiles"
                      r"|-nodefaultlibs|-fuse-ld=.*|-s")
# What leaves local symbols, or all, out of a file that is linked.
_STRIPPING = ("-s", "--strip-all", "-x", "--discard-all")
# The types of ELF files, gABI, chapter 4.
_ET_REL, _ET_EXEC, _ET_DYN = 1, 2, 3
_VERSION = re.compile(r"-[0-9.]+$")
# Debug information tells the layout of types; it changes no code.  It has to be readable without further files.
_SHADOW = ["-ffunction-sections", "-fdata-sections", "-g", "-gz=none", "-fno-debug-types-section", "-w"]
# Compilers leave out classes that they expect another file to describe.
_ALL_CLASSES = {"clang": "-fstandalone-debug", "gcc": "-femit-class-debug-always"}
# What of the environment a compiler heeds: gcc(1), "Environment Variables".
_HEEDED = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH", "SOURCE_DATE_EPOCH",
           "LANG", "LC_ALL", "LC_CTYPE")

# What configure scripts and CMake compile to learn about the compiler.
_PROBE = re.compile(r"conftest|CMakeScratch|CMakeTmp|CMakeTests|meson-private|TryCompile")
# In a rule of make: a file's name, with spaces behind backslashes.
_NAME = re.compile(r"(?:\\.|[^\s\\])+")
_MEMBER = re.compile(r"\(?([^()]+)\)?\(?([^()]*)\)?$")


def expanded(arguments, depth=0):
    """The arguments with those of ``@file`` in their place."""
    words = []
    for word in arguments:
        if word.startswith("@") and depth < 8 and os.path.isfile(word[1:]):
            import shlex

            with open(word[1:], encoding="utf-8", errors="surrogateescape") as stream:
                words += expanded(shlex.split(stream.read()), depth + 1)
        else:
            words.append(word)
    return words


class Command:
    """What the arguments of a compiler ask for.

    ``sources`` and ``inputs`` (objects, archives, libraries) are paths as given; ``output`` is None when the compiler
    chooses; ``step`` is ``compile``, ``link`` or ``other``.
    """

    def __init__(self, arguments):
        self.arguments = arguments
        self.sources = []
        self.inputs = []
        self.output = None
        self.step = "link"
        position = 0
        while position < len(arguments):
            word = arguments[position]
            following = arguments[position + 1] if position + 1 < len(arguments) else None
            if word == "-o":
                self.output = following
            elif word.startswith("-o") and len(word) > 2:
                self.output = word[2:]
            elif word == "-c":
                self.step = "compile"
            elif word in _OTHER_STEPS:
                self.step = "other"
                return
            elif not word.startswith("-"):
                extension = os.path.splitext(word)[1]
                if extension in C_FAMILY or extension in ASSEMBLY:
                    self.sources.append(word)
                elif extension in _INPUTS or ".so." in word:
                    self.inputs.append(word)
            position += 2 if word in _WITH_ARGUMENT else 1
        if not self.sources and (self.step == "compile" or not self.inputs):
            self.step = "other"

    def shadow_arguments(self, source):
        """The arguments that compile ``source`` again, but for its output."""
        words = []
        position = 0
        while position < len(self.arguments):
            word = self.arguments[position]
            pair = word in _WITH_ARGUMENT
            mine = self.arguments[position:position + 2] if pair else [word]
            position += len(mine)
            if word in _OWN_FILE_PAIRS or _OWN_FILE.fullmatch(word) or word == "-c":
                continue
            if word.startswith("-o") and self.output == word[2:]:
                continue
            if _LINKING.fullmatch(word) or word in ("-l", "-L", "-Xlinker", "-z", "-T", "-soname", "-rpath"):
                continue
            if not pair and (word in self.inputs or (word in self.sources and word != source)):
                continue
            words += mine
        return [*words, "-c"]


def digest(path):
    """SHA-256 in hex of a file's bytes, or None when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None


def name_of_program(path):
    """What the program at ``path`` is called without prefix and version, one of the names above; None: another one."""
    name = _VERSION.sub("", os.path.basename(path))
    for known in (*COMPILERS, *LINKERS, *STRIPPERS):
        if name == known or name.endswith("-" + known):
            return known
    return None


def _real_compiler(name):
    if os.sep in name:
        return name
    wrappers = os.path.realpath(os.environ[WRAPPERS])
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory, name)
        if os.path.realpath(directory) != wrappers and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return None


def _environment():
    """That of what a wrapper runs, which is not recorded again, whatever it runs itself."""
    wrappers = os.path.realpath(os.environ.get(WRAPPERS, os.devnull))
    environment = {name: value for name, value in os.environ.items() if name != RECORDS}
    environment["PATH"] = os.pathsep.join(
        directory for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if os.path.realpath(directory) != wrappers)
    return environment


def _record_name(kind, key):
    return f"{kind}-{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:24]}"


def _record(kind, key, fields):
    directory = os.environ[RECORDS]
    name = _record_name(kind, key)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(fields, stream)
    os.replace(temporary, os.path.join(directory, name + ".json"))
    return name


def _shadow_name(key):
    return os.path.join(
        os.environ[RECORDS], f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:24]}.o")


def shadow_options(compiler):
    """What is added to the arguments of ``compiler``, a path, for a shadow object."""
    names = (os.path.basename(compiler), os.path.basename(os.path.realpath(compiler)))
    kind = "clang" if any("clang" in name for name in names) else "gcc"
    return [*_SHADOW, _ALL_CLASSES[kind]]


def text_of(shadow):
    """Where the preprocessed text is that a shadow object is compiled from."""
    return shadow + ".i"


def preprocess(compiler, arguments, source, directory, shadow, environment):
    """Write the text that ``shadow`` can be compiled from, and what was read for it, as a rule of make, into ``.d``.

    A build may make the same file several times, in other ways: a shadow object of an earlier time is removed.

    :param arguments: that compile ``source``, an absolute path, in ``directory``.
    :return: that of subprocess.run().
    """
    if os.path.lexists(shadow):
        os.unlink(shadow)
    rule = shadow + ".d"
    if os.path.splitext(source)[1] in _PREPROCESSED:
        shutil.copyfile(source, text_of(shadow))
        with open(rule, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write("object: " + re.sub(r"([\s\\])", r"\\\1", source).replace("$", "$$") + "\n")
        return subprocess.CompletedProcess([], 0, b"")
    return _captured([compiler, *arguments, *shadow_options(compiler), "-E", "-MD", "-MF", rule, "-o", text_of(shadow)],
                     directory, environment)


def compile_text(compiler, arguments, source, directory, shadow, output, more, environment):
    """Compile ``output`` from the text of a source file, as the shadow object is, but with the arguments ``more``.

    :return: that of subprocess.run().
    """
    words, language = _without_source(arguments, source, directory)
    if language is None:
        plus = "++" in (name_of_program(compiler) or "") or os.path.splitext(source)[1] not in (".c", ".i")
        language = "c++" if plus else "c"
    # The build may have removed the directory.
    return _captured([compiler, *words, *more, "-o", output, "-x", _PREPROCESSED_LANGUAGES.get(language, language),
                      text_of(shadow)], directory if os.path.isdir(directory) else os.path.dirname(shadow), environment)


def _without_source(arguments, source, directory):
    """(the arguments without ``source`` and what is put before it, the language that they name for it or None)."""
    words = []
    language = named = None
    position = 0
    while position < len(arguments):
        word = arguments[position]
        mine = arguments[position:position + (2 if word in _WITH_ARGUMENT else 1)]
        position += len(mine)
        if word.startswith("-x"):
            # It counts for what follows, up to the next one.
            named = mine[1] if len(mine) == 2 else word[2:]
        elif not word.startswith("-") and os.path.normpath(os.path.join(directory, word)) == source:
            language = named
        elif word not in ("-include", "-imacros"):
            words += mine
    return words, None if language == "none" else language


def compile_shadow(compiler, arguments, source, directory, shadow, environment):
    """Compile a shadow object from its text; parameters and result as those of :func:`preprocess`.

    An object that is there is whole, even if this is interrupted.
    """
    scratch = f"{shadow}.{os.getpid()}.o"
    done = compile_text(compiler, arguments, source, directory, shadow, scratch, shadow_options(compiler), environment)
    if done.returncode == 0:
        os.replace(scratch, shadow)
    return done


def _captured(command, directory, environment):
    return subprocess.run(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)


def unstripped_name(sha):
    """What the copy with symbols is called of the file with the digest ``sha``."""
    return f"unstripped-{sha}"


def _without_stripping(arguments):
    """The arguments of a linker, or of a compiler that links, without what leaves symbols out; None: there is none."""
    words = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "-Xlinker" and arguments[position + 1:position + 2] and arguments[position + 1] in _STRIPPING:
            position += 2
            continue
        if word.startswith("-Wl,"):
            word = ",".join(each for each in word.split(",") if each not in _STRIPPING)
        # For a compiler -x names a language.
        if word not in ("-s", "--strip-all", "--discard-all", "-Wl"):
            words.append(word)
        position += 1
    return words if words != arguments else None


def _keep_symbols_of_link(linker, command, output):
    """Link once more with all symbols, if the build has left some out."""
    words = _without_stripping(command.arguments)
    if words is None:
        return
    scratch = os.path.join(os.environ[RECORDS], f".unstripped.{os.getpid()}")
    done = subprocess.run([linker, *words, "-o", scratch], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False, env=_environment())
    _keep_symbols(scratch if done.returncode == 0 else None, output)


def _keep_symbols(copy, stripped):
    """Keep ``copy`` as the file that has the symbols of ``stripped``."""
    sha = digest(stripped)
    if copy is not None and sha is not None:
        os.replace(copy, os.path.join(os.environ[RECORDS], unstripped_name(sha)))


def _run_strip(strip, arguments):
    """Run strip(1), and keep a copy with the symbols of each linked file that loses them; returns its exit status."""
    output = None
    files = []
    for position, word in enumerate(arguments):
        if word == "-o":
            output = arguments[position + 1] if position + 1 < len(arguments) else None
        elif not word.startswith("-") and word != output and _is_linked(word):
            files.append(word)
    copies = []
    for number, file in enumerate(files):
        copies.append(os.path.join(os.environ[RECORDS], f".unstripped.{os.getpid()}.{number}"))
        shutil.copyfile(file, copies[-1])
    status = subprocess.run([strip, *arguments], check=False, env=_environment()).returncode
    for file, copy in zip(files, copies):
        if status or digest(output or file) == digest(copy):
            os.unlink(copy)
        else:
            _keep_symbols(copy, output or file)
    return status if status >= 0 else 128 - status


def _elf_type(start):
    """The type of the ELF file that begins with these 18 bytes; None: it is none."""
    return int.from_bytes(start[16:18], "little") if start[:4] == b"\x7fELF" else None


def _is_linked(path):
    """Whether a file is a program or a shared library."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(18)
    except OSError:
        return False
    return _elf_type(start) in (_ET_EXEC, _ET_DYN)


def names_read(rule):
    """The names of the files that a rule of make, as compilers write it (-MD), has on its right side."""
    words = _NAME.findall(rule.replace("\\\n", " ").partition(": ")[2])
    return [re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words]


def _shadow_of_before(key, fields):
    """The shadow object of the build before the diff, if the same command has read the same and made the same there."""
    if not os.environ.get(EARLIER) or not fields["digest"]:
        return None
    records, tree, before = os.environ[EARLIER].split(os.pathsep)
    try:
        with open(os.path.join(records, _record_name("unit", key) + ".json"), encoding="utf-8") as stream:
            old = json.load(stream)
        if not old["shadow"] or any(old[name] != value for name, value in fields.items()
                                    if name not in ("shadow", "messages")):
            return None
        with open(old["shadow"] + ".d", encoding="utf-8", errors="surrogateescape") as stream:
            names = names_read(stream.read())
        for name in names:
            path = os.path.realpath(os.path.join(fields["directory"], name))
            if path.startswith(tree + os.sep) and digest(path) != digest(before + path[len(tree):]):
                return None
    except (OSError, ValueError, KeyError):
        # It was not compiled there.
        return None
    return old["shadow"]


def _record_source(compiler, command, source, output):
    """Preprocess a source file, and write its record; returns (its key, where its shadow object goes or None)."""
    key = f"{output}\0{os.path.abspath(source)}"
    fields = {
        "source": os.path.normpath(os.path.join(os.getcwd(), source)),
        "directory": os.getcwd(),
        "compiler": compiler,
        "arguments": command.shadow_arguments(source),
        "environment": {name: os.environ[name] for name in _HEEDED if name in os.environ},
        "output": output,
        "digest": digest(output) if command.step == "compile" else None,
        "shadow": None,
        "messages": "",
    }
    fields["shadow"] = _shadow_of_before(key, fields)
    if os.path.splitext(source)[1] in C_FAMILY and fields["shadow"] is None:
        shadow = _shadow_name(key)
        done = preprocess(compiler, fields["arguments"], fields["source"], fields["directory"], shadow, _environment())
        if done.returncode == 0:
            fields["shadow"] = shadow
        else:
            fields["messages"] = done.stdout.decode("utf-8", "replace")[-4000:]
    _record("unit", key, fields)
    return key, fields["shadow"]


def _record_link(compiler, command, output):
    shadows = {}
    keys = []
    for source in command.sources:
        key, shadow = _record_source(compiler, command, source, output)
        keys.append(key)
        # Their objects are gone by now: to tell what else is linked, the linker is run on these.
        if shadow and (os.path.exists(shadow) or compile_shadow(
                compiler, command.shadow_arguments(source), os.path.normpath(os.path.join(os.getcwd(), source)),
                os.getcwd(), shadow, _environment()).returncode == 0):
            shadows[source] = shadow
    _keep_symbols_of_link(compiler, command, output)
    _record("link", output, {
        "output": output,
        "directory": os.getcwd(),
        "compiler": compiler,
        "arguments": command.arguments,
        "units": keys,
        "inputs": _linked(compiler, command, shadows),
    })


def _linked(compiler, command, shadows):
    """[path, member or None, SHA-256 or None] of each object file that the linker takes."""
    scratch = os.path.join(os.environ[RECORDS], f".trace.{os.getpid()}")
    words = [shadows.get(word, word) for word in command.arguments]
    trace = ["--trace", "--trace"] if name_of_program(compiler) in LINKERS else ["-w", "-Wl,--trace,--trace"]
    try:
        done = subprocess.run([compiler, *words, "-o", scratch, *trace], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, env=_environment())
    finally:
        if os.path.exists(scratch):
            os.unlink(scratch)
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines() if done.returncode == 0 else command.inputs
    found = []
    for line in lines:
        # mold says what each of its lines is.
        match = _MEMBER.match(line.strip().replace("trace: ", "", 1) if line.startswith("trace: ") else line.strip())
        if match is None:
            continue
        path, member = match.groups()
        path = os.path.normpath(os.path.join(os.getcwd(), path))
        if not os.path.isfile(path) or path in shadows.values():
            continue
        with open(path, "rb") as stream:
            magic = stream.read(18)
        relocatable = _elf_type(magic) == _ET_REL
        archive = magic[:8] in (b"!<arch>\n", b"!<thin>\n")
        if relocatable or (archive and (member or done.returncode)):
            for sha in [digest(path)] if relocatable else member_digests(path, member) if member else [None]:
                if [path, member or None, sha] not in found:
                    found.append([path, member or None, sha])
    return found


def main(name, arguments):
    """Run the program called ``name``, or at that path, record what it did, and return its exit status."""
    program = _real_compiler(name)
    if program is None:
        sys.stderr.write(f"{name}: not found\n")
        return 127
    command = Command(expanded(arguments))
    probe = _PROBE.search(" ".join([*command.sources, command.output or "", os.getcwd()]))
    kind = name_of_program(program)
    if probe or not os.environ.get(RECORDS) or (command.step == "other" and kind not in STRIPPERS):
        os.execve(program, [program, *arguments], _environment())
    if kind in STRIPPERS:
        return _run_strip(program, arguments)
    status = subprocess.run([program, *arguments], check=False, env=_environment()).returncode
    if status:
        return status if status > 0 else 128 - status
    if command.step == "compile" and kind in COMPILERS:
        for source in command.sources:
            output = command.output or os.path.splitext(os.path.basename(source))[0] + ".o"
            _record_source(program, command, source, os.path.normpath(os.path.join(os.getcwd(), output)))
    else:
        _record_link(program, command, os.path.normpath(os.path.join(os.getcwd(), command.output or "a.out")))
    return 0
