# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is held against a process while its threads are stopped."""

from __future__ import annotations

import contextlib
import time

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.charge import Meter
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.custody import seconds_until_stopped
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import ThreadRefused
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.glance import glance


def test_waiting_for_a_thread_to_stop_is_not_charged(busy):
    """Guards processes of many threads that compute, each of which waits for a processor before it stops.

    Seen to fail: what was charged and what was waited came to more than had passed altogether.
    """
    victim = busy("compute", 8)
    mappings = read_maps(victim.pid)
    meter = Meter()
    began, before = time.monotonic(), seconds_until_stopped()
    meter.begin()
    for _each in range(10):
        with contextlib.suppress(ThreadRefused):
            glance(victim.pid, victim.pid, mappings)
    charged = meter.seconds()
    waited, passed = seconds_until_stopped() - before, time.monotonic() - began
    assert waited > 0
    assert charged == 0 or charged + waited <= passed
    assert victim.end() == 0
