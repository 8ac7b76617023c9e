# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the checkout keeps what the tests use."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
# Another build than the checkout's, to see a test fail without what it guards.
BUILD = Path(os.environ.get("ULP_TEST_BUILD") or CHECKOUT / "build")
RUNTIME = BUILD / "libpulp.so"
TRM = BUILD / "trm.o"
COMMAND = BUILD / "ulp"
TARGETS = CHECKOUT / "tests" / "targets"
