# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a process gets the livepatch from: its file, or us, if it cannot load the file by its path."""

from __future__ import annotations

import os
from copy import copy

from .. import abi
from ..atomic_file import read_file
from ..errors import UlpError
from ..livepatch.livepatch import parse_livepatch
from ..process.errors import ProcessUnpatchable
from ..process.maps import mapping_at
from ..process.namespaces import can_load, sees_itself_in_proc
from .attaching.runtime_file import read_runtime_file
from .borrowing.delivery import MAPPED_AS


class Source:
    """The file of a livepatch; its bytes are read when the first process needs them."""

    def __init__(self, livepatch, contents=None):
        """
        :param livepatch: livepatch.livepatch.Livepatch.
        :param contents: the bytes that ``livepatch`` was read from; None: read them again where they are needed.
        """
        self.livepatch = livepatch
        self.path = os.path.realpath(livepatch.path)
        self.instance_id = livepatch.patch_id  # what the runtime knows it by
        self._contents = contents
        self._runtimes = {}

    def as_instance(self, instance_id):
        """The same, as a process has it for one of several copies of the target.

        :param instance_id: as process.instances.instance_id() makes it, or the patch ID for the first copy.
        """
        source = copy(self)
        source.instance_id = instance_id
        return source

    def patch_in(self, subject):
        """What the runtime of a process (process.subject.Subject) knows of this instance: LoadedPatch, or None."""
        instances = subject.state.instances(self.livepatch.patch_id)
        return next((patch for patch in instances if patch.instance_id == self.instance_id), None)

    def runtime(self, path):
        """The runtime_file.RuntimeFile at ``path``, read once; raises UlpError as read_runtime_file()."""
        if path not in self._runtimes:
            try:
                self._runtimes[path] = read_runtime_file(path)
            except UlpError as error:
                self._runtimes[path] = error
        found = self._runtimes[path]
        if isinstance(found, UlpError):
            raise found
        return found

    def contents(self):
        """The bytes that ``livepatch`` was read from.

        :raises UlpError: the file was replaced after that.
        """
        if self._contents is None:
            contents = read_file(self.path)
            if parse_livepatch(contents, self.path).patch_id != self.livepatch.patch_id:
                raise UlpError(f"{self.path} was replaced after it was read; run again")
            self._contents = contents
        return self._contents

    def is_within_reach(self, subject):
        """Whether a process (process.subject.Subject) can load the file by its path; else it can be given the bytes.

        :raises ProcessUnpatchable: neither is possible.
        """
        # One that has been reverted is still loaded.
        if self.patch_in(subject) is not None:
            return True
        # To the loader, the same file is the same library.
        is_first = self.instance_id == self.livepatch.patch_id
        if is_first and can_load(subject.proc_tid, self.path):
            return True
        if not sees_itself_in_proc(subject.proc_tid):
            if not is_first:
                raise ProcessUnpatchable(
                    subject.pid,
                    f"process {subject.pid} ({subject.name}) has loaded the library several times, so that it has to be"
                    " given the bytes of the livepatch for each, and has no /proc for that; mount proc there",
                )
            raise ProcessUnpatchable(
                subject.pid,
                f"process {subject.pid} ({subject.name}) cannot load the file {self.path}, which it does not see or"
                " may not read, and has no /proc through which it could be given the bytes; mount proc there, or"
                " mount the livepatch's directory to the same place there",
            )
        return False

    def is_shut_out(self, subject, result):
        """Whether the loader may have failed for want of the file, which can_load() takes for within reach.

        Access control lists, Landlock and other security modules are known to the kernel alone.

        :param result: process.runtime.Result of a request to load the file by its path, or None.
        """
        if result is None or result.error != abi.LOAD_FAILED or self.patch_in(subject):
            return False
        # The loader's words are in the process's own language, but begin with the path; the runtime may cut them off.
        concerns_file = result.detail.startswith(f"{self.path}: ") or self.path.startswith(result.detail)
        return concerns_file and sees_itself_in_proc(subject.proc_tid)

    def was_given_to(self, subject):
        """Whether a process was given the bytes, instead of loading them from the file."""
        patch = self.patch_in(subject)
        mapping = mapping_at(subject.mappings, patch.text_start) if patch is not None else None
        return mapping is not None and mapping.path.startswith(MAPPED_AS)
