# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add byte code to the command ``ulp``, for the interpreter that runs this: compile_ulp.py [--check] SOURCES OUTPUT.

A zip of sources is compiled anew at each start, which takes longer than most
of what the command does.  The sources stay in the archive: an interpreter of
another version uses them, and is only slower; and tracebacks show them.

Prints ``changed`` or ``unchanged``; with ``--check`` it writes nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import zipfile

MODE = 0o755
BYTE_CODE = "byte_code"
DATE = (1980, 1, 1, 0, 0, 0)


def stamp(sources):
    """What a compiled archive says of its origin: the sources (bytes), and the byte code's magic number."""
    return f"{hashlib.sha256(sources).hexdigest()} {importlib.util.MAGIC_NUMBER.hex()}".encode("ascii")


def is_current(output, wanted):
    """Whether the file at path ``output`` was compiled from the same sources for this very interpreter."""
    try:
        with zipfile.ZipFile(output) as archive:
            return archive.comment == wanted and os.stat(output).st_mode & 0o7777 == MODE
    except (OSError, zipfile.BadZipFile):
        return False


def byte_code(archive):
    """The byte code (bytes) of all modules in a zipfile.ZipFile, as ulp_main.py wants it.

    That is the magic number, the length of the index, 4 bytes, the index, and the byte code of one module after the
    other, without docstrings, which nobody reads there.  The index is {name: (whether it is a package, where its byte
    code begins behind the index, and where it ends)}.
    """
    index, codes, end = {}, [], 0
    for name in archive.namelist():
        module, package = os.path.splitext(name)[0].replace("/", "."), name.endswith("/__init__.py")
        code = marshal.dumps(compile(archive.read(name), name, "exec", dont_inherit=True, optimize=2))
        index[module[:-len(".__init__")] if package else module] = package, end, end + len(code)
        codes.append(code)
        end += len(code)
    packed = marshal.dumps(index)
    return b"".join((importlib.util.MAGIC_NUMBER, len(packed).to_bytes(4, "little"), packed, *codes))


def byte_code_of_main(archive):
    """The contents (bytes) of ``__main__.pyc``, which never looks at the source's time: PEP 552."""
    source = archive.read("__main__.py")
    code = marshal.dumps(compile(source, "__main__.py", "exec", dont_inherit=True, optimize=2))
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + code


def add(archive, name, contents):
    """Add one member, with the same attributes whoever compiles, and when."""
    member = zipfile.ZipInfo(name, DATE)
    member.external_attr = 0o100644 << 16
    archive.writestr(member, contents)


def compile_archive(sources, output, check=False):
    """Write the archive at path ``sources`` to ``output`` with byte code; nobody ever sees half of it.

    :param check: only say whether that would change anything.
    :return: whether it does, bool.
    """
    with open(sources, "rb") as stream:
        data = stream.read()
    wanted = stamp(data)
    if is_current(output, wanted):
        return False
    if check:
        return True
    interpreter = data[:data.index(b"\n") + 1]
    temporary = os.path.join(os.path.dirname(output), f".{os.path.basename(output)}.{os.getpid()}")
    try:
        with zipfile.ZipFile(sources) as plain, open(temporary, "wb") as stream:
            stream.write(interpreter)
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                # Where ulp_main.py looks for it.
                add(archive, BYTE_CODE, byte_code(plain))
                # Python takes it before __main__.py.
                add(archive, "__main__.pyc", byte_code_of_main(plain))
                for name in plain.namelist():
                    add(archive, name, plain.read(name))
                archive.comment = wanted
        os.chmod(temporary, MODE)
        os.replace(temporary, output)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    return True


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 2:
        sys.exit("usage: compile_ulp.py [--check] SOURCES OUTPUT")
    answer = "changed" if compile_archive(*arguments, check="--check" in sys.argv) else "unchanged"
    sys.stdout.write(f"{answer}\n")
