# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the command's words go, and with which status it exits."""

from __future__ import annotations

import contextlib
import os
import sys

from ..printable import printable, printable_lines

DONE = 0
REFUSED = 1
PENDING = 3
# What a shell makes of a program that a signal has ended is this and the signal's number, bash(1).
SIGNALLED = 128


def complain(sentence):
    """Say ``sentence`` on standard error."""
    # A terminal that is gone hears nothing; the exit status still tells.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"ulp: {printable_lines(sentence)}\n")


def discard_output():
    """Drop what nobody reads any more, so that the interpreter does not complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value, one_line=False):
    """Print ``value`` as JSON, in ASCII, whatever strings are in it; on one line, where more such values follow."""
    # Takes longer to import than --help takes altogether.
    import json

    sys.stdout.write(json.dumps(value, indent=None if one_line else 2, sort_keys=True) + "\n")


def print_lines(lines):
    """Print lines for people to read."""
    # A terminal, or a file, need not be able to hold every name.
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        sys.stdout.write(printable(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def show(arguments, value, lines):
    """Print a result: ``value`` as JSON if ``arguments`` say so, else ``lines``, for people."""
    if arguments.json:
        print_json(value)
    else:
        print_lines(lines)
