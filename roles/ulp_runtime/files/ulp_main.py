# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts the command ``ulp``: ``__main__.py`` of the archive that build_ulp.py writes.

Most of the time that a verb takes is its start.  So help and version need no
module of the core, and compile_ulp.py adds the core's byte code in one piece,
which is mapped into memory: Python's own import from an archive opens it anew
for each module, and to read the whole piece takes as long as a tenth of a verb.
"""

from __future__ import annotations

import sys

# The first member of the archive, not compressed; compile_ulp.py says what is in it.
BYTE_CODE = "byte_code"
# Before that there is nothing but the line that names the interpreter: this many bytes are enough to find it.
_LONGEST_LINE = 256
# The packages of others that the core uses, each only where it is needed.
PACKAGES_OF_OTHERS = ("capstone", "elftools", "ptrace")


class PackagesOfOthers:
    """Finds out where packages of others are when the first of them is asked for, a finder as importlib wants it.

    That reads whatever *.pth files there are, and many a verb needs none of these packages.
    """

    def find_spec(self, name, _path=None, _target=None):
        if name not in PACKAGES_OF_OTHERS:
            return None
        sys.meta_path.remove(self)
        import site
        from importlib.machinery import PathFinder

        site.main()
        return PathFinder.find_spec(name)


class Importer:
    """Gives Python the modules from their byte code; a finder and loader as importlib wants them."""

    def __init__(self, archive, code, modules):
        """
        :param archive: zipimport.zipimporter, for the sources that a traceback shows.
        :param code: memoryview of the byte code of all modules.
        :param modules: {name: (whether it is a package, where its byte code begins, and where it ends)}.
        """
        self._archive = archive
        self._code = code
        self._modules = modules

    def find_spec(self, name, _path=None, _target=None):
        if name not in self._modules:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, origin=self._place(name), is_package=self._modules[name][0])

    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        import marshal

        _is_package, start, end = self._modules[module.__name__]
        exec(marshal.loads(self._code[start:end]), module.__dict__)

    def get_source(self, name):
        return self._archive.get_data(self._place(name)).decode("utf-8")

    def _place(self, name):
        return name.replace(".", "/") + ("/__init__.py" if self._modules[name][0] else ".py")


def number(data):
    """The integer that these bytes are, in the byte order of zip archives."""
    return int.from_bytes(data, "little")


def byte_code_in(archive):
    """BYTE_CODE of the archive at path ``archive``, a memoryview; None where that is not its first member.

    The workers of a dispatch close all files, but go on importing: so it is mapped.  Whoever replaces the archive
    meanwhile does not change what is mapped.
    """
    import mmap
    import os

    descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
    # The local file header of APPNOTE.TXT, 4.3.7, behind the line that names the interpreter.
    start = bytes(data[:_LONGEST_LINE]).find(b"PK\3\4")
    header = data[start:start + 30]
    method, size = number(header[8:10]), number(header[18:22])
    name = start + 30
    contents = name + number(header[26:28]) + number(header[28:30])
    is_meant = start >= 0 and method == 0 and data[name:name + len(BYTE_CODE)] == BYTE_CODE.encode("ascii")
    return data[contents:contents + size] if is_meant else None


def use_byte_code():
    """Import from the archive's byte code, if it has any for this interpreter; else from its sources."""
    from importlib.util import MAGIC_NUMBER

    code = byte_code_in(__loader__.archive)
    if code is None or code[:4] != MAGIC_NUMBER:
        return
    import marshal

    end = 8 + number(code[4:8])
    sys.meta_path.insert(0, Importer(__loader__, code[end:], marshal.loads(code[8:end])))


def open_standard_streams():
    """Have the standard streams that are closed lead nowhere, so that no other file gets their numbers.

    What is mapped keeps a descriptor, too.
    """
    import os

    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def let_interruption_end_us():
    """Have Ctrl-C end the program, like other signals, until there is somebody who can say so (termination.raising()).

    Python raises an exception, wherever it is: as a rule in an import, which ends with its traceback and status 1.
    """
    import _signal

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def start():
    """Run the command; its exit status."""
    import gc

    let_interruption_end_us()
    # Until the verb begins (command.main): nothing that is made before is garbage, and to look for it takes a tenth.
    gc.disable()
    open_standard_streams()
    if sys.argv[1:] in (["-h"], ["--help"]):
        from libpulp_livepatch.help import HELP

        sys.stdout.write(HELP)
        return 0
    if sys.argv[1:] == ["--version"]:
        from libpulp_livepatch.version import VERSION

        sys.stdout.write(f"ulp {VERSION}\n")
        return 0
    if sys.flags.no_site:
        sys.meta_path.append(PackagesOfOthers())
    use_byte_code()
    from libpulp_livepatch.command.main import main

    return main()


def end(status):
    """End with ``status``, without taking apart what the kernel does away with anyway: a tenth of a short verb."""
    import atexit
    import os

    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # What was asked for did not arrive, a help text on a full disk, say.
        status = status or 1
    os._exit(status)


if __name__ == "__main__":
    end(start())
