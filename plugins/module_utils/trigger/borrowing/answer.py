# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the runtime's answer to a request."""

from __future__ import annotations

import time

from ... import abi
from ...process.runtime import read_result
from ..drive import grown

# The answer comes within microseconds or, when a library has to be loaded, milliseconds.
_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.005
# So long, in seconds, a thread may take to begin after a signal has asked us to end.
GRACE = 0.3

_OPEN = (abi.STAGE_EMPTY, abi.STAGE_STARTED, abi.STAGE_WAITS)


def await_result(proc_tid, address, nonce, deadline, delivery=None, interrupted=None):
    """The last answer to request ``nonce``; a generator, as trigger.drive wants it.

    :param proc_tid: a thread of the process.
    :param address: of the state block.
    :param deadline: time.monotonic() until which to wait.
    :param delivery: delivery.Delivery, if the process is to be given the bytes of the livepatch.
    :param interrupted: Options.interrupted: then a thread that does not even begin is waited for no longer.
    :return: runtime.Result, perhaps still in STAGE_STARTED or STAGE_WAITS; None when the borrowed thread has
        not even run yet.
    :raises ProcessGone: the process has ended.
    :raises UlpError: the bytes could not be delivered.
    """
    pause = _FIRST_PAUSE
    started = time.monotonic()
    while True:
        result = read_result(proc_tid, address, nonce)
        if result is not None and result.stage not in _OPEN:
            return result
        if result is not None and result.stage == abi.STAGE_WAITS and delivery is not None and not delivery.delivered:
            delivery.deliver(result.universe)
        now = time.monotonic()
        gives_up = result is None and interrupted is not None and now - started > GRACE and interrupted() is not None
        if now > deadline or gives_up:
            return result
        yield grown(pause, now - started)
        pause = min(2 * pause, _LONGEST_PAUSE)
