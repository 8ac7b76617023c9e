# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that looks unused may be the program's all the same."""

from __future__ import annotations

import struct

import pytest
from harness.foreign_memory import write_memory

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import attach
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.job import Job
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.source import Source


@pytest.mark.parametrize("data", [struct.pack("<QQ", 0x7F1234567890, 0), b"what the program keeps there, and needs"])
def test_data_of_the_program_is_no_claim(data, padded, runtime, start, files, trigger):
    """Seen to fail, the data overwritten, where any word was taken for an earlier attempt's claim."""
    victim = start(padded, preload=False)
    path = str(runtime / "libpulp.so")
    job = Job(Source(read_livepatch(padded.livepatch)), files, Options(runtime=path))
    _runtime, layout, _reservation = attach._examined(job, examine(victim.pid, files, absent=True))
    write_memory(victim.pid, layout.words, data)

    row = trigger(padded, attach=True, runtime=path).apply(victim.pid)

    assert row.outcome == "patched", row
    assert read_memory(victim.pid, layout.words, len(data)) == data
    assert victim.ask("answer") == "5001"
