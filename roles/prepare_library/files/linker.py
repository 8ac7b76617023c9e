# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linker of a build that prepares libraries: links like the one of the same name in /usr/bin, which does the work.

The compiler finds it by -B. A shared library whose soname is asked for gets trm.o as well, just once, however often a
build repeats its flags. Then ``ulp post`` makes it livepatchable, before anything copies it. Environment:

    PREPARE_TRM, PREPARE_COMMAND      trm.o, ulp
    PREPARE_SONAMES                   wildcards, with spaces between
    PREPARE_OPTIONS                   options of ulp post
    PREPARE_LOG                       gets a line with the soname of each library that was prepared
    PREPARE_REFUSED                   gets what ulp post says of those that can't be: a configure script that tries the
                                      linker would hide it, and build no shared library at all
"""

import fnmatch
import os
import shlex
import subprocess
import sys

# The psABI's name of the only target that there is a trm.o for, as -m names it.
EMULATION = "elf_x86_64"


def expand(words):
    """The words, with those of response files (@FILE) in place of their names."""
    for word in words:
        if word.startswith("@") and os.path.isfile(word[1:]):
            with open(word[1:], encoding="utf-8", errors="surrogateescape") as file:
                yield from expand(shlex.split(file.read()))
        else:
            yield word


def value(words, *names):
    """What the last of these options is set to, as in ``-o FILE`` or ``--soname=NAME``; None without it."""
    found = None
    for index, word in enumerate(words):
        name, equals, rest = word.partition("=")
        if word in names and index + 1 < len(words):
            found = words[index + 1]
        elif equals and name in names:
            found = rest
    return found


def prepares(words):
    """Whether a link with these words makes a library that is to be prepared."""
    soname = value(words, "-soname", "--soname", "-h")
    return (
        any(word in words for word in ("-shared", "--shared", "-Bshareable"))
        and soname is not None
        and value(words, "-m") in (None, EMULATION)
        and any(fnmatch.fnmatchcase(soname, wanted) for wanted in os.environ["PREPARE_SONAMES"].split())
    )


def main():
    linker = os.path.join("/usr/bin", os.path.basename(sys.argv[0]))
    words = list(expand(sys.argv[1:]))
    if not prepares(words):
        os.execv(linker, [linker, *sys.argv[1:]])
    done = subprocess.run([linker, *sys.argv[1:], os.environ["PREPARE_TRM"]], check=False)
    if done.returncode:
        return done.returncode
    library = value(words, "-o", "--output") or "a.out"
    options = os.environ["PREPARE_OPTIONS"].split()
    post = [os.environ["PREPARE_COMMAND"], "post", *options, library]
    done = subprocess.run(post, stderr=subprocess.PIPE, check=False)
    sys.stderr.buffer.write(done.stderr)
    if done.returncode:
        with open(os.environ["PREPARE_REFUSED"], "ab") as refused:
            refused.write(done.stderr)
        # A build system must not take it for up to date.
        os.unlink(library)
        return done.returncode
    with open(os.environ["PREPARE_LOG"], "a", encoding="utf-8", errors="surrogateescape") as log:
        log.write(value(words, "-soname", "--soname", "-h") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
