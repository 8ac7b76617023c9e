# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts the command ``ulp``: ``__main__.py`` of the archive that build_ulp.py writes.

Most of the time that a verb takes is its start.  So help and version need no
module of the core, and the core's byte code is one piece, which compile_ulp.py
adds: Python's own import from an archive opens it anew for each module.
"""

from __future__ import annotations

import sys

BYTE_CODE = "byte_code"
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

    def __init__(self, archive, modules):
        """
        :param archive: zipimport.zipimporter, for the sources that a traceback shows.
        :param modules: {name: (whether it is a package, byte code)}.
        """
        self._archive = archive
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

        exec(marshal.loads(self._modules[module.__name__][1]), module.__dict__)

    def get_source(self, name):
        return self._archive.get_data(self._place(name)).decode("utf-8")

    def _place(self, name):
        return name.replace(".", "/") + ("/__init__.py" if self._modules[name][0] else ".py")


def use_byte_code():
    """Import from the archive's byte code, if it has any for this interpreter; else from its sources."""
    from importlib.util import MAGIC_NUMBER

    try:
        data = __loader__.get_data(BYTE_CODE)
    except OSError:
        return
    if data.startswith(MAGIC_NUMBER):
        import marshal

        sys.meta_path.insert(0, Importer(__loader__, marshal.loads(data[len(MAGIC_NUMBER):])))


def start():
    """Run the command; its exit status."""
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
