# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses on a stack that lead into a library but are no return addresses: pointers to its functions."""

from __future__ import annotations

from ..abi import PAD_BEFORE
from ..arch.code import LONGEST_CALL, may_end_with_call


def entry_points(pid, libraries, files, hooks=()):
    """The addresses through which a thread that follows them enters the libraries anew, through an entry check.

    :param libraries: mapped.LoadedLibrary of those that the runtime has hooked.
    :param files: mapped.MappedFiles.
    :param hooks: those of libraries without padding (named tuples of abi.HOOK).
    :return: frozenset of absolute addresses.
    :raises StateUnreadable, BadElf: a library's file cannot be read any more.
    """
    found = set()
    for library in libraries:
        post_processed = files.is_post_processed(pid, library.mapping)
        image = files.image(pid, library.mapping)
        for function in files.functions(pid, library.mapping):
            if function.refusal is not None:
                continue
            if function.trampoline and not _may_be_return_address(image, function.address - PAD_BEFORE):
                found.add(library.base + function.address - PAD_BEFORE)
            if function.address_taken or not post_processed:
                found.add(library.base + function.address)
        for hook in hooks:
            start = hook.function - library.base
            if image.is_executable_address(start) and not _may_be_return_address(image, start):
                found.add(hook.function)
    return frozenset(found)


def _may_be_return_address(image, address):
    """Whether the function before ``address`` may end with a call, of a function that never returns."""
    before = address - LONGEST_CALL
    while not image.is_executable_address(before):
        # It is the first one.
        before += 1
    return may_end_with_call(image.read(before, address - before))
