# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for every input, whoever made it."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError

# Processor time for one input, in seconds. The inputs are small: none takes a tenth of that.
LIMIT_SECONDS = 10
# Address space of the whole run, in bytes: a count in a damaged file must not become an allocation.
LIMIT_MEMORY = 2 << 30


class TooLong(BaseException):
    """An input takes too much time. No handler for errors may hide that."""


def limit_memory():
    """From now on what asks for too much memory fails with MemoryError."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_MEMORY, hard))


@contextmanager
def bounded(seconds=LIMIT_SECONDS):
    """What is done within takes at most so many seconds of processor time, however busy the machine is."""

    def stop(_number, _frame):
        raise TooLong(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def answer(function, *arguments, names=()):
    """What ``function`` gives; None when it refuses, with one sentence that can be printed and has all ``names``."""
    try:
        return function(*arguments)
    except UlpError as error:
        sentence = str(error)
        assert sentence and sentence.isprintable(), repr(sentence)
        for name in names:
            assert str(name) in sentence, sentence
        return None


def require_printable(value):
    """Every string in ``value``, as it goes into JSON, can be shown on a terminal, and JSON can be made of it."""
    # NaN and its kin are none of JSON's numbers.
    json.dumps(value, allow_nan=False)
    for text in strings(value):
        assert text.isprintable(), repr(text)


def strings(value):
    """All strings in nested lists, tuples and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from strings(item)
