# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system calls of an architecture, by number.

``NUMBERS`` has each name that ``tracee`` and ``trigger`` ask for; None stands for a call that the architecture does not
have.  ``AUDIT_ARCHITECTURE`` is what a seccomp filter sees as the architecture of a call.
"""

from __future__ import annotations

from .x86_64.system_calls import AUDIT_ARCHITECTURE, NUMBERS

__all__ = ["AUDIT_ARCHITECTURE", "NUMBERS"]
